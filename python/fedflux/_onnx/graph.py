"""The nodes of an ONNX graph, made layer by layer from a description."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from .._description.rows import Entries, Row, Sum
from .._typing import Array
from ..errors import FedFluxError


class Graph:
    """A graph in the making, with its `nodes` and `weights`."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        name = f"{kind.lower()}_{len(self.nodes) + 1}"
        self.nodes.append(helper.make_node(kind, [*inputs], [name], **attributes))
        return name

    def weight(self, array: Any, kind: Any = np.float32) -> str:
        """Add an array and return its name."""
        name = f"weight_{len(self.weights) + 1}"
        given = np.array(array, kind, order="C")
        self.weights.append(numpy_helper.from_array(given, name))
        return name


class Arrays:
    """The arrays of a Flux model, taken in its order: parameters, and statistics."""

    def __init__(self, parameters: list[Array], statistics: list[Array]) -> None:
        self._parameters, self._statistics = iter(parameters), iter(statistics)

    def next(self) -> Array:
        """Return the next parameter array."""
        return next(self._parameters)

    def next_statistic(self) -> Array:
        """Return the next running mean or variance."""
        return next(self._statistics)


def add_row(g: Graph, row: Row, x: str, arrays: Arrays) -> str:
    """Add the layers of a row after the value `x`; return the name of the last output."""
    for one in row:
        if isinstance(one, Sum):
            x = g.node("Sum", *(add_row(g, branch, x, arrays) for branch in one.branches))
        else:
            x = _LAYERS[one.kind](g, one.entries, x, arrays)
    return x


def _dense(g: Graph, e: Entries, x: str, arrays: Arrays) -> str:
    y = g.node("MatMul", x, g.weight(arrays.next()))
    if e["bias"]:
        y = g.node("Add", y, g.weight(arrays.next()))
    return _activated(g, e, y)


def _conv(g: Graph, e: Entries, x: str, arrays: Arrays) -> str:
    turned = arrays.next()
    weight = np.flip(turned, tuple(range(2, turned.ndim)))
    bias = [g.weight(arrays.next())] if e["bias"] else []
    y = g.node(
        "Conv",
        *(x, g.weight(weight), *bias),
        kernel_shape=e["kernel"],
        strides=e["stride"],
        pads=e["pad"] * 2,
        dilations=e["dilation"],
        group=e["groups"],
    )
    return _activated(g, e, y)


def _pool(kind: str, **more: Any) -> Callable[..., str]:
    def add(g: Graph, e: Entries, x: str, arrays: Arrays) -> str:
        sizes = {"kernel_shape": e["kernel"], "strides": e["stride"]}
        return g.node(kind, x, **sizes, pads=e["pad"] * 2, **more)

    return add


def _batch_norm(g: Graph, e: Entries, x: str, arrays: Arrays) -> str:
    if not e["running"]:
        raise FedFluxError(
            "onnx: BatchNorm without running statistics depends on the batch; expected "
            "track_running_stats=True"
        )
    shift, scale = _affine(e, arrays, (e["channels"],))
    mean, variance = arrays.next_statistic(), arrays.next_statistic()
    inputs = (x, *map(g.weight, (scale, shift, mean, variance)))
    return _activated(g, e, g.node("BatchNormalization", *inputs, epsilon=e["eps"]))


