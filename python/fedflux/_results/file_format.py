"""Files of saved results: safetensors, with the facts of the run as metadata."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .atomic_write import write_whole

FORMAT = 1  # increases when older versions can't read the files

Facts = dict[str, Any]
Parameters = dict[str, NDArray[np.float32]]


def write(path: Path, facts: Facts, parameters: Parameters) -> Path:
    """Write a file, or replace an existing one.

    Args:
        path: the file.
        facts: JSON values by name; `names` has the order of the parameters, which
            safetensors does not keep.
        parameters: arrays by name.

    Returns:
        The path.

    Raises:
        FedFluxError: the file can't be written.
    """
    from safetensors.numpy import save

    metadata = {"fedflux": json.dumps(facts | {"format": FORMAT}, allow_nan=False)}
    arrays = {  # safetensors writes the memory of an array, whatever its order
        name: np.ascontiguousarray(a, dtype="<f4") for name, a in parameters.items()
    }
    content = save(arrays, metadata=metadata)
    write_whole(path, content)
    return path


def read(path: Path) -> tuple[Facts, Parameters]:
    """Read the facts and the parameters of a file that `write` wrote.

    Raises:
        DataError: the file does not exist or is not a saved result.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise DataError(f"no file {str(path)!r} (current folder: {os.getcwd()})")
    try:
        with safe_open(path, framework="numpy") as file:
            facts: Facts = json.loads((file.metadata() or {})["fedflux"])
            version, names = facts.pop("format"), facts.pop("names")
            if version > FORMAT:
                raise DataError(
                    f"{path}: saved by a newer fedflux; run pip install -U fedflux"
                )
            return facts, {name: file.get_tensor(name) for name in names}
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
