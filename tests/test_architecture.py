"""The modules of the package: who imports whom."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

import pytest

from .conftest import ROOT

PACKAGE = ROOT / "python" / "fedflux"
MODULES = {path.stem: ast.parse(path.read_text()) for path in sorted(PACKAGE.glob("*.py"))}


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


def imported(tree: ast.AST, modules: set[str], **kwargs: bool) -> set[str]:
    """The modules of the package that a module imports."""
    found: set[str] = set()
    for node in imports(tree, **kwargs):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            base = node.module or ""
            if node.level:
                base = f"fedflux.{base}".rstrip(".")
            names = [f"{base}.{alias.name}" for alias in node.names]
        for name in names:
            package, *rest = name.split(".")
            if package == "fedflux":
                found.add(rest[0] if rest and rest[0] in modules else "__init__")
    return found


def external(tree: ast.AST) -> set[str]:
    """The packages that a module imports."""
    found: set[str] = set()
    for node in imports(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif not node.level:
            found.add((node.module or "").split(".")[0])
    return found


def graph() -> dict[str, set[str]]:
    """The imports of each module; those of `__init__` include what it imports lazily."""
    names = set(MODULES)
    return {
        name: imported(tree, names, for_types=name == "__init__")
        for name, tree in MODULES.items()
    }


def test_imports_have_no_cycle() -> None:
    try:
        order = list(TopologicalSorter(graph()).static_order())
    except CycleError as error:
        pytest.fail(f"these modules import each other: {' → '.join(error.args[1])}")
    assert set(order) == set(MODULES)


def test_flower_is_imported_where_it_is_deployed_only() -> None:
    """And its public API only."""
    public = {"flwr.app", "flwr.clientapp", "flwr.serverapp"}
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        assert "juliacall" not in external(tree) or path.stem == "_julia"
        if "flwr" in external(tree):
            assert path.parent.name == "flower"
            named = {n.module for n in imports(tree) if isinstance(n, ast.ImportFrom)}
            assert {name for name in named if name and name.startswith("flwr")} <= public


def test_only_one_module_imports_juliacall() -> None:
    assert [n for n, tree in MODULES.items() if "juliacall" in external(tree)] == ["_julia"]


def test_importing_the_package_needs_only_its_version() -> None:
    tops = [
        n for n in MODULES["__init__"].body if isinstance(n, ast.Import | ast.ImportFrom)
    ]
    assert {n.module for n in tops if isinstance(n, ast.ImportFrom)} == {
        "__future__",
        "typing",
        "_version",
    }


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("from .b import x", {"b"}),
        ("from . import b, c", {"b", "c"}),
        ("from . import __version__", {"__init__"}),
        ("from . import b, __version__", {"b", "__init__"}),
        ("import fedflux.b", {"b"}),
        ("import fedflux", {"__init__"}),
        ("from fedflux.b import x", {"b"}),
        ("from fedflux import c", {"c"}),
        ("import numpy, json", set()),
        ("def f():\n    from .b import x", {"b"}),
        ("if TYPE_CHECKING:\n    from .b import x\nelse:\n    from .c import x", {"c"}),
    ],
)
def test_imports_are_found(code: str, expected: set[str]) -> None:
    assert imported(ast.parse(code), {"b", "c"}) == expected


def test_a_cycle_is_found() -> None:
    trees = {"b": "from .c import x", "c": "def f():\n    from . import b"}
    found = {name: imported(ast.parse(code), set(trees)) for name, code in trees.items()}
    with pytest.raises(CycleError):
        list(TopologicalSorter(found).static_order())
