"""Writes docs/options.md from the core's tables of options: `python docs/make_options.py`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "julia" / "FedFlux" / "src"


def bounds(entry: dict[str, Any]) -> str:
    """Say what an option or a parameter may be."""
    parts = [entry["type"].removesuffix("?")]
    if "choices" in entry:
        parts = [" \\| ".join(map(str, entry["choices"]))]
    parts += [f"{sign} {entry[key]}" for key, sign in (("min", "≥"), ("above", ">"), ("max", "≤")) if key in entry]
    return ", ".join(parts)


def default(entry: dict[str, Any]) -> str:
    """Say what stands where nothing is given."""
    if "default" in entry:
        return f"`{entry['default']}`"
    return "unset" if entry["type"].endswith("?") else "must be given"


def options() -> list[str]:
    """Make a table of the options for each group."""
    groups: dict[str, list[str]] = {}
    for name, entry in tomllib.loads((SOURCE / "options.toml").read_text()).items():
        row = f"| `{name}` | {bounds(entry)} | {default(entry)} | {entry['help']} |"
        groups.setdefault(entry["group"], []).append(row)
    lines = []
    for group, rows in groups.items():
        lines += [f"## {group}", "", "| option | what | default | |", "|---|---|---|---|", *rows, ""]
    return lines


def specs() -> list[str]:
    """Make a table of the names that may be given for each kind of object."""
    lines = []
    for kind, names in tomllib.loads((SOURCE / "specs.toml").read_text()).items():
        lines += [f"## What `{kind}` may name", "", "| text | object | | source |", "|---|---|---|---|"]
        for name, entry in names.items():
            params = entry.get("params", {})
            text = f"{name}({', '.join(params)})" if params else name
            told = "".join(f"<br>`{p}`: {bounds(e)}; {default(e)}; {e.get('help', '')}" for p, e in params.items())
            lines.append(f"| `{text}` | `{entry['class']}` | {entry['help']}{told} | {entry.get('source', '')} |")
        lines.append("")
    return lines


def page() -> str:
    """Make the whole page."""
    head = [
        "# Options",
        "",
        "Every option of a run: `fedflux.run(name=...)` in Python, `FedFlux.run(name = ...)` in Julia,",
        "`fedflux run --name` with dashes for underscores in a shell, `name = ...` in a file given with `--config`.",
        "This page is made from the core's tables by `python docs/make_options.py`.",
        "",
    ]
    return "\n".join(head + options() + specs()).rstrip() + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "options.md").write_text(page())
