"""The lowest versions that pyproject.toml names, each in an environment of its own."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version

from fedflux._julia.project import find_julia

from ..conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMPORTS = {
    "flower": "import fedflux.flower, fedflux.flower.client, fedflux.flower.server",
    "he": "import tenseal, fedflux.he",
    "pandas": "import pandas, fedflux; fedflux.Result",
    "parquet": "import pandas, pyarrow.parquet, fedflux",
    "plots": "import matplotlib.pyplot, fedflux.plots",
    "sklearn": "import fedflux.sklearn",
    "onnx": "import fedflux._onnx.export",
    "sweep": "import optuna, fedflux",
    "tensorboard": "import fedflux; fedflux.tracking.TensorBoard()",
    "mlflow": "import fedflux; fedflux.tracking.MLflow()",
    "wandb": "import fedflux; fedflux.tracking.WandB()",
    "prometheus": "import fedflux; fedflux.tracking.Prometheus(0)",
}
NO_NETWORK = ("error sending request", "Failed to fetch", "network was disabled")
Make = Callable[[str], "Lowest"]


class Lowest:
    """An environment with fedflux, its lowest direct dependencies and those of an extra."""

    def __init__(self, folder: Path, extra: str) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"
        self.declared = [*PROJECT["dependencies"]]
        self.declared += PROJECT["optional-dependencies"].get(extra, [])
        self._uv("venv", "--python", sys.executable, str(folder))
        fedflux = f"{ROOT}[{extra}]" if extra else str(ROOT)
        options = ("--resolution", "lowest-direct", "--python", str(self.python))
        self._uv("pip", "install", *options, "--editable", fedflux)

    def _uv(self, *args: str) -> None:
        command = [sys.executable, "-m", "uv", "--quiet", "--no-config", *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode != 0 and any(words in done.stderr for words in NO_NETWORK):
            pytest.skip("no network: the lowest versions can't be downloaded")
        assert done.returncode == 0, done.stderr

    def run(self, *args: str, **env: str) -> str:
        done = subprocess.run(
            [str(self.python), *args],
            cwd=self.folder,
            env=os.environ | env,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def fedflux(self, command: str, **env: str) -> str:
        return self.run("-m", "fedflux", *shlex.split(command), **env)

    def versions(self) -> dict[str, str]:
        code = (
            "import importlib.metadata as m, json; "
            "print(json.dumps({d.name.lower(): d.version for d in m.distributions()}))"
        )
        found: dict[str, str] = json.loads(self.run("-c", code))
        return found


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    pytest.importorskip("uv")
    made: dict[str, Lowest] = {}

    def lowest(extra: str) -> Lowest:
        if extra not in made:
            made[extra] = Lowest(tmp_path_factory.mktemp(extra or "plain"), extra)
        return made[extra]

    return lowest


@pytest.mark.parametrize("extra", ["", *IMPORTS])
def test_the_versions_are_the_lowest(make: Make, extra: str) -> None:
    lowest = make(extra)
    have = lowest.versions()
    for requirement in lowest.declared:
        match = re.match(r"([\w-]+)>=([\d.]+)", requirement)
        assert match, requirement
        name, bound = match.groups()
        # a bound of an extra's own dependency may be higher than ours
        exact = not extra or requirement not in PROJECT["dependencies"]
        assert not exact or Version(have[name]) == Version(bound)


def test_every_extra_is_tried() -> None:
    assert set(IMPORTS) == set(PROJECT["optional-dependencies"]) - {"dev", "torch", "site"}


@pytest.mark.parametrize("extra", IMPORTS)
def test_an_extra_is_imported(make: Make, extra: str) -> None:
    make(extra).run("-c", IMPORTS[extra])


def test_the_command_line(make: Make, no_julia: dict[str, str]) -> None:
    lowest = make("")
    for command in ("--help", "run --help", "run --help-all", "list", "rules"):
        assert lowest.fedflux(command)
    for engine in ("reference", "auto"):
        lowest.fedflux(
            f"run --dataset digits --rounds 2 --engine {engine} --json {engine}.json "
            "--save result.safetensors",
            **no_julia,
        )
        facts = json.loads((lowest.folder / f"{engine}.json").read_text())
        assert (facts["engine"], len(facts["history"])) == ("reference", 2)


def test_the_core(julia: None, make: Make) -> None:
    """The Julia project is this environment's: juliacall's lowest version has to be its."""
    lowest = make("")
    if lowest.versions()["juliacall"] != version("juliacall"):
        pytest.skip("this environment's PythonCall is not of the lowest juliacall")
    exe, project = find_julia()
    own = {"PYTHON_JULIACALL_EXE": str(exe), "PYTHON_JULIACALL_PROJECT": str(project)}
    lowest.fedflux("run --dataset digits --rounds 1 --engine julia --json j.json", **own)
    assert json.loads((lowest.folder / "j.json").read_text())["engine"] == "julia"
