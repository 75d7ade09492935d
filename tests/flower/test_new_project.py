"""The example of a deployment, and the new project that is made from it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fedflux.errors import OptionError
from fedflux.flower import new_project

from ..conftest import ROOT, Run

EXAMPLE = ROOT / "examples" / "deployment"


def test_new_writes_the_example(python: Run, tmp_path: Path) -> None:
    python(["-m", "fedflux", "new", "my-project"])
    project = tmp_path / "my-project"
    files = [
        f.relative_to(EXAMPLE)
        for f in EXAMPLE.rglob("*")
        if f.is_file() and not {"keys", "__pycache__", ".pytest_cache"} & set(f.parts)
    ]
    assert len(files) > 10
    for file in files:
        written = project / str(file).replace("fedapp", "my_project")
        assert written.read_text() == (EXAMPLE / file).read_text().replace(
            "fedapp", "my_project"
        )
    again = python(["-m", "fedflux", "new", "my-project"], check=False)
    assert again.returncode == 2
    assert re.match(r"fedflux: error: .*my-project exists.*\n", again.stderr)
    for name in ("1st", "a b", "../x", "class", ""):
        with pytest.raises(OptionError, match="name: expected"):
            new_project.new(name, tmp_path)


def test_the_projects_own_tests_pass(python: Run, tmp_path: Path) -> None:
    pytest.importorskip("flwr")
    project = new_project.new("mine", tmp_path)
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore"]
    done = python([*command, str(project)], cwd=project)
    assert "3 passed" in done.stdout


def test_flower_builds_the_project(tmp_path: Path) -> None:
    pytest.importorskip("flwr")
    flwr = Path(sys.executable).parent / "flwr"
    project = new_project.new("mine", tmp_path)
    done = subprocess.run(
        [str(flwr), "build"],
        cwd=project,
        capture_output=True,
        text=True,
        env=os.environ
        | {"FLWR_HOME": str(tmp_path / "home"), "FLWR_TELEMETRY_ENABLED": "0"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stdout.lower()
    assert len(list(project.glob("*.fab"))) == 1


def test_the_composition_is_complete() -> None:
    yaml = pytest.importorskip("yaml")
    services = yaml.safe_load((EXAMPLE / "compose.yaml").read_text())["services"]
    assert list(services) == ["superlink", "node-1", "node-2", "node-3"]
    for number in (1, 2, 3):
        words = services[f"node-{number}"]["command"]
        assert f"--auth-supernode-private-key=/keys/node-{number}.key" in words
        assert f"--node-config=partition-id={number - 1}" in words
    assert services["superlink"]["ports"] == ["127.0.0.1:8000:8000"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """What they start need not be installed here: true stands in for it."""
    for unit in sorted((EXAMPLE / "systemd").glob("*.service")):
        text = re.sub(r"/opt/fedflux/bin/\S+", "/bin/true", unit.read_text())
        (tmp_path / unit.name).write_text(text)
        done = subprocess.run(
            ["systemd-analyze", "verify", str(tmp_path / unit.name)],
            capture_output=True,
            text=True,
        )
        complaints = [line for line in done.stderr.splitlines() if unit.name in line]
        assert complaints == []
        for option in re.findall(r" (--[a-z-]+)", text):
            assert option in HELP, option


HELP = (EXAMPLE / "README.md").read_text() + "--host --database --node-config"
