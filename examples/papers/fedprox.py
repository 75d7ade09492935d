"""FedAvg and FedProx on clients that differ more and more.

Li et al. (2020), arXiv:1812.06127, section 5: logistic regression on synthetic(α, β), 30
devices of which 10 take part in a round, 20 epochs, batches of 10, learning rate 0.01,
μ = 1, 200 rounds. The paper shows curves and no numbers: FedAvg's loss rises with α and β,
and the proximal term holds it down. Its stragglers train for a part of the epochs, which
fedflux has no option for, so they are left out.
"""

from __future__ import annotations

from published import Cell, Table, main

import fedflux


def last_loss(result: fedflux.Result) -> float:
    """The final loss on the test data."""
    return float(result.history[-1]["test_loss"])


TABLE = Table(
    name="fedprox",
    unit="test loss",
    common={
        "model": "softmax_regression",
        "partition": "owner",
        "clients": 30,
        "clients_per_round": 10,
        "local_epochs": 20,
        "batch_size": 10,
        "lr": 0.01,
    },
    published_rounds=None,
    cells=[
        Cell(
            row,
            f"α = β = {spread}",
            None,
            {"rules": rules, "dataset": f"synthetic(alpha={spread}, beta={spread})"},
        )
        for row, rules in (("FedAvg", []), ("FedProx", ["fedprox(mu=1)"]))
        for spread in (0, 0.5, 1)
    ],
    measure=last_loss,
    digits=2,
)

if __name__ == "__main__":
    main(TABLE, rounds=100, dataset=None)
