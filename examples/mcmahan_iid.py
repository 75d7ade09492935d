"""McMahan's CNN on IID digits: 100 clients, 10 per round, E=5, B=10, lr 0.1.

See arXiv:1602.05629, Table 2. Usage: `python examples/mcmahan_iid.py [DATASET [PICTURE]]`:
a data set or an .npz file with x_train, y_train, x_test, y_test, and the file for a plot of
test accuracy by round (needs matplotlib).
"""

import sys
from typing import Any

import fedflux


def main(dataset: str = "auto", picture: str | None = None) -> fedflux.Result:
    """Train for 20 rounds, print test accuracy by round and plot it."""

    def show(record: dict[str, Any]) -> None:
        print(f"round {record['round']:2}: accuracy {record['accuracy']:.4f}", flush=True)

    result = fedflux.run(
        dataset=dataset,
        model="mcmahan_cnn",
        clients=100,
        clients_per_round=10,
        rounds=20,
        local_epochs=5,
        batch_size=10,
        lr=0.1,
        callback=show,
    )
    print(result)
    if picture is not None:
        from fedflux import plots

        plots.accuracy(result, picture)
    return result


if __name__ == "__main__":
    main(*sys.argv[1:3])
