"""Writes docs/options.md from the core's tables: `python tools/make_options.py`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
TABLES = ROOT / "julia" / "FedFlux" / "src" / "options"
BOUNDS = (("min", "≥"), ("above", ">"), ("max", "≤"))


def bounds(entry: dict[str, Any]) -> str:
    """Describe the values of an option or a parameter."""
    parts = [entry["type"].removesuffix("?")]
    if "choices" in entry:
        parts = [" \\| ".join(map(str, entry["choices"]))]
    if entry.get("single"):
        parts[0] = f"float or {parts[0]}"
    parts += [f"or {word}" for word in entry.get("words", ())]
    parts += [f"{sign} {entry[key]}" for key, sign in BOUNDS if key in entry]
    return ", ".join(parts)


def default(entry: dict[str, Any]) -> str:
    """Describe the default of an option or a parameter."""
    if "default" in entry:
        special = dict(entry.get("default_with", {}))
        if not special:
            return f"`{entry['default']}`"
        value = special.pop("value")
        conditions = ", ".join(f"{name} {wanted}" for name, wanted in special.items())
        return f"`{entry['default']}`; `{value}` with {conditions}"
    return "unset" if entry["type"].endswith("?") else "required"


def options() -> list[str]:
    """Make a table of options for each group."""
    groups: dict[str, list[str]] = {}
    for name, entry in tomllib.loads((TABLES / "options.toml").read_text()).items():
        row = f"| `{name}` | {bounds(entry)} | {default(entry)} | {entry['help']} |"
        groups.setdefault(entry["group"], []).append(row)
    lines = []
    for group, rows in groups.items():
        head = ["| option | values | default | meaning |", "|---|---|---|---|"]
        lines += [f"## {group}", "", *head, *rows, ""]
    return lines


def specs() -> list[str]:
    """Make a table of names for each kind of object."""
    lines = []
    for kind, names in tomllib.loads((TABLES / "specs.toml").read_text()).items():
        head = ["| text | object | meaning | source |", "|---|---|---|---|"]
        lines += [f"## Names for `{kind}`", "", *head]
        lines += [spec(name, entry) for name, entry in names.items()]
        lines.append("")
    return lines


def spec(name: str, entry: dict[str, Any]) -> str:
    """Make the row of a name."""
    params = entry.get("params", {})
    text = f"{name}({', '.join(params)})" if params else name
    meaning = entry["help"] + "".join(
        f"<br>`{p}`: {bounds(e)}; {default(e)}; {e.get('help', '')}"
        for p, e in params.items()
    )
    return f"| `{text}` | `{entry['class']}` | {meaning} | {entry.get('source', '')} |"


def page() -> str:
    """Make the whole page."""
    head = [
        "# Options",
        "",
        "The options of a run: `fedflux.run(name=...)` in Python, `fedflux run --name` in",
        "a shell, with hyphens for underscores, `FedFlux.run(name = ...)` in Julia, and",
        "`name = ...` in a file for `--config`. `python tools/make_options.py` makes this",
        "page from the core's tables.",
        "",
    ]
    return "\n".join(head + options() + specs()).rstrip() + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "options.md").write_text(page())
