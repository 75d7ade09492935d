"""What predicts: a result of a run, and the personal model of a client."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._data import contract
from .._data.arrays import checked_inputs
from .._data.given import channels_first
from .._data.labels import codes
from .._data.targets import checked_truth
from .._data.torch_data import as_numpy
from .._julia import calls
from .._options.models import has_labels, is_described, takes_tokens
from .._options.options import column
from .._reference.models import Model
from .._typing import Array, Named
from ..errors import FedFluxError, OptionError
from . import exports, metrics

BATCH = 1000


class Predictor:
    """A trained model with the options of its run.

    Attributes:
        parameters: float32 arrays by name, in model order.
        statistics: those of BatchNorm, which are not trained, by name.
        options: every option of the run.
        details: further facts of the run.
        state: what the core keeps of it, or None.
        module: the PyTorch module that the model came from, before training, or None.
    """

    parameters: dict[str, NDArray[np.float32]]
    statistics: dict[str, NDArray[np.float32]]
    options: dict[str, Any]
    details: dict[str, Any]
    state: Any
    module: Any

    @property
    def classes(self) -> list[Any] | None:
        """The labels as they were given, in the order of `predict_proba`.

        Integers from 0 if they were that. None if the loss has no classes, or each sample
        has several labels.

        Example:
            >>> import fedflux
            >>> x = np.eye(4, dtype="float32")[[0, 1, 2, 3] * 9]
            >>> y = ["no", "no", "yes", "yes"] * 9
            >>> result = fedflux.run(
            ...     x_train=x, y_train=y, model="mlp", lr=0.5, engine="reference"
            ... )
            >>> result.classes, result.predict(x[:4]).tolist()
            (['no', 'yes'], ['no', 'no', 'yes', 'yes'])
        """
        if not labeled(self):
            return None
        if "classes" in self.details:
            return list(self.details["classes"])
        if self.options["loss"] == "cross_entropy":
            return list(range(_outputs(self)))
        return [0, 1] if _outputs(self) == 1 else None

    def predict(self, x: Any) -> NDArray[Any]:
        """Predict the labels of samples, or the numbers if the loss compares numbers.

        Args:
            x: samples as `fedflux.run` takes them in `x_train`, not normalized.

        Returns:
            Labels, of those in `classes`, of shape (n,) or, for tokens, (n, length); or
            float32 of shape (n,) or (n, outputs).

        Raises:
            DataError, OptionError: `x` does not fit the model.
            FedFluxError: the model is the user's own, and the result a loaded one.
            JuliaUnavailable: the model needs the core, and there is no Julia.

        Example:
            >>> import fedflux
            >>> x, y = np.eye(4, dtype="float32")[[0, 1, 2, 3] * 9], [0, 0, 1, 1] * 9
            >>> result = fedflux.run(
            ...     x_train=x, y_train=y, model="mlp", lr=0.5, engine="reference"
            ... )
            >>> result.predict(x[:4]).tolist(), result.score(x, y)
            ([0, 0, 1, 1], 1.0)
        """
        return self._named(decide(self, outputs(self, x)))

    def _named(self, numbers: Array) -> NDArray[Any]:
        """Return the labels as they were given, in place of their numbers."""
        given = self.details.get("classes")
        return numbers if given is None else np.array(given)[numbers]

    def predict_proba(self, x: Any) -> NDArray[Any]:
        """Predict the probability of each class, (n, classes) or (n, length, classes).

        The classes are those of `classes`, in that order.

        Args:
            x: samples, as in `predict`.

        Raises:
            OptionError: the loss has no classes. Others as in `predict`.
        """
        return probabilities(self, outputs(self, x))

    def score(
        self,
        x: Any,
        y: Any,
        metric: metrics.Metric | None = None,
        average: str | None = None,
    ) -> Any:
        """Measure how well the model predicts, as scikit-learn's functions do.

        Args:
            x: samples, as in `predict`.
            y: their targets, in the shape of those that the model was trained on.
            metric: accuracy, f1, auc, perplexity, r2, mae, mse, or a function of the
                targets and the predictions. Default: accuracy, or r2 for numbers. The
                accuracy of several labels is the share of samples that have all right.
            average: how f1 and auc combine classes or labels, and r2 outputs: macro (the
                mean; the default), micro (counted together), weighted (by the samples of a
                class, the positives of a label, the variance of an output), samples (the
                mean over the samples of several labels), or, for f1 of two classes, binary
                (of class 1 alone).

        Returns:
            A number; for a function, what it returns.

        Raises:
            OptionError: an unknown metric or average, or one that does not fit; others as
                `predict`.
            DataError: targets that don't fit the model, or for which the measure is not
                defined, such as auc if a class has no samples.
        """
        out = outputs(self, x)
        proba = probabilities(self, out) if labeled(self) else None
        metric = metric or ("r2" if proba is None else "accuracy")
        classes = None if proba is None else max(2, proba.shape[-1])
        if self.options["loss"] == "binary_cross_entropy":
            classes = 2
        predicted = decide(self, out)
        given = self.details.get("classes")
        if given is not None:
            y = codes("y", y, given)
        y = checked_truth(y, classes)
        if given is not None and callable(metric):
            y, predicted = self._named(y), self._named(predicted)
        return metrics.measure(metric, y, predicted, proba, average)

    def to_torch(self, module: Any = None) -> Any:
        """Return the trained model as a PyTorch module, in evaluation mode.

        It takes what the model was trained on: inputs after `mean` and `std`, 8-bit images
        divided by 255, tokens from 0.

        A result's module has the global model, its `best` has the model of that round, and
        `result.personal(name)` has a client's own. With a rule that keeps arrays on the
        clients, such as fedper, the global model's have the values of the start: take the
        clients' own.

        Args:
            module: a PyTorch module of the same layers, of which a copy gets the trained
                weights. Default: the one that the run was given as `model`, or else, as for
                a loaded result or a named model, a Sequential.

        Raises:
            DataError: the module has other layers, or some that can't be translated.
            FedFluxError: PyTorch is not installed, or the model is of Flux layers that
                PyTorch does not have.

        Example:
            >>> net = torch.nn.Sequential(  # doctest: +SKIP
            ...     torch.nn.Flatten(), torch.nn.Linear(784, 10)
            ... )
            >>> fedflux.run(dataset="mnist", model=net).to_torch()  # doctest: +SKIP
            Sequential(...)
        """
        module = self.module if module is None else module
        return exports.to_torch(module, *_exported(self))

    def to_onnx(self, path: str | os.PathLike[str]) -> Path:
        """Write the trained model as an ONNX file, for any ONNX runtime.

        Its input `x`, (n, ...), is what `to_torch` takes; its output is `logits`. Dropout
        is left out. n may be any number, and so may the number of tokens.

        Args:
            path: the file; an existing one is replaced.

        Returns:
            The path.

        Raises:
            FedFluxError: onnx is not installed, the model has layers that ONNX does not
                have, or the file can't be written.

        Example:
            >>> result.to_onnx("model.onnx")  # doctest: +SKIP
            PosixPath('model.onnx')
        """
        if self.options.get("freeze"):
            raise FedFluxError(
                "to_onnx: expected a run without freeze; export the module of to_torch() "
                "by torch.onnx"
            )
        return exports.to_onnx(path, *_exported(self))

    @property
    def model(self) -> Any:
        """The trained Flux model, through juliacall.

        Raises:
            FedFluxError: the model is the user's own, and the result a loaded one.
            JuliaUnavailable: there is no Julia.
        """
        return flux_model(self)


def outputs(result: Predictor, x: Any) -> NDArray[np.float32]:
    """Return the raw outputs of the model, (n, ..., outputs).

    NumPy computes them for the models that the reference engine knows, the core for others.
    """
    own = "model" in result.details.get("objects", {})
    any_shape = own or not _is_named(result) or takes_tokens(result.options["model"])
    if result.details.get("layout") == "NHWC":
        x = channels_first("x", x)
    x = checked_inputs("x", as_numpy(x), any_shape)
    known = contract.of_result(result.details, result.options)
    contract.check(known, x, any_shape)
    if not own and result.options["model"] in column("reference")["model"]:
        return _in_numpy(result, contract.scaled(known, x))
    if result.state is None:
        _check_rebuildable(result)
    arrays = result.parameters | result.statistics
    return calls.outputs(_config(result), arrays, x, result.state)


def flux_model(result: Predictor) -> Any:
    """Return the Flux model, through juliacall."""
    if result.state is not None:
        return result.state.model
    _check_rebuildable(result)
    return calls.model(_config(result), result.parameters | result.statistics)


def _is_named(result: Predictor) -> bool:
    return not is_described(result.options["model"])


def labeled(result: Predictor) -> bool:
    """Whether the model predicts labels, rather than numbers."""
    own = "loss" in result.details.get("objects", {})
    return has_labels(result.options["loss"]) and not own


def decide(result: Predictor, out: Array) -> Array:
    """Return labels, or numbers if the loss compares numbers."""
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
    if not labeled(result):
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


def _outputs(result: Predictor) -> int:
    """Return the number of outputs: the length of the last bias."""
    return len(list(result.parameters.values())[-1])


def _config(result: Predictor) -> dict[str, Any]:
    """Return what the core needs to make a named model again, and to feed it."""
    kept = ("model", "hidden", "embedding", "loss", "mean", "std", "seed")
    config = {name: result.options[name] for name in kept}
    facts = {name: result.details.get(name) for name in ("sample", "input")}
    return config | facts | {"outputs": _outputs(result)}


def _exported(
    result: Predictor,
) -> tuple[Callable[[], exports.Layers], list[int], Named, Named]:
    """How to describe the model, a sample's shape, its parameters and its statistics."""
    arrays = result.parameters | result.statistics
    sample: list[int] = result.details.get("sample") or []
    return (
        lambda: exports.layers(_config(result), arrays, result.state),
        sample,
        result.parameters,
        result.statistics,
    )


def by_name(
    facts: Mapping[str, Any], arrays: Sequence[NDArray[np.float32]]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """Return the parameters and the statistics of a model that the core gave in order.

    Args:
        facts: with their `names`, and those of the `statistics` if there are some.
        arrays: the parameters in model order, then the statistics.

    Example:
        >>> by_name({"names": ["w"], "statistics": ["m"]}, [1, 2])
        ({'w': 1}, {'m': 2})
    """
    names, statistics = facts["names"], facts.get("statistics", [])
    named_arrays = dict(zip([*names, *statistics], arrays, strict=True))
    parameters = {name: named_arrays[name] for name in names}
    return parameters, {name: named_arrays[name] for name in statistics}
