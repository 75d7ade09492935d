"""The engines: the Julia core, and the reference engine if Julia is not available."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import he
from .._data import datasets
from .._data.arrays import Data
from .._data.owners import names_of
from .._extensions.own import OWN, title
from .._julia import calls, mldatasets, start as _julia
from .._options.options import by_owner, declared, settled
from .._options.specs import parse
from .._reference import run as reference_run
from .._reference.federation import EventHandler
from .._reference.progress import Progress
from .._reference.supported import check_supported
from .._results.predict import by_name
from .._results.result import Result
from .._results.snapshot import FIGURES, Snapshot
from .._typing import Options
from ..errors import FedFluxError, Interrupted, JuliaUnavailable, OptionError
from . import initial_parameters, other_process
from .events import Monitor
from .initial_parameters import Parameters
from .inputs import own_names, user_data_name
from .resume import ReferenceState


@dataclass(frozen=True)
class Task:
    """The checked inputs of a run.

    Attributes:
        options: every option.
        data: the user's data, or None for a named data set.
        objects: the objects of the user's own given for options, by name.
        init: initial parameters, or None to draw them.
        previous: the result to go on from, or None.
        layout: the axes of images, as the user has them.
        module: the PyTorch module that the model was translated from, or None.
    """

    options: Options
    data: Data | None
    objects: dict[str, Any]
    init: Parameters | None
    previous: Result | None = None
    layout: str = "NCHW"
    module: Any = None


def execute(task: Task, monitor: Monitor) -> Result:
    """Choose the engine and run it.

    Args:
        task: the inputs.
        monitor: the handler of the run's events.

    Returns:
        The result.

    Raises:
        OptionError: an option or a model that the reference engine does not support.
        JuliaUnavailable: engine="julia", and Julia is not available; or Julia is there, and
            can't be started.
        Interrupted: Ctrl-C while clients train. It holds the result so far.
        FedFluxError: any other error of the engine.
    """
    if task.data is None and "dataset" not in task.objects and _may_be_core(task):
        options = mldatasets.provided(task.options, monitor.warn, datasets.has_mnist)
        task = replace(task, options=options)
    engine = _choose(task.options, task.objects, monitor)
    run = _run_reference if engine == "reference" else _run_core_somewhere
    facts, parameters, state = run(task, monitor)
    for message in facts.get("warnings", ()):
        monitor.warn(message)
    mldatasets.note(task.options, facts.get("warnings", ()))
    options = task.options | facts.pop("settled", {}) | facts.get("objects", {})
    result = Result.from_facts(engine, options, facts, parameters, monitor.warnings)
    if isinstance(state, ReferenceState):
        result.own, state = state, None
    result.state, result.module = state, task.module
    result.details |= _data_facts(task)
    if task.module is None and task.previous is not None:
        result.module = task.previous.module
    if result.best is not None:
        result.best.module = result.module
        result.best.state = None if state is None else state.best
    if task.data is not None and task.data.owners is not None and by_owner(options):
        _name_clients(result, names_of(task.data.owners))
    if result.stopped == "interrupted":
        raise Interrupted(result)
    return result


def _name_clients(result: Result, names: list[Any]) -> None:
    """Give the clients their owners' names, which the core knows as numbers."""
    result.details["owners"] = names
    for row, name in zip(result.clients, names, strict=False):  # no rows for very many
        row["name"] = name


def _ended(result: Result) -> Progress:
    """Return where a result of the reference engine ended."""
    params, checksum = list(result.parameters.values()), result.details.get("data")
    best = result.best
    kept = None if best is None else (best.round, list(best.parameters.values()))
    return Progress(params, list(result.history), result.seconds, checksum, kept)


def _may_be_core(task: Task) -> bool:
    return task.options["engine"] != "reference" and _julia.callable_here()


def _choose(options: Options, objects: dict[str, Any], monitor: Monitor) -> str:
    """Return "julia" or "reference"."""
    engine: str = options["engine"]
    if engine != "auto":
        return engine
    if not _julia.callable_here():
        return "julia"
    try:
        _julia.boot()
    except JuliaUnavailable as error:
        if not error.absent:  # there is a Julia: whoever has one wants it used
            raise JuliaUnavailable(
                f"{error}; engine='reference' runs the slow engine without Julia"
            ) from None
        try:
            check_supported(options, own_names(objects))
        except OptionError as unsupported:
            message = f"{unsupported}, and Julia can't be had: {error}"
            raise OptionError(message) from None
        monitor.warn(f"the slow reference engine is used: {error}")
        return "reference"
    return "julia"


