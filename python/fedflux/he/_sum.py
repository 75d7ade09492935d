"""A sum of encrypted vectors, which come one at a time."""

from __future__ import annotations

from typing import Any

from ..errors import FedFluxError
from . import _messages
from ._messages import Encrypted
from ._parameters import Parameters


class Sum:
    """A sum of messages; `Server.sum` begins one.

    Args:
        parameters: the parameters of the encryption.
        tenseal: the module.
        context: the server's.
        key_id: the number of the key of all messages, or None for that of the first.
        size: how many values each message has, or None for as many as the first.
    """

    def __init__(
        self,
        parameters: Parameters,
        tenseal: Any,
        context: Any,
        key_id: bytes | None,
        size: int | None,
    ) -> None:
        self._parameters, self._tenseal, self._context = parameters, tenseal, context
        self._key_id, self._size = key_id, size
        self._total: Encrypted | None = None

    def add(self, message: bytes) -> None:
        """Add a message.

        Raises:
            FedFluxError: it is damaged, too large, or of another key or length than the
                others; the sum is as it was.
        """
        new = _messages.read(self._parameters, self._tenseal, self._context, message)
        if self._key_id not in (None, new.key_id):
            raise FedFluxError("ckks: messages were encrypted with different keys")
        if self._size not in (None, new.size):
            raise FedFluxError(
                f"ckks: a message holds {new.size} values; expected {self._size}"
            )
        self._key_id, self._size = new.key_id, new.size
        if self._total is None:
            self._total = new
            return
        for a, b in zip(self._total.vectors, new.vectors, strict=True):
            a.add_(b)

    def message(self) -> bytes:
        """Return the message that decrypts to the sum.

        Raises:
            FedFluxError: nothing was added.
        """
        if self._total is None:
            raise FedFluxError("ckks: there is nothing to add")
        return _messages.write(self._parameters, self._total)
