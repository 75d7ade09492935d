"""The messages between the apps, as Flower's records.

A fedflux message is a config record named "fedflux" with a version and the core's bytes;
the global model, if it travels in the clear, is an array record named "arrays", as in
Flower's own strategies. Whatever comes in is read here, and its size and types are checked
before anything is made of it.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from .._typing import Floats
from ..errors import FedFluxError

VERSION = 1
OWN, ARRAYS, CONFIG, METRICS = "fedflux", "arrays", "config", "metrics"
QUERY = "query.fedflux"
MAX_FACTS = 2**16  # bytes of JSON
MAX_REASON = 300  # letters

# What a node says of its data, and the bounds: memory and weights depend on them.
MAX_SAMPLES = 10**9
MAX_OUTPUTS = 10**6  # as the core's MAX_CLASSES
MAX_SIDES = 8  # of an input or a target
MAX_VALUES = 2**24  # in an input or a target
FORM = ("input", "target", "ckks_key")  # what all clients have alike
MAX_SECONDS = 10**6


def own(**values: Any) -> ConfigRecord:
    """Make a fedflux record of text, numbers and bytes."""
    return ConfigRecord({"version": VERSION, **values})


def read_own(content: RecordDict, **types: type) -> dict[str, Any]:
    """Read the fedflux record of a message.

    Args:
        content: the message's.
        **types: the type that each value must have.

    Returns:
        The values.

    Raises:
        FedFluxError: there is none, it is of another version, it lacks a value or has one
            of a wrong type, or it reports an error.
    """
    record = content.config_records.get(OWN)
    if record is None:
        raise FedFluxError("is no message of fedflux")
    version = record.get("version")
    if version != VERSION:
        raise FedFluxError(
            f"is of version {version!r} of fedflux's messages, and this is version "
            f"{VERSION}: install the same fedflux on both sides"
        )
    error = record.get("error")
    if isinstance(error, str):
        raise FedFluxError(one_line(error))
    for name, kind in types.items():
        if not isinstance(record.get(name), kind):
            raise FedFluxError(f"has no valid {name}")
    return {name: record[name] for name in types}


def read_facts(content: RecordDict) -> dict[str, Any]:
    """Read what a client says of itself.

    Returns:
        What is known of a client, and nothing else: `client`, its number, and either
        `preparing`, what keeps it from taking part, and for how many `seconds`; or
        `samples` and, if it said them, `outputs`, `input`, `target`, `engine` and
        `ckks_key`.

    Raises:
        FedFluxError: it reports an error, or says something that makes no sense.
    """
    text = read_own(content, facts=str)["facts"]
    try:
        facts = json.loads(text) if len(text) <= MAX_FACTS else None
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        raise FedFluxError("has no valid facts")
    known: dict[str, Any] = {"client": _whole(facts, "client", 1, 2**31)}
    if "preparing" in facts:
        said, seconds = facts["preparing"], facts.get("seconds")
        timed = isinstance(seconds, float) and 0 <= seconds <= MAX_SECONDS
        if not isinstance(said, str) or not timed:
            raise FedFluxError("does not say what it prepares, and for how long")
        return known | {"preparing": one_line(said), "seconds": seconds}
    known["samples"] = _whole(facts, "samples", 1, MAX_SAMPLES)
    if "outputs" in facts:
        known["outputs"] = _whole(facts, "outputs", 0, MAX_OUTPUTS)
    for name in ("input", "target"):
        if name in facts:
            known[name] = _sizes(facts, name)
    for name, pattern in (("engine", "[a-z]{1,20}"), ("ckks_key", "[0-9a-f]{32}")):
        if name in facts:
            text = facts[name]
            if not isinstance(text, str) or not re.fullmatch(pattern, text):
                raise FedFluxError(f"has no valid {name}: {one_line(str(text))}")
            known[name] = text
    return known


def _whole(facts: dict[str, Any], name: str, least: int, most: int) -> int:
    number = facts.get(name)
    if type(number) is not int or not least <= number <= most:
        raise FedFluxError(
            f"has no valid number {name}: expected {least} to {most}, got "
            f"{one_line(str(number))}"
        )
    return number


def _sizes(facts: dict[str, Any], name: str) -> list[int]:
    sizes = facts[name]
    if isinstance(sizes, list) and len(sizes) <= MAX_SIDES:
        whole = all(type(n) is int and 1 <= n <= MAX_VALUES for n in sizes)
        if whole and math.prod(sizes) <= MAX_VALUES:
            return sizes
    raise FedFluxError(f"has no valid size of an {name}: {one_line(str(sizes))}")


def arrays(names: Sequence[str], values: Sequence[Floats]) -> ArrayRecord:
    """Make an array record of a model.

    Args:
        names: the names of the arrays, in model order.
        values: the arrays.
    """
    pairs = zip(names, values, strict=True)
    return ArrayRecord({name: Array(np.ascontiguousarray(a)) for name, a in pairs})


def read_arrays(
    content: RecordDict, shapes: Sequence[Sequence[int]] | None = None
) -> list[Floats]:
    """Read the model in a message.

    Args:
        content: the message's.
        shapes: the shapes that the arrays must have, or None for any.

    Returns:
        The arrays as float32, in the message's order, or empty if there are none.

    Raises:
        FedFluxError: the arrays are damaged, of a wrong number, type or shape.
    """
    record = content.array_records.get(ARRAYS)
    if record is None:
        return []
    if shapes is not None and len(record) != len(shapes):
        raise FedFluxError(f"holds {len(record)} arrays; expected {len(shapes)}")
    expected = [None] * len(record) if shapes is None else [tuple(s) for s in shapes]
    pairs = zip(record.items(), expected, strict=True)
    return [_read(one_line(name), array, shape) for (name, array), shape in pairs]


def _read(name: str, array: Array, shape: tuple[int, ...] | None) -> Floats:
    """Read an array from .npy bytes. Its header may announce anything."""
    if array.stype != "numpy.ndarray":
        raise FedFluxError(
            f"array {name}: expected a NumPy array, got {array.stype[:40]!r}"
        )
    header, start = _npy_header(name, array.data)
    got, kind, columns = header["shape"], header["descr"], header["fortran_order"]
    if kind not in ("<f4", "<f8", "<f2"):
        raise FedFluxError(f"array {name}: expected numbers of type float32, got {kind!r}")
    if shape is not None and got != shape:
        raise FedFluxError(f"array {name}: expected shape {shape}, got {got}")
    dtype = np.dtype(kind)
    if len(array.data) - start != dtype.itemsize * math.prod(got):
        raise FedFluxError(f"array {name}: its length is not that of shape {got}")
    flat = np.frombuffer(array.data, dtype, offset=start)
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(
            flat.reshape(got, order="F" if columns else "C"), dtype=np.float32
        )


def _npy_header(name: str, data: bytes) -> tuple[dict[str, Any], int]:
    """Return the header of .npy bytes and where the values begin.

    The format: a mark, the version, the length of the header, the header, a Python literal.
    """
    try:
        wide = {b"\x93NUMPY\x01\x00": 2, b"\x93NUMPY\x02\x00": 4}[bytes(data[:8])]
        start = 8 + wide + int.from_bytes(data[8 : 8 + wide], "little")
        if start > min(len(data), 10_000):
            raise ValueError
        header = ast.literal_eval(bytes(data[8 + wide : start]).decode("latin1").strip())
        shape = header["shape"]
        whole = isinstance(shape, tuple) and len(shape) <= 32
        if not whole or any(type(n) is not int or n < 0 for n in shape):
            raise ValueError
        if (
            not isinstance(header["descr"], str)
            or type(header["fortran_order"]) is not bool
        ):
            raise ValueError
    except (KeyError, ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise FedFluxError(f"array {name}: expected the bytes of an .npy file") from None
    return header, start


def size(content: RecordDict) -> int:
    """Count the bytes of a message's arrays and byte strings."""
    total = 0
    for arrays in content.array_records.values():
        total += sum(len(array.data) for array in arrays.values())
    for config in content.config_records.values():
        for value in config.values():
            total += sum(map(_length, value if isinstance(value, list) else [value]))
    return total


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str | bytes) else 8


