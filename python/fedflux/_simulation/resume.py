"""Going on from a result: `fedflux.run(resume=result)`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._extensions.states import State
from .._options.tables import read_table
from .._results.result import Result
from .._typing import Options
from ..errors import FedFluxError, OptionError


@dataclass(frozen=True)
class ReferenceState:
    """What a result of the reference engine keeps of the user's own.

    Attributes:
        objects: by option.
        aggregator: what the aggregator keeps.
    """

    objects: Mapping[str, Any]
    aggregator: State


ARRAYS = "arrays"  # the name of data given as arrays


def inherited(
    previous: Result, given: Options, arrays_given: bool
) -> tuple[Options, Options]:
    """Return the options of a result's run, and its Julia objects, with those given.

    Args:
        previous: the result.
        given: the user's options, without `resume`.
        arrays_given: whether the user gave arrays.

    Returns:
        The options that are texts and numbers, and those that are Julia objects.

    Raises:
        OptionError: the run was trained on arrays, and none are given; or an option is
            given that would change the rounds before.
        FedFluxError: the result keeps no state.
    """
    if previous.engine == "julia" and previous.state is None:
        raise FedFluxError(
            "resume: this result has no state to go on from: it was loaded from a file or "
            "copied; give checkpoint=FOLDER to the run, and then resume=FOLDER"
        )
    if previous.own is not None:
        objects = dict(previous.own.objects)
    else:
        objects = {
            name: getattr(previous.state.options, name)
            for name in previous.details.get("objects", {})
        }
    recorded = {
        name: value
        for name, value in previous.options.items()
        if value is not None and name not in ("resume", "checkpoint", *objects)
    }
    recorded["engine"] = previous.engine
    if previous.dataset == ARRAYS and "dataset" not in objects:
        if not arrays_given:
            raise OptionError(
                "resume: the result was trained on arrays: give x_train, y_train, ... again"
            )
        del recorded["dataset"]
    _check_unchanged(recorded, given)
    return recorded | given, {k: v for k, v in objects.items() if k not in given}


def _check_unchanged(recorded: Mapping[str, Any], given: Options) -> None:
    table = read_table("options.toml")
    for name, value in given.items():
        fixed = name in recorded and not table.get(name, {}).get("resumable")
        if (fixed or name == "engine") and str(value) != str(recorded[name]):
            raise OptionError(
                f"{name} is {value!r}, and the result's run has {recorded[name]!r}: a "
                "resume can't change it; leave it out, or start a new run with init=result"
            )
