"""MLDatasets.jl, installed when a run first asks for it: real environments, by real Pkg."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from fedflux._data import datasets
from fedflux._julia import mldatasets
from fedflux._julia.project import find_julia, installed

from ..conftest import ROOT
from ..environments import Environment

FAST = "--model softmax_regression --clients 2 --rounds 1 --engine julia --json out.json"
UUID = "eb30cadb-4394-5ae3-aed4-317e484a6458"


class Runner:
    """Runs fedflux in an environment, and in a Julia project, of its own."""

    def __init__(self, folder: Path) -> None:
        self.environment = Environment(folder, ROOT / "python")
        self.folder, self.project = folder, self.environment.project
        exe, _ = find_julia()
        kept = {n: v for n, v in os.environ.items() if not n.startswith("PYTHON_JULIA")}
        self.env = kept | {
            "PYTHON_JULIAPKG_EXE": str(exe),
            "XDG_CACHE_HOME": str(folder / "cache"),
        }

    def fedflux(self, args: str, **env: str) -> subprocess.CompletedProcess[str]:
        command = shlex.split(args)
        return self.environment.fedflux(*command, env=self.env | env, timeout=600)

    def dataset(self) -> str:
        """The data set of the last run."""
        return str(json.loads((self.folder / "out.json").read_text())["dataset"])


@pytest.fixture
def runner(julia: None, tmp_path: Path) -> Runner:
    return Runner(tmp_path / "env")


@pytest.fixture
def mnist(test_data: Path, tmp_path: Path) -> Path:
    """MNIST's test images, in the place of its training images too."""
    folder = tmp_path / "data"
    folder.mkdir()
    for part in ("images-idx3", "labels-idx1"):
        file = test_data / "mnist" / f"t10k-{part}-ubyte.gz"
        for split in ("t10k", "train"):
            shutil.copy(file, folder / f"{split}-{part}-ubyte.gz")
    return folder


def test_it_is_not_installed_with_the_core() -> None:
    declared = json.loads((ROOT / "python/fedflux/juliapkg.json").read_text())
    assert list(declared["packages"]) == ["FedFlux"]


def test_a_run_installs_it_once(runner: Runner, mnist: Path) -> None:
    done = runner.fedflux(f"run --dataset digits {FAST}")
    assert done.returncode == 0, done.stderr
    steps = [line for line in done.stderr.splitlines() if line.startswith("fedflux: ")]
    assert [re.sub(r"\d+", "N", line).split(",")[0] for line in steps[:3]] == [
        "fedflux: step N of N: installing Julia (if it is missing) and the core's packages",
        "fedflux: N packages are installed",
        "fedflux: step N of N: starting Julia with the core",
    ]
    without = installed(runner.project)
    assert "MLDatasets" not in without

    run = f"run --dataset mnist --data-dir {mnist} {FAST}"
    done = runner.fedflux(run, PYTHON_JULIAPKG_OFFLINE="yes")
    assert done.returncode == 2
    assert done.stderr.splitlines()[:-1] == [
        "fedflux: error: dataset mnist needs the Julia package MLDatasets, which can't be "
        "installed: PYTHON_JULIAPKG_OFFLINE is set; dataset='digits' needs no package"
    ]
    done = runner.fedflux(run)
    assert done.returncode == 0, done.stderr
    assert runner.dataset() == "mnist"
    announced = [x for x in done.stderr.splitlines() if x.startswith("fedflux: ")]
    assert announced[0] == (
        "fedflux: installing MLDatasets.jl for mnist; this happens once"
    )
    assert announced[-1].startswith("fedflux: MLDatasets.jl is installed, after ")
    # whatever versions it needs, the core's packages stay what they were compiled as
    assert installed(runner.project) == without
    assert mldatasets.version(runner.project) is not None

    done = runner.fedflux(f"{run} --quiet", PYTHON_JULIAPKG_OFFLINE="yes")
    assert (done.returncode, done.stderr) == (0, "")

    # a download that fails is not tried again for a while
    if datasets.find("mnist") is None:
        nowhere = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
        for again in (False, True):
            done = runner.fedflux(f"run {FAST}", **nowhere)
            assert done.returncode == 0, done.stderr
            assert runner.dataset() == "digits"
            why = "fedflux: warning: dataset mnist is not in MLDatasets"
            lines = done.stderr.splitlines()
            (warning,) = [line for line in lines if line.startswith(why)]
            assert ("(a few minutes ago; run `fedflux setup`" in warning) is again

    # another package is declared: juliapkg makes the project anew
    other = runner.environment.site / "other"
    other.mkdir()
    json_jl = {"uuid": "682c06a0-de6a-54ab-a142-c8b1cf79cde6"}
    declared = {"packages": {"JSON": json_jl}}
    (other / "juliapkg.json").write_text(json.dumps(declared))
    done = runner.fedflux(run)
    assert done.returncode == 0, done.stderr
    assert runner.dataset() == "mnist"


