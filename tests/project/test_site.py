"""The site: it builds without a warning, and has a page for all that it should."""

import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

import fedflux

from .. import browser
from ..conftest import ROOT

SPECS = ROOT / "julia" / "FedFlux" / "src" / "options" / "specs.toml"


@cache
def built(folder: Path) -> Path:
    """Build the site with strict links, once."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def site(julia: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site."""
    pytest.importorskip("mkdocs", reason="needs fedflux[site]")
    return built(tmp_path_factory.getbasetemp() / "site")


def page(site: Path, name: str) -> str:
    return (site / name / "index.html").read_text()


def test_each_method_has_a_page_with_its_parameters(site: Path) -> None:
    for kind, names in tomllib.loads(SPECS.read_text()).items():
        for name, entry in names.items():
            text = page(site, f"methods/{kind}/{name}")
            assert entry["class"] in text
            for parameter in entry.get("params", {}):
                assert f"<code>{parameter}</code>" in text, f"{name}: {parameter}"


def test_a_page_shows_what_was_measured(site: Path) -> None:
    text = page(site, "methods/rule/scaffold")
    rows = re.findall(r"<td>(FedAvg|SCAFFOLD)\b", text)
    assert rows == ["FedAvg", "SCAFFOLD"]
    assert "Measured" not in page(site, "methods/aggregate/krum")


def test_a_page_says_what_refuses_a_rule(site: Path) -> None:
    text = page(site, "methods/rule/scaffold")
    assert "both correct the drift of local steps" in text
    assert "../feddyn/" in text


def test_languages_stand_in_tabs(site: Path) -> None:
    text = page(site, "methods/rule/fedprox")
    labels = re.findall(r'<label for="[^"]+">(\w+)</label>', text)
    assert labels == ["Python", "Shell", "Julia"]


def test_the_api_pages_have_all_public_names(site: Path) -> None:
    python, julia = page(site, "api/python"), page(site, "api/julia")
    for name in set(fedflux.__all__) - {"__version__"}:
        assert f'id="fedflux.{name}"' in python, name
    from juliacall import Main as jl

    exported = [str(n) for n in jl.seval("string.(filter(!=(:FedFlux), names(FedFlux)))")]
    assert len(exported) > 100
    missing = [
        n for n in exported if f'id="jl-{n.replace("!", "-bang").lower()}"' not in julia
    ]
    assert not missing
    assert "@ref" not in julia
    assert "&gt;&gt;&gt;" not in re.sub(r"<code>.*?</code>", "", python, flags=re.S)


def test_search_knows_the_methods(site: Path) -> None:
    index = (site / "search" / "search_index.json").read_text()
    assert '"methods/rule/scaffold/' in index
    assert '"errors/' in index


def test_each_kind_of_error_has_its_anchor(site: Path) -> None:
    text = page(site, "errors")
    for kind in tomllib.loads((SPECS.parent / "errors.toml").read_text())["kind"]:
        assert f'id="{kind["name"]}"' in text, kind["name"]


# What a person would notice: what is wider than the window, unless it scrolls or is cut.
PROBE = """
const scrolls = (window, e) => {
  for (; e; e = e.parentElement)
    if (window.getComputedStyle(e).overflowX != "visible") return true;
  return false;
};
async function probe(window, document) {
  await wait(200);
  const root = document.documentElement, view = root.clientWidth;
  const out = Array.from(document.querySelectorAll(".md-content *")).filter(e =>
    e.getBoundingClientRect().right > view + 1 && !scrolls(window, e.parentElement));
  const found = { wide: root.scrollWidth, view,
    out: out.map(e => e.outerHTML.slice(0, 90)) };
  const pictures = Array.from(document.querySelectorAll(".md-content img"));
  found.broken = pictures.filter(e => e.complete && !e.naturalWidth).map(e => e.src);
  const labels = document.querySelectorAll(".tabbed-labels label");
  if (labels.length > 1) {
    const set = labels[0].closest(".tabbed-set");
    const shown = () => Array.from(set.querySelectorAll(".tabbed-block")).map(e =>
      e.getBoundingClientRect().height > 0);
    const other = shown().indexOf(false);
    labels[other].click();
    await wait(100);
    found.tabs = [other, shown()];
  }
  const query = document.querySelector("[data-md-component=search-query]");
  if (query && /index.html$|errors.$/.test(window.location.pathname))
    found.results = await search(window, document, query, "scaffold");
  return found;
}
async function search(window, document, query, text) {
  document.querySelector("#__search").click();
  query.focus();
  query.value = text;
  query.dispatchEvent(new window.Event("focus"));
  query.dispatchEvent(new window.KeyboardEvent("keyup"));
  for (let i = 0; i < 100; i++) {
    await wait(100);
    const links = document.querySelectorAll(".md-search-result__link");
    if (links.length) return Array.from(links).map(e => e.getAttribute("href"));
  }
  return [];
}
"""
LOOKED_AT = (
    *("index.html", "tour/", "methods/rule/scaffold/", "options/", "api/python/"),
    *("api/julia/", "errors/", "notebooks/first-run/", "gallery/", "comparing/", "data/"),
)


def test_pages_in_a_browser(site: Path, tmp_path: Path) -> None:
    """No script fails, nothing overflows, pictures are there, tabs and search work."""
    browser.chromium()
    visits = [(page, width) for page in LOOKED_AT for width in (1280, 390)]
    shown = browser.visit(site, visits, PROBE, tmp_path / "profile")
    assert [(found["page"], found["view"]) for found in shown] == visits
    for found in shown:
        assert (found["wrong"], found["broken"]) == ([], []), found
        assert (found["wide"] <= found["view"], found["out"]) == (True, []), found
        other, tabs = found.get("tabs", (0, [True]))
        assert [i for i, there in enumerate(tabs) if there] == [other], found
    assert sum("tabs" in found for found in shown) >= 6
    searches = [found["results"] for found in shown if "results" in found]
    assert len(searches) == 4
    for results in searches:
        assert any("methods/rule/scaffold/" in link for link in results), results


def test_a_page_that_is_wrong_is_found(tmp_path: Path) -> None:
    browser.chromium()
    (tmp_path / "wrong.html").write_text(
        "<!doctype html><html><head></head><body><main class='md-content'>"
        "<div style='width:2000px'>wide</div><img src='nowhere.png'>"
        "<script>nothing()</script></main></body></html>"
    )
    visits = [("wrong.html", 390)]
    (found,) = browser.visit(tmp_path, visits, PROBE, tmp_path / "profile")
    assert found["wide"] > found["view"]
    assert "wide" in "".join(found["out"])
    assert len(found["broken"]) == 1
    assert any("nothing" in message for message in found["wrong"])
