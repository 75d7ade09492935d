"""`client_app`: Flower's ClientApp of a node, which lets the node's worker do the work."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from ..errors import FedFluxError, OptionError
from . import records
from .options import agreed, run_options, split
from .worker.connection import Launch, Worker, connect, doing

IDLE = 3600.0  # seconds
SOON = 10.0  # seconds in which a node says what it has, or why it can't yet


def client_app(
    load_data: Callable[[Context], Any],
    *,
    own: Callable[[], Mapping[str, Any]] | None = None,
    idle: float = IDLE,
    **options: Any,
) -> ClientApp:
    """Make the ClientApp of a deployment.

    The first message starts a worker, a process that keeps Julia and the data and ends with
    the SuperNode. Every later message finds it again. The node is the client of the number
    `partition-id` + 1 of Flower's node config. The private state of the rules stays in
    `context.state`.

    Args:
        load_data: a function at the top of a module. It takes Flower's context and returns
            the node's own data, (x, y) or (x, y, x_test, y_test), as `fedflux.run` takes.
            Each worker calls it once for a run.
        own: a function at the top of a module that returns the rules of your own whose
            hooks run on clients, as {"rules": [MyRule()]}; the server needs the same.
        idle: seconds without a message after which the worker ends.
        **options: of the run, as `fedflux.run` takes. They hold, as do entries
            `fedflux.NAME` of Flower's node config: a run whose run config says otherwise is
            refused. Those that decide the numbers must be the server's, too.

    Returns:
        The app.

    Raises:
        OptionError: an unknown option, a wrong type or value, or one of simulations only.

    Example:
        >>> def load_data(context):
        ...     return np.load(context.node_config["data"])
        >>> app = client_app(load_data, model="mlp", rounds=3)  # doctest: +SKIP
    """
    reference, (given, _) = reference_to("load_data", load_data), split(options)
    mine = "" if own is None else reference_to("own", own)
    run_options(given)
    app = ClientApp()

    def launch() -> Launch:
        return Launch("client", reference, os.getppid(), idle, own=mine)

    def worker() -> Worker:
        return connect(launch())

    @app.query("fedflux")
    def query(message: Message, context: Context) -> Message:
        """Say which client this is, and what it has or what it is doing before."""
        try:
            request = {"op": "open", **_opening(context, given)}
            facts = _soon(lambda: _ask(worker, request))
            if facts is None:
                what, seconds = doing(launch())
                facts = {"preparing": what, "seconds": seconds}
            facts["client"] = request["client"]
            content = RecordDict({records.OWN: records.own(facts=json.dumps(facts))})
            return Message(content, reply_to=message)
        except FedFluxError as error:
            print(f"fedflux: error: {error}", file=sys.stderr)
            return records.refusal(error, message)

    def answer(message: Message, context: Context) -> Message:
        """Answer a message of any stage."""
        began = time.perf_counter()
        try:
            with worker() as core:
                content, said = _answer(core, message, context, given)
        except FedFluxError as error:
            print(f"fedflux: error: {error}", file=sys.stderr)
            return records.refusal(error, message)
        if said.get("lost"):
            print("fedflux: warning: the rules' state was lost and starts again")
        work = said["seconds"]
        around = time.perf_counter() - began - work
        line = f"fedflux: {said['stage']}: {work:.3f} s, and {around:.3f} s around it"
        print(line, file=sys.stderr)
        return Message(content, reply_to=message)

    app.train()(answer)
    app.evaluate()(answer)
    return app


def _ask(worker: Callable[[], Worker], request: dict[str, Any]) -> dict[str, Any]:
    with worker() as core:
        facts, _, _ = core.ask(request)
    return facts


def _soon(action: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """Return what an action gives within a while, or None while it goes on."""
    found: list[dict[str, Any]] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            found.append(action())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)  # may outlast this process's work
    thread.start()
    thread.join(SOON)
    if errors:
        raise errors[0]
    return found[0] if found else None


def _answer(
    core: Worker, message: Message, context: Context, given: dict[str, Any]
) -> tuple[RecordDict, dict[str, Any]]:
    """Let the worker answer, and keep its private state in Flower's.

    Returns:
        The content of the reply, and what the worker says of its work.
    """
    content, opening = message.content, _opening(context, given)
    stock = records.OWN not in content.config_records
    if stock and message.metadata.message_type.startswith("evaluate"):
        raise FedFluxError(
            "a fedflux client evaluates for a fedflux server only: use "
            "FedAvg(fraction_evaluate=0.0)"
        )
    told: dict[str, Any] = {"body": b"", "round": _stock_round(content)}
    if not stock:
        told = records.read_own(content, body=bytes, round=int)
    state = context.state.config_records.get(records.OWN, ConfigRecord())
    private = state.get("private", b"")
    request = {"stock": stock, "round": told["round"], "client": opening["client"]}
    said, (reply, private_now), model = core.ask(
        {"op": "answer", "request": request, **opening},
        [told["body"], private if isinstance(private, bytes) else b""],
        records.read_arrays(content),
    )
    if private_now != private:
        context.state[records.OWN] = ConfigRecord({"private": private_now})
    if model:
        names = list(content.array_records[records.ARRAYS])
        return records.trained(model, names, said), said
    return RecordDict({records.OWN: records.own(body=reply)}), said


def _opening(context: Context, given: dict[str, Any]) -> dict[str, Any]:
    """Say what the worker needs to open this client."""
    options, _ = split(agreed(given, context.node_config, context.run_config))
    facts = ("run_id", "node_id", "node_config", "run_config")
    return {
        "client": _number(context),
        "options": run_options(options),
        "context": {name: getattr(context, name) for name in facts},
    }


def _number(context: Context) -> int:
    found = context.node_config.get("partition-id")
    if type(found) is not int or found < 0:
        raise OptionError(
            "node config: expected partition-id, an integer from 0 that no other node has, "
            f"got {found!r}; start the SuperNode with --node-config 'partition-id=0'"
        )
    return found + 1


def _stock_round(content: RecordDict) -> int:
    """Return the round that Flower's own strategies name, for the streams of the client."""
    number = content.config_records.get(records.CONFIG, ConfigRecord()).get(
        "server-round", 1
    )
    return number if isinstance(number, int) and 0 < number < 2**31 else 1


def reference_to(what: str, function: Callable[..., Any]) -> str:
    """Name a function so that another process finds it.

    Raises:
        OptionError: it stands at the top of no module.

    Example:
        >>> reference_to("own", json.dumps)
        'json:dumps'
    """
    name = getattr(function, "__qualname__", "")
    module = getattr(function, "__module__", "")
    if not name.isidentifier() or module == "__main__":
        raise OptionError(
            f"{what}: expected a function at the top of a module, which the worker can "
            f"import, got {function!r}"
        )
    return f"{module}:{name}"
