"""The reference engine's layers, losses and optimizers.

They are compared with finite differences and with values computed by hand.
"""

from typing import Any

import numpy as np
import pytest

from fedflux._reference import training
from fedflux._reference.losses import loss_and_gradient
from fedflux._reference.models import Conv, MaxPool, Model
from fedflux.errors import OptionError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("name", "shape", "loss", "outputs"),
    [
        ("case_study_cnn", (2, 9, 7), "cross_entropy", 3),
        ("lenet", (1, 16, 14), "cross_entropy", 3),
        ("mcmahan_cnn", (4, 5), "cross_entropy", 3),
        ("mlp", (6,), "mse", 2),
        ("mlp", (6,), "binary_cross_entropy", 1),
        ("softmax_regression", (2, 3), "cross_entropy", 4),
    ],
)
def test_gradient_equals_finite_differences(
    name: str, shape: tuple[int, ...], loss: str, outputs: int
) -> None:
    model = Model(name, shape, outputs, [7, 5])
    params = [
        RNG.normal(size=s) / np.sqrt(max(np.prod(s) / s[0], 4))
        for s in model.shapes.values()
    ]
    x = RNG.normal(size=(3, *shape))
    x = x[:, None] if len(shape) == 2 else x
    y: Any = (
        RNG.integers(outputs, size=3)
        if loss == "cross_entropy"
        else RNG.integers(2, size=(3, outputs))
    )

    def value() -> float:
        return loss_and_gradient({"loss": loss}, model.forward(params, x)[0], y)[0]

    out, saved = model.forward(params, x)
    _, slope = loss_and_gradient({"loss": loss}, out, y)
    gradients = model.backward(params, saved, slope)
    assert [g.shape for g in gradients] == [p.shape for p in params]
    for p, g in zip(params, gradients, strict=True):
        for at in {tuple(int(RNG.integers(n)) for n in p.shape) for _ in range(12)}:
            kept, h = p[at], 1e-6
            p[at] = kept + h
            up = value()
            p[at] = kept - h
            down = value()
            p[at] = kept
            assert g[at] == pytest.approx((up - down) / (2 * h), rel=1e-5, abs=1e-8)


def test_conv_is_a_true_convolution() -> None:
    layer = Conv((2, 5, 4), 3, 3, 2, 1, "")
    w, b, x = (
        RNG.normal(size=(3, 2, 3, 3)),
        RNG.normal(size=3),
        RNG.normal(size=(1, 2, 5, 4)),
    )
    y, _ = layer.forward([w, b], x)
    padded = np.pad(x[0], ((0, 0), (1, 1), (1, 1)))
    assert y.shape[1:] == layer.out == (3, 3, 2)
    for o in range(3):
        for i in range(3):
            for j in range(2):
                total = b[o]
                for c in range(2):
                    for u in range(3):
                        for v in range(3):
                            total += padded[c, 2 * i + u, 2 * j + v] * w[o, c, 2 - u, 2 - v]
                assert y[0, o, i, j] == pytest.approx(max(total, 0))


def test_max_pool_takes_the_largest_and_drops_the_odd_edge() -> None:
    x = np.array([[[[1.0, 5, 9], [2, 3, 9], [9, 9, 9]]]])
    layer = MaxPool((1, 3, 3), "")
    y, saved = layer.forward([], x)
    assert y.tolist() == [[[[5.0]]]]
    dx, _ = layer.backward([], saved, np.array([[[[2.0]]]]))
    assert dx.tolist() == [[[[0, 2.0, 0], [0, 0, 0], [0, 0, 0]]]]


def test_names_shapes_and_sizes() -> None:
    sizes = {
        name: (list(m.shapes.items()), sum(int(np.prod(s)) for s in m.shapes.values()))
        for name in ("case_study_cnn", "lenet", "mcmahan_cnn", "mlp", "softmax_regression")
        for m in [Model(name, (28, 28), 10)]
    }
    assert sizes["case_study_cnn"][0] == [
        ("layers.1.weight", (16, 1, 3, 3)),
        ("layers.1.bias", (16,)),
        ("layers.2.weight", (32, 16, 3, 3)),
        ("layers.2.bias", (32,)),
        ("layers.3.weight", (64, 32, 3, 3)),
        ("layers.3.bias", (64,)),
        ("layers.5.weight", (1024, 10)),
        ("layers.5.bias", (10,)),
    ]
    # McMahan et al. 2017, section 3, count 1,663,370 and, for the 2NN, 199,210
    assert sizes["mcmahan_cnn"][1] == 1_663_370
    assert sizes["mlp"][1] == 199_210
    assert sizes["softmax_regression"] == (
        [("layers.2.weight", (784, 10)), ("layers.2.bias", (10,))],
        7850,
    )
    assert sizes["lenet"][1] == 61_706  # LeNet-5 with every map connected
    assert [n for n, _ in sizes["lenet"][0]][::2] == [
        f"layers.{i}.weight" for i in (1, 3, 6, 7, 8)
    ]


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("lenet", (8, 8), ["lenet", "layer 3", "Conv 5×5", "at least 5", "got 4"]),
        ("mcmahan_cnn", (3, 3), ["layer 4", "MaxPool 2×2", "at least 2", "got 1"]),
        ("case_study_cnn", (64,), ["case_study_cnn", "layer 1", "images", "64 features"]),
    ],
)
def test_a_model_that_does_not_fit_names_the_layer_and_both_sizes(
    name: str, shape: Any, words: list[str]
) -> None:
    with pytest.raises(OptionError) as error:
        Model(name, shape, 10)
    assert all(word in str(error.value) for word in words)


