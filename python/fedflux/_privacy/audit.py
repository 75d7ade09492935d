"""`fedflux.audit`: an attack on a private rule, beside what the accountant promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .arguments import facts, integer, none_is_infinite, number, text


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        broken: whether the rule did what its promise excludes. False proves nothing:
            another attack, or more trials, may show more.
        lower: the ε that the attacks prove, at the promise's δ.
        upper: the accountant's ε, at the same δ.
        decided: "delta", and "lower" and "upper" there: where the lower bound is highest
            beside the promise, which holds for every δ.
        findings: what else is wrong, in words.
        trials: the number of runs with the canary, and as many without it.
        rounds: the number of rounds of a run.
        confidence: of the lower bounds.
        seconds: the time that it took.
        attacks: "name", "lower" and "decided" of each attack: by a canary alone, by one who
            knows the run's seed besides, and with two hostile clients besides.
        promise: what the rule promises, as `Result.privacy` says it.
    """

    broken: bool
    lower: float
    upper: float
    decided: dict[str, float]
    findings: tuple[str, ...]
    trials: int
    rounds: int
    confidence: float
    seconds: float
    promise: dict[str, Any]
    attacks: tuple[dict[str, Any], ...] = ()


def audit(
    rule: str,
    *,
    clients: int = 20,
    clients_per_round: int | None = None,
    sampling: str = "poisson",
    rounds: int = 10,
    trials: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Audit:
    """Attack a private rule, and compare the ε that the attack proves with the promise.

    In each trial one client, the canary, sends an enormous update along a random direction
    and the others zeros. Rounds run as in a federation, with the rule's clip and noise. The
    attacker sums the steps along that direction and guesses whether the canary was there.

    Args:
        rule: a private rule, such as "client_dp(noise_multiplier=2)".
        clients: the number of clients.
        clients_per_round: the size of a cohort, or None for all clients.
        sampling: how cohorts are drawn: "poisson", "uniform" or "round_robin".
        rounds: the number of rounds that are attacked together.
        trials: how often they run with the canary, and how often without it, from 20 on.
        confidence: of the lower bound, at least 0.5 and less than 1.
        seed: of the trials; the noise follows it for a rule with reproducible=true alone.

    Returns:
        What was found.

    Raises:
        OptionError: a wrong type or value, or a rule without a promise.
        JuliaUnavailable: Julia is not available.

    Example:
        >>> import fedflux
        >>> found = fedflux.audit(  # doctest: +SKIP
        ...     "client_dp(noise_multiplier=2)", trials=200
        ... )
        >>> found.broken  # doctest: +SKIP
        False
    """
    plan = {
        "rule": text("rule", rule),
        "sampling": text("sampling", sampling),
        "clients": integer("clients", clients),
        "rounds": integer("rounds", rounds),
        "trials": integer("trials", trials),
        "seed": integer("seed", seed),
        "confidence": number("confidence", confidence),
    }
    if clients_per_round is not None:
        plan["clients_per_round"] = integer("clients_per_round", clients_per_round)
    found = facts("_pyaudit", plan)
    found["attacks"] = tuple(found["attacks"])
    for figures in (found, *found["attacks"]):
        figures["decided"] = {
            name: none_is_infinite(value) for name, value in figures["decided"].items()
        }
    found["upper"] = none_is_infinite(found["upper"])
    found["findings"] = tuple(found["findings"])
    return Audit(**found)
