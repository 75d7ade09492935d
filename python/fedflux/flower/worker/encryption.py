"""The parties of homomorphic encryption, for the core in a worker."""

from __future__ import annotations

from typing import Any

from ..._julia import calls
from ...he import Parameters
from ...he._nodes import Node, Parties, parameters_of


def provide_parties(options: dict[str, Any]) -> None:
    """Give the core what makes the parties of a run, if its aggregate is ckks.

    Args:
        options: every option.
    """
    if parameters_of(options["aggregate"]) is not None:
        calls.provide_ckks(lambda *given: Parties(Parameters(*given)))


def node_of(options: dict[str, Any], key: bytes | None) -> Node | None:
    """Make the party of a client.

    Args:
        options: every option.
        key: the clients' key, or None.

    Returns:
        The party, or None if the aggregate isn't ckks, or there is no key.

    Example:
        >>> node_of({"aggregate": "mean"}, None) is None
        True
    """
    parameters = parameters_of(options["aggregate"])
    return None if parameters is None or key is None else Node(parameters, key)
