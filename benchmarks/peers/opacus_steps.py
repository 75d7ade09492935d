"""Opacus: private steps (per-example clipping and noise) of the PyTorch models.

Of its ways to find the examples' gradients the fastest is taken, for each model and batch:
`hooks` and `ew` hold them all, `ghost` computes the norms and runs a second backward pass.
"""

from __future__ import annotations

import warnings
from typing import Any

import opacus
import torch
from opacus import PrivacyEngine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.peers.protocol import Json, cores, inputs, serve
from benchmarks.peers.torch_models import build, loss, milliseconds, trainable

PASS = 320  # samples in the timed unit: whole batches for 10, 32 and 64
MODES = ("hooks", "ew", "ghost")


class Steps:
    """Everything that one mode needs to train; `noise` is relative to the clip."""

    def __init__(self, request: Json, mode: str) -> None:
        data = inputs(request)
        rows = (
            torch.from_numpy(data.split[0])
            if len(data.split[0]) >= PASS
            else torch.arange(PASS)
        )[:PASS]
        x, y = torch.from_numpy(data.x)[rows], torch.from_numpy(data.y)[rows]
        self.name = mode
        self.batches = list(
            zip(x.split(request["batch"]), y.split(request["batch"]), strict=True)
        )
        model = build(request["task"], data.init)
        optimizer = torch.optim.SGD(trainable(model), lr=request["lr"])
        criterion = nn.CrossEntropyLoss()
        made: Any = PrivacyEngine().make_private(
            module=model,
            optimizer=optimizer,
            criterion=criterion,
            data_loader=DataLoader(TensorDataset(x, y), batch_size=request["batch"]),
            noise_multiplier=1.0,
            max_grad_norm=request["clip"],
            poisson_sampling=False,
            grad_sample_mode=mode,
        )
        self.model, self.optimizer = made[:2]
        self.loss = made[2] if mode == "ghost" else loss

    def one_pass(self, noise: float = 1.0) -> float:
        self.optimizer.noise_multiplier = noise
        for x, y in self.batches:
            self.optimizer.zero_grad()
            value = self.loss(self.model(x), y)
            value.backward()
            self.optimizer.step()
        return float(value.item())


PREPARED: dict[tuple[str, int], Steps] = {}


def prepare(request: Json) -> Json:
    """The fastest of the modes that take this model, each measured three times."""
    first_loss, best, fastest, refused = float("nan"), float("inf"), None, []
    for mode in MODES:
        try:
            steps = Steps(request, mode)
            first_loss = steps.one_pass(noise=0.0)
            ms = min(milliseconds(steps, request["seconds"] / 3) for _ in range(3))
        except Exception as error:
            refused.append(f"{mode}: {str(error).splitlines()[0][:80]}")
            continue
        if ms < best:
            best, fastest = ms, steps
    if fastest is None:
        raise RuntimeError("; ".join(refused))
    PREPARED[request["task"], request["batch"]] = fastest
    return {"loss": first_loss, "note": fastest.name, "refused": refused}


def measure_steps(request: Json) -> Json:
    steps = PREPARED[request["task"], request["batch"]]
    return {"ms": milliseconds(steps, request["seconds"])}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(cores())
    serve(
        {"prepare": prepare, "steps": measure_steps},
        {"opacus": opacus.__version__, "torch": torch.__version__},
    )
