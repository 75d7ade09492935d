"""The options `model`, a name or a description in JSON, and `loss`."""

from __future__ import annotations

import json
from typing import Any

from .options import column


def is_described(model: Any) -> bool:
    """Whether the text of the option is a description, a list of layers in JSON.

    Example:
        >>> is_described('[{"layer": "flatten"}]'), is_described("mlp")
        (True, False)
    """
    return isinstance(model, str) and model.lstrip().startswith("[")


def has_labels(loss: str) -> bool:
    """Whether a named loss has labels as targets, rather than numbers.

    Example:
        >>> has_labels("cross_entropy"), has_labels("mse")
        (True, False)
    """
    return loss in column("labels")["loss"]


def takes_tokens(model: Any) -> bool:
    """Whether a named or described model begins with an embedding.

    Example:
        >>> takes_tokens("lstm"), takes_tokens("mlp")
        (True, False)
    """
    if not is_described(model):
        return model in column("tokens")["model"]
    try:
        first = json.loads(model)[0]
    except (ValueError, IndexError):
        return False  # the core says what is wrong
    return isinstance(first, dict) and first.get("layer") == "embedding"
