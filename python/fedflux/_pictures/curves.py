"""Figures by round: of one run, or of several by name, with a band over their seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from .style import figure, integer_ticks, look, name_ends, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = Mapping[str, Sequence[Any]]  # a value for each round, by name
Curves = Mapping[str, Sequence[Curve]]  # of the runs of each name

TITLES = {
    "accuracy": "test accuracy",
    "loss": "loss",
    "personal_accuracy": "accuracy of personal models",
    "megabytes": "MB sent, up and down",
    "epsilon": "ε",
    "seconds": "seconds",
}
WIDTH, HEIGHT = 4.6, 2.7  # of a panel, in inches
SPREAD = ("min", "q1", "median", "q3", "max")


def of_history(history: Sequence[Mapping[str, Any]]) -> Curve:
    """Return the curves of a result's history."""

    def column(name: str) -> list[Any]:
        return [record.get(name) for record in history]

    def total(*names: str) -> list[float]:
        rounds = (sum(record.get(n) or 0 for n in names) for record in history)
        return list(accumulate(rounds))

    losses = zip(column("test_loss"), column("train_loss"), strict=True)
    spreads = [record.get("client_accuracy") or {} for record in history]
    return {
        **{n: column(n) for n in ("round", "accuracy", "personal_accuracy", "epsilon")},
        "loss": [train if test is None else test for test, train in losses],
        "megabytes": [b / 1e6 for b in total("bytes_up", "bytes_down")],
        "seconds": total("seconds_train", "seconds_aggregate", "seconds_eval"),
        **{f"clients_{n}": [spread.get(n) for spread in spreads] for n in SPREAD},
    }


def of_compared(curve: Mapping[str, Sequence[Any]]) -> Curve:
    """Return the curves of a run in a comparison."""
    sent = zip(curve["bytes_up"], curve["bytes_down"], strict=True)
    return {**curve, "megabytes": list(accumulate((up + down) / 1e6 for up, down in sent))}


def points(curve: Curve, name: str) -> list[tuple[float, float]]:
    """Return the (round, value) that are there and finite."""
    values = curve.get(name) or [None] * len(curve["round"])
    return [
        (r, v)
        for r, v in zip(curve["round"], values, strict=True)
        if v is not None and math.isfinite(v)
    ]


def drawable(named: Curves) -> list[str]:
    """Return the figures that some run has, in the order of `TITLES`."""
    runs = [curve for curves in named.values() for curve in curves]
    return [name for name in TITLES if any(points(curve, name) for curve in runs)]


def panels(named: Curves) -> dict[str, Callable[[Any], None]]:
    """Return what draws each figure that the runs have, by its title.

    For a single run, the spread over its clients is there too.
    """
    made: dict[str, Callable[[Any], None]] = {
        TITLES[n]: partial(one, named=named, name=n) for n in drawable(named)
    }
    alone = next(iter(named.values())) if len(named) == 1 else []
    if len(alone) == 1 and points(alone[0], "clients_median"):
        made["accuracy of clients"] = partial(over_clients, curve=alone[0])
    return made


def overview(named: Curves) -> Figure:
    """Draw each figure that the runs have, and for one run the spread over its clients.

    Raises:
        DataError: there is nothing to draw.
    """
    drawn = list(panels(named).values())
    if not drawn:
        raise DataError("there is nothing to draw: no round was run")
    columns = 1 if len(drawn) == 1 else 2
    rows = math.ceil(len(drawn) / columns)
    picture = figure(WIDTH * columns + 1.0, HEIGHT * rows)
    grid = list(picture.subplots(rows, columns, squeeze=False).flat)
    for draw, axes in zip(drawn, grid, strict=False):
        draw(axes)
    for axes in grid[len(drawn) :]:
        axes.set_axis_off()
    return picture


def one(axes: Any, named: Curves, name: str) -> None:
    """Draw one figure by round: a line a name, and a band over the seeds if there are some.

    The line is the mean, the band goes from the lowest seed to the highest.
    """
    ends = []
    for i, (label, curves) in enumerate(named.items()):
        by_round: dict[float, list[float]] = {}
        for curve in curves:
            for r, value in points(curve, name):
                by_round.setdefault(r, []).append(value)
        if not by_round:
            continue
        rounds = sorted(by_round)
        mean = [float(np.mean(by_round[r])) for r in rounds]
        style = look(i)
        marker = "o" if len(rounds) == 1 else None
        axes.plot(rounds, mean, label=label, linewidth=1.6, marker=marker, **style)
        if len(curves) > 1:
            low, high = ([f(by_round[r]) for r in rounds] for f in (min, max))
            axes.fill_between(rounds, low, high, color=style["color"], alpha=0.15, lw=0)
        ends.append((label, rounds[-1], mean[-1], style["color"]))
    left, right = axes.get_xlim()
    if right - left < 1:  # a single round
        axes.set_xlim(left - 1, right + 1)
    axes.set(xlabel="round", ylabel=TITLES[name])
    if name in ("megabytes", "seconds"):
        axes.set_ylim(bottom=0)
    plain(axes)
    integer_ticks(axes.xaxis, 8)
    if len(named) > 1:
        name_ends(axes, ends)


def over_clients(axes: Any, curve: Curve) -> None:
    """Draw the spread of the accuracy over the clients, each at its own mix of labels."""
    found = {name: points(curve, f"clients_{name}") for name in SPREAD}
    rounds = [r for r, _ in found["median"]]
    value = {name: [v for _, v in found[name]] for name in SPREAD}
    color = look(0)["color"]
    axes.fill_between(rounds, value["min"], value["max"], color=color, alpha=0.12, lw=0)
    axes.fill_between(rounds, value["q1"], value["q3"], color=color, alpha=0.25, lw=0)
    axes.plot(rounds, value["median"], color=color, linewidth=1.6)
    axes.set(xlabel="round", ylabel="accuracy of clients")
    axes.set_title("median, middle half, and all clients", fontsize=8, loc="left")
    plain(axes)
    integer_ticks(axes.xaxis, 8)
