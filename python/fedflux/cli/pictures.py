"""`fedflux plot` and `fedflux report`: runs that ended, as pictures and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .run_options import PATH

if TYPE_CHECKING:
    from .._pictures.curves import Curve


@click.command()
@click.argument("runs", nargs=-1, required=True, type=PATH)
@click.option(
    "--out", type=PATH, default=Path("rounds.png"), help="the picture: .png, .svg or .pdf"
)
def plot(runs: tuple[Path, ...], out: Path) -> None:
    """Draw accuracy, loss, bytes, ε and seconds by round.

    RUNS are folders of comparisons or of runs with checkpoints, or files of --save or
    --json. The runs of a comparison are drawn as a line a configuration, with a band from
    the lowest seed to the highest.
    """
    from .._comparison.comparison import FILE, Comparison  # these import NumPy
    from .._pictures.curves import of_history, overview
    from .._pictures.style import saved
    from .._results.saved import facts_of

    named: dict[str, list[Curve]] = {}
    for path in runs:
        if (path / FILE).is_file():
            named |= Comparison.load(path).curves()
        else:
            named.setdefault(path.name or str(path), []).append(
                of_history(facts_of(path)["history"])
            )
    saved(overview(named), out)
    click.echo(f"{out} is drawn.")


@click.command()
@click.argument("run", type=PATH)
@click.option("--out", type=PATH, default=Path("report.html"), help="the page")
def report(run: Path, out: Path) -> None:
    """Write a page about a run or a comparison that needs nothing beside it.

    RUN is the folder of a comparison or of a run with checkpoints, or a file of --save or
    --json.
    """
    from .._report.report import report as write_report  # imports NumPy

    write_report(run, out)
    click.echo(f"{out} is written.")