def _affine(e: Entries, arrays: Arrays, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """The next two arrays, or zeros and ones."""
    if e["affine"]:
        return arrays.next(), arrays.next()
    return np.zeros(shape, np.float32), np.ones(shape, np.float32)


def _layer_norm(g: Graph, e: Entries, x: str, arrays: Arrays) -> str:
    scale, shift = _affine(e, arrays, tuple(e["size"]))
    if not e["affine"]:
        scale, shift = shift, scale
    inputs = (x, g.weight(scale), g.weight(shift))
    axis = -len(e["size"])
    return g.node("LayerNormalization", *inputs, axis=axis, epsilon=e["eps"])


def _group_norm(g: Graph, e: Entries, x: str, arrays: Arrays) -> str:
    shift, scale = _affine(e, arrays, (e["channels"],))
    groups, channels = e["groups"], e["channels"]
    y = g.node("Reshape", x, g.weight([0, groups, -1], np.int64))
    plain = (g.weight(np.ones(groups)), g.weight(np.zeros(groups)))
    y = g.node("InstanceNormalization", y, *plain, epsilon=e["eps"])
    y = g.node("Reshape", y, g.weight([0, channels, -1], np.int64))
    y = g.node("Mul", y, g.weight(scale[:, None]))
    y = g.node("Add", y, g.weight(shift[:, None]))
    return g.node("Reshape", y, g.node("Shape", x))


# For each kind: ONNX's, and its gates in Flux's order.
_CELLS = {
    "rnn": ("RNN", [0]),
    "lstm": ("LSTM", [0, 3, 1, 2]),
    "gru": ("GRU", [1, 0, 2]),
    "two_bias_gru": ("GRU", [1, 0, 2]),
}
_RNN = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid"}


def _recurrent(g: Graph, e: Entries, x: str, arrays: Arrays) -> str:
    kind, order = _CELLS[e["layer"]]

    def gates(a: Array) -> Array:
        parts = np.split(a, len(order))
        return np.concatenate([parts[i] for i in order])

    inputs = [g.weight(gates(arrays.next().T)[None]) for _ in range(2)]
    if e.get("bias", True):
        bias = arrays.next()
        outer = np.zeros_like(bias)
        if e["layer"] == "two_bias_gru":
            outer[-e["out"] :] = arrays.next()
        inputs.append(g.weight(np.concatenate([gates(bias), gates(outer)])[None]))
    more: dict[str, Any] = {"linear_before_reset": 1} if kind == "GRU" else {}
    if kind == "RNN":
        if e["activation"] not in _RNN:
            raise FedFluxError(f"onnx: an RNN with the activation {e['activation']}")
        more = {"activations": [_RNN[e["activation"]]]}
    steps = g.node("Transpose", x, perm=[1, 0, 2])
    y = g.node(kind, steps, *inputs, hidden_size=e["out"], **more)
    y = g.node("Squeeze", y, g.weight([1], np.int64))
    return g.node("Transpose", y, perm=[1, 0, 2])


def _mean_of_steps(g: Graph, e: Entries, x: str, arrays: Arrays) -> str:
    return g.node("ReduceMean", x, g.weight([1], np.int64), keepdims=0)


def _activated(g: Graph, e: Entries, x: str) -> str:
    return _activation(g, {"name": e["activation"]}, x)


def _activation(g: Graph, e: Entries, x: str, arrays: Arrays | None = None) -> str:
    match e["name"]:
        case "identity":
            return x
        case "silu":
            return g.node("Mul", x, g.node("Sigmoid", x))
        case "logsigmoid":
            return g.node("Neg", g.node("Softplus", g.node("Neg", x)))
        case "relu6":
            return g.node("Clip", x, g.weight(0), g.weight(6))
        case "hardtanh":
            return g.node("Clip", x, g.weight(-1), g.weight(1))
        case "hardsigmoid":
            return g.node("HardSigmoid", x, alpha=1 / 6, beta=0.5)
        case "gelu_tanh":
            return g.node("Gelu", x, approximate="tanh")
        case "hardswish":
            return g.node("HardSwish", x)
    return g.node(str(e["name"]).capitalize(), x)  # Relu, Tanh, Selu, …


_VALUED = {"leaky_relu": "LeakyRelu", "elu": "Elu", "celu": "Celu"}


def _adaptive_pool(g: Graph, e: Entries, x: str, arrays: Arrays) -> str:
    raise FedFluxError(
        f"onnx: an adaptive pool to {e['out']}, of a window that hangs on the image; "
        "expected a pool of a fixed window, or to 1"
    )


_LAYERS: dict[str, Callable[[Graph, Entries, str, Arrays], str]] = {
    "dense": _dense,
    "conv": _conv,
    "max_pool": _pool("MaxPool"),
    "mean_pool": _pool("AveragePool", count_include_pad=1),
    "global_max_pool": lambda g, e, x, arrays: g.node("GlobalMaxPool", x),
    "global_mean_pool": lambda g, e, x, arrays: g.node("GlobalAveragePool", x),
    "adaptive_max_pool": _adaptive_pool,
    "adaptive_mean_pool": _adaptive_pool,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "dropout": lambda g, e, x, arrays: x,
    "embedding": lambda g, e, x, arrays: g.node("Gather", g.weight(arrays.next()), x),
    "rnn": _recurrent,
    "lstm": _recurrent,
    "gru": _recurrent,
    "two_bias_gru": _recurrent,
    "flatten": lambda g, e, x, arrays: g.node("Flatten", x, axis=1),
    "last_step": lambda g, e, x, arrays: g.node(
        "Gather", x, g.weight(-1, np.int64), axis=1
    ),
    "mean_of_steps": _mean_of_steps,
    "as_sequence": lambda g, e, x, arrays: x,
    "activation": _activation,
    "valued_activation": lambda g, e, x, arrays: g.node(
        _VALUED[e["name"]], x, alpha=e["value"]
    ),
    "softmax": lambda g, e, x, arrays: g.node("Softmax", x, axis=e["axis"]),
    "log_softmax": lambda g, e, x, arrays: g.node("LogSoftmax", x, axis=e["axis"]),
}
