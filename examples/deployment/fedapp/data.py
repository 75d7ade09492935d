"""The data: `load_data` runs on each node, `load_test_data` on the server."""

from typing import Any

from flwr.app import Context

from fedflux.flower import share, test_share


def load_data(context: Context) -> tuple[Any, Any]:
    """Load this node's own samples. Put your own loader here.

    Args:
        context: Flower's; `context.node_config` holds what the node was started with, such
            as the path of its data.

    Returns:
        The inputs, 8-bit or floats of shape (n, features), (n, height, width) or (n,
        channels, height, width), and the labels, integers from 0.
    """
    return share(context)  # this node's share of a known data set


def load_test_data(context: Context) -> tuple[Any, Any]:
    """Load the samples on which the server evaluates the global model."""
    return test_share(context)
