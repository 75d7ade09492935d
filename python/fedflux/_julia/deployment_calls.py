"""Calls of a deployed run into the Julia core: text, bytes and float32 arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._typing import Floats
from .calls import Arrays, _facts, _floats, _json, _objects, _own, _transposed
from .start import boot


def server_open(
    config: dict[str, Any],
    facts: list[dict[str, Any]],
    data: Arrays | None,
    init: Sequence[Floats] | None,
    objects: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], Any]:
    """Open the server of a run.

    Args:
        config: every option.
        facts: of each client its number and what it said of itself.
        data: x, y, x_test and y_test of the server itself, or None.
        init: initial parameters in model order, or None.
        objects: those of `_extensions`, by option.

    Returns:
        The facts of the run, and the server.

    Raises:
        FedFluxError: the core reports an error.
    """
    text, server = boot().core._server_open(
        _json(config),
        json.dumps(facts),
        _transposed(data),
        _objects(objects or {}),
        _to_julia(init),
    )
    return _facts(text), server


def server_next(server: Any) -> tuple[dict[str, Any], list[bytes], list[Floats]]:
    """End the exchange in progress, and get the next one.

    Returns:
        The exchange, a message for each of its clients, and the global model if it
        travels in the clear.
    """
    text, messages, arrays = boot().core._server_next(server)
    return _facts(text), [_to_bytes(m) for m in messages], _to_numpy(arrays)


def server_receive(
    server: Any, client: int, body: bytes | None, arrays: Sequence[Floats], samples: int
) -> dict[str, Any]:
    """Give the server a reply.

    Args:
        server: the server.
        client: the number of the client that sent it.
        body: the reply of a fedflux client, or None for that of a plain one.
        arrays: the trained model of a plain client.
        samples: how many samples it was trained on.

    Returns:
        {"accepted": True}, or {"rejected": why}.
    """
    core = boot().core
    text = core._server_receive(server, client, _bytes(body), _to_julia(arrays), samples)
    return _facts(text)


def server_dropped(server: Any, client: int, reason: str) -> None:
    """Tell the server that a client failed, or didn't answer in time."""
    _facts(boot().core._server_dropped(server, client, reason))


def server_rejected(server: Any, client: int, reason: str) -> None:
    """Tell the server that what a client sent was refused before it came to the core."""
    _facts(boot().core._server_rejected(server, client, reason))


def server_result(server: Any) -> tuple[dict[str, Any], list[Floats]]:
    """Return the facts of the run, and the parameters in model order."""
    text, arrays = boot().core._server_result(server)
    return _facts(text), _to_numpy(arrays)


def client_open(
    config: dict[str, Any],
    data: Arrays,
    node: Any = None,
    number: int | None = None,
    objects: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], Any]:
    """Open a client on its own data.

    Args:
        config: every option.
        data: x, y, x_test and y_test, the last two None without test data.
        node: the party that encrypts, a `Node` of fedflux.he, if the aggregate is ckks.
        number: the client's; messages for another one are refused.
        objects: rules of `_extensions`, as `rules`.

    Returns:
        Its facts, and the client.

    Raises:
        FedFluxError: the core reports an error.
    """
    text, client = boot().core._client_open(
        _json(config), _transposed(data), _objects(objects or {}), node, number
    )
    facts = _facts(text)
    return facts if node is None else facts | {"ckks_key": node.key_id}, client


def client_answer(
    client: Any, body: bytes | None, arrays: Sequence[Floats], private: bytes
) -> tuple[dict[str, Any], bytes, bytes, list[Floats]]:
    """Let a client answer a message.

    Args:
        client: the client.
        body: the message, or None from a plain Flower server.
        arrays: the global model, if the message does not hold it.
        private: what the last call returned as such, or empty at first.

    Returns:
        What the client says of its work, the reply, the private state, and the trained
        model for a plain Flower server.

    Raises:
        FedFluxError: the core reports an error.
    """
    text, reply, private_now, trained = boot().core._client_answer(
        client, _bytes(body), _to_julia(arrays), _bytes(private)
    )
    said = _facts(text)
    return said, _to_bytes(reply), _to_bytes(private_now), _to_numpy(trained)


def _bytes(content: bytes | None) -> NDArray[np.uint8] | None:
    return None if content is None else np.frombuffer(content, np.uint8)


def _to_bytes(vector: Any) -> bytes:
    return b"" if vector is None else np.asarray(vector).tobytes()


def _to_julia(arrays: Sequence[Floats] | None) -> list[Floats] | None:
    return None if arrays is None else _floats(arrays)


def _to_numpy(arrays: Any) -> list[Floats]:
    return [_own(a) for a in arrays]
