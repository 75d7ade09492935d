"""`fedflux.compare`: a grid of options times seeds, side by side in the core."""

from __future__ import annotations

import contextlib
import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import he
from .._data import datasets
from .._data.arrays import Data
from .._julia import calls, mldatasets, start
from .._options.options import DECIDED, check, column, declared, option_named
from .._options.signatures import describe
from .._simulation.inputs import split_objects, user_data, user_data_name
from .._typing import Options
from ..errors import FedFluxError, OptionError, shown, warn
from ..tracking._tracks import Plan
from .comparison import Comparison
from .live import watched
from .tracked import tracked

if TYPE_CHECKING:
    from typing import Unpack

    from .._simulation.option_types import Options as RunOptions

Grid = Mapping[str, Any]
Event = dict[str, Any]
MAX_GRID_BYTES = 2**20


def compare(
    grid: Grid | Sequence[Grid] | str | os.PathLike[str],
    *,
    seeds: int | Sequence[int] | None = None,
    folder: str | os.PathLike[str] | None = None,
    target: float | None = None,
    metric: str | None = None,
    baseline: str | None = None,
    parallel: int | None = None,
    x_train: Any = None,
    y_train: Any = None,
    x_test: Any = None,
    y_test: Any = None,
    owner: Any = None,
    owner_test: Any = None,
    callback: Callable[[Event], bool | None] | None = None,
    progress: bool = False,
    track: Any = None,
    **options: Unpack[RunOptions],
) -> Comparison:
    """Run every configuration of a grid with every seed, and compare what they reach.

    The runs share this process, one on each thread, and have the numbers of `fedflux.run`.

    Args:
        grid: lists of values by option, or a list of such grids; None or "none" stands for
            no rules, and for an option that is unset. Or the path of a TOML file, as a
            comparison writes it into its folder.
        seeds: how many, from 1, or a list of them. Default: 3, or those of the file.
        folder: where each run has a folder of its own, with checkpoints and its result, and
            where the tables are written. If you compare again with the same folder,
            finished runs are not repeated, and others go on from their checkpoints.
        target: what `rounds_to_target` counts the rounds to, in the metric. Default: what
            the baseline ends with in the mean, rounded down to two digits (a loss up).
        metric: accuracy, personal_accuracy or loss. Default: accuracy if all runs have one.
        baseline: the name of the configuration that others are compared with. Default: the
            first.
        parallel: the number of runs at the same time. Default: that of Julia's threads.
        x_train, y_train, x_test, y_test, owner, owner_test: as in `fedflux.run`.
        callback: function called with each event, a dict of `kind` (start, round, end,
            kept, failed or warning), the `run`, how many there are (`of`), the
            `configuration`, the `seed` and the `payload`, such as a round's record. It
            returns True to end the comparison with what is finished.
        progress: whether to show a live table, on stderr or in a notebook; without a
            terminal, a line for each run that ended.
        track: where else each run is noted while it runs, see `fedflux.run`.
        **options: those of `fedflux.run`, alike in all runs.

    Returns:
        The table and the runs. A run that failed is there with its reason.

    Raises:
        OptionError, DataError, JuliaUnavailable: as in `fedflux.run`.
        FedFluxError: a mistake in the grid, or no run ended.

    Example:
        >>> c = fedflux.compare(  # doctest: +SKIP
        ...     {"rules": ["none", "scaffold"]}, seeds=3, dataset="digits"
        ... )
        >>> print(c)  # doctest: +SKIP
    """
    shared, plan = _shared(dict(options)), Plan.of(track)
    config: dict[str, Any] = {"seeds": _seeds(seeds), "target": target, "metric": metric}
    config |= {"baseline": baseline, "parallel": parallel}
    if isinstance(grid, str | os.PathLike):
        config["file"], first = os.fspath(grid), _options_of(Path(grid))
    else:
        config["grid"] = grids = _grids(grid)
        first = {name: values[0] for axes in grids[:1] for name, values in axes}
    if folder is not None:
        config["folder"] = str(Path(folder).resolve())
    arrays = (x_train, y_train, x_test, y_test, owner, owner_test)
    data = _data(arrays, first | shared)
    if data is not None:
        shared["dataset"] = user_data_name("auto")
    elif isinstance(first.get("dataset", "auto"), str) or "dataset" in shared:
        asked = {"dataset": "auto", "data_dir": None} | first | shared
        given = mldatasets.provided(asked, warn, datasets.has_mnist)["dataset"]
        if given != asked["dataset"]:
            shared["dataset"] = given
    if not start.callable_here():
        raise FedFluxError(
            "compare: Julia was started in another thread: call fedflux.compare from the "
            "thread of the first run or of fedflux.setup()"
        )
    if start.boot().serial is not None:  # Julia can't use threads here
        config["parallel"] = 1
        shared["threads"] = 1
    calls.provide_ckks(he.Exchange)
    config["options"] = shared
    with watched(progress) as show, tracked(plan, folder) as note:
        facts = calls.compare(
            config, None if data is None else data.arrays, _on(show, note, callback)
        )
    return Comparison.of(facts, None if folder is None else Path(folder))


