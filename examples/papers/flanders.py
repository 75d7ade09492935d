"""Robust aggregators under four attacks of 20 of 100 clients, on FashionMNIST.

The figures are those of Flower's reproduction of FLANDERS (`baselines/flanders`, 50
rounds), read off its plot. Its MLP has dropout of 0.2, ours has none.
"""

from __future__ import annotations

from published import Cell, Table, main

ATTACKS: dict[str, tuple[str | None, dict[str, float]]] = {
    "none": (None, {"mean": 68.0}),
    "GAUSS": (
        "noise(std=1)",
        {"mean": 25, "median": 66, "trim": 69, "krum": 74, "bulyan": 71},
    ),
    "LIE": ("alie", {"mean": 17, "median": 65, "trim": 54, "krum": 65, "bulyan": 72}),
    "OPT": ("fang", {"mean": 57, "median": 67, "trim": 62, "krum": 70, "bulyan": 69}),
    "AGR-MM": ("min_max", {"mean": 11, "median": 60, "trim": 58, "krum": 67, "bulyan": 76}),
}
AGGREGATORS = {
    "FedAvg": ("mean", "mean"),
    "FedMedian": ("median", "median"),
    "TrimmedMean": ("trim", "trimmed_mean(fraction=0.2)"),
    "MultiKrum": ("krum", "multi_krum(byzantine=20)"),
    "Bulyan": ("bulyan", "bulyan(byzantine=20)"),
}


def cells() -> list[Cell]:
    """Every aggregator under every attack."""
    found = []
    for row, (short, aggregate) in AGGREGATORS.items():
        for column, (attack, figures) in ATTACKS.items():
            hostile = {} if attack is None else {"attack": attack, "attackers": 20}
            options = {"aggregate": aggregate} | hostile
            found.append(Cell(row, column, figures.get(short), options))
    return found


TABLE = Table(
    name="flanders",
    unit="accuracy %",
    common={
        "model": "mlp",
        "hidden": [256, 128, 64],
        "clients": 100,
        "partition": "dirichlet(0.5)",
        "batch_size": 32,
        "optimizer": "adam",
        "lr": 0.001,
    },
    published_rounds=50,
    cells=cells(),
    digits=0,
)

if __name__ == "__main__":
    main(TABLE, rounds=20)
