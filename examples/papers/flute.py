"""How long 100 rounds of logistic regression over 1,000 clients take.

FLUTE's setting LR-MNIST (github.com/microsoft/msrflute, README): 10 clients a round,
batches of 10, learning rate 0.03. On a CPU it gives 3:20 min for FLUTE and 30:14 min for
Flower, on its own machine. FashionMNIST has MNIST's sizes.
"""

from __future__ import annotations

from published import Cell, Table, main

import fedflux

TABLE = Table(
    name="flute",
    unit="seconds of training and aggregation",
    common={
        "model": "softmax_regression",
        "clients": 1000,
        "clients_per_round": 10,
        "batch_size": 10,
        "lr": 0.03,
    },
    published_rounds=100,
    cells=[Cell("FLUTE's setting", "CPU", 200.0)],
    measure=lambda result: sum(
        r["seconds_train"] + r["seconds_aggregate"] for r in result.history
    ),
    digits=2,
)

if __name__ == "__main__":
    fedflux.run(dataset="digits", model="softmax_regression", rounds=1)  # compiles
    main(TABLE, rounds=100)
