"""A run that is tracked: its tracks end with its result, however it ends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from .._results.result import Result
from .._typing import Options
from ..errors import Interrupted
from ..tracking._tracks import Plan, Tracks
from .events import Monitor


@contextlib.contextmanager
def tracked(
    plan: Plan, monitor: Monitor, options: Options, previous: Result | None
) -> Iterator[Callable[[Result], None]]:
    """Track what happens inside a `with` block.

    Args:
        plan: the trackers.
        monitor: handles the events of the run.
        options: every option of the run.
        previous: the result that the run goes on from, or None.

    Yields:
        What is called with the result in the end. It notes in the result's details how the
        tracks are found again.
    """
    before = None if previous is None else previous.details.get("tracks", {})
    tracks = monitor.tracks = Tracks(plan, monitor.warn, options, before)

    def end(result: Result) -> None:
        if tracks.keys:
            result.details["tracks"] = tracks.keys
        tracks.end(result)

    try:
        yield end
    except Interrupted as interrupted:
        end(interrupted.result)
        raise
    finally:
        tracks.end({"stopped": "error"})  # those that have not ended: an error came