def _on(
    show: Callable[[Event], None],
    note: Callable[[Event], None],
    callback: Callable[[Event], bool | None] | None,
) -> Callable[[Event], bool]:
    """Return what handles the core's events: warnings, the table, tracks, the callback."""

    def on_event(event: Event) -> bool:
        if event["kind"] == "warning":
            warn(event["payload"])
        show(event)
        note(event)
        return callback is not None and bool(callback(event))

    return on_event


def _shared(options: Options) -> Options:
    """Check the options that all runs have."""
    for name in DECIDED:
        if options.pop(name, None) not in (None, "auto", "julia"):
            advice = {"seed": "seeds", "engine": "none: the core runs them"}
            raise OptionError(
                f"{name}: a comparison decides it for each run: give "
                f"{advice.get(name, 'folder')}"
            )
    plain, objects = split_objects(options)
    for name in objects:
        raise OptionError(
            f"{name}: a comparison in Python takes no Julia objects: give the name, or "
            "call FedFlux.compare in Julia"
        )
    return {name: _checked(name, value) for name, value in plain.items()}


def _checked(name: str, value: Any) -> Any:
    """Check a value; None and "none" are no objects, or unset."""
    option = option_named(name)
    if value is None or (isinstance(value, str) and value.lower() == "none"):
        if option.kind == "specs":
            return []
        if option.optional:
            return "none"
    return option.check(value)


def _grids(grid: Any) -> list[list[tuple[str, list[Any]]]]:
    """Check the values of a grid, or of several, by option and in order."""
    several = [grid] if isinstance(grid, Mapping) else grid
    if not isinstance(several, list | tuple) or not all(
        isinstance(g, Mapping) for g in several
    ):
        raise OptionError(
            "grid: expected lists of values by option, a list of such grids, or the path "
            f"of a TOML file, got {shown(grid)}"
        )
    found = []
    for one in several:
        axes = []
        for name, values in one.items():
            if isinstance(values, str) or not isinstance(values, list | tuple | range):
                values = [values]
            if not values:
                raise OptionError(f"grid: {name}: expected at least one value, got none")
            axes.append((str(name), [_checked(str(name), value) for value in values]))
        found.append(axes)
    return found


def _options_of(file: Path) -> Options:
    """Return the options of a grid's file that decide which data is needed.

    The core reads the file again, and says what is wrong with it.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if file.stat().st_size <= MAX_GRID_BYTES:
            text = file.read_text(encoding="utf-8-sig")
            return dict(tomllib.loads(text).get("options", {}))
    return {}


def _seeds(seeds: Any) -> int | list[int] | None:
    if seeds is None or isinstance(seeds, int):
        return seeds
    if isinstance(seeds, list | tuple | range):
        return [int(seed) for seed in seeds]
    raise OptionError(
        f"seeds: expected how many, or a list of integers, got {shown(seeds)}"
    )


def _data(arrays: tuple[Any, ...], options: Options) -> Data | None:
    """Check the user's arrays, by the options of the first configuration."""
    if all(a is None for a in arrays):
        return None
    given = {n: v for n, v in options.items() if v not in ("none", None)}
    dataset_given = given.get("dataset", "arrays") != "arrays"
    checked = check(given)
    tokens = checked["model"] in column("tokens")["model"]
    return user_data(arrays, checked, dataset_given, tokens)


describe(compare, (name for name in declared() if name not in DECIDED))
