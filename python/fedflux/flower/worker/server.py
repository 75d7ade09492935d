"""The server's side in its worker: the core's server, while Flower's heartbeats go on."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._julia import deployment_calls
from ..._typing import Floats
from ...errors import FedFluxError
from .encryption import provide_parties
from .frames import Answer
from .own import beside, provided


class Serving:
    """A worker's service: one server of the core.

    Args:
        own: the function that gives the user's own functions, as module:name; "" for none.
    """

    def __init__(self, own: str = "") -> None:
        self._own = own
        self._server: Any = None

    def answer(
        self, header: dict[str, Any], parts: list[bytes], arrays: list[Floats]
    ) -> Answer:
        """Answer a call: "open", "next", "receive", "dropped", "rejected" or "result"."""
        op = header["op"]
        if op == "open":
            provide_parties(header["options"])
            facts, self._server = deployment_calls.server_open(
                header["options"],
                header["facts"],
                _data(header, parts),
                arrays or None,
                beside(provided(self._own), header["options"]),
            )
            return facts, [], []
        if self._server is None:
            raise FedFluxError("the server's worker process was restarted: resume the run")
        if op == "next":
            return deployment_calls.server_next(self._server)
        if op == "receive":
            body = parts[0] if header["encoded"] else None
            client, samples = header["client"], header["samples"]
            outcome = deployment_calls.server_receive(
                self._server, client, body, arrays, samples
            )
            return outcome, [], []
        if op in ("dropped", "rejected"):
            tell = (
                deployment_calls.server_dropped
                if op == "dropped"
                else deployment_calls.server_rejected
            )
            tell(self._server, header["client"], header["reason"])
            return {}, [], []
        facts, model = deployment_calls.server_result(self._server)
        return facts, [], model


def _data(header: dict[str, Any], parts: list[bytes]) -> list[Any] | None:
    """Restore the server's own data, which crossed as bytes."""
    if not header["data"]:
        return None
    return [
        None if kind is None else np.frombuffer(part, kind["dtype"]).reshape(kind["shape"])
        for kind, part in zip(header["data"], parts, strict=True)
    ]
