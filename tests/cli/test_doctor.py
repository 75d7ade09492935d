"""`fedflux doctor` and `fedflux setup`: what they find, and what they advise."""

import os
import re
from pathlib import Path

import pytest

from fedflux._julia.project import find_julia
from fedflux.cli import doctor

from ..conftest import Run, fake_julia

DOCTOR = ["-m", "fedflux", "doctor"]
SETUP = ["-m", "fedflux", "setup"]


def advice(report: str) -> str:
    """What the doctor says last, after `Do:`."""
    head, found, rest = report.partition("Do:\n")
    assert found, head
    return rest.strip()


def test_without_julia(python: Run, no_julia: dict[str, str]) -> None:
    """Where juliapkg must not install, `fedflux setup` alone is no advice."""
    done = python(DOCTOR, env=no_julia, check=False)
    assert done.returncode == 1
    assert re.search(r"missing +Julia +none on PATH", done.stdout)
    assert advice(done.stdout).startswith("unset PYTHON_JULIAPKG_OFFLINE")
    online = {n: v for n, v in no_julia.items() if n != "PYTHON_JULIAPKG_OFFLINE"}
    done = python(DOCTOR, env=online, check=False)
    assert advice(done.stdout).split("#")[0].strip() == "fedflux setup"


def test_it_says_why_julia_1_12_is_not_taken(
    python: Run, no_julia: dict[str, str], tmp_path: Path
) -> None:
    exe = fake_julia(tmp_path, "1.12.1")
    env = no_julia | {"PATH": str(tmp_path)}
    del env["PYTHON_JULIAPKG_OFFLINE"]
    report = python(DOCTOR, env=env, check=False).stdout
    expected = (
        f"1.12.1 at {exe} is not used: fedflux is tested with Julia 1.10 and 1.11 only"
    )
    assert expected in report
    assert advice(report) == "fedflux setup    # puts one of them beside it"
    chosen = python(DOCTOR, env=env | {"PYTHON_JULIAPKG_EXE": str(exe)}, check=False)
    assert f"1.12.1 at {exe}, as you chose; tested with" in chosen.stdout


def test_setup_and_doctor_do_not_send_you_to_each_other(
    python: Run, no_julia: dict[str, str], tmp_path: Path
) -> None:
    """A Julia that breaks: setup names it, and does not send to the doctor."""
    exe = fake_julia(tmp_path, "1.10.9")
    env = no_julia | {"PATH": str(tmp_path)}
    done = python(SETUP, env=env, check=False)
    assert done.returncode == 1
    *_, last, see = done.stderr.splitlines()
    assert last == f"fedflux: error: Julia can't be started: {exe} ends with exit code 3"
    assert see.endswith("/errors/#julia-doesnt-start")


def test_with_julia(julia: None, python: Run) -> None:
    done = python(DOCTOR)
    for what in ("Julia", "FedFlux", "PythonCall", "Flux"):
        assert re.search(rf"ok +{what} +\d", done.stdout), done.stdout
    assert re.search(r"ok +a run +trained a round in \d+\.\d s", done.stdout), done.stdout
    assert done.stdout.endswith("The Julia core can run.\n")


def own_project(tmp_path: Path, core: str) -> dict[str, str]:
    """A project whose manifest is whole, and whose FedFlux is another package."""
    exe, project = find_julia()
    package = tmp_path / "FedFlux"
    (package / "src").mkdir(parents=True)
    (package / "src" / "FedFlux.jl").write_text(core)
    manifest = max(project.glob("Manifest*.toml")).read_text()
    entry = re.search(r"\[\[deps\.FedFlux\]\].*?\nversion = [^\n]*\n", manifest, re.S)
    assert entry
    uuid = "0df5d46e-5f4c-4ab0-9ab9-7d7c7d3dbb9a"
    other = f'[[deps.FedFlux]]\npath = "{package}"\nuuid = "{uuid}"\nversion = "0.1.0"\n'
    (package / "Project.toml").write_text(
        f'name = "FedFlux"\nuuid = "{uuid}"\nversion = "0.1.0"\n'
    )
    (tmp_path / "Project.toml").write_text((project / "Project.toml").read_text())
    (tmp_path / "Manifest.toml").write_text(manifest.replace(entry[0], other))
    own = {"PYTHON_JULIACALL_EXE": str(exe), "PYTHON_JULIACALL_PROJECT": str(tmp_path)}
    return dict(os.environ) | own


def test_a_core_that_does_not_load(julia: None, python: Run, tmp_path: Path) -> None:
    """All that is needed stands in the manifest, and still the core can't run."""
    env = own_project(tmp_path, 'module FedFlux\nerror("broken on purpose")\nend\n')
    done = python(DOCTOR, env=env, check=False)
    assert done.returncode == 1
    assert re.search(r"ok +FedFlux +0\.1\.0", done.stdout)
    assert re.search(r"missing +a run +.*core can't be loaded", done.stdout), done.stdout
    assert "The Julia core can run" not in done.stdout
    assert advice(done.stdout).startswith(f"repair the Julia project {tmp_path}")


def test_a_core_that_hangs(
    julia: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = own_project(tmp_path, "module FedFlux\n__init__() = sleep(600)\nend\n")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(doctor, "LOAD_LIMIT", 6.0)
    finding = doctor._check_run()
    assert finding.status == "missing"
    assert finding.detail.startswith("not done after 6 s")
