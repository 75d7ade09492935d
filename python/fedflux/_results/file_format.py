"""Files of saved results: safetensors, with the facts of the run as metadata."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._julia.json_losses import restored
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
        arrays: both by name.

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


def read(path: Path) -> tuple[Facts, Arrays, Arrays]:
    """Read the facts, the parameters and the statistics of a file that `write` wrote.

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
            version, names = facts.pop("format"), facts.pop("names")
            if version > FORMAT:
                raise DataError(
                    f"{path}: saved by a newer fedflux; run pip install -U fedflux"
                )
            statistics = facts.pop("statistics", [])  # not in files of older versions
            parameters = {name: file.get_tensor(name) for name in names}
            return facts, parameters, {name: file.get_tensor(name) for name in statistics}
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


def not_a_result(path: Path, error: Exception) -> DataError:
    """Make the error for a file that is not a saved result."""
    reason = f"{type(error).__name__}: {error}"
    return DataError(f"{path}: not a result saved by fedflux ({reason})")
