"""What predicts: a result of a run, and the personal model of a client."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._data.targets import checked_truth
from . import metrics, predictions


class Predictor:
    """A trained model with the options of its run.

    Attributes:
        parameters: float32 arrays by name, in model order.
        options: every option of the run.
        details: further facts of the run.
        state: what the core keeps of it, or None.
    """

    parameters: dict[str, NDArray[np.float32]]
    options: dict[str, Any]
    details: dict[str, Any]
    state: Any

    def predict(self, x: Any) -> NDArray[Any]:
        """Predict the labels of samples, or the numbers where the loss compares numbers.

        Args:
            x: samples as `fedflux.run` takes them in `x_train`, not normalised.

        Returns:
            Labels, int64 of shape (n,) or, for tokens, (n, length); or float32 of shape
            (n,) or (n, outputs).

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
        return predictions.decide(self, predictions.outputs(self, x))

    def predict_proba(self, x: Any) -> NDArray[Any]:
        """Predict the probability of each class, (n, classes) or (n, length, classes).

        With one output and binary cross-entropy the classes are 0 and 1.

        Args:
            x: samples, as in `predict`.

        Raises:
            OptionError: the loss has no classes. Others as in `predict`.
        """
        return predictions.probabilities(self, predictions.outputs(self, x))

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
                defined, such as auc where a class has no samples.
        """
        out = predictions.outputs(self, x)
        labelled = predictions.labelled(self)
        proba = predictions.probabilities(self, out) if labelled else None
        metric = metric or ("accuracy" if labelled else "r2")
        classes = None if proba is None else max(2, proba.shape[-1])
        if self.options["loss"] == "binary_cross_entropy":
            classes = 2
        y = checked_truth(y, classes)
        return metrics.measure(metric, y, predictions.decide(self, out), proba, average)

    @property
    def model(self) -> Any:
        """The trained Flux model, through juliacall.

        Raises:
            FedFluxError: the model is the user's own, and the result a loaded one.
            JuliaUnavailable: there is no Julia.
        """
        return predictions.flux_model(self)
