"""FedJAX: its federated averaging on jax.jit; models in jax.numpy, with channels last, as
XLA likes them on a CPU.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable
from typing import Any

import jax

# FedJAX 0.0.17 asks for this function, which JAX has moved; without it nothing of FedJAX
# runs on a JAX of today.
jax.tree_map = getattr(jax, "tree_map", jax.tree_util.tree_map)

import fedjax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from jax import lax  # noqa: E402

from benchmarks.peers.protocol import Inputs, Json, inputs, serve  # noqa: E402

Params = list[Any]
Batch = dict[str, Any]
PASS = 320


def conv(x: jax.Array, w: jax.Array, b: jax.Array, stride: int, pad: int) -> jax.Array:
    out = lax.conv_general_dilated(
        x, w, (stride, stride), [(pad, pad)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return jax.nn.relu(out + b)


def pool(x: jax.Array) -> jax.Array:
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))


def case_study(p: Params, x: jax.Array) -> jax.Array:
    for i in (0, 2, 4):
        x = conv(x, p[i], p[i + 1], stride=2, pad=1)
    return x.reshape(len(x), -1) @ p[6] + p[7]


def mcmahan(p: Params, x: jax.Array) -> jax.Array:
    for i in (0, 2):
        x = pool(conv(x, p[i], p[i + 1], stride=1, pad=2))
    x = jax.nn.relu(x.reshape(len(x), -1) @ p[4] + p[5])
    return x @ p[6] + p[7]


def mlp(p: Params, x: jax.Array) -> jax.Array:
    x = x.reshape(len(x), -1)
    for i in (0, 2):
        x = jax.nn.relu(x @ p[i] + p[i + 1])
    return x @ p[4] + p[5]


def lstm(p: Params, x: jax.Array) -> jax.Array:
    embedding, wi, wh, b, wo, bo = p
    gates = jnp.swapaxes(embedding[x] @ wi + b, 0, 1)

    def cell(
        state: tuple[jax.Array, jax.Array], gate: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        h, c = state
        i, f, g, o = jnp.split(gate + h @ wh, 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zero = jnp.zeros((x.shape[0], wh.shape[0]))
    return jnp.swapaxes(lax.scan(cell, (zero, zero), gates)[1], 0, 1) @ wo + bo


MODELS: dict[str, Callable[[Params, jax.Array], jax.Array]] = {
    "case_study": case_study, "mcmahan": mcmahan, "mlp": mlp, "lstm": lstm,
}  # fmt: skip


def convert(task: str, init: list[np.ndarray]) -> Params:
    """The harness's parameters in JAX's layouts; a Dense layer after a convolution gets its
    inputs channels last.
    """
    if task == "lstm":
        return [jnp.asarray(a.T if i in (1, 2, 4) else a) for i, a in enumerate(init)]
    params, channels = [], 0
    for a in init:
        if a.ndim == 4:
            channels = len(a)
            a = a.transpose(2, 3, 1, 0)
        elif a.ndim == 2 and channels:
            side = round((a.shape[1] // channels) ** 0.5)
            a = (
                a.reshape(-1, channels, side, side)
                .transpose(2, 3, 1, 0)
                .reshape(a.shape[1], -1)
            )
            channels = 0
        elif a.ndim == 2:
            a = a.T
        params.append(jnp.asarray(np.ascontiguousarray(a)))
    return params


def features(x: np.ndarray) -> np.ndarray:
    return (
        np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x.astype(np.int32)
    )


def loss_of(task: str) -> Callable[[Params, Batch], jax.Array]:
    def mean_loss(params: Params, batch: Batch) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(
            MODELS[task](params, batch["x"]), batch["y"]
        ).mean()

    return mean_loss


def accuracy(task: str, params: Params, data: Inputs) -> float:
    x, predict = features(data.xtest), jax.jit(MODELS[task])
    right = sum(
        int((predict(params, x[i : i + 500]).argmax(-1) == data.ytest[i : i + 500]).sum())
        for i in range(0, len(x), 500)
    )
    return right / data.ytest.size


PREPARED: dict[tuple[str, int], tuple[Callable, Params, list[Batch]]] = {}


def prepare(request: Json) -> Json:
    """One jitted step with donated parameters, as FedJAX's jit backend runs it."""
    data, task, lr = inputs(request), request["task"], request["lr"]
    rows = data.split[0][:PASS] if len(data.split[0]) >= PASS else np.arange(PASS)
    x, y = features(data.x)[rows], data.y[rows].astype(np.int32)
    batches = [
        {
            "x": jnp.asarray(x[i : i + request["batch"]]),
            "y": jnp.asarray(y[i : i + request["batch"]]),
        }
        for i in range(0, PASS, request["batch"])
    ]
    mean_loss = loss_of(task)

    def step(params: Params, batch: Batch) -> tuple[Params, jax.Array]:
        value, grads = jax.value_and_grad(mean_loss)(params, batch)
        return [p - lr * g for p, g in zip(params, grads, strict=True)], value

    jitted = jax.jit(step, donate_argnums=0)
    params = convert(task, data.init)
    for batch in batches:
        params, value = jitted(params, batch)
    PREPARED[task, request["batch"]] = jitted, params, batches
    return {"loss": float(value), "note": "jit, donated parameters"}


def measure_steps(request: Json) -> Json:
    key = request["task"], request["batch"]
    jitted, params, batches = PREPARED[key]
    passes, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < request["seconds"]:
        for batch in batches:
            params, value = jitted(params, batch)
        value.block_until_ready()
        passes += 1
    ms = 1e3 * (time.perf_counter() - begun) / (passes * len(batches))
    PREPARED[key] = jitted, params, batches
    return {"ms": ms}


def federated_rounds(request: Json) -> Json:
    data, task = inputs(request), request["task"]
    x, y, rng = features(data.x), data.y.astype(np.int32), np.random.default_rng(0)
    gradient = jax.grad(loss_of(task))
    hparams = fedjax.ShuffleRepeatBatchHParams(
        batch_size=request["batch"], num_epochs=1, drop_remainder=False
    )
    algorithm = fedjax.algorithms.fed_avg.federated_averaging(
        lambda params, batch, key: gradient(params, batch),
        fedjax.optimizers.sgd(request["lr"]),
        fedjax.optimizers.sgd(1.0),
        hparams,
    )
    clients = (
        [fedjax.ClientDataset({"x": x[rows], "y": y[rows]}) for rows in data.split]
        if len(data.split) <= 100
        else None
    )

    def client(k: int) -> fedjax.ClientDataset:
        return (
            clients[k]
            if clients
            else fedjax.ClientDataset({"x": x[data.split[k]], "y": y[data.split[k]]})
        )

    state, seconds = algorithm.init(convert(task, data.init)), []
    for r in range(request["rounds"]):
        begun = time.perf_counter()
        cohort = rng.choice(len(data.split), request["cohort"], replace=False)
        keys = jax.random.split(jax.random.PRNGKey(r), len(cohort))
        state, _ = algorithm.apply(
            state,
            [(k, client(k), key) for k, key in zip(cohort.tolist(), keys, strict=True)],
        )
        jax.block_until_ready(state.params)
        seconds.append(time.perf_counter() - begun)
    return {"seconds": seconds, "accuracy": accuracy(task, state.params, data)}


if __name__ == "__main__":
    versions = {"fedjax": importlib.metadata.version("fedjax"), "jax": jax.__version__}
    serve({"prepare": prepare, "steps": measure_steps, "round": federated_rounds}, versions)
