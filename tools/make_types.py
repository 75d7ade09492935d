"""Write the types of options and objects for type checkers, from the core's tables.

`python tools/make_types.py` rewrites python/fedflux/_simulation/option_types.py and
python/fedflux/__init__.pyi.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import fedflux
from fedflux._options.classes import classes
from fedflux._options.option import Option
from fedflux._options.options import column, declared
from fedflux._options.specs import known

PACKAGE = Path(__file__).resolve().parent.parent / "python" / "fedflux"
NAMES = {
    "int": "int",
    "float": "float",
    "str": "str",
    "bool": "bool",
    "ints": "Iterable[int]",
    "floats": "Iterable[float]",
    "strs": "Iterable[str]",
    "spec": "str | Spec",
    "specs": "str | Spec | Iterable[str | Spec]",
}
# What an option takes beside names, by _extensions; `rules` alone, or in a list.
OWN = {
    "aggregate": "Aggregator | aggregator.Function",
    "availability": "cohorts.Function",
    "metrics": "metrics.Given",
    "partition": "partition.Given",
    "sampling": "cohorts.Function",
    "server": "server_step.Function",
}
MADE = '"""{what}\n\nMade by tools/make_types.py from the core\'s tables.\n"""\n\n'


def type_of(option: Option) -> str:
    """Return the type of an option's or a parameter's value."""
    if option.kind == "str" and option.choices and not option.names_of:
        text = f"Literal[{', '.join(map(repr, option.choices))}]"
    else:
        text = NAMES[option.kind]
        text += " | float" if option.single else ""
        text += f" | Literal[{', '.join(map(repr, option.words))}]" if option.words else ""
    if option.described:
        text += " | TorchModule"
    if option.name in column("path"):
        text += " | PathLike[str]"
    if option.name == "validation":
        text += " | tuple[Any, Any]"
    if option.name == "resume":
        text += " | PathLike[str] | Result"
    if option.name in OWN:
        text += f" | {OWN[option.name]}"
    if option.name == "rules":
        text = "str | Spec | Rule | Iterable[str | Spec | Rule]"
    return text + (" | None" if option.optional else "")


def documented(option: Option) -> str:
    """Return the docstring that follows a field."""
    text = f"{option.help}."
    if option.default not in (None, []):
        text += f" Default: {option.default!r}"
        text += f"; {option.special}." if option.special else "."
    return docstring(text)


def docstring(text: str) -> str:
    """Return a docstring, wrapped, for a line indented by four."""
    lines = textwrap.wrap(text, 80, break_long_words=False, break_on_hyphens=False)
    return '"""' + "\n    ".join([*lines, ""] if len(lines) > 1 else lines) + '"""'


def option_types() -> str:
    """Return the text of option_types.py."""
    fields = (
        f"    {option.name}: {type_of(option)}\n    {documented(option)}\n"
        for option in declared().values()
    )
    return (
        MADE.format(what="The options of a run, for type checkers.")
        + "from __future__ import annotations\n\n"
        + "from collections.abc import Iterable\nfrom os import PathLike\n"
        + "from typing import Any, Literal, TypedDict\n\n"
        + "from .._extensions import aggregator, cohorts, metrics, partition, server_step\n"
        + "from .._extensions.aggregator import Aggregator\n"
        + "from .._extensions.rule import Rule\n"
        + "from .._options.classes import Spec\nfrom .._results.result import Result\n"
        + "from .._typing import TorchModule\n\n\n"
        + "class Options(TypedDict, total=False):\n"
        + '    """The options of `fedflux.run`; none must be given."""\n\n'
        + "\n".join(fields)
    )


def stub() -> str:
    """Return the text of __init__.pyi."""
    lines = [MADE.format(what="The names of fedflux, for type checkers.")]
    lines.append(
        "from collections.abc import Iterable\nfrom dataclasses import dataclass\n"
    )
    lines.append("from typing import Literal\n\n")
    for name in fedflux.__all__:
        if name != "__version__":
            module = fedflux._MODULES[name]
            lines.append(f"from .{module} import {name} as {name}\n")
    for name in fedflux._PACKAGES:
        lines.append(f"from . import {name} as {name}\n")
    lines.append("from ._version import __version__ as __version__\n")
    lines.append("from ._options.classes import Spec\n")
    lines.append(f"\n__all__ = {[*fedflux.__all__, *classes()]!r}\n")
    lines.extend(_stub_of(name, cls) for name, cls in classes().items())
    return "".join(lines)


def _stub_of(name: str, cls: Any) -> str:
    parameters = known(cls.kind)[cls.name]
    fields = [
        f"    {p}: {type_of(o)}{'' if o.required else ' = ...'}"
        for p, o in sorted(parameters.items(), key=lambda item: not item[1].required)
    ]
    body = "\n".join([f"    {docstring(cls.__doc__)}", *fields])
    return f"\n@dataclass(frozen=True)\nclass {name}(Spec):\n{body}\n"


def formatted(text: str, name: str) -> str:
    """Return the text as ruff formats it, its imports sorted."""
    ruff = [sys.executable, "-m", "ruff"]
    for command in (
        [*ruff, "check", "-q", "--select", "I,F401,RUF022", "--fix-only"],
        [*ruff, "format", "-q"],
    ):
        done = subprocess.run(
            [*command, "--stdin-filename", str(PACKAGE / name), "-"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
        )
        text = done.stdout
    return text


def files() -> dict[Path, str]:
    """Return the text of each file that is made."""
    texts = {"_simulation/option_types.py": option_types(), "__init__.pyi": stub()}
    return {PACKAGE / name: formatted(text, name) for name, text in texts.items()}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
