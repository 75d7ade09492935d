"""`fedflux.sweep`: options tuned with Optuna, in a study that can be gone on with."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._options.options import option_named
from .._results.atomic_write import as_path
from .._results.progress import in_notebook
from .._simulation.run import run
from ..errors import FedFluxError, OptionError, needs, shown
from ..tracking._tracks import Plan, chosen

if TYPE_CHECKING:
    from optuna import Study, Trial

STUDY = "study.db"
METRICS = {"accuracy": "maximize", "loss": "minimize"}
Space = Mapping[str, Any]


def sweep(
    space: Space,
    *,
    trials: int = 20,
    folder: str | os.PathLike[str] = "sweep",
    metric: str = "accuracy",
    seed: int = 1,
    progress: bool = False,
    track: Any = None,
    **options: Any,
) -> Study:
    """Search for the best values of options with Optuna, one run after another.

    Args:
        space: for each option a list of values, or a range of numbers: `(low, high)`, or
            `(low, high, "log")` for one that is searched on a logarithmic scale. A range is
            of integers if both ends are.
        trials: how many trials the study is to have in all. If a study is there already,
            only those that are missing are run.
        folder: where the study is kept, in an SQLite file.
        metric: accuracy or loss, of the last evaluated round.
        seed: of the search; the runs have the option `seed` as it is given among them.
        progress: whether to print a line for each trial.
        track: where else each trial is noted while it runs, see `fedflux.run`.
        **options: those of `fedflux.run`, alike in all trials.

    Returns:
        Optuna's study: `best_params`, `best_value`, `trials_dataframe()` and so on. A trial
        whose rounds go worse than the median of those before it is pruned.

    Raises:
        OptionError: an unknown option, a range or a value that is none.
        FedFluxError: Optuna is not installed, or the runs have no such metric.

    Example:
        >>> study = fedflux.sweep(  # doctest: +SKIP
        ...     {"lr": (0.01, 1.0, "log")}, trials=10, dataset="digits"
        ... )
        >>> study.best_params  # doctest: +SKIP
        {'lr': 0.31}
    """
    with needs("Optuna", "sweep"):
        import optuna
    if metric not in METRICS:
        raise OptionError(f"metric: expected accuracy or loss, got {shown(metric)}")
    if not isinstance(trials, int) or isinstance(trials, bool) or trials < 1:
        raise OptionError(f"trials: expected a number from 1, got {shown(trials)}")
    checked = {name: _checked(name, values) for name, values in space.items()}
    if not checked:
        raise OptionError("space: expected at least one option to search")
    twice = checked.keys() & options.keys()
    if twice:
        raise OptionError(f"{min(twice)}: is searched, and given for all runs too")
    path = as_path("folder", folder)
    study, trackers = _study(optuna, path, metric, seed), chosen(track)

    def objective(trial: Trial) -> float:
        values = {name: _suggested(trial, name, v) for name, v in checked.items()}
        texts = [f"trial {trial.number + 1}", *(f"{n}={v}" for n, v in values.items())]
        plan = Plan(trackers, ", ".join(texts), path.name)
        return _value(trial, metric, optuna, {**options, **values, "track": plan})

    def show(_: Study, trial: Any) -> None:
        if progress and not in_notebook():
            value = "pruned" if trial.value is None else f"{trial.value:.4f}"
            print(f"trial {trial.number + 1}: {value}  {trial.params}", flush=True)

    ended = optuna.trial.TrialState
    done = study.get_trials(deepcopy=False, states=(ended.COMPLETE, ended.PRUNED))
    left = trials - len(done)
    if left > 0:
        study.optimize(objective, n_trials=left, callbacks=[show])
    return study


def _study(optuna: Any, folder: Path, metric: str, seed: int) -> Study:
    """Open the study of a folder, or make it."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FedFluxError(f"can't write {folder}: {error.strerror}") from None
    study: Study = optuna.create_study(
        storage=f"sqlite:///{(folder / STUDY).resolve()}",
        study_name="fedflux",
        direction=METRICS[metric],
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
    )
    kept = study.user_attrs.get("metric", metric)
    if kept != metric:
        raise OptionError(f"metric: the study in {folder} is by {kept}, got {metric!r}")
    study.set_user_attr("metric", metric)
    return study


def _checked(name: str, values: Any) -> Any:
    """Check the values of an option: a list, or the ends of a range."""
    option = option_named(name)
    if isinstance(values, tuple):
        low, high, *scale = values if len(values) in (2, 3) else (None, None)
        numbers = all(isinstance(v, int | float) for v in (low, high))
        if not numbers or not low < high or scale not in ([], ["log"]):
            raise OptionError(
                f"{name}: expected a list of values, or a range (low, high) or "
                f'(low, high, "log"), got {shown(values)}'
            )
        if scale and low <= 0:
            raise OptionError(f"{name}: expected a logarithmic range above 0, got {low}")
        option.check(low)
        option.check(high)
        return values
    if not isinstance(values, list) or not values:
        raise OptionError(
            f"{name}: expected a list of values or a range, got {shown(values)}"
        )
    return [option.check(value) for value in values]


def _suggested(trial: Trial, name: str, values: Any) -> Any:
    if isinstance(values, list):
        # Optuna keeps numbers and texts; a list, such as several rules, by its place.
        plain = all(isinstance(v, str | int | float | bool) for v in values)
        if plain:
            return trial.suggest_categorical(name, values)
        texts = [str(v) for v in values]
        return values[texts.index(trial.suggest_categorical(name, texts))]
    low, high, *scale = values
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(name, low, high, log=bool(scale))
    return trial.suggest_float(name, low, high, log=bool(scale))


def _value(trial: Trial, metric: str, optuna: Any, options: Mapping[str, Any]) -> float:
    """Run a trial, and end it if its rounds go worse than those of others."""
    pruned = False

    def after(record: dict[str, Any]) -> bool:
        nonlocal pruned
        figure = record["accuracy"] if metric == "accuracy" else _loss(record)
        if figure is None:
            return False
        trial.report(figure if math.isfinite(figure) else _worst(metric), record["round"])
        pruned = bool(trial.should_prune())
        return pruned

    result = run(callback=after, **options)
    if pruned:
        raise optuna.TrialPruned
    value = result.accuracy if metric == "accuracy" else result.loss
    if value is None:
        raise FedFluxError(
            f"metric: the runs have no {metric}: give test data, or metric=loss"
        )
    return value if math.isfinite(value) else _worst(metric)


def _loss(record: Mapping[str, Any]) -> float | None:
    found: float | None = record["test_loss"]
    return record["train_loss"] if found is None else found


def _worst(metric: str) -> float:
    """Stand for a run that diverged, since a study holds finite numbers."""
    return 0.0 if metric == "accuracy" else 1e30
