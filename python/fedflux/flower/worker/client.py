"""The client's side in the worker: loads the user's data once, and trains on it."""

from __future__ import annotations

import contextlib
import json
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from ..._data.arrays import Data, check_next_tokens, from_arrays
from ..._julia import install, start as _julia
from ..._options.models import takes_tokens
from ..._options.options import column
from ..._reference.supported import check_supported
from ..._typing import Floats
from ...errors import DataError, FedFluxError, JuliaUnavailable
from ...he._nodes import parameters_of, read_key
from .connection import Doing
from .frames import Answer
from .memory import Memory
from .own import beside, find, provided

MAX_RUNS = 2  # runs whose clients are kept


class Client(Protocol):
    """A client with its data."""

    facts: dict[str, Any]

    def answer(
        self, request: dict[str, Any], body: bytes, private: bytes, arrays: list[Floats]
    ) -> Answer:
        """Answer a message of a server.

        Args:
            request: what came with it: "stock", whether from a server that knows nothing of
                fedflux, and "round".
            body: the message, or empty if there is none.
            private: the client's private state, or empty at first.
            arrays: the global model.

        Returns:
            What the client says of its work, the reply and the private state, and the
            trained model, if the reply does not hold it.
        """


class Training:
    """A worker's service: the clients of a node, by run and by number.

    Args:
        load: the user's function that loads the data, as module:name.
        doing: where it is written down what a first message waits for.
        own: the function that gives rules of the user's own, as module:name; "" for none.
    """

    def __init__(self, load: str, doing: Doing, own: str = "") -> None:
        self._load, self._doing, self._own = load, doing, own
        self._runs: OrderedDict[str, dict[str, Client]] = OrderedDict()
        self._memory = Memory()

    def answer(
        self, header: dict[str, Any], parts: list[bytes], arrays: list[Floats]
    ) -> Answer:
        """Answer "open", with the facts of a client, or "answer", as `Client.answer`."""
        client = self._client(header)
        if header["op"] == "open":
            return dict(client.facts), [], []
        body, private = parts
        whose = self._memory.key(header, body)
        private = self._memory.newest(whose, private)
        before = self._memory.same(whose, body, arrays)
        if before is not None:
            return before
        answer = client.answer(header["request"], body, private, arrays)
        said, replies, _ = answer
        self._memory.keep(whose, replies[1])
        if said.get("once"):
            self._memory.keep_answer(whose, body, arrays, answer)
        return answer

    def _client(self, header: dict[str, Any]) -> Client:
        """Find the client, or open it: the worker may be younger than the run."""
        context, options = header["context"], header["options"]
        # each run loads its data anew: they may be others than those of the run before
        run = json.dumps(
            [context["run_id"], options, context["run_config"]], sort_keys=True
        )
        clients = self._runs.setdefault(run, {})
        self._runs.move_to_end(run)
        while len(self._runs) > MAX_RUNS:
            self._runs.popitem(last=False)
        key = json.dumps([header["client"], context["node_config"]], sort_keys=True)
        if key not in clients:
            with self._says():
                self._doing.begin("loading the data")
                data = self._data(options, context)
                self._doing.begin("starting")
                given = provided(self._own)
                rules = {name: given[name] for name in given if name == "rules"}
                own = beside(rules, options)
                clients[key] = open_client(
                    options, data, context["node_config"], header["client"], own
                )
        return clients[key]

    @contextlib.contextmanager
    def _says(self) -> Iterator[None]:
        """Write down, too, what is installed and compiled for the first start."""

        def hear(message: str) -> None:
            self._doing.begin(message.partition(":")[0])

        install.listeners.append(hear)
        try:
            yield
        finally:
            install.listeners.remove(hear)
            self._doing.end()

    def _data(self, options: dict[str, Any], context: dict[str, Any]) -> Data:
        from flwr.app import Context, RecordDict

        loader = find(self._load)
        loaded = loader(Context(state=RecordDict(), **context))
        return checked(loaded, options, self._load.rpartition(":")[2])


def checked(loaded: Any, options: dict[str, Any], name: str) -> Data:
    """Check what a loader returned.

    Args:
        loaded: (x, y) or (x, y, x_test, y_test).
        options: every option.
        name: of the loader, for errors.

    Returns:
        The data.

    Raises:
        DataError: something else was returned, or the arrays don't fit.
    """
    if not isinstance(loaded, tuple | list) or len(loaded) not in (2, 4):
        raise DataError(
            f"{name}: expected (x, y) or (x, y, x_test, y_test), got "
            f"{type(loaded).__name__}"
        )
    x, y, *test = loaded
    tokens = takes_tokens(options["model"])
    data = from_arrays(
        x, y, *(test or (None, None)), loss=options["loss"], clients=1, tokens=tokens
    )
    if options["model"] in column("tokens")["model"]:
        check_next_tokens(data)
    return data


def open_client(
    options: dict[str, Any],
    data: Data,
    node_config: Mapping[str, Any],
    number: int,
    own: Mapping[str, Any] | None = None,
) -> Client:
    """Give the data to the core or, if Julia can't be had, to the reference engine.

    Args:
        options: every option.
        data: the client's own.
        node_config: what the node was started with.
        number: the client's.
        own: rules of the user's own, as `rules`.

    Raises:
        FedFluxError: Julia can't be had, and the reference engine does not support the
            options; the clients' key is needed, and can't be read.
    """
    key = None
    if parameters_of(options["aggregate"]) is not None:
        key = read_key(node_config.get("ckks-key"))
    if options["engine"] != "reference":
        try:
            _julia.boot()
        except JuliaUnavailable as error:
            why = str(error)
            if options["engine"] == "julia":
                raise
        else:
            from .julia_client import JuliaClient

            return JuliaClient(options, data, key, number, own)
    else:
        why = "engine='reference'"
    try:
        if own:
            raise FedFluxError("rules of your own need the Julia core")
        check_supported(options)
    except FedFluxError as error:
        raise FedFluxError(f"this node can't join: {error}; {why}") from None
    from .reference_client import ReferenceClient

    print(
        f"fedflux: this node trains with the slow reference engine: {why}", file=sys.stderr
    )
    return ReferenceClient(options, data)
