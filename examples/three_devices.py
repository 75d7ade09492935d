"""Three devices learn a binary classifier together, and share none of their samples.

Each device has ten samples of ten features. Dense(10 to 10, relu), Dense(10 to 1), binary
cross-entropy, Adam. Usage: `python examples/three_devices.py`.
"""

import numpy as np

import fedflux


def main() -> fedflux.Result:
    """Make the data, train, and print the accuracy on the training samples."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 10)).astype(np.float32)
    y = (x[:, 0] + x[:, 1] > 0).astype(int)
    result = fedflux.run(
        x_train=x,
        y_train=y,
        clients=3,
        model="mlp",
        hidden=[10],
        loss="binary_cross_entropy",
        optimizer="adam",
        lr=0.01,
        rounds=10,
        local_epochs=1,
        batch_size=1,
    )
    for record in result.history:
        print(f"round {record['round']:2}: train loss {record['train_loss']:.4f}")

    w1, b1, w2, b2 = result.parameters.values()
    predicted = np.maximum(x @ w1 + b1, 0) @ w2 + b2 > 0
    print(f"{(predicted[:, 0] == y).mean():.0%} of the samples are classified correctly")
    return result


if __name__ == "__main__":
    main()
