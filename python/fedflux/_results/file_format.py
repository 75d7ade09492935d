"""Files of saved results: safetensors, with the facts of the run as metadata."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._julia.json_losses import LOSSES, named, restored
from ..errors import DataError
from .atomic_write import write_whole

FORMAT = 1  # increases when older versions can't read the files

Facts = dict[str, Any]
Arrays = dict[str, NDArray[np.float32]]


def write(path: Path, facts: Facts, arrays: Arrays) -> Path:
    """Write a file, or replace an existing one.

    Args:
        path: the file.
        facts: JSON values by name; `names` has the order of the parameters, which
            safetensors does not keep, and `statistics` that of BatchNorm's.
        arrays: both by name, and those of the best model if it is another.

    Returns:
        The path.

    Raises:
        FedFluxError: the file can't be written.
    """
    from safetensors.numpy import save

    metadata = {"fedflux": json.dumps(facts | {"format": FORMAT}, allow_nan=False)}
    tensors = {  # safetensors writes the memory of an array, whatever its order
        name: np.ascontiguousarray(a, dtype="<f4") for name, a in arrays.items()
    }
    content = save(tensors, metadata=metadata)
    write_whole(path, content)
    return path


def read(path: Path) -> tuple[Facts, Arrays]:
    """Read the facts and the arrays of a file that `write` wrote.

    Raises:
        DataError: the file does not exist or is not a saved result.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise DataError(f"no file {str(path)!r} (current folder: {os.getcwd()})")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {})["fedflux"]
            facts: Facts = json.loads(text, object_hook=restored)
            version = facts.pop("format")
            if version > FORMAT:
                raise DataError(
                    f"{path}: saved by a newer fedflux; run pip install -U fedflux"
                )
            return facts, {name: file.get_tensor(name) for name in array_names(facts)}
    except DataError:
        raise
    except (
        SafetensorError,
        OSError,
        LookupError,
        TypeError,
        ValueError,
        RecursionError,  # JSON that is nested too deeply
        AttributeError,  # the metadata is JSON, but not an object
    ) as error:
        raise not_a_result(path, error) from None


def array_names(facts: Mapping[str, Any]) -> list[str]:
    """Return the names of a result's arrays, also of its best model if it is another.

    Example:
        >>> array_names({"names": ["w"], "statistics": ["m"], "best": {"apart": True}})
        ['w', 'm', 'best/w', 'best/m']
    """
    names = [*facts["names"], *facts.get("statistics", ())]  # older versions have less
    best = facts.get("best")
    return [*names, *(f"best/{n}" for n in names)] if best and best["apart"] else names


def not_a_result(path: Path, error: Exception) -> DataError:
    """Make the error for a file that is not a saved result."""
    reason = f"{type(error).__name__}: {error}"
    return DataError(f"{path}: not a result saved by fedflux ({reason})")


def fingerprint(parameters: Mapping[str, NDArray[np.float32]]) -> str:
    """Compute the SHA-256 of the bytes of the parameters, in their order.

    Example:
        >>> fingerprint({})[:8]
        'e3b0c442'
    """
    digest = hashlib.sha256()
    for array in parameters.values():
        digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
    return digest.hexdigest()


def _metrics(figures: Any) -> Any:
    """Convert the metrics of a round; those that aren't finite have names."""
    if not isinstance(figures, Mapping):
        return plain(figures)
    return {n: named(v) if isinstance(v, float) else plain(v) for n, v in figures.items()}


def plain(value: Any) -> Any:
    """Convert to what JSON can hold."""
    if isinstance(value, Mapping):
        return {
            str(k): named(v)
            if k in LOSSES and isinstance(v, float)
            else _metrics(v)
            if k == "metrics"
            else plain(v)
            for k, v in value.items()
        }
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
