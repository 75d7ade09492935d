"""The modules of the package: who imports whom."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from ..conftest import ROOT

PACKAGE = ROOT / "python" / "fedflux"


def name_of(path: Path) -> str:
    """The module of a file, without the package: "" for the package itself."""
    return (
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        .removesuffix("__init__")
        .rstrip(".")
    )


MODULES = {
    name_of(path): ast.parse(path.read_text())
    for path in sorted(PACKAGE.rglob("*.py"))
    if "template" not in path.parts
}
PACKAGES = {name_of(path) for path in PACKAGE.rglob("__init__.py")}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports(
    tree: ast.AST, *, for_types: bool = False
) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports, at the top and in functions.

    `for_types`: those in TYPE_CHECKING blocks too.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif is_type_checking(node):
            assert isinstance(node, ast.If)
            branches = [*(node.body if for_types else []), *node.orelse]
            for branch in branches:
                yield from imports(ast.Module([branch], []), for_types=for_types)
        else:
            yield from imports(node, for_types=for_types)


def imported(
    tree: ast.AST,
    modules: set[str],
    module: str = "",
    packages: set[str] = PACKAGES,
    **kwargs: bool,
) -> set[str]:
    """The modules of the package that `module` imports."""
    found: set[str] = set()
    here = ["fedflux", *module.split(".")] if module else ["fedflux"]
    if module not in packages:
        here = here[:-1]
    for node in imports(tree, **kwargs):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            base = [node.module] if node.module else []
            if node.level:
                base = [*here[: len(here) + 1 - node.level], *base]
            names = [".".join([*base, alias.name]) for alias in node.names]
        for name in names:
            if name.split(".")[0] == "fedflux":
                found.add(longest(name.removeprefix("fedflux").lstrip("."), modules))
    return found


def longest(name: str, modules: set[str]) -> str:
    """The module that a dotted name leads to, which may be a name in a module."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


