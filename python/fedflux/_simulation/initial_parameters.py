"""Initial parameters from the user."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._data.arrays import Data
from .._options.options import column
from .._reference.losses import outputs_and_classes
from .._reference.models import Model
from .._results.personal import PersonalModel
from .._results.result import Result
from .._results.snapshot import Snapshot
from ..errors import DataError, shown

Trained = Result | Snapshot | PersonalModel
Init = Mapping[str, NDArray[Any]] | Trained | str | os.PathLike[str]
Parameters = dict[str, NDArray[Any]]


def read(init: Init) -> Parameters:
    """Read initial parameters.

    Args:
        init: arrays by name, a result, its best model, a personal model, or the path of a
            saved result or of a folder of checkpoints.

    Returns:
        float32 arrays by name: the parameters, and statistics such as BatchNorm's.

    Raises:
        DataError: `init` has another type, an array holds no numbers, NaN or infinity, or
            the file can't be read.

    Example:
        >>> read({"layers.1.bias": np.zeros(3)})["layers.1.bias"].dtype
        dtype('float32')
    """
    if isinstance(init, str | os.PathLike):
        try:
            init = Result.load(init)
        except DataError as error:
            raise DataError(f"init: {error}") from None
    if isinstance(init, Trained):
        return init.parameters | init.statistics
    if not isinstance(init, Mapping):
        raise DataError(
            "init: expected arrays by name, a Result, the path of a saved one or a PyTorch "
            "module, got "
            f"{shown(init)}"
        )
    return {name: _numbers(name, value) for name, value in init.items()}


def _numbers(name: str, value: Any) -> NDArray[np.float32]:
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise DataError(f"init: expected numbers for {name}, got {array.dtype.name}")
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise DataError(f"init: expected finite numbers for {name}, got NaN or infinity")
    return array


def fit(
    init: Parameters | None, options: Mapping[str, Any], data: Data, own_model: bool = False
) -> Parameters | None:
    """Check that the model fits the data, and the initial parameters the model.

    What the reference engine does not know is left to the core, which also matches names.

    Args:
        init: initial parameters by name, or None.
        options: every option, checked.
        data: the data of the run.
        own_model: whether the model is the user's own rather than one that is named.

    Returns:
        The initial parameters in the order of the model.

    Raises:
        OptionError: the model does not take the data.
        DataError: a name or a shape differs from the model's.
    """
    known = options["model"] in column("reference")["model"]
    if own_model or not known or options["loss"] not in column("reference")["loss"]:
        return init
    outputs, _ = outputs_and_classes(options["loss"], data)
    sample = data.x_train.shape[1:]
    shapes = Model(options["model"], sample, outputs, options["hidden"]).shapes
    if init is None:
        return None
    missed = [name for name in shapes if name not in init]
    unknown = [name for name in init if name not in shapes]
    if missed or unknown:
        parts = (
            f"{', '.join(missed)} missing; " if missed else "",
            f"the model has no {', '.join(unknown)}; " if unknown else "",
        )
        raise DataError(f"init: {''.join(parts)}expected {', '.join(shapes)}")
    for name, shape in shapes.items():
        if init[name].shape != shape:
            raise DataError(
                f"init: expected shape {shape} for {name}, got {init[name].shape}"
            )
    return {name: init[name] for name in shapes}
