"""A run's folder of checkpoints, read as a result: what it had reached at the newest one.

`checkpoint.jl`, `history_file.jl` and `pack.jl` in the core's `checkpoints/` say what
stands in the files.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError, warn
from .file_format import Arrays, Facts, fingerprint

FORMATS = (2, 3)  # until 3 each checkpoint held the whole history
HISTORY = "history.jsonl"
KEPT = ("sample", "input", "classes", "objects")  # what predictions need
SEAL = re.compile(rb'\{"sha256":"([0-9a-f]{64})",')
FILE = re.compile(r"round-(\d{6,12})\.json")


def read(folder: Path) -> tuple[Facts, Arrays]:
    """Read the newest intact checkpoint.

    Args:
        folder: the `checkpoint` folder of a run.

    Returns:
        The facts and the arrays of a result, as `result_file.read` returns them.

    Raises:
        DataError: there is no checkpoint, or all are damaged.
    """
    found = ((FILE.fullmatch(path.name), path) for path in folder.iterdir())
    rounds = sorted((int(match[1]), path) for match, path in found if match)
    for number, path in reversed(rounds):
        try:
            return _result(path)
        except (DataError, OSError, LookupError, TypeError, ValueError) as error:
            reason = error if isinstance(error, DataError) else f"damaged ({error})"
            warn(f"the checkpoint after round {number} is skipped: {reason}")
    state = "every checkpoint in it is damaged" if rounds else "it holds no checkpoint"
    raise DataError(f"{str(folder)!r}: {state}")


def _result(path: Path) -> tuple[Facts, Arrays]:
    from safetensors.numpy import load

    content = _unsealed(path)
    if content["format"] not in FORMATS:
        raise DataError(f"{path}: has format {content['format']}, expected 2 or 3")
    if "names" not in content:
        raise DataError(
            f"{path}: of an older fedflux, which did not record the order of the "
            "parameters: resume the run for a round first"
        )
    tensors = path.with_suffix(".safetensors").read_bytes()
    if hashlib.sha256(tensors).hexdigest() != content["arrays"]:
        raise DataError(f"{path}: damaged, the SHA-256 of its arrays differs")
    held = load(tensors)
    arrays = _model(content, held, "parameters", "stats", "")
    best = content["best"]
    apart = best is not None and best["round"] != content["round"]
    if apart:
        arrays |= _model(content, held, "best", "best_stats", "best/")
    return _facts(content, _history(path, content["history"]), arrays, best, apart), arrays


def _history(path: Path, told: Facts) -> list[Facts]:
    """Return the records of the rounds before a checkpoint, from their own file."""
    rows = told.get("rows")
    if rows is None:
        file = path.parent / HISTORY
        with file.open("rb") as lines:
            text = lines.read(told["bytes"])
        chain = bytes(32)
        for line in text.splitlines(keepends=True):
            chain = hashlib.sha256(chain + line).digest()
        if len(text) != told["bytes"] or chain.hex() != told["chain"]:
            raise DataError(f"{file}: damaged, its SHA-256 differs")
        rows = [json.loads(line) for line in text.splitlines()]
    return [_record(told["fields"], row) for row in rows]


def _record(fields: list[str], row: list[Any]) -> Facts:
    """Return the record of a row; one without metrics ends before these."""
    if fields[-1] == "metrics" and len(row) == len(fields) - 1:
        fields = fields[:-1]
    values = (unpacked(v, finite=n != "metrics") for n, v in zip(fields, row, strict=True))
    return dict(zip(fields, values, strict=True))


def _unsealed(path: Path) -> Facts:
    text = path.read_bytes()
    seal = SEAL.match(text)
    if not seal or hashlib.sha256(text[seal.end() :]).hexdigest().encode() != seal[1]:
        raise DataError(f"{path}: damaged, its SHA-256 differs")
    content: Facts = json.loads(text)
    return content


def _model(content: Facts, held: Arrays, prefix: str, stats: str, put: str) -> Arrays:
    """Return the parameters and the statistics that stand there, named for a result."""
    arrays = {}
    for name in (*content["names"], *content["fixed"]):
        found = held.get(f"{prefix}/{name}")  # what is frozen stands there once
        arrays[put + name] = held[f"parameters/{name}"] if found is None else found
    flat, at = held[stats], 0
    for name, size in content["statistics"]:
        n = math.prod(size)
        arrays[put + name] = flat[at : at + n].reshape(size[::-1])
        at += n
    return arrays


def _facts(
    content: Facts, history: list[Facts], arrays: Arrays, best: Facts | None, apart: bool
) -> Facts:
    run = content["run"]
    statistics = [name for name, _ in content["statistics"]] + content["fixed"]
    if best is not None:
        record = next(r for r in history if r["round"] == best["round"])
        best = {
            "round": best["round"],
            "monitor": run["options"].get("monitor", "loss"),
            "value": best["value"],
            "loss": record["test_loss"],
            "accuracy": record["accuracy"],
            "params_sha256": _digest(content["names"], arrays, "best/" * apart),
            "statistics_sha256": _digest(statistics, arrays, "best/" * apart),
            "apart": apart,
        }
    return {
        "engine": "julia",
        "dataset": run["dataset"],
        "trainer": run["trainer"],
        "history": history,
        "params_sha256": _digest(content["names"], arrays, ""),
        "statistics_sha256": _digest(statistics, arrays, ""),
        "stopped": "checkpoint",
        "seconds": content["seconds"],
        "options": run["options"] | run["objects"],
        "clients": [],
        "versions": run["versions"],
        "warnings": [],
        "details": {name: run[name] for name in KEPT if name in run},
        "names": content["names"],
        "statistics": statistics,
        "best": best,
    }


def _digest(names: list[str], arrays: Arrays, put: str) -> str:
    return fingerprint({name: arrays[put + name] for name in names})


def unpacked(value: Any, finite: bool = True) -> Any:
    """Return what the core packed, as a record of a history has it.

    Args:
        value: packed.
        finite: whether a number that isn't finite is None.

    Example:
        >>> unpacked({"names": ["min"], "values": [{"number": "Float32", "is": "0.5"}]})
        {'min': 0.5}
    """
    if not isinstance(value, Mapping):
        return value
    if "names" in value:
        values = (unpacked(v, finite) for v in value["values"])
        return dict(zip(value["names"], values, strict=True))
    if "list" in value:
        return [unpacked(v) for v in value["list"]]
    if "tuple" in value:
        return [unpacked(v) for v in value["tuple"]]
    if "symbol" in value:
        return value["symbol"]
    number = float(value["is"].replace("Inf", "inf"))
    if not math.isfinite(number):
        return None if finite else number  # None as JSON has it
    return number if "Float" in value["number"] else int(value["is"])
