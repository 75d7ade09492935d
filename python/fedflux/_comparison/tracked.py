"""The tracks of a comparison's runs, side by side."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import warn
from ..tracking._tracks import Plan, Tracks, kept

Event = dict[str, Any]


@contextlib.contextmanager
def tracked(
    plan: Plan, folder: str | os.PathLike[str] | None
) -> Iterator[Callable[[Event], None]]:
    """Track the runs of a comparison inside a `with` block, each named by its settings.

    Args:
        plan: the trackers.
        folder: of the comparison, or None. Its name is the group of the runs.

    Yields:
        What takes the events of the comparison.
    """
    runs: dict[int, Tracks] = {}
    group = "comparison" if folder is None else Path(folder).resolve().name

    def note(event: Event) -> None:
        match event["kind"]:
            case "start":
                runs[event["run"]] = tracks = _tracks(event, plan, folder, group)
                tracks.start(event["payload"])
            case "round":
                runs[event["run"]].round(event["payload"])
            case "end":
                runs.pop(event["run"]).end(event["summary"])
            case "failed" if event["run"] in runs:
                runs.pop(event["run"]).end({"stopped": "error"})

    try:
        yield note if plan.trackers else lambda event: None
    finally:
        for tracks in runs.values():
            tracks.end({"stopped": "error"})


def _tracks(
    event: Event, plan: Plan, folder: str | os.PathLike[str] | None, group: str
) -> Tracks:
    """Return the tracks of a run that starts, or goes on in its folder."""
    name = f"{event['configuration']}, seed {event['seed']}"
    options, before = event["options"] | {"seed": event["seed"]}, {}
    if folder is not None:
        options["checkpoint"] = str(Path(folder) / event["folder"])
        before = kept(options["checkpoint"])
    return Tracks(Plan(plan.trackers, name, group), warn, options, before)
