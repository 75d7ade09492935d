"""The parties that hold a key, and the server that adds without one."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FedFluxError
from . import _messages
from ._messages import Encrypted, checked
from ._parameters import Parameters
from ._sum import Sum

Vector = NDArray[np.float64]


class Client:
    """A client: it has the key that all clients share, encrypts and decrypts.

    Args:
        parameters: the parameters of the encryption.
        key: the clients' key, which `key()` of another gives. None makes a new one.

    Attributes:
        key_id: the key's number, which each message carries. It tells nothing of the key.

    Raises:
        FedFluxError: TenSEAL is not installed; the key is damaged or has other parameters.

    Example:
        >>> client, server = Client(Parameters()), Server(Parameters())
        >>> total = server.add(client.encrypt([k, 2.0]) for k in (1.0, 2.0, 4.0))
        >>> client.decrypt(total).round(6)
        array([7., 6.])
    """

    def __init__(self, parameters: Parameters, key: bytes | None = None) -> None:
        self.parameters = parameters
        self._tenseal = _tenseal()
        self._context = _new_context(self._tenseal, parameters)
        self.key_id = secrets.token_bytes(_messages.KEY_ID)
        if key is not None:
            self._take_key(key)

    def key(self) -> bytes:
        """Return the secret key, for the other clients; the server must never see it."""
        secret = _serialized(self._context, secret=True)
        return _messages.with_digest(_messages.KEY + self.key_id + secret)

    def _take_key(self, key: bytes) -> None:
        content = _messages.without_digest("key", key, 64 * self.parameters.max_bytes)
        start = len(_messages.KEY)
        if content[:start] != _messages.KEY:
            raise FedFluxError("ckks: this key was written by another version of fedflux")
        self.key_id = content[start : start + _messages.KEY_ID]
        secret = content[start + _messages.KEY_ID :]
        context = checked("key", lambda: self._tenseal.context_from(secret, 1))
        if not context.has_secret_key() or _public(context) != _public(self._context):
            raise FedFluxError("ckks: this key was made for other parameters")
        self._context = context

    def encrypt(self, vector: Any, cohort: int = 1) -> bytes:
        """Encrypt a vector.

        Args:
            vector: numbers of shape (n,).
            cohort: how many vectors are added at most.

        Returns:
            The message for the server.

        Raises:
            FedFluxError: a value is not finite, or so large that the sum could overflow.
        """
        values = np.asarray(vector, dtype=np.float64)
        if values.ndim != 1 or not 0 < values.size <= _messages.MAX_VALUES:
            raise FedFluxError(
                f"ckks: expected a vector of 1 to {_messages.MAX_VALUES} values, got the "
                f"shape {values.shape}"
            )
        largest, limit = float(np.abs(values).max()), self.parameters.capacity / cohort
        if not largest <= limit:  # NaN too
            raise FedFluxError(
                f"ckks: an update holds the value {largest:g}; if {cohort} are added, at "
                f"most {limit:g} is possible; use a smaller lr, fewer scale_bits or more "
                "coeff_mod_bit_sizes"
            )
        slots = self.parameters.slots
        vectors = [
            self._tenseal.ckks_vector(self._context, values[i : i + slots])
            for i in range(0, values.size, slots)
        ]
        encrypted = Encrypted(self.key_id, values.size, vectors)
        return _messages.write(self.parameters, encrypted)

    def decrypt(self, message: bytes) -> Vector:
        """Decrypt a message, such as the server's sum.

        Returns:
            The vector.

        Raises:
            FedFluxError: the message is damaged, too large, or of another key.
        """
        found = _messages.read(self.parameters, self._tenseal, self._context, message)
        if found.key_id != self.key_id:
            raise FedFluxError("ckks: a message was encrypted with another key")
        return np.concatenate([checked("message", v.decrypt) for v in found.vectors])


class Server:
    """The server: it has the parameters and no key, and adds.

    Args:
        parameters: the parameters of the encryption.

    Raises:
        FedFluxError: TenSEAL is not installed.

    Example:
        >>> Server(Parameters()).add([b"no message"])
        Traceback (most recent call last):
        fedflux.errors.FedFluxError: ckks: a message has 10 bytes; it is cut off...
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self._tenseal = _tenseal()
        # TenSEAL makes a key with each context; this one, which encrypts nothing, is left.
        public = _public(_new_context(self._tenseal, parameters))
        self._context = self._tenseal.context_from(public, 1)

    def add(self, messages: Iterable[bytes]) -> bytes:
        """Add messages, one after the other: beside the sum, only one is in memory.

        Args:
            messages: what clients encrypted: vectors of one length, with one key.

        Returns:
            The message that decrypts to the sum.

        Raises:
            FedFluxError: there is no message; one is damaged or too large; they differ in
                key or length.
        """
        total = self.sum()
        for message in messages:
            total.add(message)
        return total.message()

    def sum(self, key_id: bytes | None = None, size: int | None = None) -> Sum:
        """Begin a sum, for messages that come one at a time; see `Sum`."""
        return Sum(self.parameters, self._tenseal, self._context, key_id, size)


