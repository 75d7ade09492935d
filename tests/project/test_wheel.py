"""The wheel: installed in a new environment outside the repository, and upgraded there."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ..conftest import ROOT
from ..environments import Environment, depots


def build(source: Path, into: Path) -> Path:
    command = [sys.executable, *shlex.split("-m build --wheel --no-isolation --outdir")]
    command += [str(into), str(source)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return max(into.glob("*.whl"), key=lambda p: p.stat().st_mtime)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("wheel"))


def install(wheel: Path, environment: Environment) -> None:
    command = [sys.executable, "-m", "pip", "--python", str(environment.python)]
    command += ["install", "--quiet", "--no-deps", "--force-reinstall", str(wheel)]
    subprocess.run(command, check=True, capture_output=True, text=True)


@pytest.fixture
def fresh(tmp_path: Path, wheel: Path) -> Environment:
    environment = Environment(tmp_path / "env")
    install(wheel, environment)
    return environment


def test_what_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        declared = json.loads(archive.read("fedflux/juliapkg.json"))
        digest = archive.read("fedflux/julia/digest").decode().strip()
    assert len(names) == len(set(names))
    example = {n for n in names if n.startswith("fedflux/flower/template/")}
    assert "fedflux/flower/template/fedapp/data.py" in example
    assert not any("keys/" in n or "cache" in n for n in example)
    core = [
        n.removeprefix("fedflux/julia/FedFlux/")
        for n in names
        if n.startswith("fedflux/julia/FedFlux/")
    ]
    assert {
        "Project.toml",
        "src/FedFlux.jl",
        "src/options/options.toml",
        "data/digits.bin",
        "data/README.md",
    } <= set(core)
    assert not any(n.startswith(("test/", "Manifest")) for n in core)
    assert "fedflux/py.typed" in names
    assert declared == {
        "julia": "~1.10, ~1.11"
    }  # fedflux._julia.core_source names the core
    assert len(digest) == 16


def test_runs_without_julia_outside_the_repository(
    fresh: Environment, no_julia: dict[str, str]
) -> None:
    done = fresh.fedflux(
        "run", "--dataset", "digits", "--rounds", "1", "--json", "out.json", env=no_julia
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((fresh.folder / "out.json").read_text())["engine"] == "reference"
    where = "from fedflux._options.tables import core_path; print(core_path())"
    found = fresh.run("-c", where, env=no_julia, check=True)
    assert Path(found.stdout.strip()).is_relative_to(fresh.site.resolve())


def test_runs_with_julia_in_two_environments_and_after_an_upgrade(
    julia: None, fresh: Environment, wheel: Path, tmp_path: Path
) -> None:
    """The core is compiled once for both; after an upgrade it is the new one."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON_JULIACALL_")
    }
    env["JULIA_DEPOT_PATH"] = os.pathsep.join([str(tmp_path / "depot"), *depots()])
    fresh.compile_less()  # the core is compiled twice
    run = shlex.split("run --dataset digits --rounds 1 --engine julia")
    first = fresh.fedflux(*run, "--json", "a.json", env=env)
    assert first.returncode == 0, first.stderr
    where = (
        "import fedflux; fedflux.setup(); from juliacall import Main as jl; "
        "print(jl.seval('pkgdir(FedFlux)'), jl.seval('string(pkgversion(FedFlux))'))"
    )

    def core_in_use(environment: Environment) -> tuple[Path, str]:
        done = environment.run("-c", where, env=env, check=True)
        path, version = done.stdout.strip().splitlines()[-1].rsplit(" ", 1)
        return Path(path), version

    path, version = core_in_use(fresh)
    assert path.is_relative_to(tmp_path / "depot" / "fedflux")

    # the same wheel in another environment
    compiled = sorted((tmp_path / "depot" / "compiled").rglob("*.so"))
    assert any("FedFlux" in str(file) for file in compiled)
    other = Environment(tmp_path / "other")
    install(wheel, other)
    other.compile_less()
    assert core_in_use(other) == (path, version)
    assert sorted((tmp_path / "depot" / "compiled").rglob("*.so")) == compiled

    # the next release: a copy of the sources whose every version is one higher
    source = tmp_path / "next"
    kept = shutil.ignore_patterns(
        ".git", ".venv", ".*_cache", "__pycache__", "Manifest*.toml", "benchmarks"
    )
    shutil.copytree(ROOT, source, ignore=kept)
    newer = "0.1.99"  # as Julia prints a version, without leading zeros
    for file in (
        "python/fedflux/_version.py",
        "python/fedflux/juliapkg.json",
        "julia/FedFlux/Project.toml",
    ):
        text = (source / file).read_text()
        assert version in text
        (source / file).write_text(text.replace(version, newer, 1))
    install(build(source, tmp_path / "wheels"), fresh)
    second = fresh.fedflux(*run, "--json", "b.json", env=env)
    assert second.returncode == 0, second.stderr
    newest, version_in_use = core_in_use(fresh)
    assert newest.is_relative_to(tmp_path / "depot" / "fedflux")
    assert newest != path
    assert version_in_use == newer
    facts = [json.loads((fresh.folder / f"{name}.json").read_text()) for name in "ab"]
    assert facts[0]["params_sha256"] == facts[1]["params_sha256"]
    assert [f["versions"]["FedFlux"] for f in facts] == [version, newer]
