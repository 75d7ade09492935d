"""The pages of the site that are made: a page a method, and the API of both languages."""

from __future__ import annotations

import json
import re
import runpy
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
TABLES = ROOT / "julia" / "FedFlux" / "src" / "options"
HOME = "https://github.com/fedflux/fedflux/blob/main/"
KINDS = {
    "rule": "Rules",
    "aggregate": "Aggregators",
    "server": "Server steps",
    "partition": "Partitions",
    "sampling": "Choice of clients",
    "availability": "Availability",
    "optimizer": "Optimizers",
    "schedule": "Schedules",
    "augment": "Augmentation",
    "fault": "Faults",
    "attack": "Attacks",
}
FILES = ("options", "specs")
REFERENCE = r"\[([^\]]+)\]\(@ref *([^)]*)\)"  # as Documenter.jl writes them
OTHERS = ("run", "fit!", "round!", "train_model!", "aggregate_models", "update_model!")


@cache
def facts() -> dict[str, Any]:
    """Ask the core for its docstrings, and for what goes together."""
    import fedflux

    fedflux.setup()
    from juliacall import Main as jl

    jl.include(str(Path(__file__).parent / "facts.jl"))
    answer: dict[str, Any] = json.loads(str(jl.site_facts()))
    return answer


@cache
def tables() -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the core's tables of options and of names."""
    options, specs = (tomllib.loads((TABLES / f"{n}.toml").read_text()) for n in FILES)
    return options, specs


def option_of(kind: str) -> tuple[str, bool]:
    """Find the option that takes the names of a kind, and whether it takes several."""
    for name, entry in tables()[0].items():
        if entry["type"].startswith("spec") and entry.get("kind", name) == kind:
            return name, entry["type"].startswith("specs")
    raise KeyError(kind)


def one_line(kind: str, name: str, entry: dict[str, Any]) -> list[str]:
    """Write the line that runs a method: in Python, in a shell, in Julia."""
    params = {p: e["default"] for p, e in entry.get("params", {}).items() if "default" in e}
    shown = {p: v for p, v in params.items() if isinstance(v, int | float)}
    inner = ", ".join(f"{p}={json.dumps(v)}" for p, v in shown.items())
    text = f"{name}({inner})" if inner else name
    option, several = option_of(kind)
    value = f'["{text}"]' if several else f'"{text}"'
    flag = tables()[0][option].get("flag", option).replace("_", "-")
    return [
        "```python",
        f'fedflux.run(dataset="digits", {option}={value})',
        "```",
        "",
        "```sh",
        f'fedflux run --dataset digits --{flag} "{text}"',
        "```",
        "",
        "```julia",
        f'FedFlux.run(dataset = "digits", {option} = {value})',
        "```",
        "",
    ]


def linked(source: str) -> str:
    """Link each paper that a source names on arXiv."""
    return re.sub(
        r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", source
    )


@cache
def options_page() -> dict[str, Any]:
    """Load what makes the page of options, which words bounds and defaults."""
    return runpy.run_path(str(ROOT / "tools" / "make_options.py"))


def parameters(entry: dict[str, Any]) -> list[str]:
    """Make the table of a method's parameters."""
    made = options_page()
    rows = [
        f"| `{p}` | {made['bounds'](e)} | {made['default'](e)} | {e.get('help', '')} |"
        for p, e in entry.get("params", {}).items()
    ]
    head = ["## Parameters", "", "| name | values | default | meaning |"]
    return [*head, "|---|---|---|---|", *rows, ""] if rows else []


def goes_with(name: str) -> list[str]:
    """Say which rules and aggregators refuse a rule, and why."""
    refused = facts()["refusals"].get(name)
    if refused is None:
        return []
    rows = [
        f"| [`{other}`](../{kind}/{other}.md) | {reason} |"
        for kind in ("rule", "aggregate")
        for other, reason in sorted(refused[kind].items())
    ]
    if not rows:
        return ["## What it goes with", "", "It goes with every rule and aggregator.", ""]
    head = "It goes with every rule and aggregator but these. A run with them is refused:"
    return [
        "## What it goes with",
        "",
        head,
        "",
        "| refused | reason |",
        "|---|---|",
        *rows,
        "",
    ]


@cache
def measured_rows() -> dict[str, dict[str, Any]]:
    """Read what `python -m benchmarks.methods` measured, by the pages of the methods."""
    rows = json.loads((ROOT / "docs" / "methods.json").read_text())["rows"]
    return {row["page"]: row for row in rows if "page" in row}


def measured(kind: str, name: str) -> list[str]:
    """Show the measured row of a method beside FedAvg's."""
    row = measured_rows().get(f"{kind}/{name}")
    if row is None:
        return []
    text = (ROOT / "docs" / "measured.md").read_text()
    title = row["name"]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    head = next(line for line in lines if line.startswith("| method |"))
    shown = [
        line
        for line in lines
        if line.startswith(("| FedAvg |", f"| {title} |", f"| {title} (`"))
    ]
    rule = "| --- | --- | ---: | ---: | ---: |"
    where = "In [one setting for all methods](../../measured.md), on two labels a client:"
    return ["## Measured", "", where, "", head, rule, *shown, ""]


