"""The case study: ten clients train a CNN on their shares of MNIST; a server averages them.

Usage: `python examples/case_study.py [DATASET]`, for example with digits.
"""

import sys
from typing import Any

import fedflux


def main(dataset: str = "auto") -> fedflux.Result:
    """Train and print each round and the result."""

    def show(record: dict[str, Any]) -> None:
        spread = record["client_accuracy"]
        print(
            f"round {record['round']:2}: train loss {record['train_loss']:.4f}, accuracy "
            f"{record['accuracy']:.4f} (clients {spread['min']:.4f} to {spread['max']:.4f})"
        )

    result = fedflux.run(
        dataset=dataset,
        model="case_study_cnn",
        clients=10,
        rounds=8,
        local_epochs=1,
        batch_size=10,
        lr=0.05,
        callback=show,
    )
    print(result)
    return result


if __name__ == "__main__":
    main(*sys.argv[1:2])
