"""Plots of results, with matplotlib (`pip install 'fedflux[plots]'`).

Pictures are written as .png, .svg or .pdf, by the ending of the path. All have one style:
at most eight colors, which color-blind readers can tell apart, and lines named at their
ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._pictures import clients as _clients, curves as _curves
from ._pictures.style import PathLike, figure as _figure, saved as _saved
from ._results.predict import labeled as _labeled
from ._results.result import Result
from .errors import DataError, OptionError, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Results = Mapping[str, Result | Sequence[Result]] | Result


def clients(split: Mapping[str, Any] | Result, path: PathLike | None = None) -> Figure:
    """Draw the samples of each label (rows) and client (columns), and the clients' sizes.

    Args:
        split: what `fedflux.partition` returns, or a result of the core.
        path: the picture to write, .png, .svg or .pdf, or None for none.

    Returns:
        The figure.

    Raises:
        DataError: the numbers of each client are not available: the result is of the
            reference engine, or has more than 1,000 clients.
        FedFluxError: matplotlib is not installed, or the file can't be written.

    Example:
        >>> split = {"sizes": [3, 4], "labels": [[3, 0], [1, 3]]}
        >>> len(clients(split).axes)
        3
    """
    if not isinstance(split, Mapping | Result):
        raise DataError(
            f"split: expected a Result, or what partition returns, got {shown(split)}"
        )
    data = split if isinstance(split, Mapping) else split.holdings
    if data is None or not isinstance(data.get("sizes"), Sequence):
        raise DataError(
            "the samples per client are not available: expected a result of the Julia core "
            "with at most 1,000 clients"
        )
    sizes, labels = np.asarray(data["sizes"]), data.get("labels")
    classes = (split if isinstance(split, Mapping) else split.details).get("classes")
    return _saved(_clients.holdings(sizes, labels, classes), path)


def accuracy(results: Results, path: PathLike | None = None) -> Figure:
    """Draw test accuracy by round.

    Args:
        results: a result, or results by their names at the ends of the lines; for a list of
            results, such as those of several seeds, their mean, and a band from the lowest
            to the highest.
        path: the picture to write, .png, .svg or .pdf; None for none.

    Returns:
        The figure.

    Raises:
        DataError: no round has an accuracy.
        FedFluxError: matplotlib is not installed, or the file can't be written.

    Example:
        >>> import fedflux
        >>> result = fedflux.run(
        ...     dataset="digits", model="softmax_regression", rounds=2, engine="reference"
        ... )
        >>> len(accuracy(result).axes[0].lines)
        1
    """
    named = _named(results)
    for runs in named.values():
        if not all(_curves.points(curve, "accuracy") for curve in runs):
            raise DataError(
                "no round has an accuracy: expected test data and a loss with classes"
            )
    figure = _figure(height=3.6)
    _curves.one(figure.subplots(), named, "accuracy")
    return _saved(figure, path)


def rounds(results: Results, path: PathLike | None = None) -> Figure:
    """Draw by round: accuracy, loss, bytes, ε and seconds, each if the runs have it.

    For a single run, the spread of the accuracy over the clients is drawn too.

    Args:
        results: as in `accuracy`.
        path: the picture to write, .png, .svg or .pdf; None for none.

    Returns:
        The figure.

    Raises:
        DataError: there is nothing to draw.
        FedFluxError: matplotlib is not installed, or the file can't be written.
    """
    return _saved(_curves.overview(_named(results)), path)


def client_accuracy(result: Result, path: PathLike | None = None) -> Figure:
    """Draw each client's accuracy on its own test data, above the labels that it holds.

    Args:
        result: of a run with test data of the clients' own (`client_test`, `owner_test`).
        path: the picture to write, .png, .svg or .pdf; None for none.

    Returns:
        The figure.

    Raises:
        DataError: no client has an accuracy.
        FedFluxError: matplotlib is not installed, or the file can't be written.
    """
    rows = result.clients if isinstance(result, Result) else []
    if all(row.get("accuracy") is None for row in rows):
        raise DataError(
            "no client has an accuracy of its own: give client_test=0.2 to the run, or "
            "owner_test with the arrays"
        )
    labels = (result.holdings or {}).get("labels")
    labels = labels if isinstance(labels, Sequence) else None
    classes = result.details.get("classes")
    return _saved(_clients.accuracies(rows, labels, classes), path)


def confusion(
    result: Result,
    x: Any,
    y: Any,
    path: PathLike | None = None,
    *,
    classes: Sequence[str] | None = None,
) -> Figure:
    """Draw a confusion matrix: how often each true class is predicted as each other.

    Args:
        result: of a model that predicts labels.
        x, y: samples and their labels, as `Result.score` takes them.
        path: the picture to write, .png, .svg or .pdf; None for none.
        classes: the names of the classes. Default: `result.classes`.

    Returns:
        The figure.

    Raises:
        OptionError: the model predicts no single labels, or too few names.
        DataError: the samples don't fit the model.
        FedFluxError: matplotlib is not installed, or the file can't be written.
    """
    result.score(x, y)  # checks both
    predicted, true = np.ravel(result.predict(x)), np.ravel(np.asarray(y))
    given = result.details.get("classes")
    if given is not None:
        predicted, true = (np.searchsorted(given, labels) for labels in (predicted, true))
        classes = [str(name) for name in given] if classes is None else classes
    if not _labeled(result) or predicted.shape != true.shape:
        raise OptionError("confusion: expected a model that predicts one label a sample")
    n = int(max(predicted.max(), true.max())) + 1
    if classes is not None and len(classes) < n:
        raise OptionError(f"classes: expected {n} names or more, got {len(classes)}")
    counts = np.zeros((n, n), dtype=int)
    np.add.at(counts, (true.astype(int), predicted.astype(int)), 1)
    names = [str(i) for i in range(n)] if classes is None else classes
    return _saved(_clients.confusion(counts, names), path)


def _named(results: Results) -> dict[str, list[_curves.Curve]]:
    """Return the curves of results, by name."""
    named = results if isinstance(results, Mapping) else {"": results}
    lists = {n: [r] if isinstance(r, Result) else r for n, r in named.items()}
    if not lists or not all(
        isinstance(runs, Sequence) and runs and all(isinstance(r, Result) for r in runs)
        for runs in lists.values()
    ):
        raise DataError(
            f"results: expected a Result, or Results by their names, got {shown(results)}"
        )
    return {n: [_curves.of_history(r.history) for r in runs] for n, runs in lists.items()}
