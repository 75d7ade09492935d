"""The report of a comparison."""

from __future__ import annotations

import shlex

from .._comparison.comparison import Comparison
from . import page
from .run import pictures

COLUMNS = {
    "configuration": "configuration",
    "mean": "mean",
    "sd": "spread (sd)",
    "difference": "difference to the baseline",
    "p_holm": "p (adjusted)",
    "verdict": "beyond chance",
    "rounds_to_target": "rounds to target",
    "reached": "runs that reached it",
    "epsilon": "ε",
    "bytes_up": "bytes up",
    "seconds": "seconds",
    "failed": "failed",
}


def comparison_page(found: Comparison) -> str:
    """Return the report of a comparison as a page of HTML."""
    kept = [n for n in COLUMNS if any(row.get(n) not in (None, "") for row in found.rows)]
    rows = ([row.get(n) for n in kept] for row in found.rows)
    metric = found.metric.replace("_", " ")
    caption = f"{metric}, mean over {len(found.seeds)} seeds; a heading sorts the table"
    runs = [
        [
            run["configuration"],
            run["seed"],
            run["error"] or "ended",
            *(run[n] for n in ("accuracy", "loss", "rounds", "seconds")),
        ]
        for run in found.runs
    ]
    headings = ["configuration", "seed", "state", "accuracy", "loss", "rounds", "seconds"]
    again = "fedflux compare --grid comparison.toml --out ."
    if found.folder is not None:
        folder = found.folder.name or "."
        grid = f"{folder}/comparison.toml"
        again = shlex.join(["fedflux", "compare", "--grid", grid, "--out", folder])
    parts = [
        page.figures(
            [
                ("configurations", len(found.rows)),
                ("seeds", ", ".join(map(str, found.seeds[:10]))),
                ("metric", metric),
                ("target", found.target),
                ("baseline", found.baseline),
            ]
        ),
        page.section(
            "Table",
            page.table(caption, [COLUMNS[n] for n in kept], rows, sortable=True),
            page.paragraph(found.how_tested) if found.how_tested else "",
        ),
        page.section(
            "Rounds",
            pictures(found.curves()),
            page.paragraph("A band goes from the lowest seed to the highest."),
        ),
        page.section("Runs", page.table("Each run", headings, runs, sortable=True)),
        page.section(
            "Configuration",
            page.table(
                "Options that all runs have",
                ["option", "value"],
                sorted(found.options.items()),
                sortable=False,
            ),
        ),
        page.section(
            "Versions",
            page.table(
                "What the runs used",
                ["name", "version"],
                sorted(found.versions.items()),
                sortable=False,
            ),
        ),
        page.section("Run it again", page.command(again)),
    ]
    return page.page("fedflux: a comparison", parts)
