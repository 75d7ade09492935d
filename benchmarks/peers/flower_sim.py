"""Flower's simulation: a ServerApp with FedAvg and a ClientApp.

Ray runs it with one actor a core, one thread each. Clients' tensors and the model are kept
by each actor between messages; there is no evaluation in a round.
"""

from __future__ import annotations

import os
import time

os.environ.setdefault("RAY_DEDUP_LOGS", "0")
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")

import flwr
import ray
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from benchmarks.peers.protocol import Json, cores, inputs, serve
from benchmarks.peers.torch_models import accuracy, build, loss, trainable

LOADED: dict[str, tuple] = {}


def loaded(config: ConfigRecord) -> tuple:
    """Model and data of a request, read once by each actor."""
    key = f"{config['task']} {config['data']} {config['split']}"
    if key not in LOADED:
        torch.set_num_threads(1)
        data = inputs(dict(config))
        LOADED[key] = (
            build(config["task"], data.init),
            torch.from_numpy(data.x),
            torch.from_numpy(data.y),
            torch.from_numpy(data.split),
        )
    return LOADED[key]


client_app = ClientApp()


@client_app.train()
def train(message: Message, context: Context) -> Message:
    config = message.content["config"]
    model, x, y, split = loaded(config)
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    rows = split[int(context.node_config["partition-id"])]
    order = rows[torch.randperm(len(rows))]
    optimizer = torch.optim.SGD(trainable(model), lr=config["lr"], fused=True)
    for a, b in zip(
        x[order].split(config["batch"]), y[order].split(config["batch"]), strict=True
    ):
        optimizer.zero_grad(set_to_none=True)
        loss(model(a), b).backward()
        optimizer.step()
    content = {
        "arrays": ArrayRecord(model.state_dict()),
        "metrics": MetricRecord({"num-examples": len(rows)}),
    }
    return Message(content=RecordDict(content), reply_to=message)


class TimedFedAvg(FedAvg):
    """FedAvg that notes when each round begins and ends."""

    def __init__(self, **options: float) -> None:
        super().__init__(**options)
        self.begun: list[float] = []
        self.ended: list[float] = []

    def configure_train(self, *args: object, **kwargs: object):
        self.begun.append(time.perf_counter())
        return super().configure_train(*args, **kwargs)

    def aggregate_train(self, *args: object, **kwargs: object):
        result = super().aggregate_train(*args, **kwargs)
        self.ended.append(time.perf_counter())
        return result


def federated_rounds(request: Json) -> Json:
    data = inputs(request)
    model = build(request["task"], data.init)
    clients, cohort = len(data.split), request["cohort"]
    strategy = TimedFedAvg(
        fraction_train=cohort / clients,
        fraction_evaluate=0.0,
        min_train_nodes=cohort,
        min_available_nodes=clients,
    )
    config = ConfigRecord(
        {key: request[key] for key in ("task", "data", "init", "split", "batch", "lr")}
    )
    result = {}
    server_app = ServerApp()

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:
        initial = ArrayRecord(model.state_dict())
        result["arrays"] = strategy.start(
            grid=grid,
            initial_arrays=initial,
            train_config=config,
            num_rounds=request["rounds"],
        ).arrays

    backend = {
        "init_args": {"num_cpus": cores(), "include_dashboard": False},
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
    }
    run_simulation(server_app, client_app, num_supernodes=clients, backend_config=backend)
    model.load_state_dict(result["arrays"].to_torch_state_dict())
    seconds = [
        ended - begun for begun, ended in zip(strategy.begun, strategy.ended, strict=True)
    ]
    return {
        "seconds": seconds,
        "accuracy": accuracy(
            model, torch.from_numpy(data.xtest), torch.from_numpy(data.ytest)
        ),
    }


if __name__ == "__main__":
    # Under its own name, so that Ray's actors import the client's code instead of getting a
    # copy with every message.
    from benchmarks.peers import flower_sim

    torch.set_num_threads(cores())
    versions = {
        "flwr": flwr.__version__,
        "ray": ray.__version__,
        "torch": torch.__version__,
    }
    serve({"round": flower_sim.federated_rounds}, versions)
