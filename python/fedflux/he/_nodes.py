"""The parties of CKKS on separate machines: nodes with the key, a server without it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import numpy as np

from .._options.specs import parse
from ..errors import FedFluxError, OptionError
from . import _messages
from ._parameters import DECRYPTIONS, Parameters
from ._parties import Client, Server, Vector
from ._sum import Sum

MAX_KEY = 2**26  # bytes of a key's file


def parameters_of(aggregate: str) -> Parameters | None:
    """Read the parameters of an aggregate, or None if it is not ckks.

    Example:
        >>> parameters_of("ckks").slots, parameters_of("mean")
        (4096, None)
    """
    name, given = parse("aggregate", aggregate)
    return Parameters(**given) if name == "ckks" else None


class Parties:
    """What the server of a deployment needs of CKKS.

    Args:
        parameters: the parameters of the encryption.

    Raises:
        FedFluxError: TenSEAL is not installed.
    """

    def __init__(self, parameters: Parameters) -> None:
        self._parameters, self._server = parameters, Server(parameters)

    def check(self, size: int, cohort: int, rounds: int) -> None:
        """Raise an OptionError if noise can't hide the key, or would be too large."""
        if rounds > DECRYPTIONS:
            raise OptionError(
                f"rounds is {rounds}; noise hides a key of ckks in the sums of at most "
                f"{DECRYPTIONS} rounds: use fewer, and a new key for more"
            )
        self._parameters.hiding_noise(size, cohort)

    def most_bytes(self, size: int) -> int:
        """Return the most bytes of an encrypted update of `size` values."""
        return _messages.most_bytes(self._parameters, size)

    def sum(self, key_id: str, size: int) -> Sum:
        """Begin the sum of a round; see `he.Sum`."""
        return self._server.sum(bytes.fromhex(key_id), size)


class Node:
    """A client on its own machine.

    Args:
        parameters: the parameters of the encryption.
        key: the key that all clients share.

    Raises:
        FedFluxError: TenSEAL is not installed; the key is damaged or has other parameters.
    """

    def __init__(self, parameters: Parameters, key: bytes) -> None:
        self._client = Client(parameters, key)
        self.key_id = self._client.key_id.hex()

    def encrypt(self, vector: Any, share: float, cohort: int) -> bytes:
        """Encrypt an update of shape (n,) times `share`, to be added to those of a cohort.

        Raises:
            FedFluxError: as `he.Client.encrypt`; the noise that hides the key would be too
                large.
        """
        values = np.asarray(vector, dtype=np.float64) * share
        self._client.parameters.hiding_noise(values.size, cohort)
        return self._client.encrypt(values, cohort)

    def decrypt(self, message: bytes, size: int, cohort: int) -> Vector:
        """Decrypt a sum for the server, with noise that hides the key.

        Args:
            message: the server's.
            size: how many values this client encrypted.
            cohort: how many ciphertexts the server may have added.

        Raises:
            FedFluxError: as `he.Client.decrypt`; another number of values; values that no
                sum can have, which another key gives.
        """
        parameters = self._client.parameters
        if len(message) > _messages.most_bytes(parameters, size):
            raise FedFluxError(f"ckks: a message has {len(message)} bytes, too many")
        values = self._client.decrypt(message)
        if values.size != size:
            raise FedFluxError(
                f"ckks: a message holds {values.size} values; expected {size}"
            )
        if not np.abs(values).max() <= 2 * parameters.capacity:
            raise FedFluxError(
                "ckks: the sum is noise: a client encrypted with another key or parameters"
            )
        return values + parameters.hiding_noise(size, cohort) * _gaussian(size)


def _gaussian(n: int) -> Vector:
    """Draw from the normal distribution, from the operating system's random bytes.

    The key's secrecy rests on it, so no generator whose state could be computed will do.
    Box and Muller 1958.
    """
    words = np.frombuffer(os.urandom(16 * n), np.uint64).reshape(2, n)
    radius, angle = ((words >> np.uint64(11)) + 0.5) * 2.0**-53
    normal: Vector = np.sqrt(-2 * np.log(radius)) * np.cos(2 * np.pi * angle)
    return normal


def write_key(file: Path, parameters: Parameters) -> None:
    """Make a key and write it to a new file that only its owner may read.

    Raises:
        FedFluxError: the file exists or can't be written; TenSEAL is not installed.
    """
    key = Client(parameters).key()
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(key)
    except OSError as error:
        raise FedFluxError(f"can't write {file}: {error.strerror}") from None


def read_key(file: Any) -> bytes:
    """Read a node's key.

    Args:
        file: `ckks-key` of the node config, or None if there is none.

    Raises:
        FedFluxError: no file is given, it can't be read or is too large, or others may
            read it.
    """
    if not isinstance(file, str) or not file:
        raise FedFluxError(
            "this node has no key for aggregate ckks: make one for all nodes with fedflux "
            "ckks-key FILE, and start the SuperNode with --node-config 'ckks-key=\"FILE\"'"
        )
    try:
        with Path(file).open("rb") as opened:
            found = os.fstat(opened.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_KEY:
                raise FedFluxError(f"ckks-key: {file} is not a key of fedflux")
            if found.st_mode & 0o077:
                raise FedFluxError(f"ckks-key: others may read {file}: run chmod 600 on it")
            return opened.read(MAX_KEY)
    except OSError as error:
        raise FedFluxError(f"ckks-key: can't read {file}: {error.strerror}") from None
