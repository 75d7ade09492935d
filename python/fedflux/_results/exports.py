"""A trained model as a PyTorch module, or as an ONNX file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .._julia import calls
from .._options.models import is_described
from .._typing import Named
from ..errors import OptionError, needs, shown
from .atomic_write import as_path, write_whole

Layers = list[dict[str, Any]]


def layers(config: dict[str, Any], arrays: Named, state: Any) -> Layers:
    """Return the description of a trained model.

    Args:
        config: what the core needs to make the model again.
        arrays: its parameters and statistics by name.
        state: what the core keeps of it, or None.

    Raises:
        FedFluxError: the model has a layer without a description.

    Example:
        >>> layers({"model": '[{"layer": "flatten"}]'}, {}, None)
        [{'layer': 'flatten'}]
    """
    if is_described(config["model"]):
        described: Layers = json.loads(config["model"])
        return described
    return calls.description(config, arrays, state)


def to_torch(
    module: Any,
    describe: Callable[[], Layers],
    sample: list[int],
    parameters: Named,
    statistics: Named,
) -> Any:
    """Return a trained model as a module; see `Predictor.to_torch`.

    Args:
        module: of the same layers, or None to build a Sequential.
        describe: returns the layers.
        sample: the shape of a sample.
        parameters, statistics: of the Flux model, in its order.
    """
    with needs("PyTorch", "torch"):
        from .._torch.modules import build
        from .._torch.translate import translate
    if module is None:
        return build(describe(), sample, parameters, statistics)
    if not hasattr(module, "state_dict"):
        raise OptionError(f"module: expected a PyTorch module, got {shown(module)}")
    return translate(module).filled(parameters | statistics)


def to_onnx(
    path: str | os.PathLike[str],
    describe: Callable[[], Layers],
    sample: list[int],
    parameters: Named,
    statistics: Named,
) -> Path:
    """Write a trained model as an ONNX file; see `Predictor.to_onnx` and `to_torch`."""
    file = as_path("path", path)
    with needs("onnx", "onnx"):
        from .._onnx.export import export
    write_whole(file, export(describe(), sample, parameters, statistics))
    return file
