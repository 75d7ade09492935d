"""What goes through the worker's socket: a JSON object and byte strings, in one frame.

A frame is the length of the JSON (4 bytes, little-endian), the JSON, and the byte strings
one after the other; the JSON holds their lengths, and the shapes of those that are float32
arrays.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..._typing import Floats
from ...errors import FedFluxError

MAX_FRAME = 2**32  # bytes
MAX_HEADER = 2**24
PARTS, SHAPES = "_parts", "_shapes"


# what a worker says, bytes and arrays
Answer = tuple[dict[str, Any], list[bytes], list[Floats]]


def pack(
    header: dict[str, Any], parts: Sequence[bytes] = (), arrays: Sequence[Floats] = ()
) -> bytes:
    """Put a JSON object, byte strings and arrays into one frame.

    Args:
        header: the object, without the names _parts and _shapes.
        parts: byte strings.
        arrays: float32 arrays of any shape.

    Returns:
        The frame, for `unpack`.

    Example:
        >>> unpack(pack({"op": "hello"}, [b"abc"]))
        ({'op': 'hello'}, [b'abc'], [])
    """
    # of a fixed byte order, so that a frame means the same everywhere
    blobs = [*parts, *(np.ascontiguousarray(a, dtype="<f4").tobytes() for a in arrays)]
    shapes = [list(a.shape) for a in arrays]
    whole = header | {PARTS: [len(blob) for blob in blobs], SHAPES: shapes}
    text = json.dumps(whole).encode()
    return b"".join([len(text).to_bytes(4, "little"), text, *blobs])


def unpack(frame: bytes) -> tuple[dict[str, Any], list[bytes], list[Floats]]:
    """Take a frame apart.

    Args:
        frame: what `pack` returned.

    Returns:
        The object, the byte strings and the arrays.

    Raises:
        FedFluxError: the frame is damaged.
    """
    try:
        size = int.from_bytes(frame[:4], "little")
        if not 2 <= size <= min(MAX_HEADER, len(frame) - 4):
            raise ValueError("its header is cut short")
        header = json.loads(frame[4 : 4 + size])
        lengths, shapes = header.pop(PARTS), header.pop(SHAPES)
        if len(frame) != 4 + size + sum(lengths) or min(lengths, default=0) < 0:
            raise ValueError("its length is not the announced one")
        blobs, start = [], 4 + size
        for length in lengths:
            blobs.append(frame[start : start + length])
            start += length
        split = len(blobs) - len(shapes)
        arrays = [_array(b, s) for b, s in zip(blobs[split:], shapes, strict=True)]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FedFluxError(f"a damaged frame came through the socket: {error}") from None
    return header, blobs[:split], arrays


def _array(blob: bytes, shape: list[int]) -> Floats:
    if len(blob) != 4 * math.prod(shape):
        raise ValueError("an array's shape is not that of its bytes")
    return np.frombuffer(blob, "<f4").reshape(shape)