def _data_facts(task: Task) -> dict[str, Any]:
    """Return what predictions must know of the user's data, but for the core's part."""
    facts: dict[str, Any] = {} if task.layout == "NCHW" else {"layout": task.layout}
    if task.data is not None and task.data.classes is not None:
        facts["classes"] = task.data.classes
    return facts


def _see(task: Task, monitor: Monitor, options: Options) -> Callable[..., None]:
    """Return what gives the monitor the model after a round, before the round's event."""
    known = _data_facts(task)

    def see(facts: dict[str, Any], arrays: list[Any], state: Any) -> None:
        details = {"objects": task.objects, "sample": facts.get("sample"), **known}
        parameters, statistics = by_name(facts, arrays)
        monitor.model = Snapshot(
            **{name: facts[name] for name in FIGURES},
            parameters=parameters,
            statistics=statistics,
            options=options,
            details=details,
            state=state,
        )

    return see


# What the reference engine takes of the user's own, by option.
REFERENCE_OWN = ("aggregate", "metrics", "partition", "sampling")


Outcome = tuple[dict[str, Any], list[Any], Any]


def _run_reference(task: Task, monitor: Monitor) -> Outcome:
    for name, value in task.objects.items():
        if name not in REFERENCE_OWN or not isinstance(value, OWN):
            raise OptionError(
                f"{name}: an object of your own needs engine='julia'; give a name"
            )
    options, data, init = task.options, task.data, task.init
    check_supported(options, own_names(task.objects))
    for name in ("threads", "trainer"):
        if options[name] != declared()[name].default:
            monitor.warn(f"{name} has no effect: the reference engine has one of its own")
    if data is not None and data.x_val is not None:
        raise OptionError("validation needs the Julia core; the reference engine has none")
    if data is None:
        name, data, warnings = datasets.load(
            options["dataset"], options["data_dir"], options["loss"], options["clients"]
        )
        for message in warnings:
            monitor.warn(message)
        options = settled(options, name)
        init = initial_parameters.fit(init, options, data)
    else:
        name = Path(user_data_name(options["dataset"])).name
    if task.previous is not None:
        progress = _ended(task.previous)
        if task.previous.own is not None:
            progress.aggregator_state = task.previous.own.aggregator
    else:
        start = None if init is None else list(init.values())
        progress = Progress(start)
    try:
        see = _see(task, monitor, options) if monitor.wants_model else None
        facts, parameters, kept = reference_run.run(
            options, name, data, progress, monitor, task.objects, see
        )
    except MemoryError as error:
        raise FedFluxError(f"out of memory: {error}; try a smaller model") from None
    facts |= {"settled": options, "objects": {n: title(o) for n, o in task.objects.items()}}
    state = ReferenceState(task.objects, kept) if task.objects else None
    return facts, parameters, state


def _run_core_somewhere(task: Task, monitor: Monitor) -> Outcome:
    """Run the core here or, in a thread that can't call Julia, in another process."""
    if _julia.callable_here():
        see = _see(task, monitor, task.options) if monitor.wants_model else None
        return run_core(task, monitor, see)
    if task.objects or task.previous is not None or monitor.wants_model:
        what = next(iter(task.objects), "resume" if task.previous else "callback")
        raise FedFluxError(
            f"{what}: Julia was started in another thread, and its objects can't leave it: "
            "call fedflux from the thread of the first run or of fedflux.setup()"
        )
    return *other_process.run(task.options, task.data, task.init, monitor), None


def run_core(
    task: Task,
    on_event: EventHandler,
    on_model: Callable[..., None] | None = None,
) -> Outcome:
    """Run the core in this thread."""
    config = dict(task.options)
    if task.data is not None:
        config["dataset"] = user_data_name(config["dataset"])
    serial = _julia.boot().serial
    if serial is not None:
        on_event("warning", serial)
        config["threads"] = 1
    if parse("aggregate", config["aggregate"])[0] == "ckks":
        calls.provide_ckks(he.Exchange)
    previous = None if task.previous is None else task.previous.state
    data = None if task.data is None else task.data.arrays
    return calls.run(config, data, task.objects, task.init, on_event, previous, on_model)
