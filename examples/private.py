"""Accuracy by ε: 1,000 clients of 8 images each, client-level and example-level privacy.

Usage: `python examples/private.py [DATASET [PICTURE]]`: a data set or an .npz file, and the
file for a plot (needs matplotlib). Prints the table of docs/privacy-mechanisms.md, over
three seeds.
"""

import statistics
import sys
from typing import Any

import fedflux

CLIENTS, DELTA, SEEDS = 1000, 1e-4, range(3)
EPSILONS = {"client": (2.0, 4.0, 8.0, float("inf")), "example": (8.0, float("inf"))}

# Chosen on the same data, by earlier runs: no ε below covers that choice.
COMMON: dict[str, Any] = {
    "model": "softmax_regression",
    "clients": CLIENTS,
    "batch_size": 8,
    "weights": "uniform",
}
CLIENT_LEVEL: dict[str, Any] = {
    "clients_per_round": 100,
    "sampling": "poisson",
    "rounds": 100,
    "local_epochs": 1,
    "lr": 0.5,
}
EXAMPLE_LEVEL: dict[str, Any] = {"rounds": 30, "local_epochs": 1, "lr": 2.0}


def client_level(epsilon: float) -> dict[str, Any]:
    """The options of a run with this ε for each client; ∞ for one without noise."""
    if epsilon == float("inf"):
        return CLIENT_LEVEL
    noise = fedflux.noise_multiplier(
        epsilon=epsilon,
        sampling_rate=CLIENT_LEVEL["clients_per_round"] / CLIENTS,
        steps=CLIENT_LEVEL["rounds"],
        delta=DELTA,
    )
    rule = fedflux.ClientDP(clip=0.5, noise_multiplier=noise, delta=DELTA)
    return {**CLIENT_LEVEL, "rules": rule}


def example_level(epsilon: float) -> dict[str, Any]:
    """The options of a run with this ε for each example; ∞ for one without noise."""
    if epsilon == float("inf"):
        return EXAMPLE_LEVEL
    noise = fedflux.noise_multiplier(  # a client's 8 images are all in its one step
        epsilon=epsilon, steps=EXAMPLE_LEVEL["rounds"], delta=DELTA, sampling="none"
    )
    return {
        **EXAMPLE_LEVEL,
        "rules": fedflux.DPSGD(clip=1.0, noise_multiplier=noise, delta=DELTA),
    }


def accuracies(dataset: str, options: dict[str, Any]) -> tuple[list[float], float | None]:
    """The accuracy for each seed, and ε as the history tells it."""
    results = [
        fedflux.run(dataset=dataset, seed=seed, **COMMON, **options) for seed in SEEDS
    ]
    last = [result.history[-1] for result in results]
    return [record["accuracy"] for record in last], last[0]["epsilon"]


def main(dataset: str = "auto", picture: str | None = None) -> None:
    """Print the table, and plot it."""
    curves: dict[str, list[float]] = {}
    print("| unit | ε | accuracy |\n| --- | ---: | --- |")
    for unit, options in (("client", client_level), ("example", example_level)):
        for epsilon in EPSILONS[unit]:
            found, told = accuracies(dataset, options(epsilon))
            mean = statistics.mean(found)
            curves.setdefault(unit, []).append(mean)
            shown = "∞" if told is None else f"{told:.2f}"
            span = f"{100 * mean:.1f} ({100 * min(found):.1f}–{100 * max(found):.1f})"
            print(f"| {unit} | {shown} | {span} |", flush=True)
    if picture is not None:
        plot(curves, picture)


def plot(curves: dict[str, list[float]], picture: str) -> None:
    """Accuracy by ε, a line for each unit of privacy."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    ticks = [f"{epsilon:g}" for epsilon in EPSILONS["client"]]
    for (unit, means), color in zip(curves.items(), ("#0072b2", "#d55e00"), strict=False):
        places = [ticks.index(f"{epsilon:g}") for epsilon in EPSILONS[unit]]
        axes.plot(places, means, marker="o", color=color, label=f"ε for each {unit}")
    axes.set_xticks(range(len(ticks)), [tick.replace("inf", "∞") for tick in ticks])
    axes.set(xlabel=f"ε (δ = {DELTA:g})", ylabel="test accuracy")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(picture)


if __name__ == "__main__":
    main(*sys.argv[1:3])
