"""Style, types, versions, docstring examples, the README's commands and the import."""

import doctest
import importlib
import json
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fedflux
from fedflux._julia.project import find_julia
from fedflux._options import classes as objects

from ..conftest import ROOT, Run

PYTHON = [
    "python",
    "tests",
    "benchmarks",
    "examples",
    "hatch_build.py",
    "tools/make_options.py",
    "tools/make_types.py",
]
MODULES = [
    m.name.removeprefix("fedflux.")
    for m in pkgutil.walk_packages(fedflux.__path__, "fedflux.")
    if not m.name.endswith("__main__")
]
NEED_FLOWER = [f"flower.{m}" for m in ("client", "exchange", "records", "roster", "server")]
NEEDED = {
    "tracking._tensorboard": "tensorboardX",
    "_torch.": "torch",
    "_onnx.": "onnx",
    "sklearn": "sklearn",
}


@pytest.mark.parametrize(
    "command", [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]], ids=" ".join
)
def test_style_and_types(command: list[str]) -> None:
    paths = [] if command == ["mypy"] else PYTHON
    done = subprocess.run(
        [sys.executable, "-m", *command, *paths], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


FORMAT = """
Base.find_package("JuliaFormatter") === nothing && exit(3)
using JuliaFormatter
pkgversion(JuliaFormatter) >= v"3" || exit(3)
exit(format("."; overwrite = false) ? 0 : 1)
"""


def test_julia_format(julia: None) -> None:
    """The width alone is checked in the core's own tests, without JuliaFormatter."""
    exe, _ = find_julia()
    assert exe is not None
    command = [exe, "--startup-file=no", "-e", FORMAT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 3:
        pytest.skip("JuliaFormatter 3 is not in Julia's default environment")
    assert done.returncode == 0, 'run format(".") of JuliaFormatter' + done.stderr


def test_one_version_everywhere() -> None:
    core = tomllib.loads((ROOT / "julia/FedFlux/Project.toml").read_text())
    packages = json.loads((ROOT / "python/fedflux/juliapkg.json").read_text())["packages"]
    declared = packages["FedFlux"]
    assert core["version"] == fedflux.__version__
    assert declared["version"] == f"={fedflux.__version__}"
    assert declared["uuid"] == core["uuid"]
    assert f"## {fedflux.__version__}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("name", ["", *MODULES])
def test_docstring_examples(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if name in NEED_FLOWER:
        pytest.importorskip("flwr")
    for start, package in NEEDED.items():
        if name.startswith(start):
            pytest.importorskip(package)
    module = importlib.import_module(f"fedflux.{name}" if name else "fedflux")
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


def test_public_functions_have_examples() -> None:
    for name in ("run", "setup"):
        assert ">>>" in getattr(fedflux, name).__doc__
    assert ">>>" in (fedflux.Result.__doc__ or "")


def test_importing_fedflux_imports_nothing_heavy(python: Run) -> None:
    code = (
        "import sys, fedflux; "
        "heavy = 'juliacall', 'juliapkg', 'numpy', 'click', 'rich', 'flwr'; "
        "print(*[m for m in heavy if m in sys.modules])"
    )
    assert python(code).stdout.split() == []


def test_names(python: Run) -> None:
    assert set(dir(fedflux)) == {*fedflux.__all__, *objects.classes()}
    assert all(getattr(fedflux, name) is not None for name in fedflux.__all__)
    for name in ("flower", "he", "plots", "sklearn", "tracking"):
        shown = python(f"import fedflux; print(fedflux.{name}.__name__)").stdout
        assert shown == f"fedflux.{name}\n"
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        _ = fedflux.runn  # type: ignore[attr-defined]
    # whatever was imported before, `run` stays the function
    python(
        "import fedflux.cli, fedflux._simulation.run, fedflux; assert callable(fedflux.run)"
    )


def commands() -> list[str]:
    """The README's shell commands, one per block."""
    readme = (ROOT / "README.md").read_text()
    return [m.strip() for m in re.findall(r"```sh\n(.*?)```", readme, re.DOTALL)]


def test_readme_commands_use_options_that_exist() -> None:
    from fedflux._options.options import declared

    text = " ".join(c for c in commands() if "fedflux run" in c)
    used = set(re.findall(r"--([a-z][a-z-]+)", text))
    others = {"json", "save", "config", "quiet", "constraint"}
    assert used <= {name.replace("_", "-") for name in declared()} | others
    assert used


def test_readme_python_examples_run(python: Run, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert blocks
    printed = [
        python(block.replace("fedflux.run(", "fedflux.run(engine='reference', ")).stdout
        for block in blocks
    ]
    shown = re.search(r"```text\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert shown is not None
    assert printed[0] == shown[1]
