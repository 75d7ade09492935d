"""Pictures of clients and of classes: what they hold, how well they are served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .style import COLOR, COLORS, figure, integer_ticks, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_NUMBERED = 260  # cells that have room for their number
MAX_NAMED = 40  # clients that have room for their names


def holdings(sizes: Any, labels: Any, classes: Sequence[Any] | None = None) -> Figure:
    """Draw the samples of each label and client, and the clients' sizes above.

    Args:
        sizes: the samples of each client.
        labels: the samples of each client and label, or None.
        classes: the names of the labels, or None for their numbers.
    """
    picture = figure(height=4.8 if labels else 2.6)
    if labels is None:
        draw_sizes(picture.subplots(), sizes).set_xlabel("client")
        return picture
    grid = picture.add_gridspec(2, 2, height_ratios=(1, 3), width_ratios=(40, 1))
    lower = picture.add_subplot(grid[1, 0])
    upper = picture.add_subplot(grid[0, 0], sharex=lower)
    draw_sizes(upper, sizes).tick_params(labelbottom=False)
    image = draw_labels(lower, np.asarray(labels).T, classes)
    picture.colorbar(image, cax=picture.add_subplot(grid[1, 1]), label="samples")
    return picture


def accuracies(
    rows: Sequence[Mapping[str, Any]], labels: Any, classes: Sequence[Any] | None = None
) -> Figure:
    """Draw each client's accuracy on its own test data, above the labels that it holds.

    Args:
        rows: those of `Result.clients`.
        labels: the samples of each client and label, or None.
        classes: the names of the labels, or None for their numbers.
    """
    picture = figure(height=4.8 if labels else 2.8)
    grid = picture.add_gridspec(2 if labels else 1, 1)
    upper = picture.add_subplot(grid[0, 0])
    named = [
        ("accuracy", "global model", COLORS[0]),
        ("personal_accuracy", "personal model", COLORS[1]),
    ]
    there = [n for n in named if any(row.get(n[0]) is not None for row in rows)]
    width = 0.8 / max(1, len(there))
    for i, (name, label, color) in enumerate(there):
        heights = [row.get(name) or 0.0 for row in rows]
        places = np.arange(1, len(rows) + 1) + (i - (len(there) - 1) / 2) * width
        upper.bar(places, heights, width, color=color, label=label)
    upper.set(ylabel="accuracy", ylim=(0, 1), xlim=(0.5, len(rows) + 0.5))
    plain(upper)
    if len(there) > 1:
        upper.legend(
            frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2
        )
    lowest = upper
    if labels is not None:
        lowest = picture.add_subplot(grid[1, 0], sharex=upper)
        draw_labels(lowest, np.asarray(labels).T, classes)
        upper.tick_params(labelbottom=False)
    if len(rows) <= MAX_NAMED and any(str(r["name"]) != str(r["client"]) for r in rows):
        names = [str(row["name"]).replace("$", r"\$")[:16] for row in rows]
        lowest.set_xticks(range(1, len(rows) + 1), names, rotation=60, ha="right")
    else:
        integer_ticks(lowest.xaxis)
    lowest.set_xlabel("client")
    return picture


def confusion(counts: Any, classes: Sequence[str]) -> Figure:
    """Draw a confusion matrix: (true, predicted) counts, shaded by the share of a row."""
    counts = np.asarray(counts)
    n = len(counts)
    side = 2.2 + 0.36 * min(n, 20)
    picture = figure(side + 0.8, side)
    axes = picture.subplots()
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if counts.size <= MAX_NUMBERED:
        number_cells(axes, counts, shares, 0)
    ticks = range(n) if n <= MAX_NAMED else range(0, n, n // 20)
    names = [str(classes[i]).replace("$", r"\$")[:16] for i in ticks]
    rotation = 0 if max(map(len, names), default=0) < 3 else 60
    axes.set_xticks(ticks, names, rotation=rotation)
    axes.set_yticks(ticks, names)
    axes.set(xlabel="predicted", ylabel="true")
    picture.colorbar(image, label="share of the true class")
    return picture


def draw_sizes(axes: Any, sizes: Any) -> Any:
    """Draw the number of samples of each client as bars."""
    width = 0.8 if len(sizes) <= 60 else 1.0
    axes.bar(np.arange(1, len(sizes) + 1), sizes, width=width, color=COLOR)
    axes.set(ylabel="samples", xlim=(0.5, len(sizes) + 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    integer_ticks(axes.xaxis)
    return axes


def draw_labels(axes: Any, counts: Any, classes: Sequence[Any] | None = None) -> Any:
    """Draw the counts, (labels, clients), as an image, with the classes' names."""
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
        number_cells(axes, counts, counts / max(1, counts.max()), 1)
    axes.set(xlabel="client", ylabel="label")
    integer_ticks(axes.xaxis)
    if classes is None or labels > MAX_NAMED:
        integer_ticks(axes.yaxis)
    else:
        names = [str(name).replace("$", r"\$")[:16] for name in classes[:labels]]
        axes.set_yticks(range(labels), names)
    return image


def number_cells(axes: Any, counts: Any, shades: Any, first: int) -> None:
    """Write each count into its cell; columns are numbered from `first`."""
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if shades[row, column] > 0.6 else "black"
        text = str(count) if count else "·"
        axes.text(
            column + first, row, text, color=color, ha="center", va="center", fontsize=7
        )
