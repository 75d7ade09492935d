"""What a trained model takes: the type and shape of a sample, and how it was scaled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._typing import Array
from ..errors import DataError, FedFluxError
from .parts import Parts

Contract = dict[str, Any]


def of_data(x: Array | Parts, options: Mapping[str, Any]) -> Contract:
    """Return the contract of a model that is trained on these inputs.

    Args:
        x: training inputs, checked.
        options: every option of the run.

    Returns:
        `dtype`, the name of NumPy's type; `shape` of one sample, images with channels;
        `scale`, what bytes are divided by; `mean` and `std`, what is subtracted then, and
        divided by: numbers, lists of one for each channel or feature, or None.

    Example:
        >>> of_data(np.zeros((3, 8, 8), "uint8"), {"mean": 0.5, "std": None})
        {'dtype': 'uint8', 'shape': [1, 8, 8], 'scale': 255, 'mean': 0.5, 'std': None}
    """
    return {
        "dtype": x.dtype.name,
        "shape": _shape(x),
        "scale": 255 if x.dtype == np.uint8 else 1,
        "mean": options["mean"],
        "std": options["std"],
    }


def of_result(details: Mapping[str, Any], options: Mapping[str, Any]) -> Contract:
    """Return the contract of a result; of one by an older version, what is known of it.

    Raises:
        FedFluxError: the mean and the standard deviation are not known.
    """
    if "input" in details:
        return dict(details["input"])
    if options["normalise"] != "none":
        raise FedFluxError(
            "the run normalized its data by the clients' mean and standard deviation, "
            "which this result, of an older version, does not hold"
        )
    known = {name: options[name] for name in ("mean", "std")}
    return {"dtype": None, "shape": None, "scale": None, **known}


def check(contract: Contract, x: Array, any_shape: bool) -> None:
    """Check that samples, named `x` in errors, are as those that the model was trained on.

    Args:
        contract: the model's.
        x: inputs, checked.
        any_shape: whether the model takes samples of other shapes, too.

    Raises:
        DataError: they are of another kind or shape.
    """
    trained = contract["dtype"]
    if trained is not None and np.dtype(trained).kind != x.dtype.kind:
        raise DataError(
            f"x: expected {trained} as in x_train, got {x.dtype.name}; 8-bit images are "
            "scaled to 0..1 and floats are not"
        )
    shape = contract["shape"]
    if shape is not None and not any_shape and _shape(x) != list(shape):
        one = list(shape) in ([1, *x.shape], list(x.shape))
        raise DataError(
            f"x: expected samples of shape {tuple(shape)} as in x_train, got "
            f"{x.shape[1:]}{'; for one sample give x[None]' if one else ''}"
        )


def scaled(contract: Mapping[str, Any], x: Array) -> NDArray[np.float32]:
    """Scale inputs as those that the model was trained on.

    In float64 if the inputs are, so that large numbers keep their differences.

    Args:
        contract: what has the `mean` and `std`: a contract, or the options of a run.
        x: inputs, checked.

    Example:
        >>> scaled({"mean": [2.0, 0.0], "std": [2.0, 1.0]}, np.array([[4.0, 1.0]]))
        array([[1., 1.]], dtype=float32)
    """
    exact = np.float64 if x.dtype == np.float64 else np.float32
    z: Array = x.astype(exact)
    if x.dtype == np.uint8:
        z = z / exact(255)
    if contract["mean"] is not None:
        z = z - _beside(contract["mean"], z, exact)
    if contract["std"] is not None:
        z = z / _beside(contract["std"], z, exact)
    return z.astype(np.float32, copy=False)


def _beside(value: Any, x: Array, exact: Any) -> Any:
    """A number, or one for each channel of images or each feature, in the inputs' type."""
    if not isinstance(value, list):
        return exact(value)
    return np.array(value, exact).reshape(-1, *[1] * max(0, min(x.ndim, 4) - 2))


def _shape(x: Array | Parts) -> list[int]:
    return [1, *x.shape[1:]] if x.ndim == 3 else list(x.shape[1:])
