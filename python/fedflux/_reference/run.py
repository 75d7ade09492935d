"""A run of the reference engine, and what it tells."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._data import contract
from .._data.arrays import Data
from .._extensions.states import State
from .._typing import Array, Record
from ..errors import DataError
from .clients import table
from .federation import EventHandler, OnModel, Run, fingerprint
from .progress import Progress, checksum


def run(
    options: Mapping[str, Any],
    name: str,
    data: Data,
    progress: Progress,
    on_event: EventHandler,
    own: Mapping[str, Any],
    on_model: OnModel | None = None,
) -> tuple[Record, list[Array], State]:
    """Run the reference engine.

    Args:
        options: every option, checked.
        name: of the data set, for the facts.
        data: training and test data, checked.
        progress: where the run begins.
        on_event: the handler of the run's events.
        own: objects of the user's own by option, of `_extensions`.
        on_model: called before each "round" with the facts of the model after it, its
            parameters and None; None if nobody asks for them.

    Returns:
        The facts of the run, named as those of the core, the parameters in model order,
        those of the best model behind them if it is another, and what an aggregator of the
        user's keeps.

    Raises:
        OptionError, DataError: see `Run`.
    """
    began, resumed = time.perf_counter() - progress.seconds, len(progress.history)
    check = checksum(data)
    if progress.checksum not in (None, check):
        raise DataError(
            "resume: the data changed; pass the same data, or start a new run with init"
        )
    federation = Run(options, data, progress, own)
    start = {
        "dataset": name,
        "trainer": "numpy",
        "clients": options["clients"],
        "parameters": sum(a.size for a in federation.params),
        "resumed": resumed,
        "warnings": [],
    }
    on_event("start", start)
    try:
        stopped = federation.fit(on_event, on_model)
    except KeyboardInterrupt:
        stopped = "interrupted"
    parameters, best = federation.params, None
    if federation.best is not None:
        number, kept = federation.best
        best = federation.facts(federation.history[number - 1], kept)
        parameters = [*parameters, *(kept if best["apart"] else ())]
    facts: Record = {
        "dataset": name,
        "trainer": "numpy",
        "trainer_reason": "the reference engine has no other",
        "threads": 1,
        "stopped": stopped,
        "seconds": time.perf_counter() - began,
        "params_sha256": fingerprint(federation.params),
        "statistics": [],
        "best": best,
        "names": federation.model.names,
        "warnings": [],
        "resumed": resumed,
        "data": check,
        "sample": list(federation.x.shape[1:]),
        "input": contract.of_data(data.x_train, options),
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "history": federation.history,
        "client_rows": table(
            federation.history, federation.parts, federation.own_tests, federation.on_train
        ),
    }
    if data.classes is not None:
        facts["classes"] = data.classes
    return facts, parameters, federation.own.state
