"""The notebooks run, and show what is stored in them."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from ..conftest import ROOT

pytest.importorskip("nbclient", reason="needs nbclient and ipykernel")
TOOL = runpy.run_path(str(ROOT / "tools" / "run_notebooks.py"))
NUMBER = r"\d+\.\d+"


def texts(notebook: Any) -> str:
    """What the cells print and return, without pictures and addresses."""
    shown = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            shown.append(output.get("text", output.get("data", {}).get("text/plain", "")))
    return re.sub(r"in \S+ s;|params [0-9a-f]+", "", "".join(shown))


def check(names: list[str]) -> None:
    """Run notebooks: words as they are stored, and numbers nearly so."""
    stored = TOOL["notebooks"](*names)
    assert len(stored) == len(names)
    for name, done in TOOL["executed"](stored).items():
        ours, theirs = texts(done), texts(stored[name])
        assert theirs, f"{name}: run `python tools/run_notebooks.py`"
        assert re.sub(NUMBER, "", ours).split() == re.sub(NUMBER, "", theirs).split()
        for a, b in zip(re.findall(NUMBER, ours), re.findall(NUMBER, theirs), strict=True):
            assert float(a) == pytest.approx(float(b), rel=0.02, abs=0.02)


def test_notebooks_show_what_they_give(julia: None) -> None:
    check(["first-run", "own-data", "privacy"])


@pytest.mark.deployment
def test_the_notebook_of_a_deployment_shows_what_it_gives(julia: None) -> None:
    pytest.importorskip("flwr", reason="needs fedflux[flower]")
    check(["deployment"])


def test_every_notebook_is_run_and_shown() -> None:
    tested = re.findall(r"check\(\[(.*?)\]\)", Path(__file__).read_text())
    names = {name for part in tested for name in re.findall(r'"([\w-]+)"', part)}
    assert names == {f.stem for f in TOOL["FOLDER"].glob("*.ipynb")}
    site = (ROOT / "mkdocs.yml").read_text()
    assert all(f"notebooks/{name}.md" in site for name in names)
