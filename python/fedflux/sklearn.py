"""Federated models as scikit-learn's estimators.

Example:
    >>> from fedflux.sklearn import FederatedClassifier  # doctest: +SKIP
    >>> model = FederatedClassifier(rounds=20)  # doctest: +SKIP
    >>> model.fit(X, y, groups=hospital).score(X_test, y_test)  # doctest: +SKIP
    0.93
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ._results import predict
from ._results.result import Result
from ._simulation.run import run
from .errors import FedFluxError

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
except ImportError:
    raise FedFluxError(
        "scikit-learn is not installed: run pip install 'fedflux[sklearn]'"
    ) from None

__all__ = ["FederatedClassifier", "FederatedRegressor"]

# Parameters that are options of a run as they are.
AS_GIVEN = (
    *("model", "rounds", "local_epochs", "batch_size", "lr"),
    *("rules", "aggregate", "engine"),
)


class _Federated(BaseEstimator):  # type: ignore[misc, unused-ignore]
    """What both estimators are: their parameters, and how a run is made of them."""

    def __init__(
        self,
        model: Any = "mlp",
        *,
        hidden: Iterable[int] = (100,),
        clients: int = 10,
        rounds: int = 50,
        local_epochs: int = 2,
        batch_size: int = 32,
        lr: float = 0.1,
        rules: Any = (),
        aggregate: Any = "mean",
        scale: bool = True,
        engine: str = "auto",
        options: Mapping[str, Any] | None = None,
        random_state: Any = None,
    ) -> None:
        self.model = model
        self.hidden = hidden
        self.clients = clients
        self.rounds = rounds
        self.local_epochs = local_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.rules = rules
        self.aggregate = aggregate
        self.scale = scale
        self.engine = engine
        self.options = options
        self.random_state = random_state

    def _run(self, x: NDArray[Any], y: NDArray[Any], loss: str, groups: Any) -> Result:
        """Train on checked data."""
        self._inputs = _moments(x, self.scale)
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        given = {
            **{name: getattr(self, name) for name in AS_GIVEN},
            "clients": min(self.clients, len(x)),
            "seed": int(seed),
            "loss": loss,
        }
        if self.model == "mlp":
            given["hidden"] = self.hidden
        if groups is not None:
            groups = np.asarray(groups)
            given |= {"partition": "owner", "owner": groups}
        return run(
            x_train=_scaled(x, self._inputs),
            y_train=y,
            **(given | dict(self.options or {})),
        )

    def _outputs(self, x: Any) -> NDArray[np.float32]:
        """Return the raw outputs of the trained model for checked samples."""
        check_is_fitted(self)
        x = validate_data(self, x, reset=False, dtype=np.float64)
        return predict.outputs(self.result_, _scaled(x, self._inputs))


def _moments(values: NDArray[Any], scale: bool) -> tuple[Any, Any]:
    """The mean and the standard deviation of each column, 1 for a constant one."""
    if not scale:
        return 0.0, 1.0
    deviation = values.std(axis=0)
    return values.mean(axis=0), np.where(deviation > 0, deviation, 1.0)


def _scaled(x: NDArray[Any], moments: tuple[Any, Any]) -> NDArray[Any]:
    return (x - moments[0]) / moments[1]


class FederatedClassifier(ClassifierMixin, _Federated):  # type: ignore[misc, unused-ignore]
    """A classifier that is trained by federated averaging, with simulated clients.

    Args:
        model: a model's name, a PyTorch module, or a Flux model made through juliacall.
        hidden: sizes of the hidden layers of `mlp`.
        clients: number of clients that the samples are dealt out to, if `fit` gets no
            `groups`; fewer if there are fewer samples.
        rounds, local_epochs, batch_size, lr, rules, aggregate, engine: as options of
            `fedflux.run`.
        scale: whether inputs are scaled by the mean and the standard deviation of all
            training samples. Real clients compute these together, as those of
            `fedflux.run(normalise="federated")` do.
        options: further options of `fedflux.run`, by name.
        random_state: a seed, a NumPy RandomState, or None for another seed in each fit.

    Attributes:
        classes_: the labels, sorted.
        result_: the run, a `fedflux.Result`, with its history, clients and model.
        n_features_in_: number of features.
        feature_names_in_: names of the features, if X is a DataFrame with names.

    Raises:
        ValueError: data that scikit-learn refuses, or options that fedflux refuses.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = FederatedClassifier(
        ...     clients=5, engine="reference", random_state=1
        ... )
        >>> model.fit(X, y).score(X, y) > 0.9
        True
    """

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Train the model.

        Args:
            X: samples, (n, features).
            y: their labels, of any type, (n,).
            groups: the owner of each sample, numbers or names of shape (n,): each owner is
                a client. Default: the samples are dealt out to `clients`.

        Returns:
            The estimator.
        """
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("y: expected at least two classes, got one class")
        self.result_ = self._run(X, labels.astype(np.int64), "cross_entropy", groups)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the labels of samples, (n,)."""
        best = self._outputs(X).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class, (n, classes)."""
        out = self._outputs(X).astype(np.float64)
        return predict.probabilities(self.result_, out)


class FederatedRegressor(RegressorMixin, _Federated):  # type: ignore[misc, unused-ignore]
    """A regressor that is trained by federated averaging, with simulated clients.

    With `scale` the targets are scaled, too, for the training.

    Args:
        model, hidden, clients, rounds, local_epochs, batch_size, lr, rules, aggregate,
            scale, engine, options, random_state: as of `FederatedClassifier`.

    Attributes:
        result_, n_features_in_, feature_names_in_: as of `FederatedClassifier`.

    Raises:
        ValueError: data that scikit-learn refuses, or options that fedflux refuses.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = FederatedRegressor(
        ...     clients=5, rounds=5, engine="reference", random_state=1
        ... )
        >>> model.fit(X, y).score(X, y) > 0.4
        True
    """

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Train the model.

        Args:
            X: samples, (n, features).
            y: their numbers, (n,).
            groups: the owner of each sample, as in `FederatedClassifier.fit`.

        Returns:
            The estimator.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        y = column_or_1d(y, warn=True).astype(np.float64)
        self._targets = _moments(y, self.scale)
        self.result_ = self._run(X, _scaled(y, self._targets), "mse", groups)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the numbers of samples, (n,)."""
        out = self._outputs(X)[:, 0].astype(np.float64)
        return np.asarray(out * self._targets[1] + self._targets[0])
