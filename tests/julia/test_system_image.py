"""The system image: for what it is made, and with --soak one that is made and used."""

import json
import os
from pathlib import Path

import pytest

from fedflux import FedFluxError
from fedflux._julia import system_image

from ..conftest import ROOT, Run
from ..environments import Environment, depots

MANIFEST = """julia_version = "1.10.10"
[[deps.FedFlux]]
deps = ["Flux"]
path = "core"
version = "0.1.0"

[[deps.Flux]]
deps = {Zygote = "1", Other = "2"}
version = "0.16.9"

[[deps.Zygote]]
version = "0.7.12"

[[deps.Other]]
version = "1.0.0"

[[deps.MLDatasets]]
version = "0.7.21"
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Julia project of the user's own with a manifest, and a depot."""
    (tmp_path / "Manifest.toml").write_text(MANIFEST)
    (tmp_path / "julia").write_text("")
    (tmp_path / "julia").chmod(0o755)
    monkeypatch.setenv("PYTHON_JULIACALL_PROJECT", str(tmp_path))
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", str(tmp_path / "julia"))
    from juliapkg.state import STATE

    monkeypatch.setitem(STATE, "depot", str(tmp_path / "depot"))
    return tmp_path


def place() -> Path:
    image = system_image._place()
    assert image is not None
    return image


def test_an_image_is_for_what_it_was_made_of(project: Path) -> None:
    image = place()
    assert image.parent == project / "depot" / "fedflux" / "images"
    assert place() == image
    manifest = project / "Manifest.toml"

    def after(old: str, new: str) -> Path:
        manifest.write_text(MANIFEST.replace(old, new))
        return place()

    assert after('"0.7.21"', '"0.7.22"') == image  # not of the core's packages
    assert after('"0.7.12"', '"0.7.13"') != image
    assert after('"1.0.0"', '"1.0.1"') != image
    assert after('"1.10.10"', '"1.10.11"') != image
    assert after("", "") == image
    (project / "LocalPreferences.toml").write_text("[FedFlux]\nx = 1\n")
    assert place() != image
    (project / "LocalPreferences.toml").unlink()
    (project / "julia").write_text("another")
    assert place() != image
    manifest.write_text("[[deps.Flux]]\n")
    assert system_image._place() is None


def test_an_image_that_was_not_tried_is_not_used(project: Path) -> None:
    assert system_image.find() is None
    image = place()
    image.parent.mkdir(parents=True)
    image.touch()
    assert system_image.find() is None
    image.with_suffix(".tried").touch()
    assert system_image.find() == image
    image.unlink()
    assert system_image.find() is None


def test_an_image_needs_a_compiler(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(project))
    with pytest.raises(FedFluxError, match="C compiler, gcc or clang") as error:
        system_image.build()
    assert "\n" not in str(error.value)
    (project / "Manifest.toml").unlink()
    with pytest.raises(FedFluxError, match="fedflux setup"):
        system_image.build()


def test_what_cannot_be_made_says_why(project: Path) -> None:
    (project / "julia").write_text("#!/bin/sh\necho 'ERROR: no such disk'; exit 1\n")
    with pytest.raises(FedFluxError, match=r"making the system image failed: no such disk"):
        system_image.build()
    assert system_image.find() is None


def test_a_users_own_image_is_left_alone(julia: None, python: Run, tmp_path: Path) -> None:
    """Here one that isn't there, which juliacall says."""
    done = python(
        "import fedflux; fedflux.setup()",
        check=False,
        env=os.environ | {"PYTHON_JULIACALL_SYSIMAGE": str(tmp_path / "mine.so")},
    )
    assert done.returncode == 1
    assert "PYTHON_JULIACALL_SYSIMAGE" in done.stderr.splitlines()[-2]


WHERE = """
import fedflux; fedflux.setup()
from juliacall import Main as jl
core = jl.seval('Base.identify_package("FedFlux")')
print(jl.Base.in_sysimage(core), "PYTHON_JULIACALL_SYSIMAGE" in __import__("os").environ)
"""


@pytest.mark.soak
def test_an_image_is_made_and_used(julia: None, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "env", ROOT / "python")
    kept = {n: v for n, v in os.environ.items() if not n.startswith("PYTHON_JULIA")}
    env = kept | {"JULIA_DEPOT_PATH": os.pathsep.join([str(tmp_path / "depot"), *depots()])}
    environment.compile_less()

    def trained(*more: str) -> str:
        run = "run --dataset digits --rounds 2 --engine julia --json out.json"
        done = environment.fedflux(*run.split(), *more, env=env)
        assert done.returncode == 0, done.stderr
        facts = json.loads((environment.folder / "out.json").read_text())
        return str(facts["params_sha256"])

    def in_image() -> list[str]:
        return environment.run("-c", WHERE, env=env, check=True).stdout.split()

    without = trained()
    assert in_image() == ["False", "False"]
    done = environment.fedflux("setup", "--system-image", env=env)
    assert done.returncode == 0, done.stderr
    assert "is made, after" in done.stderr
    assert in_image() == ["True", "False"]
    assert trained() == without
    again = environment.fedflux("setup", "--system-image", env=env)
    assert (again.returncode, again.stderr) == (0, "")
    assert "system image " in environment.fedflux("doctor", env=env).stdout
    assert trained("--workers", "2") == without  # processes of Julia's that use it too
    environment.compile_less("mine = 1\n")
    assert in_image() == ["False", "False"]
