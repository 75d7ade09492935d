"""fedflux.sklearn: scikit-learn's own checks, a pipeline, a grid search, groups."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed: fedflux[sklearn]")

from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fedflux
from fedflux.sklearn import FederatedClassifier, FederatedRegressor

SMALL: dict[str, Any] = {"engine": "reference", "hidden": (16,), "random_state": 1}
QUICK = SMALL | {"clients": 3, "rounds": 15, "batch_size": 16}


@parametrize_with_checks([FederatedClassifier(**QUICK), FederatedRegressor(**QUICK)])
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_a_grid_search_of_a_pipeline() -> None:
    x, y = load_breast_cancer(return_X_y=True)
    names = np.array(["malignant", "benign"])[y]
    pipeline = make_pipeline(StandardScaler(), FederatedClassifier(**SMALL, rounds=10))
    grid = {"federatedclassifier__lr": [0.001, 0.1], "federatedclassifier__clients": [5]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(x, names)
    assert search.best_params_["federatedclassifier__lr"] == 0.1
    centralized = LogisticRegression().fit(StandardScaler().fit_transform(x), names)
    wanted = centralized.score(StandardScaler().fit_transform(x), names)
    assert search.best_score_ > wanted - 0.03
    best = search.best_estimator_[-1]
    assert list(best.classes_) == ["benign", "malignant"]
    p = search.predict_proba(x)
    assert p.shape == (len(x), 2)
    assert (best.classes_[p.argmax(axis=1)] == search.predict(x)).all()
    assert best.result_.options["clients"] == 5


def test_a_regressor_in_a_pipeline() -> None:
    x, y = load_diabetes(return_X_y=True)
    model = FederatedRegressor(**SMALL, rounds=10, clients=4, lr=0.05)
    pipeline = make_pipeline(PolynomialFeatures(1, include_bias=False), model)
    scores = cross_val_score(pipeline, x, y, cv=3)  # R², of numbers from 25 to 346
    assert scores.mean() > 0.4
    again = clone(model).fit(x, y)
    assert (again.predict(x) == clone(model).fit(x, y).predict(x)).all()


def test_groups_are_clients(julia: None) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 4))
    y = (x[:, 0] > 0).astype(int)
    hospitals = np.repeat(["north", "south", "west"], [60, 40, 20])
    options = SMALL | {"rounds": 8, "engine": "julia"}
    model = FederatedClassifier(**options, rules="fedprox(mu=0.01)")
    model.fit(x, y, groups=hospitals)
    rows = {row["name"]: row["samples"] for row in model.result_.clients}
    assert rows == {"north": 60, "south": 40, "west": 20}
    assert model.score(x, y) > 0.9
    assert model.result_.options["rules"] == ["fedprox(mu=0.01)"]
    folds = GroupKFold(3)  # a hospital that no client of the training is
    scores = cross_val_score(
        FederatedClassifier(**options), x, y, cv=folds, groups=hospitals
    )
    assert scores.mean() > 0.8


def test_what_fedflux_refuses() -> None:
    x, y = np.eye(4), [0, 1, 0, 1]
    with pytest.raises(fedflux.OptionError, match="lr: expected more than 0"):
        FederatedClassifier(**SMALL, lr=0).fit(x, y)
    with pytest.raises(fedflux.OptionError, match="unknown option 'round'"):
        FederatedClassifier(**SMALL, options={"round": 3}).fit(x, y)
    with pytest.raises(fedflux.DataError, match="owner: expected"):
        FederatedClassifier(**SMALL).fit(x, y, groups=["a"])
    with pytest.raises(ValueError, match="at least two classes, got one class"):
        FederatedClassifier(**SMALL).fit(x, [1, 1, 1, 1])


def test_without_scikit_learn_an_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import fedflux\n"
        "try: fedflux.sklearn\n"
        "except fedflux.FedFluxError as error: print(error)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'fedflux[sklearn]'" in out.stdout
