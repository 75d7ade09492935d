"""`server_app`: Flower's ServerApp of a run, which carries what the core decides."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

from .._results.atomic_write import write_whole
from .._results.result import Result
from ..errors import DataError, FedFluxError, OptionError, first_line
from ..tracking._tracks import Tracks
from . import records
from .client import reference_to
from .exchange import UnreadableError, exchange
from .options import Server, gather, run_options, split
from .roster import Roster
from .worker.connection import Launch, Worker, connect
from .worker.data import Arrays, checked_test_data
from .worker.own import beside, names_of, provided

IDLE = 60.0  # seconds that the server's worker waits for a connection


def server_app(
    load_data: Callable[[Context], Any] | None = None,
    *,
    own: Callable[[], Mapping[str, Any]] | None = None,
    **options: Any,
) -> ServerApp:
    """Make the ServerApp of a deployment.

    It waits until all clients of the run are there, and then lets the core's server draw
    the cohorts, check each update, aggregate, evaluate and write checkpoints. A client that
    isn't there, fails or doesn't answer in time is dropped from the round, with its reason
    in the history.

    Args:
        load_data: takes Flower's context and returns the server's own data, (x_test,
            y_test) or, for fltrust, (x_test, y_test, x_root, y_root), or None to evaluate
            nothing.
        own: a function at the top of a module that returns functions and objects of your
            own by option, as {"aggregate": f, "metrics": {"f1": g}}: aggregate, metrics,
            rules (before those that the options name), sampling or server. If a rule has
            hooks that run on clients, give `client_app` the same function.
        **options: of the run, as `fedflux.run` takes, and those of the server: `save`, the
            safetensors file of the result; `json`, the file of its facts and history;
            `timeout`, the seconds that a client has for an answer (default 3600); `wait`,
            the seconds that the run waits for its clients (default 600); `plain_samples`,
            how many samples a client without fedflux counts for; `max_samples`, the most
            that a client may say it has; `track`, as in `fedflux.run`; `metrics_port` and
            `metrics_host`, where Prometheus finds the figures (no port: nowhere). Entries
            `fedflux.NAME` of Flower's run config win.

    Returns:
        The app.

    Raises:
        OptionError: an unknown option, a wrong type or value, or one of simulations only.

    Example:
        >>> app = server_app(model="mlp", rounds=3, clients=3)  # doctest: +SKIP
    """
    run, server = split(options)
    reference = "" if own is None else reference_to("own", own)
    run_options(run, names_of(provided(reference)))
    Server(**server)
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        """Run the rounds, and write the result."""
        given, kept = split(gather(options, context.run_config))
        mine = provided(reference)
        settings, checked = Server(**kept), run_options(given, names_of(mine))
        beside(mine, checked)
        if checked["engine"] == "reference":
            raise OptionError("engine: the server of a deployment needs Julia")
        for file in (settings.save, settings.json):
            if file is not None and not Path(file).resolve().parent.is_dir():
                raise FedFluxError(f"can't write {file}: its folder doesn't exist")
        data = checked_test_data(load_data, context, checked)
        name = secrets.token_hex(8)
        launch = Launch("server", "", os.getpid(), IDLE, name, reference)
        with connect(launch) as core:
            result = Rounds(grid, core, checked, settings).run(data)
        if settings.save is not None:
            result.save(settings.save)
        if settings.json is not None:
            text = json.dumps(result.facts(), indent=1, allow_nan=False) + "\n"
            write_whole(Path(settings.json), text.encode())
        print(f"fedflux: {result!r}")

    return app


class _FailedError(FedFluxError):
    """A client says that it failed."""


class Rounds:
    """The rounds of one run.

    Args:
        grid: Flower's.
        core: the worker with the core's server.
        options: every option of the run.
        settings: the server's.
    """

    def __init__(
        self, grid: Grid, core: Worker, options: dict[str, Any], settings: Server
    ) -> None:
        self._grid, self._core = grid, core
        self._options, self._settings = options, settings
        most = settings.max_samples
        self._roster = Roster(grid, options["clients"], settings.timeout, most)
        self._names: list[str] = []
        self._shapes: list[list[int]] = []
        self._most_bytes = 0

    def run(self, data: Arrays | None) -> Result:
        """Run until the core says that the run is done."""
        tracks = Tracks(self._settings.plan(), warned, self._options)
        try:
            result = self._rounds(data, tracks)
            tracks.end(result)
        finally:
            tracks.end({"stopped": "error"})
        return result

    def _rounds(self, data: Arrays | None, tracks: Tracks) -> Result:
        told, dataset = self._open(data), self._options["dataset"]
        named = "deployment" if dataset == "auto" else dataset  # the nodes have their own
        facts = {"dataset": named, "trainer": told["trainer"], "resumed": told["round"]}
        tracks.start(facts)
        while True:
            said, bodies, model = self._core.ask({"op": "next"})
            if said["record"] is not None:
                print(f"fedflux: {describe(said['record'])}", flush=True)
                tracks.round(said["record"])
            if said["done"] is not None:
                break
            self._exchange(said, bodies, model)
        facts, _, parameters = self._core.ask({"op": "result"})
        warnings = list(facts.get("warnings", ()))
        for line in warnings:
            warned(line)
        options = self._options | facts.get("objects", {})
        return Result.from_facts("julia", options, facts, parameters, warnings)

    def _open(self, data: Arrays | None) -> dict[str, Any]:
        """Open the core's server, and return what it says."""
        self._roster.gather(self._settings.wait)
        seats = sorted(self._roster.seats.items())
        plain = {"samples": self._plain_samples()} if self._roster.plain() else {}
        facts = [{"client": k, **(seat.facts or plain)} for k, seat in seats]
        kinds, parts = (None, []) if data is None else data
        request = {"op": "open", "options": self._options, "facts": facts, "data": kinds}
        told, _, _ = self._core.ask(request, parts)
        self._names, self._shapes = told["names"], told["shapes"]
        self._most_bytes = told["most_bytes"]
        for k, seat in seats:
            what = "a plain Flower client" if seat.facts is None else "here"
            engine = "" if seat.facts is None else f", engine {seat.facts.get('engine')}"
            print(f"fedflux: client {k}: {what}, node {seat.node}{engine}", flush=True)
        return told

    def _exchange(
        self, said: dict[str, Any], bodies: list[bytes], model: list[Any]
    ) -> None:
        """Send the core's messages, and give it what comes back."""
        self._roster.refresh()
        seats, messages = self._roster.seats, {}
        shared = records.arrays(self._names, model) if model else None
        for k, body in zip(said["clients"], bodies, strict=True):
            if k not in seats:
                self._drop(k, self._roster.absence(k))
                continue
            values: dict[str, Any] = {}
            if shared is not None:
                values[records.ARRAYS] = shared
            if seats[k].facts is None:
                config = {"server-round": said["round"], "lr": self._options["lr"]}
                values[records.CONFIG] = ConfigRecord(config)
            else:
                values[records.OWN] = records.own(body=body, round=said["round"])
            messages[k] = Message(
                RecordDict(values),
                seats[k].node,
                "train",
                ttl=self._settings.timeout,
                group_id=str(said["round"]),
            )
        timeout = self._settings.timeout
        ask = self._roster.refresh  # who came meanwhile
        for k, reply in exchange(self._grid, messages, timeout, self._most(), ask):
            if isinstance(reply, UnreadableError):
                self._reject(k, str(reply))
            elif isinstance(reply, FedFluxError):
                self._drop(k, str(reply))
            else:
                self._receive(k, reply, plain=seats[k].facts is None)

    def _receive(self, k: int, reply: Message, *, plain: bool) -> None:
        """Give the core a reply, or note why it is none; the run goes on."""
        try:
            request, parts, model = self._read(reply.content, plain=plain)
        except _FailedError as error:
            self._drop(k, str(error))
        except FedFluxError as error:
            self._reject(k, str(error))
        except Exception as error:  # of this reply alone
            said = records.one_line(f"{type(error).__name__}: {first_line(error)}")
            self._reject(k, f"can't be read: {said}")
        else:
            self._core.ask({"op": "receive", "client": k, **request}, parts, model)

    def _read(
        self, content: RecordDict, *, plain: bool
    ) -> tuple[dict[str, Any], list[bytes], list[Any]]:
        """Read a reply: what the core is asked, the bytes of an update, a model.

        Raises:
            FedFluxError: it is too large, or nothing that a client sends.
            _FailedError: the client says that it failed.
        """
        size, most = records.size(content), self._most()
        if size > most:
            # never unpacked: the core hears how long it is, and writes down why it is out
            raise FedFluxError(
                f"is too large: {size} bytes, and at most {most} are possible"
            )
        failed = content.config_records.get(records.OWN, ConfigRecord()).get("error")
        if isinstance(failed, str):
            raise _FailedError(records.one_line(failed))
        if not plain and records.ARRAYS not in content.array_records:
            body = records.read_own(content, body=bytes)["body"]
            return {"encoded": True, "samples": 0}, [body], []
        model = records.read_arrays(content, self._shapes)
        if not model:
            raise DataError("has no model")
        # what a plain client weighs was agreed on before: it can't say another number
        samples = self._plain_samples() if plain else records.read_samples(content)
        return {"encoded": False, "samples": samples}, [], model

    def _most(self) -> int:
        """Return the most bytes that a reply can have, in Flower's records."""
        return self._most_bytes + sum(len(name) + 256 for name in self._names)

    def _plain_samples(self) -> int:
        """Return how many samples a plain client counts for, which it can't tell before."""
        if self._settings.plain_samples is not None:
            return self._settings.plain_samples
        if self._options["weights"] == "uniform":
            return 1
        raise OptionError(
            "plain_samples: a plain Flower client takes part, and it tells its number of "
            "samples only with its first update; set plain_samples, or weights='uniform'"
        )

    def _drop(self, k: int, reason: str) -> None:
        self._core.ask({"op": "dropped", "client": k, "reason": reason})

    def _reject(self, k: int, reason: str) -> None:
        self._core.ask({"op": "rejected", "client": k, "reason": reason})


def warned(message: str) -> None:
    """Print a warning to the log of the run."""
    print(f"fedflux: warning: {message}", flush=True)


def describe(record: dict[str, Any]) -> str:
    """Say in a line how a round went.

    Example:
        >>> describe({"round": 2, "train_loss": 0.5, "accuracy": None, "clients": 3})
        'round 2: 3 clients, train loss 0.5000'
    """
    parts = [f"{record['clients']} clients"]
    for name, text in (("train_loss", "train loss"), ("test_loss", "test loss")):
        if record.get(name) is not None:
            parts.append(f"{text} {record[name]:.4f}")
    if record.get("accuracy") is not None:
        parts.append(f"accuracy {record['accuracy']:.4f}")
    for metric, figure in record.get("metrics", {}).items():
        if figure is not None:
            parts.append(f"{metric} {figure:.4f}")
    for name in ("rejected", "dropped"):
        for who in record.get(name) or ():
            parts.append(f"client {who['client']} {name}: {who['reason']}")
    if record.get("skipped"):
        parts.append(f"skipped: {record['skipped']}")
    return f"round {record['round']}: {', '.join(parts)}"
