"""The docs agree with the code, and the README with what it shows and links."""

import json
import re
import runpy
from pathlib import Path

import pytest

import fedflux

from ..conftest import Run

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()
HOME = "https://github.com/fedflux/fedflux"
RAW = "https://raw.githubusercontent.com/fedflux/fedflux/main/"


def test_the_page_of_options_is_made_from_the_tables() -> None:
    page = runpy.run_path(str(ROOT / "tools" / "make_options.py"))["page"]()
    assert (DOCS / "options.md").read_text() == page, "run `python tools/make_options.py`"


def test_files_that_docs_name_are_there() -> None:
    folders = ("python", "julia", "tests", "docs", "benchmarks", "examples")
    files = [f"/{path}" for folder in folders for path in (ROOT / folder).rglob("*.*")]
    design = (DOCS / "design.md").read_text()
    for page in (design, (ROOT / "CONTRIBUTING.md").read_text().split("```diff")[0]):
        for name in re.findall(r"`([\w/]+\.(?:py|jl|toml))`", page):
            assert any(f.endswith(f"/{name}") for f in files), name


def anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub names them in links."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def test_links_between_pages_lead_somewhere() -> None:
    pages = [ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md"), *ROOT.glob("[a-z]*/*/README.md")]
    for page in pages:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if link.startswith(("https:", "mailto:")):
                continue
            name, _, heading = link.partition("#")
            target = page.parent / name if name else page
            assert target.exists(), f"{page.name}: {link}"
            assert not heading or heading in anchors(target), f"{page.name}: {link}"


@pytest.mark.parametrize("page", ["deployment.md", "privacy.md"])
def test_what_a_page_says_is_shown_by_tests_that_exist(page: str) -> None:
    """Each `file`: name in the last cell of a table of parties."""
    rows = [
        line
        for part in (DOCS / page).read_text().split("shown by |\n")[1:]
        for line in part.split("\n\n")[0].splitlines()[1:]
    ]
    assert rows
    folders = (ROOT / "tests", ROOT / "julia" / "FedFlux" / "test")
    tests = {f.name: f for folder in folders for f in folder.rglob("*.[pj][yl]")}
    for row in rows:
        shown = row.split(" | ")[-1].removesuffix(" |").split("; `")
        for one in shown:
            file, _, name = one.strip("`").partition("`: ")
            text = tests[file].read_text()
            found = f"def {name}(" in text or f'@testset "{name}' in text
            assert found, f"{page}: {file} has no test {name!r}"


def test_the_readme_works_on_pypis_page() -> None:
    """Whole addresses, those of the repository of files that are there."""
    defined = dict(re.findall(r"^\[([^\]]+)\]: (\S+)$", README, re.M))
    used = re.findall(r"^- \[(\w+)\]:|\]\[(\w+)\]", README, re.M)
    assert {(short or name).lower() for short, name in used} == defined.keys()
    links = [*defined.values(), *re.findall(r"\]\((\S+?)\)", README)]
    assert len(links) > 15
    for link in links:
        assert link.startswith("https://")
        for start in (f"{HOME}/blob/main/", f"{HOME}/tree/main/", RAW):
            if link.startswith(start):
                file, _, heading = link.removeprefix(start).partition("#")
                assert (ROOT / file).exists(), link
                assert not heading or f"## {heading}\n" in (ROOT / file).read_text().lower()


@pytest.mark.parametrize(
    "engine", ["reference", pytest.param("julia", marks=pytest.mark.julia)]
)
def test_the_first_command_learns_the_digits(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Ten rounds of `fedflux run --batch-size 10` where there is no MNIST."""
    if engine == "julia":
        request.getfixturevalue("julia")
    for seed in (1, 2):
        with pytest.warns(fedflux.FedFluxWarning, match="digits"):
            result = fedflux.run(
                batch_size=10, seed=seed, engine=engine, data_dir=str(tmp_path / "none")
            )
        assert result.dataset == "digits"
        assert result.accuracy is not None
        assert result.accuracy >= 0.93
        assert result.seconds < 30
    same = fedflux.run(dataset="digits", batch_size=10, seed=2, engine=engine)
    assert same.params_sha256 == result.params_sha256
    assert (same.options["model"], same.options["lr"]) == ("mlp", 0.3)
    given = fedflux.run(
        dataset="digits", batch_size=10, seed=2, engine=engine, model="mlp", lr=0.3
    )
    assert given.params_sha256 == result.params_sha256


def test_python_the_shell_and_julia_take_the_same_defaults(
    julia: None, python: Run
) -> None:
    from juliacall import Main as jl

    for options in (
        {},
        {"optimizer": "adam"},
        {"lr": 0.1},
        {"model": "softmax_regression"},
    ):
        usual = {"dataset": "digits", "rounds": 1, **options}
        result = fedflux.run(**usual)  # type: ignore[arg-type]
        core = jl.FedFlux.run(**usual)
        flags = [f"--{name}={value}" for name, value in usual.items()]
        shell = python(["-m", "fedflux", "run", *flags, "--json", "-"]).stdout
        facts = json.loads(shell)
        assert result.params_sha256 == str(core.params_sha256) == facts["params_sha256"]
        for name in ("model", "lr"):
            assert result.options[name] == facts["options"][name]


def printed(page: str) -> tuple[str, str]:
    """The Python of a page in one piece, and what the page says that it prints."""
    text = (DOCS / page).read_text()
    return tuple(  # type: ignore[return-value]
        "\n".join(re.findall(rf"```{language}\n(.*?)```", text, re.S))
        for language in ("python", "text")
    )


@pytest.mark.parametrize("page", ["index.md", "tour.md", "errors.md"])
def test_a_page_prints_what_it_shows(
    page: str, julia: None, python: Run, tmp_path: Path
) -> None:
    """Words and whole numbers as they stand; other processors add in another order."""
    code, shown = printed(page)
    out = python(["-c", code], cwd=tmp_path).stdout
    number = r"\d+\.\d+"
    assert re.sub(number, "", out).split() == re.sub(number, "", shown).split()
    for ours, theirs in zip(
        re.findall(number, out), re.findall(number, shown), strict=True
    ):
        assert float(ours) == pytest.approx(float(theirs), abs=0.02)


def test_errors_of_the_page_are_those_that_the_code_raises() -> None:
    """Each text in the first column, in a literal of Python or Julia."""
    files = [*(ROOT / "python").rglob("*.py"), *(ROOT / "julia").rglob("*.jl")]
    code = "\n".join(f.read_text() for f in files)
    code = re.sub(r'" ?\*?\s*\n\s*f?"', "", code).replace("`", "")
    rows = re.findall(r"^\| (`.*?) \|", (DOCS / "errors.md").read_text(), re.M)
    texts = [t for row in rows for t in re.findall(r"`([^`]+)`", row) if " " in t]
    assert len(texts) > 10
    for text in texts:
        assert text in code, text
