"""The models in PyTorch, for every contender that trains with it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional


def case_study() -> nn.Module:
    def conv(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.ReLU()]

    return nn.Sequential(
        *conv(1, 16), *conv(16, 32), *conv(32, 64), nn.Flatten(), nn.Linear(1024, 10)
    )


def mcmahan() -> nn.Module:
    def conv(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]

    dense = [nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, 10)]
    return nn.Sequential(*conv(1, 32), *conv(32, 64), nn.Flatten(), *dense)


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 200),
        nn.ReLU(),
        nn.Linear(200, 200),
        nn.ReLU(),
        nn.Linear(200, 10),
    )


class CharLSTM(nn.Module):
    """Embedding, one LSTM, a Dense layer over the vocabulary at every position."""

    def __init__(self, vocabulary: int, embedding: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True)
        # PyTorch adds two biases where the others have one: the second stays zero, so that
        # all train the same model.
        nn.init.zeros_(self.lstm.bias_hh_l0).requires_grad_(False)
        self.dense = nn.Linear(hidden, vocabulary)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(self.lstm(self.embedding(x))[0])


def build(task: str, init: Sequence[np.ndarray]) -> nn.Module:
    """The model of a task with the initial parameters of the harness."""
    makers = {"case_study": case_study, "mcmahan": mcmahan, "mlp": mlp}
    if task == "lstm":
        vocabulary, embedding = init[0].shape
        model: nn.Module = CharLSTM(vocabulary, embedding, init[2].shape[1])
    else:
        model = makers[task]()
    with torch.no_grad():
        for parameter, array in zip(trainable(model), init, strict=True):
            parameter.copy_(torch.from_numpy(array))
    return model


def trainable(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]


def loss(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(output.flatten(0, -2), y.flatten())


@torch.no_grad()
def accuracy(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """The share of right answers, in batches of 500."""
    right = sum(
        int((model(a).argmax(-1) == b).sum())
        for a, b in zip(x.split(500), y.split(500), strict=True)
    )
    return right / y.numel()


class Passes(Protocol):
    """What takes whole passes over its batches."""

    batches: Any

    def one_pass(self) -> float: ...


def milliseconds(steps: Passes, seconds: float) -> float:
    """Milliseconds a step, over whole passes."""
    passes, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        steps.one_pass()
        passes += 1
    return 1e3 * (time.perf_counter() - begun) / (passes * len(steps.batches))
