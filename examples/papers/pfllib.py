"""Personal models on FashionMNIST: two labels each, and a Dirichlet split.

PFLlib's table (pfllib.com/benchmark.html, 2,000 rounds, the best mean accuracy of the
clients' own models). It pools the 70,000 images and trains a CNN of 32 and 64 channels;
here it is the 60,000 and LeNet, each client keeps a quarter for its test, and the figure is
the last one.
"""

from __future__ import annotations

from published import Cell, Table, main, personal_accuracy

COLUMNS = {"2 labels": "pathological(k=2)", "Dir(0.1)": "dirichlet(0.1, min_size=20)"}
METHODS = {
    "FedAvg": ([], (80.41, 85.85)),
    "FedProx": (["fedprox(mu=0.01)"], (78.08, 85.63)),
    "Ditto": (["ditto"], (99.44, 97.47)),
    "APFL": (["apfl"], (99.41, 97.25)),
    "pFedMe": (["pfedme"], (99.35, 97.25)),
    "FedPer": (["fedper"], (99.47, 97.44)),
    "FedRep": (["fedrep"], (99.56, 97.56)),
    "FedRoD": (["fedrod"], (99.52, 97.52)),
    "FedProto": (["fedproto"], (99.49, 97.40)),
    "FedALA": (["fedala"], (99.57, 97.66)),
}

TABLE = Table(
    name="pfllib",
    unit="accuracy % on the clients' own data",
    common={
        "model": "lenet",
        "clients": 20,
        "client_test": 0.25,
        "batch_size": 10,
        "lr": 0.005,
    },
    published_rounds=2000,
    cells=[
        Cell(row, column, figure, {"rules": rules, "partition": partition})
        for row, (rules, figures) in METHODS.items()
        for (column, partition), figure in zip(COLUMNS.items(), figures, strict=True)
    ],
    measure=personal_accuracy,
)

if __name__ == "__main__":
    main(TABLE, rounds=20)
