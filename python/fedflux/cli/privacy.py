"""The commands `fedflux epsilon`, `noise`, `audit` and `ckks-key`."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import OptionError
from .run_options import PATH

if TYPE_CHECKING:
    from .._privacy.audit import Audit

SAMPLINGS = ("poisson", "fixed", "none")
BROKEN = 3  # the exit status of an audit that finds a rule broken
Command = Callable[..., None]


def _plan(command: Command) -> Command:
    """Add the options that both commands have."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="print a JSON object"),
        click.option(
            "--sampling",
            type=click.Choice(SAMPLINGS),
            default="poisson",
            help="how a cohort is drawn; none claims no amplification",
        ),
        click.option("--delta", type=float, required=True, help="δ, between 0 and 1"),
        click.option("--steps", type=int, required=True, help="number of rounds"),
        click.option(
            "--sampling-rate",
            type=float,
            default=1.0,
            help="share of the clients in a cohort",
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
    from .._privacy.accountant import epsilon

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
    help="how ε is computed; pld needs less noise",
)
@_plan
def noise(as_json: bool, **plan: Any) -> None:
    """Find the noise multiplier that rounds need for a wanted ε."""
    from .._privacy.accountant import noise_multiplier

    found = noise_multiplier(**plan)
    if as_json:
        click.echo(json.dumps({"noise_multiplier": found}))
        return
    up = math.ceil(found * 1e6) / 1e6
    click.echo(
        f"noise multiplier = {up:.6f}  (ε ≤ {plan['epsilon']:g} by {plan['accountant']})"
    )
    click.echo(_assumptions(plan))


@click.command()
@click.option("--rule", required=True, help="such as client_dp(noise_multiplier=2)")
@click.option("--clients", type=int, default=20)
@click.option("--clients-per-round", type=int, help="[default: all]")
@click.option(
    "--sampling",
    default="poisson",
    help="how cohorts are drawn: poisson, uniform or round_robin",
)
@click.option("--rounds", type=int, default=10, help="rounds of a run")
@click.option(
    "--trials", type=int, default=1000, help="runs with the canary, and as many without it"
)
@click.option("--confidence", type=float, default=0.95, help="of the lower bound")
@click.option("--seed", type=int, default=0, help="of the trials")
@click.option("--json", "as_json", is_flag=True, help="print a JSON object")
def audit(as_json: bool, **plan: Any) -> None:
    """Attack a private rule: a lower bound for ε beside the accountant's upper one.

    The exit status is 3 if the rule is broken.
    """
    from .._privacy.audit import audit

    found = audit(**plan)
    if as_json:
        facts = dataclasses.asdict(found)
        facts["upper"] = _finite(found.upper)
        for figures in (facts, *facts["attacks"]):
            figures["decided"] = {n: _finite(v) for n, v in figures["decided"].items()}
        click.echo(json.dumps(facts, ensure_ascii=False))
    else:
        click.echo(_report(found))
    if found.broken:
        sys.exit(BROKEN)


@click.command(name="ckks-key")
@click.argument("file", type=PATH)
@click.option("--aggregate", help="that of the run  [default: as a deployment needs it]")
def ckks_key(file: Path, aggregate: str | None) -> None:
    """Make the key of a deployment's nodes for aggregate ckks, in the new file FILE."""
    from ..he._nodes import parameters_of, write_key
    from ..he._parameters import ROOMY

    parameters = parameters_of(aggregate or ROOMY)
    if parameters is None:
        raise OptionError(f"aggregate: expected ckks(...), got {aggregate!r}")
    write_key(file, parameters)
    click.echo(f"{file} is ready: give it to every node, and never to the server.")


def _beside(at: dict[str, float]) -> str:
    return (
        f"ε ≥ {at['lower']:.4f} attacked, ε ≤ {at['upper']:.4f} promised at "
        f"δ = {at['delta']:g}"
    )


def _closest(attack: dict[str, Any]) -> str:
    return f"{attack['name']}: {_beside(attack['decided'])}"


def _report(found: Audit) -> str:
    delta, at = f"δ = {found.promise['delta']:g}", found.decided
    lines = [
        f"attacked  ε ≥ {found.lower:.4f}  ({delta}, confidence {found.confidence:g})",
        f"promised  ε ≤ {found.upper:.4f}  ({delta}, {found.rounds} rounds)",
        f"closest   {_beside(at)}",
        *(f"attack    {_closest(attack)}" for attack in found.attacks),
        *(f"finding   {finding}" for finding in found.findings),
        "BROKEN: the rule does not do what is promised."
        if found.broken
        else "Consistent with the promise; an audit can't prove it.",
        f"Attacked: {found.trials} runs with one client's canary and as many without it. "
        f"Unit: {found.promise['unit']}; neighbors: {found.promise['neighbours']}.",
    ]
    return "\n".join(lines)


def _finite(value: float | None) -> float | None:
    """JSON has no infinity: null, as for what the accountant can't account."""
    return value if value is not None and math.isfinite(value) else None


def _assumptions(plan: dict[str, Any]) -> str:
    rate = f"{plan['sampling_rate']:g}"
    sampled = {
        "poisson": f"each is in a round with probability {rate}, independently; "
        "neighbors differ in the presence of one",
        "fixed": f"a round has a share {rate} of all, drawn without replacement; "
        "neighbors differ in the data of one, which changes a sum by up to twice the clip",
        "none": "each may be in every round, no amplification by sampling is claimed; "
        "neighbors differ in the presence of one",
    }
    return (
        "Assumed: the unit is what the clip bounds, a client (or an example in DP-SGD); "
        f"{sampled[plan['sampling']]}."
    )
