"""What a trained model says: the predictions of a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._data import contract
from .._data.arrays import checked_inputs
from .._julia import calls
from .._options.options import column
from .._reference.models import Model
from ..errors import FedFluxError, OptionError

if TYPE_CHECKING:
    from .predictor import Predictor

Array = NDArray[Any]
BATCH = 1000


def outputs(result: Predictor, x: Any) -> NDArray[np.float32]:
    """Return the raw outputs of the model, (n, ..., outputs).

    NumPy computes them for the models that the reference engine knows, the core for others.
    """
    own = "model" in result.details.get("objects", {})
    takes_tokens = result.options["model"] in column("tokens")["model"]
    x = checked_inputs("x", x, own or takes_tokens)
    known = contract.of_result(result.details, result.options)
    contract.check(known, x, any_shape=own or takes_tokens)
    in_numpy = not own and result.options["model"] in column("reference")["model"]
    if in_numpy and ("input" in result.details or result.options["normalise"] == "none"):
        return _in_numpy(result, contract.scaled(known, x))
    if result.state is None:
        _check_rebuildable(result)
    return calls.outputs(_config(result), result.parameters, x, result.state)


def flux_model(result: Predictor) -> Any:
    """Return the Flux model, through juliacall."""
    if result.state is not None:
        return result.state.model
    _check_rebuildable(result)
    return calls.model(_config(result), result.parameters)


def labelled(result: Predictor) -> bool:
    """Whether the model predicts labels, rather than numbers."""
    return result.options["loss"] != "mse" and "loss" not in result.details.get(
        "objects", {}
    )


def decide(result: Predictor, out: Array) -> Array:
    """Return labels, or numbers where the loss compares numbers."""
    if "loss" in result.details.get("objects", {}):
        return out
    if result.options["loss"] == "cross_entropy":
        return np.asarray(out.argmax(axis=-1))
    if result.options["loss"] == "binary_cross_entropy":
        out = (out > 0).astype(np.int64)
    return out[..., 0] if out.shape[-1] == 1 else out


def probabilities(result: Predictor, out: Array) -> Array:
    """Return the probability of each class, (n, ..., classes).

    Raises:
        OptionError: the loss has no classes.
    """
    loss = result.options["loss"]
    if not labelled(result):
        raise OptionError(f"predict_proba: the loss, {loss}, has no classes")
    if loss == "cross_entropy":
        p = np.exp(out - out.max(axis=-1, keepdims=True))
        return np.asarray(p / p.sum(axis=-1, keepdims=True))
    p = np.where(out >= 0, 1, np.exp(-np.abs(out))) / (1 + np.exp(-np.abs(out)))
    return np.concatenate([1 - p, p], axis=-1) if p.shape[-1] == 1 else p


def _in_numpy(result: Predictor, x: Array) -> NDArray[np.float32]:
    x = x[:, None] if x.ndim == 3 else x
    model = Model(
        result.options["model"], x.shape[1:], _outputs(result), result.options["hidden"]
    )
    for name, shape in model.shapes.items():
        if result.parameters[name].shape != shape:
            raise OptionError(
                f"x: samples of shape {x.shape[1:]} do not fit the model: {name} has shape "
                f"{result.parameters[name].shape}, and they need {shape}"
            )
    params = list(result.parameters.values())
    parts = (model.forward(params, x[i : i + BATCH])[0] for i in range(0, len(x), BATCH))
    return np.concatenate(list(parts)).astype(np.float32)


def _check_rebuildable(result: Predictor) -> None:
    if "model" in result.details.get("objects", {}):
        raise FedFluxError(
            f"the model is your own ({result.options['model']}), which a file or a copy "
            "does not hold: use the result of the run itself, or load the arrays of "
            "result.parameters into your model"
        )
    if result.options["normalise"] != "none" and "input" not in result.details:
        raise FedFluxError(
            "the run normalised its data by the clients' mean and standard deviation, "
            "which this result, of an older version, does not hold"
        )


def _outputs(result: Predictor) -> int:
    """Return the number of outputs: the length of the last bias."""
    return len(list(result.parameters.values())[-1])


def _config(result: Predictor) -> dict[str, Any]:
    """Return what the core needs to make a named model again, and to feed it."""
    kept = ("model", "hidden", "embedding", "loss", "mean", "std", "seed")
    config = {name: result.options[name] for name in kept}
    return config | {"sample": result.details["sample"], "outputs": _outputs(result)}
