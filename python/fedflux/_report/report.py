"""`fedflux.report`: a page of HTML for a run or a comparison."""

from __future__ import annotations

import os
from pathlib import Path

from .._comparison.comparison import FILE, Comparison
from .._results.atomic_write import as_path, write_whole
from .._results.result import Result
from .._results.saved import facts_of
from ..errors import OptionError, shown
from . import comparison, run

What = Result | Comparison | str | os.PathLike[str]


def report(what: What, path: str | os.PathLike[str]) -> Path:
    """Write a page about a run or a comparison that needs nothing beside it.

    Args:
        what: a `Result`, a `Comparison`, the folder of a run or of a comparison, or a file
            that a result was saved to.
        path: the HTML file; an existing one is replaced.

    Returns:
        The path.

    Raises:
        DataError: there is no finished run or comparison.
        FedFluxError: the file can't be written.

    Example:
        >>> import fedflux, tempfile
        >>> result = fedflux.run(
        ...     dataset="digits", model="softmax_regression", rounds=2, engine="reference"
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = fedflux.report(result, f"{folder}/run.html").read_text("utf-8")
        >>> "<h2>Configuration</h2>" in page
        True
    """
    file = as_path("path", path)
    if isinstance(what, str | os.PathLike) and (Path(what) / FILE).is_file():
        what = Comparison.load(what)
    if isinstance(what, Comparison):
        text = comparison.comparison_page(what)
    elif isinstance(what, Result):
        text = run.run_page(what.facts())
    elif isinstance(what, str | os.PathLike):
        text = run.run_page(facts_of(what))
    else:
        raise OptionError(
            "what: expected a Result, a Comparison or the path of a run, got " + shown(what)
        )
    write_whole(file, text.encode())
    return file
