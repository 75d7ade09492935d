"""Sweeps: the study is kept and gone on with, and poor trials are pruned."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import fedflux
from fedflux.cli import cli

optuna = pytest.importorskip("optuna", reason="Optuna is not installed: fedflux[sweep]")

OPTIONS: dict[str, Any] = {
    "dataset": "digits",
    "model": "softmax_regression",
    "engine": "reference",
    "rounds": 4,
    "local_steps": 2,
}
SPACE = {"lr": (0.001, 1.0, "log"), "batch_size": [16, 32]}


def test_a_study_is_gone_on_with(tmp_path: Path) -> None:
    first = fedflux.sweep(SPACE, trials=3, folder=tmp_path, **OPTIONS)
    assert len(first.trials) == 3
    values = [t.value for t in first.trials]
    study = fedflux.sweep(SPACE, trials=5, folder=tmp_path, **OPTIONS)
    assert [t.value for t in study.trials][:3] == values
    assert len(study.trials) == 5
    assert len(fedflux.sweep(SPACE, trials=5, folder=tmp_path, **OPTIONS).trials) == 5
    # The value is that of a run with these options.
    best = fedflux.run(**OPTIONS, **study.best_params)
    assert best.accuracy == study.best_value
    loaded = optuna.load_study(
        study_name="fedflux", storage=f"sqlite:///{tmp_path / 'study.db'}"
    )
    assert loaded.best_params == study.best_params
    with pytest.raises(fedflux.OptionError, match="is by accuracy"):
        fedflux.sweep(SPACE, folder=tmp_path, metric="loss", **OPTIONS)


def test_poor_trials_are_pruned_by_round(tmp_path: Path) -> None:
    fedflux.sweep({"lr": (0.4, 0.6)}, trials=5, folder=tmp_path, **OPTIONS)
    # Rates that learn nothing are below the median of these.
    study = fedflux.sweep({"lr": (1e-6, 2e-6)}, trials=7, folder=tmp_path, **OPTIONS)
    pruned = optuna.trial.TrialState.PRUNED
    assert {t.number for t in study.trials if t.state is pruned} >= {5, 6}
    for trial in study.trials[5:]:
        assert max(trial.intermediate_values) < OPTIONS["rounds"]
    assert study.best_params["lr"] >= 0.4


def test_the_command(tmp_path: Path) -> None:
    flags = [f"--{n.replace('_', '-')}={v}" for n, v in OPTIONS.items()]
    arguments = ["sweep", *flags, "--search", "lr=0.01..1:log", "--search"]
    arguments += ["batch_size=16|32", "--trials", "2", "--out", str(tmp_path / "s")]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "best: accuracy 0." in done.output
    assert (tmp_path / "s" / "study.db").exists()


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"lrs": [1]}, "did you mean 'lr'"),
        ({"lr": (1.0, 0.1)}, "a range"),
        ({"lr": (0, 1, "log")}, "above 0"),
        ({"lr": []}, "list of values"),
        ({"rounds": [1]}, "given for all runs too"),
        ({}, "at least one option"),
        ({"lr": (0.1, 0.2, 0.3, 0.4)}, "a range"),
    ],
)
def test_bad_input(space: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(fedflux.OptionError, match=words):
        fedflux.sweep(space, folder=tmp_path, **OPTIONS)
