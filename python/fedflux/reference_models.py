"""The models of the reference engine: layers with a forward and a backward pass, in NumPy.

Shapes are NumPy's: images (n, channels, height, width), a Dense weight (in, out), a convolution's (out, in, height,
width). A convolution flips its kernel, as Flux's does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from .errors import OptionError

Array = NDArray[Any]
Shape = tuple[int, ...]


class Layer:
    """One layer: `shapes` of its parameters (weight, bias, or none), the shape it gives, forward and backward."""

    shapes: tuple[Shape, ...] = ()
    out: Shape

    def forward(self, w: Sequence[Array], x: Array) -> tuple[Array, Any]:
        """Return the layer's output and whatever `backward` needs."""
        raise NotImplementedError

    def backward(self, w: Sequence[Array], saved: Any, dy: Array) -> tuple[Array, list[Array]]:
        """Return the gradients with respect to the input and the parameters."""
        raise NotImplementedError


class Flatten(Layer):
    """(n, ...) to (n, features)."""

    def __init__(self, shape: Shape) -> None:
        self.out = (int(np.prod(shape)),)

    def forward(self, w: Sequence[Array], x: Array) -> tuple[Array, Any]:
        return x.reshape(len(x), -1), x.shape

    def backward(self, w: Sequence[Array], saved: Any, dy: Array) -> tuple[Array, list[Array]]:
        return dy.reshape(saved), []


class Dense(Layer):
    """x W + b, then relu if asked for."""

    def __init__(self, shape: Shape, outputs: int, relu: bool) -> None:
        self.shapes = ((shape[0], outputs), (outputs,))
        self.out = (outputs,)
        self.relu = relu

    def forward(self, w: Sequence[Array], x: Array) -> tuple[Array, Any]:
        y = x @ w[0] + w[1]
        if self.relu:
            y = np.maximum(y, 0)
        return y, (x, y)

    def backward(self, w: Sequence[Array], saved: Any, dy: Array) -> tuple[Array, list[Array]]:
        x, y = saved
        if self.relu:
            dy = dy * (y > 0)
        return dy @ w[0].T, [x.T @ dy, dy.sum(axis=0)]


