"""The commands of examples/papers in small, and docs/papers.md beside their figures."""

import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from ..conftest import ROOT

PAPERS = ROOT / "examples" / "papers"
A_ROW = {
    "fedavgm": "FedAvgM",
    "fedprox": "α = β = 0.5",
    "flanders": "FedMedian",
    "mcmahan": "2NN",
    "niid_bench": "SCAFFOLD",
    "pfllib": "FedPer",
    "scaffold_quadratics": "SCAFFOLD",
}
OWN_DATA = ("fedprox", "scaffold_quadratics")
COMMANDS = sorted(p.stem for p in PAPERS.glob("*.py") if p.stem != "published")
PAGE = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def small_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,000 images of 28 × 28 bytes whose brightness tells their label."""
    rng = np.random.default_rng(1)
    path = tmp_path_factory.mktemp("papers") / "small.npz"
    arrays = {}
    for part, samples in (("train", 2000), ("test", 200)):
        labels = np.arange(samples) % 10
        images = (
            rng.integers(0, 60, (samples, 1, 28, 28)) + 19 * labels[:, None, None, None]
        )
        arrays |= {f"x_{part}": images.astype(np.uint8), f"y_{part}": labels}
    np.savez(path, **arrays)
    return path


def command(name: str, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(PAPERS / f"{name}.py"), *arguments])
    monkeypatch.syspath_prepend(str(PAPERS))
    runpy.run_path(str(PAPERS / f"{name}.py"), run_name="__main__")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_writes_its_table(
    name: str,
    julia: None,
    small_images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with_data = [] if name in OWN_DATA else ["--data", str(small_images)]
    only = A_ROW.get(name, "")
    arguments = ["--rounds", "1", "--out", str(tmp_path), "--only", only, *with_data]
    command(name, *arguments, monkeypatch=monkeypatch)
    first = capsys.readouterr()
    figures = json.loads((tmp_path / f"{name}.json").read_text())
    assert first.out.count("\n| ") == 1 + len({c["row"] for c in figures["cells"]})
    assert all(c["rounds"] == 1 for c in figures["cells"])
    command(name, *arguments, monkeypatch=monkeypatch)  # all cells are kept
    again = capsys.readouterr()
    assert again.out == first.out
    assert again.err == ""
    assert not list(tmp_path.glob("checkpoints/*"))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_names_each_command(name: str) -> None:
    assert f"examples/papers/{name}.py" in PAGE


def test_the_page_has_the_figures_that_were_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(PAPERS))
    from published import markdown, read  # type: ignore[import-not-found]

    tables = dict(re.findall(r"<!-- (\w+) -->\n(.*?)\n<!-- end -->", PAGE, re.DOTALL))
    kept = {p.stem: p for p in (ROOT / "docs" / "papers").glob("*.json")}
    assert sorted(tables) == sorted(kept)
    for name, path in kept.items():
        assert tables[name] == markdown(read(path))
