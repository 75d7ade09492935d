"""The case study: ten clients train a CNN on their own shares of MNIST, and a server averages their models.

Run it with `python examples/case_study.py`; a further word names another data set, such as digits.
"""

import sys
from typing import Any

import fedflux


def main(dataset: str = "auto") -> fedflux.Result:
    """Train, show each round, and say how well the global model does."""

    def show(record: dict[str, Any]) -> None:
        spread = record["client_accuracy"]
        print(
            f"round {record['round']:2}: train loss {record['train_loss']:.4f}, accuracy {record['accuracy']:.4f} "
            f"(clients {spread['min']:.4f} to {spread['max']:.4f})"
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
