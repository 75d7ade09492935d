"""Rounds that FedAvg needs on MNIST, with the 2NN and the CNN.

McMahan et al. (2017), arXiv:1602.05629, tables 1 and 2: 100 clients of 600 images, a tenth
of them a round, until the test accuracy is 97 % (2NN) or 99 % (CNN). The paper tuned the
learning rate of each cell; here it is 0.1. It needs MNIST's whole training set.
"""

from __future__ import annotations

import math

from published import Cell, Table, main

import fedflux

SPLITS = {"IID": "iid", "two shards": "shards(k=2)"}
MODELS = {
    "2NN to 97 %, E = 1, B = 10": ("mlp", 1, 0.97, (87, 664)),
    "CNN to 99 %, E = 5, B = 10": ("mcmahan_cnn", 5, 0.99, (20, 229)),
}


def rounds_to_target(result: fedflux.Result) -> float:
    """The rounds until the target, or NaN."""
    return len(result.history) if result.stopped == "target_accuracy" else math.nan


TABLE = Table(
    name="mcmahan",
    unit="rounds to the target",
    common={
        "clients": 100,
        "clients_per_round": 10,
        "batch_size": 10,
        "lr": 0.1,
        "eval_every": 1,
    },
    published_rounds=2000,
    cells=[
        Cell(
            row,
            column,
            figure,
            {
                "model": model,
                "local_epochs": epochs,
                "target_accuracy": target,
                "partition": partition,
            },
        )
        for row, (model, epochs, target, figures) in MODELS.items()
        for (column, partition), figure in zip(SPLITS.items(), figures, strict=True)
    ],
    measure=rounds_to_target,
    digits=0,
)

if __name__ == "__main__":
    main(TABLE, rounds=300, dataset="mnist")
