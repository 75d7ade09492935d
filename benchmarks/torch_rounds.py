"""The time of a round in fedflux beside PyTorch's loop, on the same modules.

`python -m benchmarks.torch_rounds` prints a table. Ten clients train an epoch each on 60
samples, one after the other; both sides use one thread. Each time is the shortest of the
rounds after the first, which other programs on the machine disturb least.
"""

from __future__ import annotations

import copy
import time
from typing import Any

import numpy as np
import torch
from torch import nn

import fedflux

CLIENTS, SAMPLES, BATCH, ROUNDS, LR = 10, 60, 20, 12, 0.05


class TextClassifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(1000, 32)
        self.lstm = nn.LSTM(32, 64, batch_first=True)
        self.head = nn.Linear(64, 4)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        _, (hidden, _) = self.lstm(self.embed(tokens))
        logits: torch.Tensor = self.head(hidden[-1])
        return logits


def lenet() -> nn.Module:
    features = [nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    features += [nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    head = [nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()]
    return nn.Sequential(*features, *head, nn.Linear(84, 10))


def vgg() -> nn.Module:
    layers: list[nn.Module] = []
    before = 3
    for width in (16, 32, 64):
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
        layers += [nn.MaxPool2d(2)]
        before = width
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 64), nn.ReLU()]
    return nn.Sequential(*layers, *head, nn.Linear(64, 10))


def of_pytorch(module: nn.Module, x: Any, y: Any) -> float:
    """The shortest time of a round of federated averaging, written as a loop."""
    xs, ys = torch.from_numpy(x).split(SAMPLES), torch.from_numpy(y).split(SAMPLES)
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        states = []
        for own_x, own_y in zip(xs, ys, strict=True):
            local = copy.deepcopy(module).train()
            optimizer = torch.optim.SGD(local.parameters(), lr=LR)
            for index in torch.randperm(SAMPLES).split(BATCH):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(local(own_x[index]), own_y[index])
                loss.backward()
                optimizer.step()
            states.append(local.state_dict())
        mean = {k: torch.stack([s[k].float() for s in states]).mean(0) for k in states[0]}
        module.load_state_dict(mean)
        times.append(time.perf_counter() - begun)
    return min(times[1:])


def of_fedflux(module: nn.Module, x: Any, y: Any) -> tuple[float, str]:
    """The shortest time of a round, and the engine that trained."""
    owner = np.repeat(np.arange(CLIENTS), SAMPLES)
    result = fedflux.run(
        x_train=x,
        y_train=y,
        owner=owner,
        partition="owner",
        model=module,
        rounds=ROUNDS,
        batch_size=BATCH,
        lr=LR,
        threads=1,
    )
    times = [r["seconds_train"] + r["seconds_aggregate"] for r in result.history]
    return min(times[1:]), result.trainer


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    n = CLIENTS * SAMPLES
    cases: dict[str, tuple[Any, Any, Any]] = {
        "LeNet, 28×28": (lenet, rng.random((n, 1, 28, 28), dtype=np.float32), 10),
        "VGG with BatchNorm, 32×32×3": (
            vgg,
            rng.random((n, 3, 32, 32), dtype=np.float32),
            10,
        ),
        "LSTM classifier, 30 tokens": (TextClassifier, rng.integers(0, 1000, (n, 30)), 4),
    }
    print("| module | fedflux | PyTorch's loop | |\n| --- | --- | --- | --- |")
    for name, (make, x, classes) in cases.items():
        y = np.arange(n) % classes
        torch.manual_seed(0)
        module = make()
        ours, trainer = of_fedflux(module, x, y)
        theirs = of_pytorch(module, x, y)
        print(
            f"| {name} | {1000 * ours:.0f} ms ({trainer} engine) | {1000 * theirs:.0f} ms "
            f"| {theirs / ours:.1f}× |"
        )


if __name__ == "__main__":
    main()
