"""Shares of a known data set, for a trial: what a simulation would give each client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from .._data import datasets
from .._data.arrays import Data
from .._data.npz import from_npz
from .._reference import training
from .._typing import Array
from ..errors import OptionError
from .options import gather, run_options, split


class Context(Protocol):
    """The part of Flower's context that says whose share it is."""

    @property
    def node_config(self) -> Mapping[str, Any]:
        """What the node was started with."""

    @property
    def run_config(self) -> Mapping[str, Any]:
        """What the run was started with."""


def share(context: Context) -> tuple[Array, Array]:
    """Load this node's share of a data set, to try a deployment before there are real data.

    The node gets the samples that client `partition-id` + 1 has in a simulation with the
    same `dataset`, `clients` and `seed`, so that both give the same model. Real nodes load
    their own data instead.

    Args:
        context: Flower's. Its run config names the data set, digits by default, or the path
            of an .npz file as `fedflux.run` takes. Its node config has the partition-id.

    Returns:
        The inputs and the labels.

    Raises:
        OptionError: the node config has no partition-id below `clients`.
        DataError: the data set can't be read.
    """
    options, data = _load(context)
    number, clients = context.node_config.get("partition-id"), options["clients"]
    if type(number) is not int or not 0 <= number < clients:
        raise OptionError(
            f"node config: expected partition-id from 0 to {clients - 1}, got {number!r}"
        )
    part = training.iid(len(data.y_train), clients, options["seed"])[number]
    return data.x_train[part], data.y_train[part]


def test_share(context: Context) -> tuple[Array, Array]:
    """Load the test data of the same data set, for the server.

    Args:
        context: Flower's, as for `share`.

    Returns:
        The inputs and the labels.

    Raises:
        DataError: the data set can't be read, or has no test data.
    """
    _, data = _load(context)
    if data.x_test is None or data.y_test is None:
        raise OptionError("dataset: it has no test data")
    return data.x_test, data.y_test


def _load(context: Context) -> tuple[dict[str, Any], Data]:
    options = run_options(split(gather({}, context.run_config))[0])
    name, clients = options["dataset"], options["clients"]
    if name.endswith(".npz"):
        return options, from_npz(name, options["loss"], clients)
    known = "digits" if name == "auto" else name
    _, data, _ = datasets.load(known, options["data_dir"], options["loss"], clients)
    return options, data
