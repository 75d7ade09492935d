"""The engines: the Julia core, and the reference engine where Julia is not available."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import _bridge, _julia, datasets, he, initial, reference_run
from .data import Data
from .errors import JuliaUnavailable, OptionError
from .initial import Parameters
from .inputs import Options, user_data_name
from .monitor import Monitor
from .reference_options import check_supported
from .result import Result
from .specs import parse


@dataclass(frozen=True)
class Task:
    """The checked inputs of a run.

    Attributes:
        options: every option.
        data: the user's data, or None for a named data set.
        model: the user's Flux model, or None for a named model.
        init: initial parameters, or None to draw them.
    """

    options: Options
    data: Data | None
    model: Any
    init: Parameters | None


def execute(task: Task, monitor: Monitor) -> Result:
    """Choose the engine and run it.

    Args:
        task: the inputs.
        monitor: the handler of the run's events.

    Returns:
        The result.

    Raises:
        OptionError: an option or a model that the reference engine does not support.
        JuliaUnavailable: engine="julia", and Julia is not available.
        FedFluxError: any other error of the engine.
    """
    engine = _choose(task.options, monitor)
    run = _run_reference if engine == "reference" else _run_core
    facts, parameters = run(task, monitor)
    for message in facts.get("warnings", ()):
        monitor.warn(message)
    return Result.from_facts(engine, task.options, facts, parameters, monitor.warnings)


def _choose(options: Options, monitor: Monitor) -> str:
    """Return "julia" or "reference"."""
    engine: str = options["engine"]
    if engine != "auto":
        return engine
    try:
        _julia.boot()
    except JuliaUnavailable as error:
        check_supported(options)
        monitor.warn(f"the slow reference engine is used: {error}")
        return "reference"
    return "julia"


def _run_reference(task: Task, monitor: Monitor) -> tuple[dict[str, Any], list[Any]]:
    if task.model is not None:
        raise OptionError(
            "model: a Flux model needs engine='julia'; the reference engine takes the name "
            "of a model"
        )
    options, data, init = task.options, task.data, task.init
    check_supported(options)
    if data is None:
        name, data, warnings = datasets.load(
            options["dataset"], options["data_dir"], options["loss"], options["clients"]
        )
        for message in warnings:
            monitor.warn(message)
        init = initial.fit(init, options, data)
    else:
        name = Path(user_data_name(options["dataset"])).name
    start = None if init is None else list(init.values())
    return reference_run.run(options, name, data, start, monitor)


def _run_core(task: Task, monitor: Monitor) -> tuple[dict[str, Any], list[Any]]:
    config = dict(task.options)
    if task.data is not None:
        config["dataset"] = user_data_name(config["dataset"])
    serial = _julia.boot().serial
    if serial is not None:
        monitor.warn(serial)
        config["threads"] = 1
    if parse("aggregate", config["aggregate"])[0] == "ckks":
        _bridge.provide_ckks(he.Exchange)
    start = None if task.init is None else list(task.init.values())
    return _bridge.run(config, task.data, task.model, start, monitor)
