"""A client of the Julia core, in the worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..._data.arrays import Data
from ..._julia import deployment_calls
from ..._typing import Floats
from .encryption import node_of, provide_parties
from .frames import Answer


class JuliaClient:
    """A client of the core, with its data.

    Args:
        options: every option.
        data: the client's own.
        key: the clients' key, if the aggregate is ckks.
        number: the client's.
        own: rules of the user's own, as `rules`.
    """

    def __init__(
        self,
        options: dict[str, Any],
        data: Data,
        key: bytes | None = None,
        number: int | None = None,
        own: Mapping[str, Any] | None = None,
    ) -> None:
        provide_parties(options)
        self.facts, self._client = deployment_calls.client_open(
            options, data[:4], node_of(options, key), number, own
        )
        self.facts["engine"] = "julia"

    def answer(
        self, request: dict[str, Any], body: bytes, private: bytes, arrays: list[Floats]
    ) -> Answer:
        """Let the core answer; see `training.Client`."""
        message = None if request["stock"] else body
        said, reply, private, trained = deployment_calls.client_answer(
            self._client, message, arrays, private
        )
        return said, [reply, private], trained
