"""Four methods on FashionMNIST, from alike clients to two labels each.

Li, Diao, Chen, He (2022), arXiv:2102.02079; the figures are those of Flower's reproduction
(`baselines/niid_bench`, 50 rounds of 10 epochs). Its CNN has two convolutions and three
dense layers, which is LeNet. Its weight decay of 1e-5 is left out, which SCAFFOLD refuses.
"""

from __future__ import annotations

from published import Cell, Table, main

COLUMNS = {"IID": "iid", "Dir(0.5)": "dirichlet_redrawn(0.5)", "#C=2": "labels(k=2)"}
METHODS = {
    "FedAvg": ([], (89.23, 88.09, 78.10)),
    "SCAFFOLD": (["scaffold(momentum=true)"], (89.33, 88.44, 33.80)),
    "FedProx": (["fedprox(mu=0.01)"], (89.42, 88.15, 78.05)),
    "FedNova": (["fednova"], (89.36, 88.22, 71.67)),
}

TABLE = Table(
    name="niid_bench",
    unit="accuracy %",
    common={
        "model": "lenet",
        "clients": 10,
        "local_epochs": 10,
        "batch_size": 64,
        "lr": 0.01,
        "optimizer": "sgd(momentum=0.9)",
    },
    published_rounds=50,
    cells=[
        Cell(row, column, figure, {"rules": rules, "partition": partition})
        for row, (rules, figures) in METHODS.items()
        for (column, partition), figure in zip(COLUMNS.items(), figures, strict=True)
    ],
)

if __name__ == "__main__":
    main(TABLE, rounds=5)