class Conv(Layer):
    """A true convolution (flipped kernel) with bias and relu."""

    def __init__(self, shape: Shape, channels: int, kernel: int, stride: int, pad: int, where: str) -> None:
        self.stride, self.pad = stride, pad
        self.shapes = ((channels, shape[0], kernel, kernel), (channels,))
        self.out = (channels, *(_shrink(n, kernel, stride, pad, f"{where}, Conv {kernel}×{kernel}") for n in shape[1:]))

    def forward(self, w: Sequence[Array], x: Array) -> tuple[Array, Any]:
        p, s, k = self.pad, self.stride, w[0].shape[-1]
        padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
        windows = sliding_window_view(padded, (k, k), axis=(2, 3))[:, :, ::s, ::s]  # (n, in, h, w, k, k)
        flipped = w[0][:, :, ::-1, ::-1]
        y = np.tensordot(windows, flipped, axes=((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)
        y = np.maximum(y + w[1][:, None, None], 0)
        return y, (padded.shape, windows, y)

    def backward(self, w: Sequence[Array], saved: Any, dy: Array) -> tuple[Array, list[Array]]:
        shape, windows, y = saved
        p, s, k = self.pad, self.stride, w[0].shape[-1]
        dy = dy * (y > 0)
        dw = np.tensordot(dy, windows, axes=((0, 2, 3), (0, 2, 3)))[:, :, ::-1, ::-1]
        flipped = w[0][:, :, ::-1, ::-1]
        dx = np.zeros(shape, dy.dtype)
        height, width = dy.shape[2:]
        for i in range(k):
            for j in range(k):
                part = np.tensordot(dy, flipped[:, :, i, j], axes=((1,), (0,))).transpose(0, 3, 1, 2)
                dx[:, :, i : i + s * height : s, j : j + s * width : s] += part
        inner = slice(p, -p or None)
        return dx[:, :, inner, inner], [np.ascontiguousarray(dw), dy.sum(axis=(0, 2, 3))]


class MaxPool(Layer):
    """The largest value of each 2×2 window; a last odd row or column is left out."""

    def __init__(self, shape: Shape, where: str) -> None:
        self.out = (shape[0], *(_shrink(n, 2, 2, 0, f"{where}, MaxPool 2×2") for n in shape[1:]))

    def forward(self, w: Sequence[Array], x: Array) -> tuple[Array, Any]:
        n, (c, h, v) = len(x), self.out
        windows = x[:, :, : 2 * h, : 2 * v].reshape(n, c, h, 2, v, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h, v, 4)
        best = windows.argmax(axis=-1)[..., None]
        return np.take_along_axis(windows, best, axis=-1)[..., 0], (x.shape, best)

    def backward(self, w: Sequence[Array], saved: Any, dy: Array) -> tuple[Array, list[Array]]:
        shape, best = saved
        n, (c, h, v) = len(dy), self.out
        windows = np.zeros((n, c, h, v, 4), dy.dtype)
        np.put_along_axis(windows, best, dy[..., None], axis=-1)
        dx = np.zeros(shape, dy.dtype)
        blocks = windows.reshape(n, c, h, v, 2, 2).transpose(0, 1, 2, 4, 3, 5)
        dx[:, :, : 2 * h, : 2 * v] = blocks.reshape(n, c, 2 * h, 2 * v)
        return dx, []


def _shrink(side: int, kernel: int, stride: int, pad: int, where: str) -> int:
    if side + 2 * pad < kernel:
        raise OptionError(
            f"model {where}: expected an input of at least {kernel - 2 * pad} pixels a side, got {side}; "
            "use larger images or another model"
        )
    return (side + 2 * pad - kernel) // stride + 1


class Model:
    """A chain of layers.

    Args:
        name: case_study_cnn, lenet, mcmahan_cnn, mlp or softmax_regression.
        shape: of one sample, (features,), (height, width) or (channels, height, width).
        outputs: how many numbers the model gives for one sample.
        hidden: sizes of the mlp's hidden layers.

    Attributes:
        names: of the parameters, such as "layers.1.weight"; layers count from 1, flatten included.
        shapes: of the parameters, by name.

    Raises:
        OptionError: the model does not take samples of this shape; names the layer and both sizes.

    Example:
        >>> Model("mlp", (8, 8), 10, [32]).names
        ['layers.2.weight', 'layers.2.bias', 'layers.3.weight', 'layers.3.bias']
    """

    def __init__(self, name: str, shape: Shape, outputs: int, hidden: Sequence[int] = (200, 200)) -> None:
        self.layers: list[Layer] = []
        self._name, self._at = name, (1, *shape) if len(shape) == 2 else shape
        if name in ("case_study_cnn", "lenet", "mcmahan_cnn"):
            if len(shape) == 1:
                raise OptionError(
                    f"model {name}, layer 1, Conv: expected images, (height, width) or (channels, height, width), "
                    f"got samples of {shape[0]} features; use mlp or softmax_regression"
                )
            dense = self._convolutions(name)
        else:
            dense = tuple(hidden) if name == "mlp" else ()
        self._add(Flatten(self._at))
        for width in dense:
            self._add(Dense(self._at, width, relu=True))
        self._add(Dense(self._at, outputs, relu=False))
        self.shapes = {
            f"layers.{i}.{part}": shape
            for i, layer in enumerate(self.layers, 1)
            for part, shape in zip(("weight", "bias"), layer.shapes, strict=False)
        }
        self.names = list(self.shapes)

    def _convolutions(self, name: str) -> tuple[int, ...]:
        """Add the convolutional part; return the widths of the hidden dense layers after it."""
        if name == "case_study_cnn":
            for channels in (16, 32, 64):
                self._add(Conv(self._at, channels, 3, 2, 1, self._where()))
            return ()
        lenet = name == "lenet"
        for channels, pad in ((6, 2), (16, 0)) if lenet else ((32, 2), (64, 2)):
            self._add(Conv(self._at, channels, 5, 1, pad, self._where()))
            self._add(MaxPool(self._at, self._where()))
        return (120, 84) if lenet else (512,)

    def _where(self) -> str:
        return f"{self._name}, layer {len(self.layers) + 1}"

    def _add(self, layer: Layer) -> None:
        self.layers.append(layer)
        self._at = layer.out

    def forward(self, params: Sequence[Array], x: Array) -> tuple[Array, list[Any]]:
        """Compute the raw outputs (n, outputs) for a batch, and what `backward` needs."""
        saved = []
        at = 0
        for layer in self.layers:
            x, keep = layer.forward(params[at : at + len(layer.shapes)], x)
            saved.append(keep)
            at += len(layer.shapes)
        return x, saved

    def backward(self, params: Sequence[Array], saved: list[Any], dy: Array) -> list[Array]:
        """Compute the gradient for each parameter from the gradient of the outputs."""
        gradients: list[Array] = []
        at = len(params)
        for layer, keep in zip(reversed(self.layers), reversed(saved), strict=True):
            at -= len(layer.shapes)
            dy, own = layer.backward(params[at : at + len(layer.shapes)], keep, dy)
            gradients[:0] = own
        return gradients
