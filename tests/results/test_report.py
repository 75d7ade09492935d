"""Reports: what they say, that they escape what data says, and how a browser shows them."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

import fedflux
from fedflux._comparison.comparison import Comparison
from fedflux._report.run import command_of, privacy
from fedflux.cli import cli

from .. import browser

HOSTILE = "<script>alert(1)</script>\"' onload=x & $x_1$"


def result() -> fedflux.Result:
    """A run, with clients and rejections as the core tells of them."""
    done = fedflux.run(
        dataset="digits", model="softmax_regression", rounds=3, engine="reference"
    )
    done.clients = [
        {
            **{"client": i, "name": HOSTILE if i == 2 else f"client {i}", "samples": 9 * i},
            **{"test_samples": 4, "rounds": 3, "accuracy": 1 - i / 10},
        }
        for i in range(1, 6)
    ]
    done.history[1]["rejected"] = [{"client": 2, "reason": "is not finite " + HOSTILE}]
    done.warnings.append(HOSTILE)
    done.options["dataset"] = HOSTILE
    done.details["privacy"] = {
        **{"unit": "client", "epsilon": 3.2, "delta": 1e-5, "rounds": 3},
        **{"noise": "Gaussian", "not_covered": [HOSTILE]},
    }
    return done


def comparison(folder: Path) -> Comparison:
    """A comparison of two names, one of them hostile, as its file holds it."""
    curve = {
        **{"round": [1, 2], "accuracy": [0.5, 0.7], "loss": [1.0, "NaN"]},
        **{"bytes_up": [10, 10], "bytes_down": [10, 10], "seconds": [0.1, 0.2]},
    }
    runs = [
        {
            **{"configuration": name, "seed": seed, "error": None, "curve": curve},
            **{"accuracy": 0.7, "loss": "NaN", "rounds": 2, "seconds": 0.2},
        }
        for name in ("none", HOSTILE)
        for seed in (1, 2)
    ]
    rows = [
        {
            **{
                "configuration": name,
                "settings": [["rules", name]],
                "runs": 2,
                "mean": 0.7,
            },
            **{"sd": 0.1, "difference": 0.0, "p_holm": 1.0, "verdict": "", "failed": 0},
        }
        for name in ("none", HOSTILE)
    ]
    facts = {
        **{"format": 1, "rows": rows, "runs": runs, "metric": "accuracy", "target": 0.7},
        **{"baseline": "none", "seeds": [1, 2], "options": {"lr": "0.1"}, "table": "t"},
        **{"how_tested": HOSTILE, "versions": {"julia": "1.10"}},
    }
    (folder / "comparison.json").write_text(json.dumps(facts))
    return Comparison.load(folder)


class Reader(HTMLParser):
    """The tags of a page, and the text outside of style and script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] not in ("style", "script"):
            self.text.append(data)


def test_what_it_says(tmp_path: Path) -> None:
    done = result()
    page = fedflux.report(done, tmp_path / "run.html").read_text("utf-8")
    text = " ".join(Reader(page).text)
    for words in (f"{done.accuracy:.4g}", "is not finite", "ε = 3.2", "softmax_regression"):
        assert words in text
    assert "--model softmax_regression" in text
    assert done.versions["fedflux"] in text
    other = fedflux.report(comparison(tmp_path), tmp_path / "compare.html")
    assert "fedflux compare --grid" in other.read_text("utf-8")


@pytest.mark.parametrize("kind", ["run", "comparison"])
def test_what_data_says_is_no_markup(tmp_path: Path, kind: str) -> None:
    what = result() if kind == "run" else comparison(tmp_path)
    page = fedflux.report(what, tmp_path / "page.html").read_text("utf-8")
    read = Reader(page)
    assert [tag for tag, _ in read.tags].count("script") == 1  # the page's own
    assert not any("onload" in attributes for _, attributes in read.tags)
    assert HOSTILE in "".join(read.text)
    for tag, attributes in read.tags:  # nothing is loaded
        if tag not in ("a", "use"):
            assert not {"src", "href", "srcset"} & attributes.keys(), tag


def test_the_command_that_repeats_a_run() -> None:
    options = {"lr": 0.2, "rules": ["fedprox(mu=0.01)", "topk(fraction=0.1)"], "rounds": 4}
    words = command_of(options)
    assert words == (
        "fedflux run --rounds 4 --rule 'fedprox(mu=0.01)' --rule 'topk(fraction=0.1)' "
        "--lr 0.2"
    )
    assert (
        "no finite ε"
        in privacy({"rounds": 1, "delta": 0.1, "unit": "client", "epsilon": None})[0]
    )
    assert "promises" in privacy(None)[0]


def test_the_commands(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = result()
    done.options["dataset"] = "digits"
    done.save(tmp_path / "run.safetensors")
    (tmp_path / "run.json").write_text(json.dumps(done.facts()))
    folder = tmp_path / "folder"
    folder.mkdir()
    comparison(folder)
    for i, run in enumerate(("run.safetensors", "run.json", "folder", ".")):
        for command, ending in (("report", "html"), ("plot", "svg")):
            out = tmp_path / f"{i}.{ending}"
            arguments = [command, str(tmp_path / run), "--out", str(out)]
            assert CliRunner().invoke(cli, arguments, catch_exceptions=False).exit_code == 0
            assert out.stat().st_size > 1000
    for bad in ("nothing", "folder/comparison.json"):
        with pytest.raises(fedflux.DataError):
            fedflux.report(tmp_path / bad, tmp_path / "no.html")


PROBE = """
async function probe(window, document) {
  const root = document.documentElement, view = root.clientWidth;
  const out = Array.from(document.querySelectorAll("main *")).filter(e =>
    !e.closest(".wide") && e.getBoundingClientRect().right > view + 1);
  const button = document.querySelector("table.sortable th button");
  button.click(); button.click();
  const rows = Array.from(button.closest("table").tBodies[0].rows);
  return { wide: root.scrollWidth, view, out: out.map(e => e.tagName),
    sort: button.parentNode.getAttribute("aria-sort"),
    cells: rows.map(row => row.cells[0].dataset.v) };
}
"""


def test_in_a_browser(tmp_path: Path) -> None:
    """No script fails, nothing is wider than the window, and a click sorts."""
    browser.chromium()
    pages = tmp_path / "pages"
    pages.mkdir()
    for name, what in (("run", result()), ("comparison", comparison(tmp_path))):
        text = fedflux.report(what, pages / f"{name}.html").read_text("utf-8")
        policy = text[text.index("<meta http-equiv") : text.index("<meta name")]
        (pages / f"{name}.html").write_text(text.replace(policy, ""), "utf-8")
    visits = [(f"{name}.html", w) for name in ("run", "comparison") for w in (1280, 390)]
    shown = browser.visit(pages, visits, PROBE, tmp_path / "profile")
    assert [(found["page"], found["view"]) for found in shown] == visits
    for found in shown:
        assert found["wrong"] == [], found
        assert (found["wide"] <= found["view"], found["out"]) == (True, []), found
        assert found["sort"] == "descending"
        assert found["cells"] == sorted(found["cells"], reverse=True)