def read_samples(content: RecordDict) -> int:
    """Read on how many samples a plain client trained: its metric num-examples.

    Raises:
        FedFluxError: it says no positive number.
    """
    for metrics in content.metric_records.values():
        number = metrics.get("num-examples")
        if isinstance(number, int | float) and 0 < number < 2**53:
            return int(number)
    raise FedFluxError("has no metric num-examples, a number above 0")


def refusal(error: Exception, message: Message) -> Message:
    """Make the reply to a message that can't be answered."""
    reason = one_line(str(error) or type(error).__name__)
    return Message(RecordDict({OWN: own(error=reason)}), reply_to=message)


def trained(
    model: Sequence[Floats], names: Sequence[str], facts: dict[str, Any]
) -> RecordDict:
    """Make the content of a plain client's reply: its model and its numbers."""
    numbers = {"num-examples": facts["samples"], "train_loss": float(facts["loss"])}
    return RecordDict({ARRAYS: arrays(names, model), METRICS: MetricRecord(numbers)})


def one_line(text: str) -> str:
    r"""Shorten a text from elsewhere to a line that can be shown.

    Example:
        >>> one_line("no\n  such \x1b[31mfile")
        'no such [31mfile'
    """
    shown = "".join(c for c in " ".join(text.split()) if c.isprintable())
    return shown if len(shown) <= MAX_REASON else shown[: MAX_REASON - 1] + "…"
