"""A result as HTML, as notebooks show it: its figures and its curve."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from .._pictures.style import COLOR
from .._typing import Points

WIDTH, HEIGHT, EDGE = 360, 120, 6

History = Sequence[Mapping[str, Any]]


def page(figures: str, history: History) -> str:
    """Return the HTML of a result.

    Args:
        figures: a line of text. It is escaped.
        history: the records of the rounds.

    Returns:
        A line of figures, and a curve of the test accuracy (or a loss) by round if there
        are two points or more.
    """
    text = f"<div><code>{html.escape(figures)}</code></div>"
    name, points = curve(history)
    return text + _figure(name, points) if points else text


def curve(history: History) -> tuple[str, Points]:
    """Return the name and the points, by round, of what shows best how a run went.

    Args:
        history: the records of the rounds.

    Returns:
        "accuracy", "validation accuracy", "test loss", "validation loss" or "train loss",
        the first that has two points or more, and its (round, value); "" and none if there
        is no such.
    """
    for name in (
        *("accuracy", "validation_accuracy"),
        *("test_loss", "validation_loss", "train_loss"),
    ):
        points = [
            (float(record["round"]), float(record[name]))
            for record in history
            if record.get(name) is not None and math.isfinite(record[name])
        ]
        if len(points) > 1:
            return name.replace("_", " "), points
    return "", []


def _figure(name: str, points: Points) -> str:
    first, last = points[0], points[-1]
    label = f"{name} by round: {first[1]:.4g} in round {first[0]:.0f}, "
    label += f"{last[1]:.4g} in round {last[0]:.0f}"
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in _scaled(points))
    return (
        f'<figure style="margin:0.5em 0"><svg width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" aria-label="{label}"><rect width="{WIDTH}" height="{HEIGHT}" '
        f'fill="none" stroke="#ccc"/><polyline points="{line}" fill="none" '
        f'stroke="{COLOR}" stroke-width="2"/></svg>'
        f"<figcaption>{label}</figcaption></figure>"
    )


def _scaled(points: Points) -> Points:
    """Scale to the picture. Its y axis points down."""
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    low, high = min(ys), max(ys)
    wide, tall = xs[-1] - xs[0] or 1.0, high - low or 1.0
    return [
        (
            EDGE + (x - xs[0]) / wide * (WIDTH - 2 * EDGE),
            HEIGHT - EDGE - (y - low) / tall * (HEIGHT - 2 * EDGE),
        )
        for x, y in points
    ]
