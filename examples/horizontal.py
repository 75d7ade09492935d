"""Horizontal federated learning: the clients have the same features of different samples.

Softmax regression, 784 to 10 for MNIST, on inputs normalized by MNIST's mean and standard
deviation. Usage: `python examples/horizontal.py [DATASET]`, for example with digits.
"""

import sys

import fedflux


def main(dataset: str = "auto") -> fedflux.Result:
    """Train and print each round and the result."""
    result = fedflux.run(
        dataset=dataset,
        mean=0.1307,
        std=0.3081,
        model="softmax_regression",
        clients=10,
        rounds=5,
        local_epochs=5,
        batch_size=64,
        lr=0.01,
    )
    for record in result.history:
        print(
            f"round {record['round']}: test loss {record['test_loss']:.4f}, accuracy "
            f"{record['accuracy']:.4f}"
        )
    print(result)
    return result


if __name__ == "__main__":
    main(*sys.argv[1:2])
