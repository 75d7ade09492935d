"""The Julia core against the reference engine: the same numbers for the same options."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedflux

from ..images import IMAGES, ROWS

COMMON: dict[str, Any] = {
    "clients": 4,
    "rounds": 3,
    "batch_size": 7,
    "local_steps": 4,
    "lr": 0.1,
}


def both(**options: Any) -> tuple[fedflux.Result, fedflux.Result]:
    core = fedflux.run(**options, engine="julia")
    reference = fedflux.run(**options, engine="reference")
    assert (core.engine, reference.engine) == ("julia", "reference")
    return core, reference


def assert_same(core: fedflux.Result, reference: fedflux.Result, rel: float = 1e-5) -> None:
    assert list(core.parameters) == list(reference.parameters)
    for name, expected in reference.parameters.items():
        got = core.parameters[name]
        assert got.shape == expected.shape
        assert got.dtype == np.float32
        assert got.flags.c_contiguous
        distance = np.linalg.norm((got - expected).astype(float)) / np.linalg.norm(
            expected.astype(float)
        )
        assert distance <= rel, f"{name}: {distance}"
    assert [set(r) for r in core.history] == [set(r) for r in reference.history]
    for got, expected in zip(core.history, reference.history, strict=True):
        for name in (
            "round",
            "clients",
            "bytes_up",
            "bytes_down",
            "accuracy",
            "client_accuracy",
        ):
            wanted = expected[name]
            assert got[name] == (wanted if wanted is None else pytest.approx(wanted)), name
        for name in ("train_loss", "test_loss"):
            wanted = expected[name]
            assert got[name] == (
                wanted if wanted is None else pytest.approx(wanted, rel=1e-4)
            ), name
    assert core.stopped == reference.stopped


# Zygote is not tested with pools: NNlib's gives the gradient to the first value that is
# *about* the largest (isapprox, 3e-4 for Float32), which happens in random images often
# enough to change the parameters by a percent.
@pytest.mark.filterwarnings("ignore:.* has no effect:fedflux.FedFluxWarning")
@pytest.mark.parametrize(
    ("model", "trainer"),
    [
        ("case_study_cnn", "fast"),
        ("lenet", "fast"),
        ("mcmahan_cnn", "fast"),
        ("mlp", "fast"),
        ("softmax_regression", "fast"),
        ("case_study_cnn", "zygote"),
        ("mlp", "zygote"),
        ("softmax_regression", "zygote"),
    ],
)
def test_equals_the_reference(julia: None, model: str, trainer: str) -> None:
    """Both engines draw the split, the initial parameters and the batches from the seed."""
    core, reference = both(
        **IMAGES, **COMMON, model=model, hidden=[21, 9], trainer=trainer, seed=11
    )
    assert core.trainer == trainer
    assert_same(core, reference)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "momentum", "momentum": 0.8},
        {"optimizer": "adam", "lr": 0.01},
        {"optimizer": "sgd(momentum=0.9, nesterov=true, weight_decay=0.1)"},
        {"optimizer": "adamw(weight_decay=0.1, clip=1)", "lr": 0.01},
        {"optimizer": "rmsprop(rho=0.9, weight_decay=0.01)", "lr": 0.01},
        {"optimizer": "adagrad(clip=0.5)", "lr": 0.1},
        {"clients": 7, "clients_per_round": 3, "weights": "uniform"},
        {"local_steps": None, "local_epochs": 2, "eval_every": 2},
        {"mean": 0.3, "std": 0.2},
        {"mean": [i / 50 for i in range(37)], "std": [1.0, *[0.5, 2.0] * 18]},
        {"class_weights": "balanced", "label_smoothing": 0.1},
        {"class_weights": [1, 3, 0.5, 2, 1]},
        {"target_accuracy": 0.01},
        {"lr": 1e-12, "patience": 1, "rounds": 9},
    ],
    ids=str,
)
def test_options_mean_the_same(julia: None, options: dict[str, Any]) -> None:
    core, reference = both(**ROWS, **(COMMON | {"model": "mlp", "hidden": [11]} | options))
    assert_same(
        core, reference, 1e-4 if "optimizer" in options else 1e-5
    )  # Adam divides by small gradients


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        ("binary_cross_entropy", lambda n: np.arange(n) % 2),
        (
            "binary_cross_entropy",
            lambda n: np.stack(
                [np.arange(n) % 2, np.arange(n) // 2 % 2, np.arange(n) % 2], 1
            ),
        ),
        ("mse", lambda n: np.linspace(-1, 1, n)),
        ("huber", lambda n: np.linspace(-3, 3, n)),
        ("mse", lambda n: np.linspace(-1, 1, 3 * n).reshape(n, 3)),
    ],
)
def test_losses_mean_the_same(julia: None, loss: str, targets: Any) -> None:
    data = ROWS | {"y_train": targets(90), "y_test": targets(40)}
    assert_same(*both(**data, **COMMON, loss=loss, model="mlp", hidden=[11]))


def test_without_test_data(julia: None) -> None:
    data = {name: a for name, a in ROWS.items() if "train" in name}
    core, reference = both(**data, **COMMON, model="softmax_regression")
    assert_same(core, reference)
    assert core.accuracy is None


def test_starts_from_given_parameters(julia: None, tmp_path: Path) -> None:
    common: dict[str, Any] = {**IMAGES, **COMMON, "model": "case_study_cnn"}
    first = fedflux.run(**common, engine="julia")
    path = first.save(tmp_path / "first.safetensors")
    core, reference = both(**common, init=path)
    assert_same(core, reference)
    assert core.params_sha256 != first.params_sha256