def test_losses_by_hand() -> None:
    loss, g = loss_and_gradient(
        {"loss": "cross_entropy"}, np.log([[1.0, 3.0]]), np.array([1])
    )
    assert loss == pytest.approx(-np.log(0.75))
    assert g == pytest.approx(np.array([[0.25, -0.25]]))
    loss, g = loss_and_gradient(
        {"loss": "binary_cross_entropy"}, np.array([[np.log(3.0)], [0.0]]), np.array([1, 0])
    )
    assert loss == pytest.approx((-np.log(0.75) - np.log(0.5)) / 2)
    assert g.ravel() == pytest.approx(np.array([-0.25, 0.5]) / 2)


def test_shaped_losses_by_hand() -> None:
    """Weights and smoothing by the definitions, and their gradients by differences."""
    p, y, w = (
        np.array([[0.2, 0.3, 0.5], [0.6, 0.1, 0.3]]),
        np.array([2, 1]),
        [1.0, 2.0, 4.0],
    )
    options: dict[str, Any] = {"loss": "cross_entropy", "class_weights": w}
    loss, _ = loss_and_gradient(options, np.log(p), y)
    assert loss == pytest.approx(-(4 * np.log(0.5) + 2 * np.log(0.1)) / 2)
    options["label_smoothing"] = 0.3
    loss, _ = loss_and_gradient(options, np.log(p), y)
    first = 0.1 * np.log(0.2) + 0.2 * np.log(0.3) + 4 * 0.8 * np.log(0.5)
    second = 0.1 * np.log(0.6) + 2 * 0.8 * np.log(0.1) + 4 * 0.1 * np.log(0.3)
    assert loss == pytest.approx(-(first + second) / 2)
    binary = options | {"loss": "binary_cross_entropy", "class_weights": [2.0, 4.0]}
    logits, answers = np.array([[np.log(3.0)], [0.0]]), np.array([1, 0])
    first = -4 * (0.85 * np.log(0.75) + 0.15 * np.log(0.25))
    second = -2 * np.log(0.5)
    loss, _ = loss_and_gradient(binary, logits, answers)
    assert loss == pytest.approx((first + second) / 2)
    huber = {"loss": "huber", "huber_delta": 2.0}
    errors, zeros = np.array([[1.0], [5.0], [-9.0]]), np.zeros(3)
    assert loss_and_gradient(huber, errors, zeros)[0] == pytest.approx((0.5 + 8 + 16) / 3)
    for shape, out, target in (
        (options, np.log(p), y),
        (binary, logits, answers),
        (huber, errors, zeros),
    ):
        _, g = loss_and_gradient(shape, out, target)
        for i in np.ndindex(out.shape):
            step = np.zeros_like(out)
            step[i] = 1e-6
            up, down = (loss_and_gradient(shape, out + s, target)[0] for s in (step, -step))
            assert g[i] == pytest.approx((up - down) / 2e-6, abs=1e-6)


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_losses_stay_finite_at_extreme_outputs(loss: str) -> None:
    out = np.array([[1e4, -1e4]]) if loss == "cross_entropy" else np.array([[1e4], [-1e4]])
    y = np.array([1]) if loss == "cross_entropy" else np.array([0, 1])
    with np.errstate(all="raise", under="ignore"):
        value, g = loss_and_gradient({"loss": loss}, out, y)
    assert value == pytest.approx(2e4 if loss == "cross_entropy" else 1e4)
    assert np.isfinite(g).all()


def test_optimisers_by_hand() -> None:
    def after(name: str, gradients: list[float]) -> float:
        step = training.optimizer({"optimizer": name, "lr": 0.1, "momentum": 0.5})
        w = [np.array([1.0])]
        for g in gradients:
            step(w, [np.array([g])])
        return float(w[0][0])

    assert after("sgd", [2, 4]) == pytest.approx(1 - 0.2 - 0.4)
    assert after("momentum", [2, 4]) == pytest.approx(1 - 0.2 - (0.1 + 0.4))
    assert after("adam", [2]) == pytest.approx(1 - 0.1, abs=1e-8)
    m, v = 0.1 * 0.9 * 2 + 0.1 * 4, 0.001 * 0.999 * 4 + 0.001 * 16
    second = 0.1 * (m / (1 - 0.9**2)) / (np.sqrt(v / (1 - 0.999**2)) + 1e-8)
    assert after("adam", [2, 4]) == pytest.approx(1 - 0.1 - second, abs=1e-7)


def test_initial_parameters_are_glorot_uniform() -> None:
    params = training.initial(Model("case_study_cnn", (28, 28), 10), seed=0)
    assert all((b == 0).all() for b in params[1::2])
    for w, fans in zip(params[::2], [9 * 17, 9 * 48, 9 * 96, 1034], strict=True):
        limit = np.sqrt(6 / fans)
        assert w.dtype == np.float32
        assert 0.9 * limit < np.abs(w).max() <= limit
    assert params[6].var() == pytest.approx(2 / 1034, rel=0.05)
