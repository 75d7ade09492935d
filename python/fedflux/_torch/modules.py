"""A PyTorch module from a description."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from .._description.rows import Entries, Row, Sum as SumOfBranches, parsed
from .._typing import Named
from ..errors import DataError
from .translate import Translation
from .weights import RECURRENT, has_weights


class Recurrent(nn.Module):
    """A recurrent layer that returns its outputs alone, as a Sequential needs."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs of all steps."""
        outputs: torch.Tensor = self.layer(x)[0]
        return outputs


class LastStep(nn.Module):
    """The last step of a sequence."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, features) of (n, steps, features)."""
        return x[:, -1]


class MeanOfSteps(nn.Module):
    """The mean over the steps of a sequence."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, features) of (n, steps, features)."""
        return x.mean(1)


class Sum(nn.Module):
    """The sum of branches that take the same input."""

    def __init__(self, branches: list[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the sum of the branches' outputs."""
        first, *rest = self.branches
        total: torch.Tensor = first(x)
        for branch in rest:
            total = total + branch(x)
        return total


def build(
    description: list[Entries], sample: list[int], arrays: Named, statistics: Named
) -> nn.Module:
    """Build a Sequential from a description, in evaluation mode.

    Args:
        description: a list of layers.
        sample: the shape of a sample that the model takes.
        arrays: the parameters of the Flux model, in its order.
        statistics: its running statistics, in its order.

    Raises:
        DataError: the arrays are not those of the description.
    """
    layers = _sequential(description, 2 if len(sample) == 3 else 1)
    built = Translation(layers, _with_weights(parsed(description)))
    own: tuple[list[str], list[str]] = [], []
    for name in built.arrays():
        own[name.endswith((".μ", ".σ²"))].append(name)
    if {*own[0], *own[1]} == {*arrays, *statistics}:  # all but chains within chains
        return built.filled(arrays | statistics)
    given: Named = {}
    for names, values in zip(own, (arrays, statistics), strict=True):
        if len(names) != len(values):
            raise DataError("the parameters are not those of the described model")
        given |= dict(zip(names, values.values(), strict=True))
    return built.filled(given)


def _sequential(description: list[Entries], dims: int) -> nn.Sequential:
    """The layers for signals or images, with 1 or 2 `dims`, until they become features."""
    modules = []
    for entries in description:
        if entries["layer"] in _TO_FEATURES:
            dims = 1
        dims = len(entries["kernel"]) if "kernel" in entries else dims
        modules.append(_module(entries, dims))
    return nn.Sequential(*modules)


def _with_weights(row: Row) -> Row:
    """The row, with a module's name for the layers that have weights alone."""
    named: Row = []
    for one in row:
        if isinstance(one, SumOfBranches):
            named.append(SumOfBranches([_with_weights(b) for b in one.branches]))
        else:
            inside = ".layer" if one.kind in RECURRENT else ""
            if one.entries.get("activation", "identity") != "identity" and not inside:
                inside = ".0"
            module = one.module + inside if has_weights(one.kind) else ""
            named.append(replace(one, module=module))
    return named


def _module(e: Entries, dims: int) -> nn.Module:
    """Return the module of a layer; with an activation of its own, a Sequential."""
    kind = e["layer"]
    if kind == "sum":
        return Sum([_sequential(branch, dims) for branch in e["branches"]])
    if kind in _GLOBAL_POOLS:
        pool: nn.Module = _GLOBAL_POOLS[kind][dims - 1](1)
        return pool
    if kind in _ADAPTIVE_POOLS:
        sizes = e["out"]
        adaptive: nn.Module = _ADAPTIVE_POOLS[kind][len(sizes) - 1](tuple(sizes))
        return adaptive
    made = _batch_norm(e, dims) if kind == "batch_norm" else _MAKE[kind](e)
    activation = [] if kind not in _FUSABLE else _activation(e["activation"])
    return nn.Sequential(made, *activation) if activation else made


def _activation(name: str) -> list[nn.Module]:
    return [] if name == "identity" else [_ACTIVATIONS[name]()]


def _sizes(e: Entries) -> dict[str, Any]:
    return {
        "kernel_size": tuple(e["kernel"]),
        "stride": tuple(e["stride"]),
        "padding": tuple(e["pad"]),
    }


def _of_dims(one: type[nn.Module], two: type[nn.Module], e: Entries) -> type[Any]:
    """The class for signals or for images."""
    found = {1: one, 2: two}.get(len(e["kernel"]))
    if found is None:
        raise DataError(f"{e['layer']}: expected one or two dimensions, got {e['kernel']}")
    return found


def _conv(e: Entries) -> nn.Module:
    made: nn.Module = _of_dims(nn.Conv1d, nn.Conv2d, e)(
        e["in"],
        e["out"],
        **_sizes(e),
        dilation=tuple(e["dilation"]),
        groups=e["groups"],
        bias=e["bias"],
    )
    return made


def _batch_norm(e: Entries, dims: int) -> nn.Module:
    made: nn.Module = (nn.BatchNorm1d, nn.BatchNorm2d)[dims - 1](
        e["channels"],
        eps=e["eps"],
        momentum=e["momentum"],
        affine=e["affine"],
        track_running_stats=e["running"],
    )
    return made


def _recurrent(kind: Any, e: Entries, **rest: Any) -> nn.Module:
    return Recurrent(kind(e["in"], e["out"], batch_first=True, **rest))


_FUSABLE = ("dense", "conv", "batch_norm")
_TO_FEATURES = ("flatten", "last_step", "mean_of_steps", "embedding", "as_sequence")
_GLOBAL_POOLS: dict[str, tuple[type[Any], type[Any]]] = {
    "global_max_pool": (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d),
    "global_mean_pool": (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d),
}
_ADAPTIVE_POOLS = {
    kind.replace("global", "adaptive"): pools for kind, pools in _GLOBAL_POOLS.items()
}
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "relu6": nn.ReLU6,
    "hardsigmoid": nn.Hardsigmoid,
    "hardtanh": nn.Hardtanh,
    "hardswish": nn.Hardswish,
    "logsigmoid": nn.LogSigmoid,
    "selu": nn.SELU,
    "mish": nn.Mish,
    "gelu": nn.GELU,
}
_VALUED: dict[str, type[Any]] = {"leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "celu": nn.CELU}
_MAKE: dict[str, Callable[[Entries], nn.Module]] = {
    "dense": lambda e: nn.Linear(e["in"], e["out"], bias=e["bias"]),
    "conv": _conv,
    "max_pool": lambda e: _of_dims(nn.MaxPool1d, nn.MaxPool2d, e)(**_sizes(e)),
    "mean_pool": lambda e: _of_dims(nn.AvgPool1d, nn.AvgPool2d, e)(**_sizes(e)),
    "layer_norm": lambda e: nn.LayerNorm(
        e["size"], eps=e["eps"], elementwise_affine=e["affine"]
    ),
    "group_norm": lambda e: nn.GroupNorm(
        e["groups"], e["channels"], eps=e["eps"], affine=e["affine"]
    ),
    "dropout": lambda e: nn.Dropout(e["p"]),
    "embedding": lambda e: nn.Embedding(e["vocabulary"], e["size"]),
    "rnn": lambda e: _recurrent(
        nn.RNN, e, bias=e["bias"], nonlinearity=_nonlinearity(e["activation"])
    ),
    "lstm": lambda e: _recurrent(nn.LSTM, e, bias=e["bias"]),
    "gru": lambda e: _recurrent(nn.GRU, e, bias=e["bias"]),
    "two_bias_gru": lambda e: _recurrent(nn.GRU, e),
    "flatten": lambda e: nn.Flatten(),
    "last_step": lambda e: LastStep(),
    "mean_of_steps": lambda e: MeanOfSteps(),
    "as_sequence": lambda e: nn.Identity(),
    "activation": lambda e: (
        nn.GELU(approximate="tanh")
        if e["name"] == "gelu_tanh"
        else _ACTIVATIONS[e["name"]]()
    ),
    "valued_activation": lambda e: _VALUED[e["name"]](e["value"]),
    "softmax": lambda e: nn.Softmax(e["axis"]),
    "log_softmax": lambda e: nn.LogSoftmax(e["axis"]),
}


def _nonlinearity(name: str) -> str:
    if name not in ("tanh", "relu"):
        raise DataError(f"PyTorch's RNN has no activation {name}; expected tanh or relu")
    return name
