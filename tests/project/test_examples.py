"""The example scripts, run as a user runs them, with and without Julia."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import ROOT


def example(name: str, *args: str, env: dict[str, str], cwd: Path) -> str:
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), *args]
    done = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, timeout=3000
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(params=["julia", "reference"])
def engine_env(request: pytest.FixtureRequest) -> dict[str, str]:
    """Environments with and without Julia."""
    if request.param == "julia":
        request.getfixturevalue("julia")
        return dict(os.environ)
    env: dict[str, str] = request.getfixturevalue("no_julia")
    return env


def test_case_study(engine_env: dict[str, str], tmp_path: Path) -> None:
    out = example("case_study", "digits", env=engine_env, cwd=tmp_path)
    accuracies = [float(a) for a in re.findall(r"accuracy (0\.\d+) \(clients", out)]
    assert len(accuracies) == 8
    assert (
        accuracies[-1] > 0.5 > accuracies[0]
    )  # 8×8 images leave the CNN a single pixel at the end: it learns slowly


def test_case_study_on_mnist(julia: None, test_data: Path, tmp_path: Path) -> None:
    out = example(
        "case_study",
        str(test_data / "mnist" / "mnist10k.npz"),
        env=dict(os.environ),
        cwd=tmp_path,
    )
    assert float(re.findall(r"accuracy (0\.\d+) \(clients", out)[-1]) >= 0.92


def test_horizontal(engine_env: dict[str, str], tmp_path: Path) -> None:
    out = example("horizontal", "digits", env=engine_env, cwd=tmp_path)
    losses = [float(loss) for loss in re.findall(r"test loss (\d\.\d+), accuracy", out)]
    assert len(losses) == 5
    assert losses == sorted(losses, reverse=True)


def test_three_devices(engine_env: dict[str, str], tmp_path: Path) -> None:
    out = example("three_devices", env=engine_env, cwd=tmp_path)
    losses = [float(loss) for loss in re.findall(r"train loss (\d\.\d+)", out)]
    assert len(losses) == 10
    assert losses[-1] < 0.6 * losses[0]
    assert int(re.findall(r"(\d+)% of the samples", out)[0]) >= 85