class Exchange:
    """The clients and the server of a simulated run, with a new key.

    The clients hold the same key, so one object stands for all of them.

    Args:
        poly_modulus_degree, coeff_mod_bit_sizes, scale_bits: as in `Parameters`.

    Raises:
        OptionError: the parameters are refused.
        FedFluxError: TenSEAL is not installed.
    """

    def __init__(
        self, poly_modulus_degree: int, coeff_mod_bit_sizes: Iterable[int], scale_bits: int
    ) -> None:
        parameters = Parameters(poly_modulus_degree, tuple(coeff_mod_bit_sizes), scale_bits)
        self.client, self.server = Client(parameters), Server(parameters)

    def __call__(
        self, vectors: Sequence[Any], shares: Sequence[float]
    ) -> tuple[Vector, dict[str, float]]:
        """Encrypt, add and decrypt the vectors of a round.

        Args:
            vectors: each client's vector.
            shares: the number that each client multiplies its vector with.

        Returns:
            The sum, and the costs: `bytes_up`, what all clients send; `bytes_update`, the
            largest of it for one; `bytes_sum`, what the server sends to each;
            `seconds_encrypt`, of all clients; `seconds_add`, of the server;
            `seconds_decrypt`, of one client.
        """
        clock = time.perf_counter
        sizes: list[int] = []
        encrypting = 0.0

        def encrypted() -> Iterator[bytes]:
            nonlocal encrypting
            for vector, share in zip(vectors, shares, strict=True):
                begun = clock()
                own = np.asarray(vector, dtype=np.float64) * share
                message = self.client.encrypt(own, len(shares))
                encrypting += clock() - begun
                sizes.append(len(message))
                yield message

        begun = clock()
        total = self.server.add(encrypted())
        added = clock()
        values = self.client.decrypt(total)
        return values, {
            "bytes_up": sum(sizes),
            "bytes_update": max(sizes),
            "bytes_sum": len(total),
            "seconds_encrypt": encrypting,
            "seconds_add": added - begun - encrypting,
            "seconds_decrypt": clock() - added,
        }


def _tenseal() -> Any:
    try:
        import tenseal
    except ImportError:
        raise FedFluxError(
            "aggregate ckks needs TenSEAL, which is not installed: run pip install "
            "'fedflux[he]'"
        ) from None
    return tenseal


def _new_context(tenseal: Any, parameters: Parameters) -> Any:
    """Make a TenSEAL context with a new key.

    The encryption is symmetric: who encrypts also decrypts here, and a public key would
    only add noise and time.
    """
    context = tenseal.context(
        tenseal.SCHEME_TYPE.CKKS,
        parameters.poly_modulus_degree,
        coeff_mod_bit_sizes=list(parameters.coeff_mod_bit_sizes),
        encryption_type=tenseal.ENCRYPTION_TYPE.SYMMETRIC,
        n_threads=1,
    )
    context.global_scale = parameters.scale
    return context


def _public(context: Any) -> bytes:
    return _serialized(context, secret=False)


def _serialized(context: Any, *, secret: bool) -> bytes:
    content: bytes = context.serialize(
        save_public_key=False,
        save_secret_key=secret,
        save_galois_keys=False,
        save_relin_keys=False,
    )
    return content
