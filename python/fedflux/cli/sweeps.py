"""`fedflux sweep`: options tuned with Optuna."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .._options.options import declared, option_named
from ..errors import OptionError
from .run_options import PATH, RunCommand, as_click, chosen, help_all, named, track


class SweepCommand(RunCommand):
    """`sweep`: its help is that of `run`."""

    examples = """\
fedflux sweep --search 'lr=0.01..1:log' --search 'batch-size=16|32' --trials 20
fedflux sweep --search 'rule=scaffold|fedprox(mu=0.1)' --dataset digits
"""


def _space(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> Any:
    """Read `NAME=LOW..HIGH`, `NAME=LOW..HIGH:log` or `NAME=VALUE|VALUE`."""
    space: dict[str, Any] = {}
    for text in texts:
        given, equals, values = text.partition("=")
        name = named(given)
        option = option_named(name)
        if not equals or name in space:
            raise OptionError(
                f"search: expected NAME=LOW..HIGH or NAME=VALUE|VALUE, once for each "
                f"option, got {text!r}"
            )
        if ".." in values:
            ends, _, scale = values.partition(":")
            low, _, high = ends.partition("..")
            ends_read = (option.parse(low), option.parse(high))
            space[name] = (*ends_read, scale) if scale else ends_read
        else:
            space[name] = [option.parse(value) for value in values.split("|")]
    return space


@click.command(cls=SweepCommand)
@click.option(
    "--search",
    "space",
    multiple=True,
    required=True,
    callback=_space,
    metavar="NAME=VALUES",
    help="an option and its values: LOW..HIGH, LOW..HIGH:log, VALUE|VALUE (repeatable)",
)
@click.option("--trials", type=int, default=20, help="trials in all, with earlier ones")
@click.option("--metric", default="accuracy", help="accuracy or loss")
@click.option(
    "--out",
    type=PATH,
    default=Path("sweep"),
    help="folder of the study; started again, it is gone on with",
)
@track
@click.option("--quiet", is_flag=True, help="no line for each trial")
@help_all
def sweep(
    space: Any,
    trials: int,
    metric: str,
    out: Path,
    quiet: bool,
    track: tuple[str, ...],
    **given: Any,
) -> None:
    """Search for the best values of options with Optuna."""
    from .._comparison.sweep import sweep as search  # imports NumPy

    options = chosen(given)
    study = search(
        space,
        trials=trials,
        folder=out,
        metric=metric,
        progress=not quiet,
        track=track,
        **options,
    )
    best = ", ".join(f"{name}={value}" for name, value in study.best_params.items())
    click.echo(f"best: {metric} {study.best_value:.4f} with {best}")


sweep.params[:0] = [
    as_click(option)
    for name, option in declared().items()
    if name not in ("checkpoint", "resume")
]
