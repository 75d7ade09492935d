"""The clients' own models, if a rule makes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._julia import calls
from ..errors import FedFluxError, OptionError, shown
from .predict import Predictor, by_name


@dataclass
class PersonalModel(Predictor):
    """The model that one client would use itself.

    Attributes:
        name: of the client.
        parameters: float32 arrays by name, in model order.
        statistics: those of BatchNorm, by name.
    """

    name: Any
    parameters: dict[str, NDArray[np.float32]] = field(repr=False)
    statistics: dict[str, NDArray[np.float32]] = field(repr=False)
    options: dict[str, Any] = field(repr=False)
    details: dict[str, Any] = field(repr=False)
    state: Any = field(repr=False, compare=False)
    module: Any = field(default=None, repr=False, compare=False)


def of(result: Predictor, client: Any, names: list[Any], clients: int) -> PersonalModel:
    """Make the personal model of a client; see `Result.personal`.

    Args:
        result: the result of the run.
        client: a name or a number.
        names: those in the result's table of clients.
        clients: the number of clients.
    """
    number = _number(client, names, clients)
    if not result.details.get("personal"):
        raise OptionError(
            "personal: no rule of this run makes personal models; ditto, fedper, fedrep "
            "and fedbn do"
        )
    if result.state is None:
        raise FedFluxError(
            "personal: this result was loaded or copied, or is of a deployment, and holds "
            "no client's model: use the result of the run itself"
        )
    arrays, own = calls.personal(result.state, number)
    order = {"names": list(result.parameters), "statistics": list(result.statistics)}
    both = by_name(order, arrays)
    return PersonalModel(client, *both, result.options, result.details, own, result.module)


def _number(client: Any, names: list[Any], clients: int) -> int:
    """Return the number of the client with this name, or this number."""
    if client in names:
        return names.index(client) + 1
    by_number = not any(isinstance(name, int | float) for name in names)
    whole = isinstance(client, int | np.integer) and not isinstance(client, bool)
    if by_number and whole and 1 <= client <= clients:
        return int(client)
    raise OptionError(
        f"personal: there is no client {shown(client)}: expected a name in result.clients"
        + (f", or a number from 1 to {clients}" if by_number else "")
    )
