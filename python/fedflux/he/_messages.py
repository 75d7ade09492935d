"""Encrypted vectors as bytes, and the only calls that give TenSEAL bytes to read.

A message: a mark, the key's number, the count of values, each ciphertext with its length,
and the SHA-256 of all this. TenSEAL reads Protocol Buffers, and SEAL checks the
polynomials; neither runs code from the bytes. But TenSEAL believes the counts of values in
its buffers, and reads beyond a ciphertext if one is too large. So the buffers are made
here, and of a message only SEAL's ciphertexts go into them.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import FedFluxError
from ._parameters import Parameters

MAX_VALUES = 2**26
KEY, MESSAGE = b"fedkey\0\1", b"fedckks\1"
KEY_ID, DIGEST = 16, 32
_HEADER = struct.Struct(f"<8s{KEY_ID}sI")
_LENGTH = struct.Struct("<I")

T = TypeVar("T")


@dataclass
class Encrypted:
    """An encrypted vector: the number of its key, of its values, and its ciphertexts."""

    key_id: bytes
    size: int
    vectors: list[Any]


def write(parameters: Parameters, encrypted: Encrypted) -> bytes:
    """Write an encrypted vector as a message."""
    content = [_HEADER.pack(MESSAGE, encrypted.key_id, encrypted.size)]
    sizes = _chunks(encrypted.size, parameters.slots)
    for vector, size in zip(encrypted.vectors, sizes, strict=True):
        ciphertext = _from_buffer(vector.serialize(), size, parameters.scale)
        content += [_LENGTH.pack(len(ciphertext)), ciphertext]
    return with_digest(b"".join(content))


def most_bytes(parameters: Parameters, size: int) -> int:
    """Return the most bytes that the message of a vector of `size` values has."""
    ciphertexts = len(list(_chunks(size, parameters.slots)))
    return _HEADER.size + ciphertexts * (_LENGTH.size + parameters.max_bytes) + DIGEST


def read(parameters: Parameters, tenseal: Any, context: Any, message: bytes) -> Encrypted:
    """Read a message.

    Args:
        parameters: the parameters of the encryption.
        tenseal: the module.
        context: TenSEAL's context that the ciphertexts will belong to.
        message: bytes from anybody.

    Raises:
        FedFluxError: the message is from another version, too large, damaged, or has other
            parameters.
    """
    if len(message) < _HEADER.size + DIGEST:
        raise FedFluxError(f"ckks: a message has {len(message)} bytes; it is cut off")
    mark, key_id, size = _HEADER.unpack_from(message)
    if mark != MESSAGE or not 0 < size <= MAX_VALUES:
        raise FedFluxError("ckks: this message was written by another version of fedflux")
    sizes = list(_chunks(size, parameters.slots))
    limit = most_bytes(parameters, size)
    content = memoryview(without_digest("message", message, limit))[_HEADER.size :]
    vectors = []
    for n in sizes:
        ciphertext, content = _take(content, parameters.max_bytes)
        vectors.append(_ciphertext(parameters, tenseal, context, ciphertext, n))
    if content:
        raise FedFluxError("ckks: a message is longer than its ciphertexts")
    return Encrypted(key_id, size, vectors)


def with_digest(content: bytes) -> bytes:
    """Add the SHA-256, which shows damage; against forgery is what carries the message."""
    return content + hashlib.sha256(content).digest()


def without_digest(what: str, data: bytes, limit: int) -> bytes:
    """Return the content before a right SHA-256; FedFluxError for other or larger data."""
    if len(data) > limit:
        raise FedFluxError(
            f"ckks: a {what} has {len(data)} bytes, and at most {limit} are possible"
        )
    content, digest = data[:-DIGEST], data[-DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        raise FedFluxError(f"ckks: a {what} is damaged or cut off: its SHA-256 differs")
    return content


def checked(what: str, call: Callable[[], T]) -> T:
    """Call TenSEAL. What it raises for wrong bytes becomes a FedFluxError."""
    try:
        return call()
    except (ValueError, RuntimeError, TypeError, IndexError) as error:
        raise FedFluxError(f"ckks: a {what} can't be read: {error}") from None


def _chunks(size: int, slots: int) -> Iterator[int]:
    """Yield how many values each ciphertext holds."""
    for start in range(0, size, slots):
        yield min(slots, size - start)


def _take(content: memoryview, limit: int) -> tuple[bytes, memoryview]:
    """Take one ciphertext from the front."""
    if len(content) < _LENGTH.size:
        raise FedFluxError("ckks: a message has fewer ciphertexts than it should")
    (length,) = _LENGTH.unpack_from(content)
    rest = content[_LENGTH.size :]
    if length > min(limit, len(rest)):
        raise FedFluxError(f"ckks: a message claims a ciphertext of {length} bytes")
    return bytes(rest[:length]), rest[length:]


def _ciphertext(
    parameters: Parameters, tenseal: Any, context: Any, data: bytes, size: int
) -> Any:
    buffer = _to_buffer(data, size, parameters.scale)
    vector = checked("message", lambda: tenseal.ckks_vector_from(context, buffer))
    found = vector.ciphertext()
    fits = (
        len(found) == 1
        and found[0].size() == 2
        and found[0].scale == parameters.scale
        and found[0].coeff_modulus_size() == len(parameters.coeff_mod_bit_sizes) - 1
        and not found[0].is_transparent()
    )
    if not fits:
        raise FedFluxError("ckks: a message holds a ciphertext with other parameters")
    return vector


# TenSEAL's CKKSVectorProto: 1, the counts of values; 2, SEAL's ciphertexts; 3, the scale.
def _to_buffer(ciphertext: bytes, size: int, scale: float) -> bytes:
    count = _varint(size)
    return b"".join(
        (
            *(b"\x0a", _varint(len(count)), count),
            *(b"\x12", _varint(len(ciphertext)), ciphertext),
            *(b"\x19", struct.pack("<d", scale)),
        )
    )


def _from_buffer(buffer: bytes, size: int, scale: float) -> bytes:
    """Return the ciphertext in what TenSEAL serialized."""
    frame = len(_to_buffer(b"", size, scale)) - 1  # without the ciphertext's length
    for digits in range(1, 6):
        ciphertext = buffer[frame - 9 + digits : -9]
        if _to_buffer(ciphertext, size, scale) == buffer:
            return ciphertext
    raise FedFluxError(
        "ckks: this TenSEAL writes vectors in a form that fedflux doesn't know; run pip "
        "install 'fedflux[he]'"
    )


def _varint(n: int) -> bytes:
    """Write a number in base 128, the lowest digit first, as Protocol Buffers do."""
    digits: Sequence[int] = [n >> shift & 127 for shift in range(0, n.bit_length() or 1, 7)]
    return bytes(d | 128 for d in digits[:-1]) + bytes(digits[-1:])
