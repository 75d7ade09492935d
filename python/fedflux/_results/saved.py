"""The facts of a run from what it left on the disk: a folder, or a file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from .._julia.json_losses import restored
from ..errors import DataError, first_line
from . import file_format
from .atomic_write import as_path
from .result import Result

MAX_BYTES = 2**29
IN_FOLDER = ("result.safetensors", "run.json")
NEEDED = ("history", "options", "dataset")


def facts_of(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the facts of a run: a folder of checkpoints, or a file of --save or --json.

    Returns:
        The facts as `Result.facts` has them.

    Raises:
        DataError: there is no run, or its file is damaged.

    Example:
        >>> facts_of("no/such/run")
        Traceback (most recent call last):
        fedflux.errors.DataError: no file or folder 'no/such/run'...
    """
    given = as_path("path", path)
    if not given.exists():
        raise DataError(f"no file or folder {str(given)!r}")
    file = _file_in(given) if given.is_dir() else given
    if file is None:  # what an unfinished run had reached
        return Result.load(given).facts()
    if file.suffix == ".safetensors":
        facts = file_format.read(file)[0]
    else:
        facts = read_json(file, "the facts of a run")
    if not isinstance(facts, dict) or any(name not in facts for name in NEEDED):
        raise DataError(f"{file}: expected the facts of a run")
    return facts


def _file_in(folder: Path) -> Path | None:
    return next((folder / n for n in IN_FOLDER if (folder / n).is_file()), None)


def read_json(file: Path, what: str) -> Any:
    """Read JSON that fedflux wrote, `what` it holds in words; losses are numbers again.

    Raises:
        DataError: the file is too large, can't be read or holds no JSON.
    """
    try:
        if file.stat().st_size <= MAX_BYTES:
            return json.loads(file.read_text(encoding="utf-8"), object_hook=restored)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file}: not {what} ({first_line(error)})") from None
    raise DataError(f"{file}: expected at most {MAX_BYTES} bytes")
