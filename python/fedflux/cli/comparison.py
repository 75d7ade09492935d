"""`fedflux compare`: a grid of options times seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .._options.options import DECIDED, declared
from ..errors import OptionError
from .run_options import PATH, OptionType, RunCommand, as_click, help_all, track


class ValueType(OptionType):
    """A value of a grid: as `run` reads it, or "none" for no objects and for unset."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """Read a value."""
        unset = self.option.kind == "specs" or self.option.optional
        if unset and isinstance(value, str) and value.lower() == "none":
            return "none"
        return super().convert(value, param, ctx)


class CompareCommand(RunCommand):
    """`compare`: its help is that of `run`."""

    examples = """\
fedflux compare --rule none --rule 'fedprox(mu=0.01)' --rule scaffold --seeds 3
fedflux compare --lr 0.1 --lr 0.3 --partition 'dirichlet(0.1)' --out rates
fedflux compare --grid rates/comparison.toml --out rates
"""


def _seeds(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    if value is None:
        return None
    try:
        numbers = [int(part) for part in value.split(",")]
    except ValueError:
        raise OptionError(
            f"seeds: expected how many, or seeds with commas, got {value!r}"
        ) from None
    return numbers if "," in value else numbers[0]


@click.command(cls=CompareCommand)
@click.option(
    "--grid",
    "grid_file",
    type=PATH,
    help="a TOML file of a grid, as a comparison writes it into its folder",
)
@click.option(
    "--out",
    type=PATH,
    default=Path("comparison"),
    help="folder for the runs and the tables; started again, the comparison goes on there",
)
@click.option(
    "--seeds", callback=_seeds, help="how many seeds, or seeds with commas  [default: 3]"
)
@click.option("--target", type=float, help="count the rounds to this value of the metric")
@click.option("--metric", help="accuracy, personal_accuracy or loss")
@click.option("--baseline", help="the configuration to compare with  [default: the first]")
@click.option(
    "--parallel", type=int, help="runs at the same time  [default: one for each thread]"
)
@track
@click.option("--quiet", is_flag=True, help="no live table, and no table on stdout")
@help_all
def compare(grid_file: Path | None, out: Path, quiet: bool, **given: Any) -> None:
    """Run options given several times with each of their values, and compare.

    Each value of each such option is run with each seed; options given once are alike in
    all runs. Names of rules in one value are separated by commas.
    """
    from .._comparison.compare import compare as compare_runs  # imports NumPy

    settings = {
        name: given.pop(name)
        for name in ("seeds", "target", "metric", "baseline", "parallel", "track")
    }
    values = {n: v for n, v in given.items() if v is not None and v != ()}
    several = {n: list(v) for n, v in values.items() if isinstance(v, tuple) and len(v) > 1}
    once = {
        n: v[0] if isinstance(v, tuple) else v
        for n, v in values.items()
        if n not in several
    }
    if grid_file is not None and several:
        raise OptionError(
            f"grid: {next(iter(several))} is given several times, and a grid's file too: "
            "expected one of them"
        )
    found = compare_runs(
        several if grid_file is None else grid_file,
        folder=out,
        progress=not quiet,
        **settings,
        **once,
    )
    if not quiet:
        click.echo(found.table, nl=False)
        click.echo(f"The tables and the runs are in {out}.")


def _repeatable(name: str) -> click.Option:
    option = as_click(declared()[name])
    if declared()[name].kind != "bool":
        option.type, option.multiple = ValueType(declared()[name]), True
        option.default = None
    return option


compare.params[:0] = [_repeatable(name) for name in declared() if name not in DECIDED]
