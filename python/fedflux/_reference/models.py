"""The models of the reference engine: layers with a forward and a backward pass, in NumPy.

Images have shape (n, channels, height, width), the weight of a Dense layer (in, out) and of
a convolution (out, in, height, width). A convolution flips its kernel, as in Flux.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .._typing import Array
from ..errors import OptionError

Shape = tuple[int, ...]


class Layer:
    """One layer.

    Attributes:
        shapes: of its parameters: weight and bias, or none.
        out: the shape of its output for one sample.
    """

    shapes: tuple[Shape, ...] = ()
    out: Shape

    def forward(self, w: Sequence[Array], x: Array) -> tuple[Array, Any]:
        """Return the layer's output and what `backward` needs."""
        raise NotImplementedError

    def backward(
        self, w: Sequence[Array], saved: Any, dy: Array
    ) -> tuple[Array, list[Array]]:
        """Return the gradients by the input and by the parameters."""
        raise NotImplementedError


class Flatten(Layer):
    """(n, ...) to (n, features)."""

    def __init__(self, shape: Shape) -> None:
        self.out = (int(np.prod(shape)),)

    def forward(self, w: Sequence[Array], x: Array) -> tuple[Array, Any]:
        return x.reshape(len(x), -1), x.shape

    def backward(
        self, w: Sequence[Array], saved: Any, dy: Array
    ) -> tuple[Array, list[Array]]:
        return dy.reshape(saved), []


class Dense(Layer):
    """x W + b, optionally followed by relu."""

    def __init__(self, shape: Shape, outputs: int, relu: bool) -> None:
        self.shapes = ((shape[0], outputs), (outputs,))
        self.out = (outputs,)
        self.relu = relu

    def forward(self, w: Sequence[Array], x: Array) -> tuple[Array, Any]:
        y = x @ w[0] + w[1]
        if self.relu:
            y = np.maximum(y, 0)
        return y, (x, y)

    def backward(
        self, w: Sequence[Array], saved: Any, dy: Array
    ) -> tuple[Array, list[Array]]:
        x, y = saved
        if self.relu:
            dy = dy * (y > 0)
        return dy @ w[0].T, [x.T @ dy, dy.sum(axis=0)]


class Conv(Layer):
    """A true convolution (flipped kernel) with bias and relu."""

    def __init__(
        self, shape: Shape, channels: int, kernel: int, stride: int, pad: int, where: str
    ) -> None:
        self.stride, self.pad = stride, pad
        self.shapes = ((channels, shape[0], kernel, kernel), (channels,))
        where = f"{where}, Conv {kernel}×{kernel}"
        sides = (_output_side(n, kernel, stride, pad, where) for n in shape[1:])
        self.out = (channels, *sides)

    def forward(self, w: Sequence[Array], x: Array) -> tuple[Array, Any]:
        p, s, k = self.pad, self.stride, w[0].shape[-1]
        padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
        # (n, in, height, width, k, k)
        windows = sliding_window_view(padded, (k, k), axis=(2, 3))[:, :, ::s, ::s]
        flipped = w[0][:, :, ::-1, ::-1]
        y = np.tensordot(windows, flipped, axes=((1, 4, 5), (1, 2, 3))).transpose(
            0, 3, 1, 2
        )
        y = np.maximum(y + w[1][:, None, None], 0)
        return y, (padded.shape, windows, y)

    def backward(
        self, w: Sequence[Array], saved: Any, dy: Array
    ) -> tuple[Array, list[Array]]:
        shape, windows, y = saved
        p, s, k = self.pad, self.stride, w[0].shape[-1]
        dy = dy * (y > 0)
        dw = np.tensordot(dy, windows, axes=((0, 2, 3), (0, 2, 3)))[:, :, ::-1, ::-1]
        flipped = w[0][:, :, ::-1, ::-1]
        dx = np.zeros(shape, dy.dtype)
        height, width = dy.shape[2:]
        for i in range(k):
            for j in range(k):
                part = np.tensordot(dy, flipped[:, :, i, j], axes=((1,), (0,)))
                rows, columns = slice(i, i + s * height, s), slice(j, j + s * width, s)
                dx[:, :, rows, columns] += part.transpose(0, 3, 1, 2)
        inner = slice(p, -p or None)
        return dx[:, :, inner, inner], [np.ascontiguousarray(dw), dy.sum(axis=(0, 2, 3))]


class MaxPool(Layer):
    """The largest value of each 2×2 window; an odd last row or column is ignored."""

    def __init__(self, shape: Shape, where: str) -> None:
        where = f"{where}, MaxPool 2×2"
        self.out = (shape[0], *(_output_side(n, 2, 2, 0, where) for n in shape[1:]))

    def forward(self, w: Sequence[Array], x: Array) -> tuple[Array, Any]:
        n, (c, h, v) = len(x), self.out
        blocks = x[:, :, : 2 * h, : 2 * v].reshape(n, c, h, 2, v, 2)
        windows = blocks.transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h, v, 4)
        best = windows.argmax(axis=-1)[..., None]
        return np.take_along_axis(windows, best, axis=-1)[..., 0], (x.shape, best)

    def backward(
        self, w: Sequence[Array], saved: Any, dy: Array
    ) -> tuple[Array, list[Array]]:
        shape, best = saved
        n, (c, h, v) = len(dy), self.out
        windows = np.zeros((n, c, h, v, 4), dy.dtype)
        np.put_along_axis(windows, best, dy[..., None], axis=-1)
        dx = np.zeros(shape, dy.dtype)
        blocks = windows.reshape(n, c, h, v, 2, 2).transpose(0, 1, 2, 4, 3, 5)
        dx[:, :, : 2 * h, : 2 * v] = blocks.reshape(n, c, 2 * h, 2 * v)
        return dx, []


def _output_side(side: int, kernel: int, stride: int, pad: int, where: str) -> int:
    """Return the height or the width of a window layer's output."""
    if side + 2 * pad < kernel:
        raise OptionError(
            f"model {where}: expected an input of at least {kernel - 2 * pad} pixels per "
            f"side, got {side}; use larger images or another model"
        )
    return (side + 2 * pad - kernel) // stride + 1


class Model:
    """A chain of layers.

    Args:
        name: case_study_cnn, lenet, mcmahan_cnn, mlp or softmax_regression.
        shape: of one sample: (features,), (height, width) or (channels, height, width).
        outputs: number of outputs per sample.
        hidden: sizes of the hidden layers of mlp.

    Attributes:
        names: of the parameters, such as "layers.1.weight"; layers count from 1 and include
            Flatten.
        shapes: of the parameters, by name.

    Raises:
        OptionError: the model does not take samples of this shape; the message names the
            layer and both sizes.

    Example:
        >>> Model("mlp", (8, 8), 10, [32]).names
        ['layers.2.weight', 'layers.2.bias', 'layers.3.weight', 'layers.3.bias']
    """

    def __init__(
        self, name: str, shape: Shape, outputs: int, hidden: Sequence[int] = (200, 200)
    ) -> None:
        self.layers: list[Layer] = []
        self._name, self._at = name, (1, *shape) if len(shape) == 2 else shape
        if name in ("case_study_cnn", "lenet", "mcmahan_cnn"):
            if len(shape) == 1:
                raise OptionError(
                    f"model {name}, layer 1, Conv: expected images, (height, width) or "
                    f"(channels, height, width), got samples of {shape[0]} features; use "
                    "mlp or softmax_regression"
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
        """Add the convolutional part; return the sizes of the hidden Dense layers."""
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