@pytest.fixture
def broken(tmp_path: Path) -> str:
    """Depots with one more registry, whose newer MLDatasets can't be downloaded."""
    package = tmp_path / "depot" / "registries" / "Broken" / "MLDatasets"
    package.mkdir(parents=True)
    (package.parent / "Registry.toml").write_text(
        f"""
name = "Broken"
uuid = "7f0b1d3e-52e4-4d0a-9f33-8b6f5d5a3c11"
repo = "https://127.0.0.1:9/Broken.git"

[packages]
{UUID} = {{ name = "MLDatasets", path = "MLDatasets" }}
"""
    )
    (package / "Package.toml").write_text(
        f'name = "MLDatasets"\nuuid = "{UUID}"\nrepo = "https://127.0.0.1:9/no.git"\n'
    )
    (package / "Versions.toml").write_text(
        '["0.7.999"]\ngit-tree-sha1 = "00000000000000000000000000000000deadbeef"\n'
    )
    depots = os.environ.get("JULIA_DEPOT_PATH") or f"{Path.home()}/.julia:"
    return f"{depots}{os.pathsep}{tmp_path / 'depot'}"


def test_one_that_cannot_be_installed(runner: Runner, mnist: Path, broken: str) -> None:
    def run(dataset: str) -> subprocess.CompletedProcess[str]:
        args = f"run --dataset {dataset} --data-dir {mnist} {FAST}"
        return runner.fedflux(args, JULIA_DEPOT_PATH=broken, JULIA_PKG_SERVER="")

    done = run("digits")
    assert done.returncode == 0, done.stderr
    manifest = max(runner.project.glob("Manifest*.toml")).read_bytes()

    done = run("auto")
    assert done.returncode == 0, done.stderr
    assert runner.dataset() == "digits"
    *_, warning = done.stderr.splitlines()
    assert warning.startswith("fedflux: warning: dataset mnist needs the Julia package")
    assert warning.endswith("the run uses digits (8×8 images) instead")
    reason = warning.partition("can't be installed: ")[2]
    assert "MLDatasets" in reason or "127.0.0.1:9" in reason  # in Pkg's words
    assert len(done.stderr.splitlines()) == 2

    done = run("auto")  # what failed is not tried again for a while
    assert done.returncode == 0
    assert runner.dataset() == "digits"
    assert len(done.stderr.splitlines()) == 1
    assert "minutes ago; run `fedflux setup`" in done.stderr

    done = run("fashionmnist")  # one that is asked for by name is
    assert done.returncode == 2
    announced, error, _ = done.stderr.splitlines()
    assert announced.startswith("fedflux: installing MLDatasets.jl for fashionmnist")
    assert error.startswith("fedflux: error: dataset fashionmnist needs the Julia package")

    assert run("digits").returncode == 0
    assert max(runner.project.glob("Manifest*.toml")).read_bytes() == manifest
