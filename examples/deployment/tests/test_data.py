"""Every node has data that the model takes, and options that can be deployed."""

import tomllib
from pathlib import Path

import numpy as np
from fedapp.data import load_data, load_test_data
from flwr.app import Context, RecordDict

CONFIG = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
OPTIONS = CONFIG["tool"]["flwr"]["app"]["config"]["fedflux"]


def context(node: int) -> Context:
    """Make the context that Flower gives node number `node`."""
    run_config = {f"fedflux.{name}": value for name, value in OPTIONS.items()}
    return Context(0, node, {"partition-id": node}, RecordDict(), run_config)


def test_each_node_has_samples_and_labels() -> None:
    """As many labels as samples, and the same kind of sample on all nodes."""
    shares = [load_data(context(node)) for node in range(OPTIONS["clients"])]
    for x, y in shares:
        assert len(x) == len(y) > 0
        assert x.shape[1:] == shares[0][0].shape[1:]
        assert np.issubdtype(y.dtype, np.integer)


def test_the_server_has_samples_of_the_same_kind() -> None:
    """The server evaluates on what the nodes train on."""
    x, y = load_test_data(context(0))
    assert len(x) == len(y) > 0
    assert x.shape[1:] == load_data(context(0))[0].shape[1:]


def test_the_apps_can_be_made() -> None:
    """The apps import, so their options are known."""
    from fedapp import client_app, server_app

    assert client_app.app is not None
    assert server_app.app is not None
