"""The weights of PyTorch's modules as the arrays of Flux's layers, and back.

In NumPy's order of axes, Flux's Dense and recurrent weights are the transposes of
PyTorch's, and its convolution turns the kernel, which PyTorch's cross-correlation doesn't.
Where PyTorch adds two biases, Flux has one, their sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from .._typing import Array, Floats, Named


def _same(a: Array) -> Array:
    return a


def _transposed(a: Array) -> Array:
    return a.T


def _turned(a: Array) -> Array:
    return np.flip(a, tuple(range(2, a.ndim)))


# For each kind of layer: Flux's name of an array, PyTorch's, and what turns one into the
# other, either way.
_Pair = tuple[str, str, Callable[[Array], Array]]
_PAIRS: dict[str, tuple[_Pair, ...]] = {
    "dense": (("weight", "weight", _transposed), ("bias", "bias", _same)),
    "conv": (("weight", "weight", _turned), ("bias", "bias", _same)),
    "embedding": (("weight", "weight", _same),),
    "batch_norm": (
        ("β", "bias", _same),
        ("γ", "weight", _same),
        ("μ", "running_mean", _same),
        ("σ²", "running_var", _same),
    ),
    "layer_norm": (("diag.scale", "weight", _same), ("diag.bias", "bias", _same)),
    "group_norm": (("β", "bias", _same), ("γ", "weight", _same)),
}
RECURRENT = {
    "rnn": "cell.bias",
    "lstm": "cell.bias",
    "gru": "cell.b",
    "two_bias_gru": "cell.b",
}


def has_weights(kind: str) -> bool:
    """Whether layers of this kind have weights."""
    return kind in _PAIRS or kind in RECURRENT


def read(kind: str, module: nn.Module, level: int = 0) -> Named:
    """Return Flux's arrays of a layer.

    Args:
        kind: of the layer.
        module: that it was made of.
        level: of a recurrent module's layers, from 0.

    Example:
        >>> {name: a.shape for name, a in read("dense", nn.Linear(3, 2)).items()}
        {'weight': (3, 2), 'bias': (2,)}
    """
    if kind in RECURRENT:
        return dict(_read_recurrent(kind, module, level))
    return {
        name: _own(change(_array(module, torch_name)))
        for name, torch_name, change in _PAIRS[kind]
        if getattr(module, torch_name, None) is not None
    }


def write(kind: str, module: nn.Module, arrays: Named, level: int = 0) -> None:
    """Copy Flux's arrays of a layer into the module; `read` backward."""
    if kind in RECURRENT:
        _write_recurrent(kind, module, arrays, level)
        return
    changes = {name: (torch_name, change) for name, torch_name, change in _PAIRS[kind]}
    for name, array in arrays.items():
        torch_name, change = changes[name]
        _set(module, torch_name, change(array))


def _read_recurrent(kind: str, m: nn.Module, level: int) -> Iterator[tuple[str, Floats]]:
    yield "cell.Wi", _own(_array(m, f"weight_ih_l{level}").T)
    yield "cell.Wh", _own(_array(m, f"weight_hh_l{level}").T)
    if not m.bias:
        return
    inner, outer = _array(m, f"bias_ih_l{level}"), _array(m, f"bias_hh_l{level}")
    if kind != "two_bias_gru":
        yield RECURRENT[kind], _own(inner + outer)
        return
    gates = 2 * len(inner) // 3  # the candidate's two biases stay apart
    yield "cell.b", _own(np.concatenate([inner[:gates] + outer[:gates], inner[gates:]]))
    yield "cell.c", _own(outer[gates:])


def _write_recurrent(kind: str, m: nn.Module, arrays: Named, level: int) -> None:
    _set(m, f"weight_ih_l{level}", arrays["cell.Wi"].T)
    _set(m, f"weight_hh_l{level}", arrays["cell.Wh"].T)
    if not m.bias:
        return
    inner = arrays[RECURRENT[kind]]
    outer = np.zeros_like(inner)
    if kind == "two_bias_gru":
        outer[2 * len(inner) // 3 :] = arrays["cell.c"]
    _set(m, f"bias_ih_l{level}", inner)
    _set(m, f"bias_hh_l{level}", outer)


def _array(module: nn.Module, name: str) -> Array:
    tensor: torch.Tensor = getattr(module, name)
    return tensor.detach().cpu().numpy()


def _own(a: Any) -> Floats:
    return np.array(a, np.float32, order="C")


def _set(module: nn.Module, name: str, array: Array) -> None:
    with torch.no_grad():
        getattr(module, name).copy_(
            torch.from_numpy(np.array(array, np.float32, order="C"))
        )
