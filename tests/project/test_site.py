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
