"""The plot of docs/benchmarks.md: step times, round times, and growth with the number of
clients.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from benchmarks.tasks import TASKS
from benchmarks.workers import CONTENDERS
from fedflux._pictures import style

COLORS = dict(
    zip(
        ("fast", "zygote", "pytorch", "pfl", "flower", "fedjax"), style.COLORS, strict=False
    )
)


def draw(results: dict[str, Any], path: Path) -> None:
    figure, axes = plt.subplots(2, 2, figsize=(11, 7.5), layout="constrained")
    dots(
        axes[0, 0],
        results.get("steps", []),
        10,
        "One training step, batch 10, one core (ms)",
    )
    rounds = [row for row in results.get("rounds", []) if row["cores"] == 2 and "ms" in row]
    two_cores = [{**row, "ms": row["ms"] / 1e3} for row in rounds]
    dots(
        axes[0, 1],
        two_cores,
        10,
        "One round, 10 clients × 800 samples, batch 10, two cores (s)",
    )
    growth(
        axes[1, 0], results.get("scale", []), "ms", "Time of a round per client of it (ms)"
    )
    growth(axes[1, 1], results.get("scale", []), "peak_mib", "Peak memory (MiB)")
    handles, labels = axes[0, 1].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=len(COLORS), frameon=False
    )
    figure.savefig(path)
    plt.close(figure)


def dots(ax: Axes, rows: list[dict[str, Any]], batch: int, title: str) -> None:
    """A group for each model, a dot for each contender, its figure above.

    The scale is logarithmic, so that a bar would start nowhere.
    """
    rows = [row for row in rows if row["batch"] == batch and "ms" in row]
    names = [name for name in CONTENDERS if any(row["contender"] == name for row in rows)]
    width = 0.85 / max(1, len(names))
    for i, name in enumerate(names):
        found = {row["task"]: row["ms"] for row in rows if row["contender"] == name}
        places = [
            j + (i - (len(names) - 1) / 2) * width
            for j, task in enumerate(TASKS)
            if task in found
        ]
        heights = [found[task] for task in TASKS if task in found]
        ax.plot(
            places,
            heights,
            "o",
            markersize=5,
            color=COLORS[name],
            label=CONTENDERS[name].title,
        )
        for place, height in zip(places, heights, strict=True):
            text = f"{height:.2g}" if height < 10 else f"{height:.0f}"
            ax.annotate(
                text,
                (place, height),
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                fontsize=6,
            )
    ax.set_yscale("log")
    ax.set_xticks(
        range(len(TASKS)),
        [
            task.title.replace(", ", ",\n").replace(" 784", "\n784")
            for task in TASKS.values()
        ],
        fontsize=8,
    )
    ax.set_title(title, fontsize=9)
    finish(ax)


def growth(ax: Axes, rows: list[dict[str, Any]], key: str, title: str) -> None:
    for name in CONTENDERS:
        points = [
            (row["clients"], row[key] / (row["cohort"] if key == "ms" else 1))
            for row in rows
            if row["contender"] == name and key in row
        ]
        if points:
            ax.plot(
                *zip(*points, strict=True),
                marker="o",
                markersize=4,
                color=COLORS[name],
                label=CONTENDERS[name].title,
            )
    ax.set_xscale("log")
    if key == "ms":
        ax.set_yscale("log")
    else:
        ax.set_ylim(bottom=0)
    ax.set_xlabel("clients of 20 images; at most 100 take part in a round", fontsize=8)
    ax.set_title(title, fontsize=9)
    finish(ax)


def finish(ax: Axes) -> None:
    ax.tick_params(labelsize=8, which="both")
    for axis in (ax.yaxis, ax.xaxis):
        if axis.get_scale() == "log":
            axis.set_major_formatter(lambda value, _: f"{value:,.10g}")
            axis.set_minor_formatter(NullFormatter())
    ax.grid(axis="y", alpha=0.25)
    ax.set_axisbelow(True)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
