"""The tracks of a run: what begins them, feeds them, and keeps their failures apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._options.hints import suggestion
from .._results.atomic_write import write_whole
from .._typing import Options, Record
from ..errors import FedFluxError, OptionError, first_line, shown
from ._figures import figures, named, summary
from ._mlflow import MLflow
from ._protocol import Run, Track, Tracker, plain
from ._tensorboard import TensorBoard
from ._wandb import WandB

if TYPE_CHECKING:
    from .._results.result import Result

NAMES: dict[str, Callable[..., Tracker]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WandB,
}
FILE = "track.json"  # beside the checkpoints: what a resumed run goes on with
MAX_BYTES = 2**16
LONGEST_KEY = 255
Keys = dict[str, str]


def chosen(track: Any) -> list[Tracker]:
    """Return the trackers that the argument `track` names.

    Args:
        track: a name, a name and where to, such as "tensorboard:runs", several with commas,
            an object, a list of those, or None.

    Raises:
        OptionError: it is none of those.
        FedFluxError: the package of a tracker is not installed.

    Example:
        >>> chosen(None)
        []
    """
    if track is None:
        return []
    if isinstance(track, list | tuple):
        return [tracker for one in track for tracker in chosen(one)]
    if isinstance(track, str) and "," in track:
        return chosen([one.strip() for one in track.split(",")])
    if isinstance(track, str):
        name, _, where = track.partition(":")
        if name.strip().lower() not in NAMES:
            raise OptionError(
                f"track: expected {', '.join(NAMES)}, or an object with start(run), got "
                f"{track[:80]!r}{suggestion(name, NAMES)}"
            )
        return [NAMES[name.strip().lower()](*([where] if where else []))]
    if isinstance(track, type) or not callable(getattr(track, "start", None)):
        raise OptionError(
            f"track: expected {', '.join(NAMES)}, a list of those, or an object with "
            f"start(run), see fedflux.tracking.Tracker, got {shown(track)}"
        )
    return [track]


@dataclass(frozen=True)
class Plan:
    """How the runs of a call are tracked.

    Attributes:
        trackers: as `chosen` returns them.
        name: of the run; None to name it by its settings.
        group: what the run is a part of, or None.
    """

    trackers: list[Tracker]
    name: str | None = None
    group: str | None = None

    @classmethod
    def of(cls, track: Any) -> Plan:
        """Return the plan that the argument `track` is, or names; see `chosen`."""
        return track if isinstance(track, Plan) else cls(chosen(track))


class Tracks:
    """The tracks of one run. A tracker that fails is a warning, and the run goes on.

    Args:
        plan: the trackers.
        warn: issues a warning.
        options: every option of the run.
        before: the keys of the tracks before; None to look beside the checkpoints.

    Attributes:
        keys: those of the tracks, by tracker.
    """

    def __init__(
        self,
        plan: Plan,
        warn: Callable[[str], None],
        options: Options,
        before: Keys | None = None,
    ) -> None:
        self._plan, self._warn, self._options = plan, warn, options
        self._before = before
        self._tracks: dict[str, Track] = {}
        self.keys: Keys = {}

    def start(self, facts: Record) -> None:
        """Begin the tracks, or go on with those of a run that is resumed.

        Args:
            facts: what the engine says at the start: dataset, trainer and resumed, the
                number of rounds that were done before.
        """
        plan, options, before = self._plan, self._options, self._before
        if not plan.trackers:
            return
        folder = options.get("checkpoint") or options.get("resume")
        if before is None:
            before = kept(folder) if options.get("resume") else {}
        settings = {name: plain(v) for name, v in options.items() if v not in (None, [])}
        settings |= {name: facts[name] for name in ("dataset", "trainer") if name in facts}
        name = plan.name or named(options, str(facts["dataset"]))
        done = facts.get("resumed", 0)
        for label, tracker in _labelled(plan.trackers).items():
            run = Run(name, settings, plan.group, done, before.get(label))
            track = self._safely(label, "at the start", tracker.start, run)
            if track is not None:
                self._tracks[label] = track
                key = getattr(track, "key", None)
                if isinstance(key, str) and len(key) <= LONGEST_KEY:
                    self.keys[label] = key
        if folder is not None and self.keys:
            self._keep(Path(folder))

    def round(self, record: Record) -> None:
        """Note a round in each track."""
        if not self._tracks:
            return
        number, found = record["round"], figures(record)
        for label, track in list(self._tracks.items()):
            self._safely(label, f"in round {number}", track.round, number, found)

    def end(self, result: Result | Mapping[str, Any]) -> None:
        """End each track that is left, with a result or the summary of one."""
        said = result if isinstance(result, Mapping) else summary(result)
        for label, track in list(self._tracks.items()):
            self._safely(label, "at the end", track.end, said)
        self._tracks.clear()

    def _safely(
        self, label: str, when: str, call: Callable[..., Any], *arguments: Any
    ) -> Any:
        """Call a tracker; one that fails is left alone from then on."""
        try:
            return call(*arguments)
        except Exception as error:
            self._tracks.pop(label, None)
            self._warn(
                f"tracking with {label} failed {when}: {type(error).__name__}: "
                f"{first_line(error)}; the run goes on without it"
            )
        return None

    def _keep(self, folder: Path) -> None:
        """Write the keys beside the checkpoints."""
        try:
            text = json.dumps(self.keys, ensure_ascii=False, indent=1) + "\n"
            write_whole(folder / FILE, text.encode())
        except FedFluxError as error:
            self._warn(f"{error}: a resumed run will begin a new track")


def _labelled(trackers: list[Tracker]) -> dict[str, Tracker]:
    """Return the trackers by name; the second of a name gets a number."""
    found: dict[str, Tracker] = {}
    for tracker in trackers:
        name = type(tracker).__name__.lower()
        same = sum(label.partition(" ")[0] == name for label in found)
        found[f"{name} {same + 1}" if same else name] = tracker
    return found


def kept(folder: Any) -> Keys:
    """Return the keys beside the checkpoints of a folder, or none that can be read."""
    try:
        path = Path(folder) / FILE
        if path.stat().st_size > MAX_BYTES:
            return {}
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {
            label: key
            for label, key in found.items()
            if isinstance(key, str) and len(key) <= LONGEST_KEY
        }
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
