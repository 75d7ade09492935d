"""A plain PyTorch loop: the least that federated averaging takes, written by hand.

Of four variants (memory format contiguous or channels_last, SGD plain or fused) the fastest
is taken, for each model and batch.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import torch
from torch import nn

from benchmarks.peers.protocol import Json, cores, inputs, serve
from benchmarks.peers.torch_models import accuracy, build, loss, milliseconds, trainable

PASS = 320  # samples in the timed unit: whole batches for 10, 32 and 64
Batches = list[tuple[torch.Tensor, torch.Tensor]]


class Steps(NamedTuple):
    """Everything that one variant needs to train."""

    name: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    batches: Batches

    def one_pass(self) -> float:
        for x, y in self.batches:
            self.optimizer.zero_grad(set_to_none=True)
            value = loss(self.model(x), y)
            value.backward()
            self.optimizer.step()
        return float(value)


def variant(request: Json, channels_last: bool, fused: bool) -> Steps:
    data = inputs(request)
    model = build(request["task"], data.init)
    rows = (
        torch.from_numpy(data.split[0])
        if len(data.split[0]) >= PASS
        else torch.arange(PASS)
    )
    x, y = torch.from_numpy(data.x)[rows[:PASS]], torch.from_numpy(data.y)[rows[:PASS]]
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    batches = [
        (a.contiguous(memory_format=torch.channels_last) if channels_last else a, b)
        for a, b in zip(x.split(request["batch"]), y.split(request["batch"]), strict=True)
    ]
    optimizer = torch.optim.SGD(trainable(model), lr=request["lr"], fused=fused)
    return Steps(
        f"{'channels_last' if channels_last else 'contiguous'}, "
        f"{'fused' if fused else 'plain'} SGD",
        model,
        optimizer,
        batches,
    )


def fastest(request: Json) -> Steps:
    """The variants measured in turns, three times each; the best by its fastest turn."""
    layouts = (False, True) if request["task"] in ("case_study", "mcmahan") else (False,)
    variants = [
        variant(request, last, fused) for last in layouts for fused in (False, True)
    ]
    times: dict[str, list[float]] = {v.name: [] for v in variants}
    for _ in range(4):
        for v in variants:
            times[v.name].append(milliseconds(v, request["seconds"] / 4))
    return min(variants, key=lambda v: min(times[v.name][1:]))


PREPARED: dict[tuple[str, int], Steps] = {}


def prepare(request: Json) -> Json:
    first_loss = variant(request, channels_last=False, fused=False).one_pass()
    steps = PREPARED[request["task"], request["batch"]] = fastest(request)
    return {"loss": first_loss, "note": steps.name, "bytes_per_step": allocated(steps)}


def allocated(steps: Steps) -> int:
    """Bytes that PyTorch's allocator hands out in a step."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        steps.one_pass()
    events = profile.profiler.kineto_results.events()
    total = sum(e.nbytes() for e in events if e.name() == "[memory]" and e.nbytes() > 0)
    return total // len(steps.batches)


def measure_steps(request: Json) -> Json:
    steps = PREPARED[request["task"], request["batch"]]
    return {"ms": milliseconds(steps, request["seconds"])}


def train_client(
    model: nn.Module,
    start: list[torch.Tensor],
    x: torch.Tensor,
    y: torch.Tensor,
    batch: int,
    lr: float,
) -> None:
    """One local epoch from `start`, in batches of a new order."""
    with torch.no_grad():
        torch._foreach_copy_(trainable(model), start)
    optimizer = torch.optim.SGD(trainable(model), lr=lr, fused=True)
    order = torch.randperm(len(y))
    for a, b in zip(x[order].split(batch), y[order].split(batch), strict=True):
        optimizer.zero_grad(set_to_none=True)
        loss(model(a), b).backward()
        optimizer.step()


def best_threads(model: nn.Module, x: torch.Tensor, y: torch.Tensor, request: Json) -> int:
    """As many threads as there are cores, or one where that trains a client faster (small
    products gain nothing).
    """
    start = [p.detach().clone() for p in trainable(model)]
    times = {}
    for threads in {1, cores()}:
        torch.set_num_threads(threads)
        train_client(model, start, x, y, request["batch"], request["lr"])
        begun = time.perf_counter()
        train_client(model, start, x, y, request["batch"], request["lr"])
        times[threads] = time.perf_counter() - begun
    best = min(times, key=lambda threads: times[threads])
    torch.set_num_threads(best)
    return best


def federated_rounds(request: Json) -> Json:
    torch.manual_seed(0)
    data = inputs(request)
    model = build(request["task"], data.init)
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    clients = [torch.from_numpy(row) for row in data.split]
    theta = [p.detach().clone() for p in trainable(model)]
    threads = best_threads(model, x[clients[0]], y[clients[0]], request)
    seconds = []
    for _ in range(request["rounds"]):
        begun = time.perf_counter()
        cohort = torch.randperm(len(clients))[: request["cohort"]].tolist()
        total = [torch.zeros_like(p) for p in theta]
        for k in cohort:
            train_client(
                model, theta, x[clients[k]], y[clients[k]], request["batch"], request["lr"]
            )
            torch._foreach_add_(
                total, [p.detach() for p in trainable(model)], alpha=1 / len(cohort)
            )
        theta = total
        seconds.append(time.perf_counter() - begun)
    with torch.no_grad():
        torch._foreach_copy_(trainable(model), theta)
    return {
        "note": f"{threads} threads",
        "seconds": seconds,
        "accuracy": accuracy(
            model, torch.from_numpy(data.xtest), torch.from_numpy(data.ytest)
        ),
    }


def gemm(request: Json) -> Json:
    """The best rate of square products, in GFLOP/s."""
    n = request["n"]
    a, b, c = torch.rand(n, n), torch.rand(n, n), torch.empty(n, n)
    best = float("inf")
    end = time.perf_counter() + request["seconds"]
    while time.perf_counter() < end:
        begun = time.perf_counter()
        torch.mm(a, b, out=c)
        best = min(best, time.perf_counter() - begun)
    return {"gflops": 2e-9 * n**3 / best}


if __name__ == "__main__":
    torch.set_num_threads(cores())
    blas = "MKL" if torch.backends.mkl.is_available() else "OpenBLAS"
    handlers = {
        "prepare": prepare,
        "steps": measure_steps,
        "round": federated_rounds,
        "gemm": gemm,
    }
    serve(handlers, {"torch": torch.__version__, "torch's BLAS": blas})