def method(kind: str, name: str, entry: dict[str, Any]) -> str:
    """Make the page of a method."""
    title = entry["class"]
    lines = [f"# {title}", "", entry["help"][0].upper() + entry["help"][1:] + ".", ""]
    if "source" in entry:
        lines += [f"Source: {linked(entry['source'])}.", ""]
    lines += one_line(kind, name, entry)
    lines += parameters(entry)
    lines += measured(kind, name)
    if title in facts()["docs"]:
        lines += ["## In full", "", *docstring(title, 3, f"methods/{kind}")]
    if kind == "rule":
        lines += goes_with(name)
    return "\n".join(lines)


def methods_index() -> str:
    """Make the list of all methods."""
    lines = ["# Methods", "", "Each name that an option takes has a page of its own.", ""]
    for kind, title in KINDS.items():
        option, _ = option_of(kind)
        lines += [f"## {title}", "", f"The option `{option}` takes these names.", ""]
        lines += ["| name | what it does | source |", "|---|---|---|"]
        for name, e in tables()[1][kind].items():
            link = f"[`{name}`]({kind}/{name}.md)"
            lines.append(f"| {link} | {e['help']} | {linked(e.get('source', ''))} |")
        lines.append("")
    return "\n".join(lines)


def key(target: str) -> str:
    """Name what a cross-reference of a docstring leads to."""
    return target.strip("`").removeprefix("FedFlux.").partition("(")[0]


def anchor(name: str) -> str:
    """Name a heading of the page of the Julia API, as links do."""
    return "jl-" + name.replace("!", "-bang").lower()


@cache
def public() -> tuple[str, ...]:
    """List the names of the Julia API: the exported ones and those that they refer to."""
    docs = facts()["docs"]
    found: set[str] = set()
    ahead = [n for n in (*facts()["exported"], *OTHERS) if n in docs]
    while ahead:
        name = ahead.pop()
        if name in found:
            continue
        found.add(name)
        text = "".join(part["text"] for part in docs[name])
        ahead += [
            target
            for shown, named in re.findall(REFERENCE, text)
            if (target := key(named or shown)) in docs and target not in found
        ]
    return tuple(sorted(found, key=str.lower))


def docstring(name: str, level: int, page: str) -> list[str]:
    """Write a name's docstrings as Markdown, with links for its cross-references."""
    up = "../" * (page.count("/") + 1)

    def link(found: re.Match[str]) -> str:
        target = key(found[2] or found[1])
        if target not in public():
            return found[1]
        return (
            f"[{found[1]}]({up if page != 'api' else ''}{api_page(page)}#{anchor(target)})"
        )

    lines: list[str] = []
    for part in facts()["docs"][name]:
        text = re.sub(REFERENCE, link, part["text"].strip("\n"))
        text = re.sub(
            r"^(#+) ", lambda m: "#" * (level + len(m[1])) + " ", text, flags=re.M
        )
        text = re.sub(r"\A(?:    .*\n?)+", signature, text)
        where = f"julia/FedFlux/src/{part['file']}"
        lines += [text, "", f"[Source]({HOME}{where}#L{part['line']})", ""]
    return lines


def signature(found: re.Match[str]) -> str:
    """Fence the signature that opens a docstring."""
    body = "\n".join(line[4:] for line in found[0].rstrip().splitlines())
    return f"```julia\n{body}\n```\n"


def api_page(page: str) -> str:
    """Name the page of the Julia API, as another page sees it."""
    return "julia.md" if page == "api" else "api/julia.md"


def julia_api() -> str:
    """Make the page of the Julia API."""
    lines = [
        "# The API of Julia",
        "",
        "`using FedFlux` brings the exported names. Write the others as `FedFlux.name`.",
        "",
    ]
    for name in public():
        shown = name if name in facts()["exported"] else f"FedFlux.{name}"
        lines += [f"## `{shown}` {{ #{anchor(name)} }}", "", *docstring(name, 2, "api")]
    return "\n".join(lines)


def python_api() -> str:
    """Make the page of the Python API, which mkdocstrings fills."""
    import fedflux

    lines = ["# The API of Python", ""]
    for name in sorted(n for n in fedflux.__all__ if n != "__version__"):
        lines += [f"::: fedflux.{name}", ""]
    for package in ("flower", "he", "plots", "tracking"):
        lines += [f"::: fedflux.{package}", ""]
    return "\n".join(lines)


def pages() -> dict[str, str]:
    """Make all pages, by their paths in the site."""
    made = {"methods/index.md": methods_index()}
    for kind in KINDS:
        for name, entry in tables()[1][kind].items():
            made[f"methods/{kind}/{name}.md"] = method(kind, name, entry)
    return {**made, "api/julia.md": julia_api(), "api/python.md": python_api()}
