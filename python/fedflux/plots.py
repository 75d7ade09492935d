"""Plots of results, with matplotlib (`pip install 'fedflux[plots]'`)."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._results.atomic_write import as_path
from ._results.result import Result
from .errors import DataError, FedFluxError, OptionError, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOR = "#1b5e8c"
MAX_TICKS = 12
MAX_NUMBERED = 260  # cells that have room for their number

PathLike = str | os.PathLike[str]


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
    figure = _figure(height=4.8 if labels else 2.6)
    if labels is None:
        _draw_sizes(figure.subplots(), sizes).set_xlabel("client")
        return _saved(figure, path)
    grid = figure.add_gridspec(2, 2, height_ratios=(1, 3), width_ratios=(40, 1))
    lower = figure.add_subplot(grid[1, 0])
    upper = figure.add_subplot(grid[0, 0], sharex=lower)
    _draw_sizes(upper, sizes).tick_params(labelbottom=False)
    picture = _draw_labels(lower, np.asarray(labels).T)
    figure.colorbar(picture, cax=figure.add_subplot(grid[1, 1]), label="samples")
    return _saved(figure, path)


def accuracy(
    results: Mapping[str, Result] | Result, path: PathLike | None = None
) -> Figure:
    """Draw test accuracy by round.

    Args:
        results: a result, or results by their names in the legend.
        path: the picture to write, .png, .svg or .pdf, or None for none.

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
    named = results if isinstance(results, Mapping) else {"": results}
    if not named or not all(isinstance(result, Result) for result in named.values()):
        raise DataError(
            f"results: expected a Result, or Results by their names, got {shown(results)}"
        )
    figure = _figure(height=3.6)
    axes = figure.subplots()
    for name, result in named.items():
        points = [
            (record["round"], record["accuracy"])
            for record in result.history
            if record.get("accuracy") is not None
        ]
        if not points:
            raise DataError(
                "no round has an accuracy: expected test data and a loss with classes"
            )
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name)
    axes.set(xlabel="round", ylabel="test accuracy")
    axes.grid(alpha=0.3)
    _integer_ticks(axes.xaxis)
    if len(named) > 1:
        axes.legend(frameon=False)
    return _saved(figure, path)


def _figure(height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise FedFluxError(
            "matplotlib is not installed: run pip install 'fedflux[plots]'"
        ) from None

    class Shown(Figure):
        """A figure that a notebook shows, without pyplot, whose state is global."""

        def _repr_png_(self) -> bytes:
            picture = io.BytesIO()
            self.savefig(picture, format="png", dpi=100)
            return picture.getvalue()

    return Shown(figsize=(7.2, height), layout="constrained")


def _draw_sizes(axes: Any, sizes: Any) -> Any:
    width = 0.8 if len(sizes) <= 60 else 1.0
    axes.bar(np.arange(1, len(sizes) + 1), sizes, width=width, color=COLOR)
    axes.set(ylabel="samples", xlim=(0.5, len(sizes) + 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    _integer_ticks(axes.xaxis)
    return axes


def _draw_labels(axes: Any, counts: Any) -> Any:
    """Draw the counts, (labels, clients), as an image."""
    labels, clients = counts.shape
    image = axes.imshow(
        counts,
        aspect="auto",
        cmap="Blues",
        vmin=0,
        origin="lower",
        extent=(0.5, clients + 0.5, -0.5, labels - 0.5),
    )
    if counts.size <= MAX_NUMBERED:
        style = {"ha": "center", "va": "center", "fontsize": 7}
        for (label, client), count in np.ndenumerate(counts):
            color = "white" if count > 0.6 * counts.max() else "black"
            axes.text(client + 1, label, str(count) if count else "·", color=color, **style)
    axes.set(xlabel="client", ylabel="label")
    _integer_ticks(axes.xaxis)
    _integer_ticks(axes.yaxis)
    return image


def _integer_ticks(axis: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(MAX_TICKS, integer=True))


def _saved(figure: Figure, path: PathLike | None) -> Figure:
    if path is not None:
        try:
            figure.savefig(as_path("path", path), dpi=150)
        except OSError as error:
            raise FedFluxError(f"can't write {path}: {error.strerror}") from None
        except ValueError as error:  # an unknown file format
            raise OptionError(f"can't write {path}: {error}") from None
    return figure
