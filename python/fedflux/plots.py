"""Pictures of results, with matplotlib (`pip install 'fedflux[plots]'`)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import DataError, FedFluxError, OptionError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .result import Result

INK = "#1b5e8c"
MAX_TICKS = 12
MAX_NUMBERED = 260  # cells that still have room for their number


def clients(held: Mapping[str, Any] | Result, path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw who holds what: samples of each label (rows) and client (columns), and each client's size above.

    Args:
        held: what `fedflux.partition` gives, or a result of the core.
        path: of the picture to write, .png, .svg or .pdf; None writes none.

    Returns:
        The figure.

    Raises:
        DataError: it isn't told who holds what, or only in summary (more than 1,000 clients).
        FedFluxError: matplotlib is not installed, or the file can't be written.

    Example:
        >>> held = {"sizes": [3, 4], "labels": [[3, 0], [1, 3]]}
        >>> len(clients(held).axes)
        3
    """
    told = held if isinstance(held, Mapping) else held.clients
    if told is None or not isinstance(told.get("sizes"), Sequence):
        raise DataError(
            "who holds what is not told client by client: expected a result of the core with up to 1,000 clients"
        )
    sizes, labels = np.asarray(told["sizes"]), told.get("labels")
    figure = _figure(height=4.8 if labels else 2.6)
    if labels is None:
        _sizes(figure.subplots(), sizes).set_xlabel("client")
        return _saved(figure, path)
    grid = figure.add_gridspec(2, 2, height_ratios=(1, 3), width_ratios=(40, 1))
    lower = figure.add_subplot(grid[1, 0])
    _sizes(figure.add_subplot(grid[0, 0], sharex=lower), sizes).tick_params(labelbottom=False)
    counts = np.asarray(labels).T
    picture = lower.imshow(counts, aspect="auto", cmap="Blues", vmin=0, origin="lower", extent=_extent(counts))
    if counts.size <= MAX_NUMBERED:
        for (label, client), count in np.ndenumerate(counts):
            shade = "white" if count > 0.6 * counts.max() else "black"
            lower.text(
                client + 1, label, str(count) if count else "·", ha="center", va="center", color=shade, fontsize=7
            )
    lower.set(xlabel="client", ylabel="label")
    _whole_ticks(lower.xaxis)
    _whole_ticks(lower.yaxis)
    figure.colorbar(picture, cax=figure.add_subplot(grid[1, 1]), label="samples")
    return _saved(figure, path)


def accuracy(results: Mapping[str, Result] | Result, path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw test accuracy by round.

    Args:
        results: a result, or several by the name that the legend gives them.
        path: of the picture to write, .png, .svg or .pdf; None writes none.

    Returns:
        The figure.

    Raises:
        DataError: no round was evaluated.
        FedFluxError: matplotlib is not installed, or the file can't be written.

    Example:
        >>> import fedflux
        >>> result = fedflux.run(dataset="digits", model="softmax_regression", rounds=2, engine="reference")
        >>> len(accuracy(result).axes[0].lines)
        1
    """
    named = results if isinstance(results, Mapping) else {"": results}
    figure = _figure(height=3.6)
    axes = figure.subplots()
    for name, result in named.items():
        points = [(r["round"], r["accuracy"]) for r in result.history if r.get("accuracy") is not None]
        if not points:
            raise DataError("no round has an accuracy: expected test data and a loss with classes")
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name)
    axes.set(xlabel="round", ylabel="test accuracy")
    axes.grid(alpha=0.3)
    _whole_ticks(axes.xaxis)
    if len(named) > 1:
        axes.legend(frameon=False)
    return _saved(figure, path)


def _figure(height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise FedFluxError("matplotlib is not installed: pip install 'fedflux[plots]'") from None
    return Figure(figsize=(7.2, height), layout="constrained")  # without pyplot: no window, no global state


def _sizes(axes: Any, sizes: Any) -> Any:
    axes.bar(np.arange(1, len(sizes) + 1), sizes, width=0.8 if len(sizes) <= 60 else 1.0, color=INK)
    axes.set(ylabel="samples", xlim=(0.5, len(sizes) + 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    _whole_ticks(axes.xaxis)
    return axes


def _extent(counts: Any) -> tuple[float, float, float, float]:
    labels, clients = counts.shape
    return (0.5, clients + 0.5, -0.5, labels - 0.5)


def _whole_ticks(axis: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(MAX_TICKS, integer=True))


def _saved(figure: Figure, path: str | os.PathLike[str] | None) -> Figure:
    if path is not None:
        try:
            figure.savefig(Path(path), dpi=150)
        except OSError as error:
            raise FedFluxError(f"can't write {path}: {error.strerror}") from None
        except ValueError as error:  # matplotlib's word on an unknown ending
            raise OptionError(f"can't write {path}: {error}") from None
    return figure
