"""pfl (pfl-research): federated averaging in its SimulatedBackend, with PyTorch models.

On several cores it runs as pfl is meant to: one process a core, which share the cohort
(torch.distributed, gloo).
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time

from benchmarks.peers.protocol import Json, cores, inputs, serve


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_other_ranks() -> None:
    """In the first process: start one more for each further core, which get all requests
    passed on.
    """
    world = cores()
    shared = {
        "TORCHELASTIC_RUN_ID": "bench",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": str(world),
    }
    os.environ.update(shared, RANK="0", LOCAL_RANK="0")
    for rank in range(1, world):
        env = dict(os.environ, RANK=str(rank), LOCAL_RANK=str(rank))
        command = [sys.executable, "-m", "benchmarks.peers.pfl_sim"]
        OTHERS.append(
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                env=env,
                text=True,
            )
        )


OTHERS: list[subprocess.Popen[str]] = []
if cores() > 1 and "RANK" not in os.environ:
    start_other_ranks()

# Only now: pfl joins the process group when it is imported.
import numpy as np  # noqa: E402
import torch  # noqa: E402
from pfl.aggregate.simulate import SimulatedBackend  # noqa: E402
from pfl.aggregate.weighting import WeightByDatapoints  # noqa: E402
from pfl.algorithm.base import NNAlgorithmParams  # noqa: E402
from pfl.algorithm.federated_averaging import FederatedAveraging  # noqa: E402
from pfl.callback.base import TrainingProcessCallback  # noqa: E402
from pfl.data.federated_dataset import FederatedDataset  # noqa: E402
from pfl.data.pytorch import PyTorchTensorDataset  # noqa: E402
from pfl.data.sampling import get_user_sampler  # noqa: E402
from pfl.hyperparam import NNTrainHyperParams  # noqa: E402
from pfl.metrics import Metrics  # noqa: E402
from pfl.model.pytorch import PyTorchModel  # noqa: E402
from pfl.version import __version__ as version  # noqa: E402

from benchmarks.peers.torch_models import accuracy, build, loss, trainable  # noqa: E402


def with_loss(model: torch.nn.Module) -> torch.nn.Module:
    """pfl asks a model for its loss and its metrics; the metrics are those of an
    evaluation, which isn't timed.
    """
    model.loss = lambda x, y: loss(model(x), y)
    model.metrics = lambda x, y: {}
    return model


class Stopwatch(TrainingProcessCallback):
    """The time at the end of every round."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def after_central_iteration(
        self, aggregate_metrics: Metrics, model: PyTorchModel, *, central_iteration: int
    ) -> tuple[bool, Metrics]:
        self.times.append(time.perf_counter())
        return False, Metrics()


class WithoutEvaluation(FederatedAveraging):
    """pfl evaluates every client in its first round whatever the frequency; here in no
    round.
    """

    def get_next_central_contexts(self, *args: object, **kwargs: object):
        contexts, model, metrics = super().get_next_central_contexts(*args, **kwargs)
        for context in contexts or ():
            object.__setattr__(context, "do_evaluation", False)
        return contexts, model, metrics


def federated_rounds(request: Json) -> Json:
    np.random.seed(0)  # noqa: NPY002 (pfl draws from it, and its processes must agree)
    torch.manual_seed(0)
    data = inputs(request)
    model = with_loss(build(request["task"], data.init))
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)

    def client(k: int) -> PyTorchTensorDataset:
        rows = torch.from_numpy(data.split[k])[torch.randperm(data.split.shape[1])]
        return PyTorchTensorDataset((x[rows], y[rows]))

    training = FederatedDataset(
        client, get_user_sampler("minimize_reuse", list(range(len(data.split))))
    )
    backend = SimulatedBackend(
        training_data=training, val_data=training, postprocessors=[WeightByDatapoints()]
    )
    params = NNTrainHyperParams(
        local_num_epochs=1,
        local_learning_rate=request["lr"],
        local_batch_size=request["batch"],
    )
    rounds = NNAlgorithmParams(
        central_num_iterations=request["rounds"],
        evaluation_frequency=10**9,
        train_cohort_size=request["cohort"],
        val_cohort_size=None,
    )
    pfl_model = PyTorchModel(
        model,
        local_optimizer_create=lambda p, lr: torch.optim.SGD(
            [v for v in p if v.requires_grad], lr=lr, fused=True
        ),
        central_optimizer=torch.optim.SGD(trainable(model), lr=1.0),
    )
    watch = Stopwatch()
    begun = time.perf_counter()
    WithoutEvaluation().run(
        algorithm_params=rounds,
        backend=backend,
        model=pfl_model,
        model_train_params=params,
        callbacks=[watch],
        send_metrics_to_platform=False,
    )
    seconds = np.diff([begun, *watch.times]).tolist()
    return {
        "seconds": seconds,
        "accuracy": accuracy(
            model, torch.from_numpy(data.xtest), torch.from_numpy(data.ytest)
        ),
    }


def passed_on(request: Json) -> Json:
    for other in OTHERS:
        assert other.stdin is not None
        other.stdin.write(json.dumps(request) + "\n")
        other.stdin.flush()
    return federated_rounds(request)


if __name__ == "__main__":
    torch.set_num_threads(1)
    asyncio.set_event_loop(asyncio.new_event_loop())
    try:
        serve({"round": passed_on}, {"pfl": version, "torch": torch.__version__})
    finally:
        for other in OTHERS:
            other.stdin.close()
            other.wait(timeout=30)