def external(tree: ast.AST) -> set[str]:
    """The packages that a module imports."""
    found: set[str] = set()
    for node in imports(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif not node.level:
            found.add((node.module or "").split(".")[0])
    return found


# Which rooms a room uses, from the ground up; docs/design.md draws them. A folder is a
# room, and so is each file at the top.
ARROWS: dict[str, set[str]] = {
    "_core_files": set(),
    "errors": {"_core_files"},
    "_version": set(),
    "_typing": set(),
    "_pictures": {"errors"},
    "_options": {"_core_files", "errors"},
    "_data": {"errors", "_typing", "_options"},
    "_extensions": {"errors", "_typing", "_options"},
    "_julia": {"errors", "_typing", "_options", "_extensions"},
    "he": {"errors", "_options"},
    "_reference": {"errors", "_typing", "_options", "_data", "_extensions"},
    "_privacy": {"errors", "_julia"},
    "_description": set(),
    "_torch": {"errors", "_typing", "_description"},
    "_onnx": {"errors", "_version", "_typing", "_description"},
    "_results": {
        "_torch",
        "_onnx",
        "errors",
        "_typing",
        "_version",
        "_pictures",
        "_options",
        "_data",
        "_julia",
        "_reference",
    },
    "plots": {"errors", "_pictures", "_results"},
    "tracking": {"errors", "_typing", "_options", "_results"},
    "_simulation": {
        *("errors", "_typing", "_options", "_data", "_extensions", "_julia", "he"),
        *("_reference", "_results", "_torch", "tracking"),
    },
    "_comparison": {
        *("errors", "_typing", "_pictures", "_options", "_data", "_julia", "he"),
        *("_results", "tracking", "_simulation"),
    },
    "_report": {
        *("errors", "_typing", "_pictures", "_options", "_results", "_comparison"),
    },
    "sklearn": {"errors", "_results", "_simulation"},
    "flower.worker": {
        *("errors", "_version", "_typing", "_options", "_data", "_extensions", "_julia"),
        *("he", "_reference"),
    },
    "flower": {
        "errors",
        "_typing",
        "_options",
        "_data",
        "_reference",
        "_results",
        "tracking",
        "flower.worker",
    },
    "cli": {
        *("errors", "_version", "_pictures", "_options", "_data", "_julia", "he"),
        *("_privacy", "_results", "plots", "_simulation", "_comparison", "_report"),
        "flower",
    },
    "__main__": {"cli"},
}
# The package itself names what is public, and imports it when it is asked for.
PUBLIC = {"errors", "_version", "_options", "_julia", "_privacy", "_results", "_simulation"}
PUBLIC |= {"plots", "flower", "he", "sklearn", "_extensions", "_comparison", "_report"}
PUBLIC |= {"tracking"}


def room(module: str) -> str:
    """The room of a module."""
    if module.startswith("flower.worker"):
        return "flower.worker"
    return module.partition(".")[0]


def wrong_arrows(graph: dict[str, set[str]]) -> list[str]:
    """The imports between rooms that no arrow allows."""
    allowed = {"": PUBLIC} | ARROWS
    return [
        f"{module} imports {used}, and {room(module) or 'fedflux'} may not use {room(used)}"
        for module, imports in graph.items()
        for used in sorted(imports)
        if room(used) != room(module) and room(used) not in allowed[room(module)]
    ]


def graph() -> dict[str, set[str]]:
    """The imports of each module, those for types too."""
    modules = set(MODULES)
    return {
        name: imported(tree, modules, name, for_types=True) - {""}
        for name, tree in MODULES.items()
    }


def test_rooms_use_the_rooms_below_them() -> None:
    assert wrong_arrows(graph()) == []
    assert {room(name) for name in MODULES} - {""} == set(ARROWS)
    seen: set[str] = set()
    for name, used in ARROWS.items():
        assert used <= seen, f"{name} uses a room above it"
        seen.add(name)


def test_no_arrow_is_unused() -> None:
    found = {(room(m), room(u)) for m, used in graph().items() for u in used}
    assert [(a, b) for a, used in ARROWS.items() for b in used if (a, b) not in found] == []


def test_a_wrong_arrow_is_found() -> None:
    assert wrong_arrows({"_data.arrays": {"_results.result", "errors"}}) == [
        "_data.arrays imports _results.result, and _data may not use _results"
    ]


def test_the_drawing_shows_the_arrows() -> None:
    page = (ROOT / "docs" / "design.md").read_text().replace("\n" + " " * 16, " ")
    drawn = dict(re.findall(r"^([\w.]+) +← +(.*)$", page, re.M))
    shown = {name: set(filter(None, used.split(", "))) for name, used in drawn.items()}
    assert shown == {name: used or {"nothing"} for name, used in ARROWS.items()}


def test_imports_have_no_cycle() -> None:
    try:
        order = list(TopologicalSorter(graph()).static_order())
    except CycleError as error:
        pytest.fail(f"these modules import each other: {' → '.join(error.args[1])}")
    assert set(order) == set(MODULES)


def test_flower_is_imported_where_it_is_deployed_only() -> None:
    """And its public API only."""
    public = {"flwr.app", "flwr.clientapp", "flwr.serverapp"}
    for name, tree in MODULES.items():
        if "flwr" in external(tree):
            assert name.startswith("flower.")
            named = {n.module for n in imports(tree) if isinstance(n, ast.ImportFrom)}
            assert {name for name in named if name and name.startswith("flwr")} <= public


def test_only_one_module_imports_juliacall() -> None:
    assert [n for n, tree in MODULES.items() if "juliacall" in external(tree)] == [
        "_julia.start"
    ]


def test_importing_the_package_needs_only_its_version() -> None:
    tops = [n for n in MODULES[""].body if isinstance(n, ast.Import | ast.ImportFrom)]
    assert {n.module for n in tops if isinstance(n, ast.ImportFrom)} == {
        "__future__",
        "typing",
        "_version",
    }


@pytest.mark.parametrize(
    ("module", "code", "expected"),
    [
        ("a", "from .b import x", {"b"}),
        ("a", "from . import b, c", {"b", "c"}),
        ("a", "from . import __version__", {""}),
        ("a", "from . import b, __version__", {"b", ""}),
        ("a", "import fedflux.b", {"b"}),
        ("a", "import fedflux", {""}),
        ("a", "from fedflux.b import x", {"b"}),
        ("a", "from fedflux import c", {"c"}),
        ("a", "import numpy, json", set()),
        ("a", "def f():\n    from .b import x", {"b"}),
        (
            "a",
            "if TYPE_CHECKING:\n    from .b import x\nelse:\n    from .c import x",
            {"c"},
        ),
        ("r.d", "from .e import x", {"r.e"}),
        ("r.d", "from . import e", {"r.e"}),
        ("r.d", "from ..b import x", {"b"}),
        ("r.d", "from .. import b", {"b"}),
        ("r.d", "from fedflux.r import e, x", {"r.e", "r"}),
        ("r", "from .d import x", {"r.d"}),
    ],
)
def test_imports_are_found(module: str, code: str, expected: set[str]) -> None:
    modules = {"b", "c", "r", "r.d", "r.e"}
    assert imported(ast.parse(code), modules, module, {"", "r"}) == expected


def test_a_cycle_is_found() -> None:
    trees = {"b": "from .c import x", "c": "def f():\n    from . import b"}
    found = {name: imported(ast.parse(code), set(trees)) for name, code in trees.items()}
    with pytest.raises(CycleError):
        list(TopologicalSorter(found).static_order())


def test_texts_have_an_encoding() -> None:
    """Windows would read them as cp1252."""
    named = {"read_text", "write_text", "fdopen", "TextIOWrapper"}
    for module, tree in MODULES.items():
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            given = {k.arg for k in call.keywords}
            text = getattr(call.func, "attr", "") in named or "text" in given
            modes = [a.value for a in call.args if isinstance(a, ast.Constant)]
            binary = any(isinstance(m, str) and m.endswith("b") for m in modes)
            if "text" in given and not {"stdout", "capture_output"} & given:
                continue  # not a process
            assert not text or binary or "encoding" in given, f"{module}: {call.lineno}"
