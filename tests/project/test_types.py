"""What type checkers, completion and help know of options and objects."""

import inspect
import runpy
import subprocess
import sys
from pathlib import Path

import fedflux
from fedflux._options.options import declared

from ..conftest import ROOT

MISTAKES = """
import fedflux

fedflux.run(clinets=3)  # unexpected keyword argument "clinets"
fedflux.run(lr="fast")  # incompatible type "str"; expected "float"
fedflux.run(model="lenett")  # expected "Literal
fedflux.partition(hidden="a")  # incompatible type
fedflux.FedProx(nu=1)  # unexpected keyword argument "nu"
fedflux.Dirichlet(alpha="small")  # incompatible type
fedflux.Nonsense  # has no attribute "Nonsense"
fedflux.run(lr=0.1, clients=3, rules=[fedflux.FedProx(mu=0.1), "scaffold"], model="mlp")
fedflux.run(dataset=b.with_suffix(".npz"), patience=None, partition=fedflux.Dirichlet(0.1))
fedflux.run(resume=fedflux.run(rounds=1), rounds=2).score([[1.0]], [1], "f1")
"""


def test_the_types_are_made_from_the_tables() -> None:
    made = runpy.run_path(str(ROOT / "tools" / "make_types.py"))["files"]()
    assert len(made) == 2
    for path, text in made.items():
        assert path.read_text() == text, "run `python tools/make_types.py`"


def test_mypy_finds_mistakes(tmp_path: Path) -> None:
    text = f"from pathlib import Path\n\nb = Path()\n{MISTAKES}"
    (tmp_path / "mistakes.py").write_text(text)
    command = [sys.executable, "-m", "mypy", "mistakes.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    errors = dict(
        line.split(": error: ") for line in done.stdout.splitlines() if ": error: " in line
    )
    expected = {
        f"mistakes.py:{i}": line.split("  # ")[1]
        for i, line in enumerate(text.splitlines(), 1)
        if "  # " in line
    }
    assert errors.keys() == expected.keys(), done.stdout
    assert all(words.lower() in errors[at].lower() for at, words in expected.items())


def test_signatures_hold_every_option() -> None:
    parameters = inspect.signature(fedflux.run).parameters
    assert {*declared(), "x_train", "y_train", "owner", "init", "callback"} <= {*parameters}
    assert parameters["lr"].default == 0.05
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters.values())
    assert "alpha" in inspect.signature(fedflux.Dirichlet).parameters


def test_help_lists_the_options_by_group() -> None:
    text = inspect.getdoc(fedflux.run) or ""
    for option in declared().values():
        assert f"\n    {option.name} = {option.default!r}: " in text
        assert f"\n{option.group}\n" in text
    assert max(map(len, text.splitlines())) <= 92
