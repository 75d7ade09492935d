"""FedAvg against server momentum on FashionMNIST, from almost alike to one-sided clients.

Hsu, Qi, Brown (2019), arXiv:1909.06335; the figures are those of Flower's reproduction
(`baselines/fedavgm`, 1,000 rounds), read off its plot, so they are good to 0.3 points. It
trains McMahan's CNN; here it is LeNet unless you change MODEL, for a tenth of the time.
"""

from __future__ import annotations

from published import Cell, Table, main

MODEL = "lenet"
ALPHAS = (100, 1, 0.1, 0.01)
PUBLISHED = {"FedAvg": (90.8, 90.2, 88.5, 76.5), "FedAvgM": (91.3, 91.4, 87.4, 84.7)}
SERVERS = {"FedAvg": {}, "FedAvgM": {"server": "nesterov(lr=1, momentum=0.97)"}}

TABLE = Table(
    name="fedavgm",
    unit="accuracy %",
    common={
        "model": MODEL,
        "clients": 100,
        "clients_per_round": 5,
        "batch_size": 64,
        "lr": 0.003,
    },
    published_rounds=1000,
    cells=[
        Cell(
            row, f"α = {alpha}", figure, {"partition": f"inner_dirichlet({alpha})"} | server
        )
        for row, server in SERVERS.items()
        for alpha, figure in zip(ALPHAS, PUBLISHED[row], strict=True)
    ],
)

if __name__ == "__main__":
    main(TABLE, rounds=500)
