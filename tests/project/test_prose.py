"""README and docs read plainly: counts that show when prose drifts back."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = [
    ROOT / "README.md",
    *(p for p in sorted((ROOT / "docs").glob("*.md")) if p.name != "options.md"),
]
# British spellings that were replaced; public names such as `normalise` stand in backticks.
BRITISH = (
    r"\b(?:\w*(?:normalis|optimis|regularis|serialis|initialis|minimis|summaris|quantis|"
    r"standardis|randomis|organis|recognis|generalis|neighbour|behaviour|favour)\w+|"
    r"colour\w*|centre[sd]?|labelled|cancelled|licence|learnt)\b"
)
# Public names, those of the functions behind them, and what Julia's packages are called.
NAMES = {
    *("normalise", "normalise_federated", "normalise_channels", "neighbours"),
    *("Optimisers", "OptimiserChain"),
}


def prose(text: str) -> str:
    """A page without code, tables, addresses and HTML."""
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    text = re.sub(r"^(?:\s*\||\[[^\]]+\]: |    \S).*$", "", text, flags=re.M)
    text = re.sub(r"`[^`]*`", "X", text)
    return re.sub(r"\]\([^)]*\)|<[^>]+>", "", text)


def per_thousand(pattern: str, text: str) -> float:
    """How often a pattern is in a text, per 1,000 words."""
    words = len(re.findall(r"[A-Za-z][\w'-]*", text))
    return 1000 * len(re.findall(pattern, text, re.I)) / words


@pytest.mark.parametrize(
    ("pattern", "least", "most"),
    [(r"\bwhere\b", 0, 1), (";", 0, 3), (r"\byours?\b|\byou\b", 6, 1000)],
)
def test_prose_is_plain(pattern: str, least: int, most: int) -> None:
    """'if' and 'when' for conditions, few semicolons, and 'you' for the reader."""
    pages = {page.name: prose(page.read_text()) for page in PAGES}
    each = {name: round(per_thousand(pattern, text), 1) for name, text in pages.items()}
    assert least <= per_thousand(pattern, "\n".join(pages.values())) <= most, each


def test_spelling_is_american() -> None:
    """Public names keep the spelling that they have: in pages, prose alone is looked at."""
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        found = re.findall(BRITISH, prose(page.read_text()), re.I)
        assert set(found) <= {"Optimisers"}, page.name  # Julia's package
    sources = [ROOT / "CHANGELOG.md", *ROOT.glob("python/**/*.py")]
    for source in [*sources, *ROOT.glob("julia/FedFlux/[se]*/**/*.jl")]:
        found = re.findall(BRITISH, source.read_text(encoding="utf-8"), re.I)
        assert set(found) <= NAMES, f"{source.name}: {set(found) - NAMES}"


def test_the_counts_see_prose_alone() -> None:
    text = "You; `a;b`\n\n```\nwhere;\n```\n\n| where; |\n\n    where;\n\n[x](;) where\n"
    assert per_thousand(";", prose(text)) == per_thousand(r"\bwhere\b", prose(text)) == 250
