"""Run the notebooks of docs/notebooks, and store what they show.

Run `python tools/run_notebooks.py` after a change of a notebook, or `... NAME` for one.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).parent.parent / "docs" / "notebooks"
APART = "deployment"  # the notebook that starts processes of its own
WARNED = r"\S*ipykernel_\S+ (\w+: .*)\n.*\n"  # a warning, and the line that it is about
RESET = "%reset -f"
# Julia compiles at the first run: what a notebook shows is how long it takes afterwards.
START = 'import fedflux; fedflux.run(dataset="digits", rounds=1)'


def notebooks(*names: str) -> dict[str, NotebookNode]:
    """Read notebooks by their names; all without a name."""
    files = sorted(FOLDER.glob("*.ipynb"))
    return {f.stem: nbformat.read(f, 4) for f in files if not names or f.stem in names}


def executed(given: dict[str, NotebookNode]) -> dict[str, NotebookNode]:
    """Run notebooks one after the other in one kernel, which starts Julia once.

    Args:
        given: the notebooks by name; they are not changed.

    Returns:
        The notebooks with what their cells show.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails.
    """
    cells = [nbformat.v4.new_code_cell(f"{START}\n{RESET}")]
    for notebook in given.values():
        cells += [*notebook.cells, nbformat.v4.new_code_cell(RESET)]
    joined = nbformat.v4.new_notebook(cells=[NotebookNode(cell) for cell in cells])
    with tempfile.TemporaryDirectory() as folder:
        place = {"metadata": {"path": folder}}
        NotebookClient(
            joined, timeout=900, kernel_name="python3", resources=place
        ).execute()
    done, left = {}, joined.cells[1:]
    for name, notebook in given.items():
        own, left = left[: len(notebook.cells)], left[len(notebook.cells) + 1 :]
        for number, cell in enumerate(own):
            cell.id = f"{name}-{number}"
            cell.metadata = {}
            for output in cell.get("outputs", []):
                if output.get("name") == "stderr":
                    output.text = re.sub(WARNED, r"\1\n", output.text)
        done[name] = nbformat.v4.new_notebook(cells=own, metadata=notebook.metadata)
    return done


def main() -> None:
    """Run the notebooks named in the command line, and write them."""
    given = notebooks(*sys.argv[1:])
    apart = {name: given.pop(name) for name in [APART] if name in given}
    for group in filter(None, (given, apart)):
        for name, notebook in executed(group).items():
            nbformat.write(notebook, FOLDER / f"{name}.ipynb")


if __name__ == "__main__":
    main()
