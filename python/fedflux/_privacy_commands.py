"""The commands `fedflux epsilon` and `fedflux noise`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import click

SAMPLINGS = ("poisson", "fixed", "none")
Command = Callable[..., None]


def _plan(command: Command) -> Command:
    """Add the options that both commands have."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="print a JSON object"),
        click.option(
            "--sampling",
            type=click.Choice(SAMPLINGS),
            default="poisson",
            help="how a cohort is drawn; none claims no amplification  [default: poisson]",
        ),
        click.option("--delta", type=float, required=True, help="δ, between 0 and 1"),
        click.option("--steps", type=int, required=True, help="number of rounds"),
        click.option(
            "--sampling-rate",
            type=float,
            default=1.0,
            help="share of the clients in a cohort  [default: 1.0]",
        ),
    ):
        command = option(command)
    return command


@click.command()
@click.option(
    "--noise-multiplier",
    type=float,
    required=True,
    help="standard deviation of the noise on the sum, over the clip",
)
@_plan
def epsilon(as_json: bool, **plan: Any) -> None:
    """Compute ε of rounds with Gaussian noise."""
    from .accountant import epsilon

    accountants = ("rdp",) if plan["sampling"] == "fixed" else ("rdp", "pld")
    found = {name: epsilon(**plan, accountant=name) for name in accountants}
    if as_json:
        finite = {name: _finite(found.get(name)) for name in ("rdp", "pld")}
        click.echo(json.dumps(finite))
        return
    for name in ("rdp", "pld"):
        shown = f"{found[name]:.6f}" if name in found else "not for cohorts of fixed size"
        click.echo(f"{name}  ε = {shown}  (δ = {plan['delta']:g})")
    click.echo(_assumptions(plan))


@click.command()
@click.option("--epsilon", type=float, required=True, help="the ε that is not exceeded")
@click.option(
    "--accountant",
    type=click.Choice(("rdp", "pld")),
    default="rdp",
    help="how ε is computed; pld needs less noise  [default: rdp]",
)
@_plan
def noise(as_json: bool, **plan: Any) -> None:
    """Find the noise multiplier that rounds need for a wanted ε."""
    from .accountant import noise_multiplier

    found = noise_multiplier(**plan)
    if as_json:
        click.echo(json.dumps({"noise_multiplier": found}))
        return
    up = math.ceil(found * 1e6) / 1e6
    click.echo(
        f"noise multiplier = {up:.6f}  (ε ≤ {plan['epsilon']:g} by {plan['accountant']})"
    )
    click.echo(_assumptions(plan))


def _finite(value: float | None) -> float | None:
    """JSON has no infinity: null, as for what the accountant can't account."""
    return value if value is not None and math.isfinite(value) else None


def _assumptions(plan: dict[str, Any]) -> str:
    rate = f"{plan['sampling_rate']:g}"
    sampled = {
        "poisson": f"each is in a round with probability {rate}, independently; "
        "neighbours differ in the presence of one",
        "fixed": f"a round has a share {rate} of all, drawn without replacement; "
        "neighbours differ in the data of one, which changes a sum by up to twice the clip",
        "none": "each may be in every round, no amplification by sampling is claimed; "
        "neighbours differ in the presence of one",
    }
    return (
        "Assumed: the unit is what the clip bounds, a client (or an example in DP-SGD); "
        f"{sampled[plan['sampling']]}."
    )
