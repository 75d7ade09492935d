"""Modules through a whole run: trained in fedflux, back in PyTorch, and in ONNX Runtime."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fedflux
from fedflux._results import predict

from .nets import LeNet, TextClassifier, small_residual, vgg

QUICK: dict[str, Any] = {"clients": 2, "batch_size": 16, "engine": "julia"}


def pictures(n: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Bright squares in one of ten places: (n, 1, side, side) and their places."""
    rng = np.random.default_rng(0)
    x = rng.random((n, 1, side, side), dtype=np.float32) / 4
    y = np.arange(n) % 10
    for image, place in zip(x, y, strict=True):
        row, column = divmod(place, 5)
        image[0, row * side // 2 :, column * side // 5 :][: side // 3, : side // 6] += 1
    return x, y


def texts(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of which the last third says the class: (n, 6) and the classes."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 3
    x = rng.integers(0, 30, (n, 6))
    x[:, 4:] = 10 * y[:, None] + rng.integers(0, 10, (n, 2))
    return x, y


MODELS: dict[str, Any] = {
    "lenet": (LeNet, *pictures(80, 28), {"lr": 0.05}, "fast"),
    "vgg": (vgg, *pictures(80, 16), {"lr": 0.05}, "fast"),
    "text": (lambda: TextClassifier(30, 3), *texts(90), {"lr": 0.5}, "fast"),
}


def logits(module: nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return module(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("name", MODELS)
def test_a_module_is_trained_and_comes_back(julia: None, name: str, tmp_path: Path) -> None:
    make, x, y, options, trainer = MODELS[name]
    torch.manual_seed(1)
    module = make()
    before = copy.deepcopy(module.state_dict())
    result = fedflux.run(x_train=x, y_train=y, model=module, rounds=3, **QUICK, **options)
    assert result.trainer == trainer
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"]

    trained = result.to_torch()
    assert type(trained) is type(module)
    assert not trained.training
    out = predict.outputs(result, x)
    assert np.abs(logits(trained, x) - out).max() < 1e-5
    assert np.abs(logits(module.eval(), x) - out).max() > 1e-3
    for key, value in module.state_dict().items():  # the user's own is as it was
        assert torch.equal(value, before[key])

    saved = fedflux.Result.load(result.save(tmp_path / "saved"))
    assert isinstance(saved.to_torch(), nn.Sequential)
    for loaded in (saved.to_torch(), saved.to_torch(make())):
        assert np.abs(logits(loaded, x) - out).max() < 1e-5
    assert (saved.predict(x) == result.predict(x)).all()

    pytest.importorskip("onnx", reason="onnx is not installed: fedflux[onnx]")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    for one in (result, saved):
        session = runtime.InferenceSession(str(one.to_onnx(tmp_path / "model.onnx")))
        (given,) = session.get_inputs()
        for part in (x, x[:1]):
            (answer,) = session.run(None, {given.name: part})
            assert np.abs(answer - out[: len(part)]).max() < 1e-5


def adaptive(out: int | tuple[int, int]) -> nn.Module:
    pools = [nn.AdaptiveAvgPool2d((8, 4)), nn.Conv2d(3, 3, 1), nn.AdaptiveMaxPool2d(out)]
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), *pools, nn.Flatten(), nn.LazyLinear(10)
    )


def test_adaptive_pools_of_several_pixels(julia: None, tmp_path: Path) -> None:
    x, y = pictures(40, 16)
    torch.manual_seed(1)
    module = adaptive((4, 2))
    module(torch.from_numpy(x))  # makes the lazy layer
    options: dict[str, Any] = {"x_train": x, "y_train": y, "rounds": 1, **QUICK}
    result = fedflux.run(model=module, **options)
    assert result.trainer == "fast"
    for trained in (result.to_torch(), torch_again(result, tmp_path)):
        assert np.abs(logits(trained, x) - predict.outputs(result, x)).max() < 1e-5
    with pytest.raises(fedflux.FedFluxError, match=r"adaptive pool to \[8, 4\]"):
        result.to_onnx(tmp_path / "a.onnx")
    uneven = adaptive((3, 2))
    uneven(torch.from_numpy(x))
    words = "adaptive pool to 3×2 gets an input of 8×4; expected a size"
    with pytest.raises(fedflux.FedFluxError, match=words):
        fedflux.run(model=uneven, **options)


def torch_again(result: fedflux.Result, folder: Path) -> nn.Module:
    """The module that is built of a saved result, without the user's own."""
    module: nn.Module = fedflux.Result.load(
        result.save(folder / "r.safetensors")
    ).to_torch()
    return module


def test_modules_of_frozen_best_and_personal_models(julia: None) -> None:
    x, y = pictures(80, 8)
    torch.manual_seed(1)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 10))
    start = {name: value.numpy().copy() for name, value in module.state_dict().items()}
    options: dict[str, Any] = {"x_train": x, "y_train": y, "model": module, **QUICK}

    def trained(model: Any) -> dict[str, np.ndarray]:
        own = model.to_torch()
        assert np.abs(logits(own, x) - predict.outputs(model, x)).max() < 1e-5
        return {name: value.numpy() for name, value in own.state_dict().items()}

    def moved(model: Any) -> set[str]:
        now = trained(model)
        return {name for name in now if not np.array_equal(now[name], start[name])}

    frozen = fedflux.run(freeze=["layers.2"], rounds=2, lr=0.3, **options)
    assert moved(frozen) == {"3.weight", "3.bias"}

    held = fedflux.run(rules="fedper", rounds=2, lr=0.3, **options)
    assert moved(held) == {"1.weight", "1.bias"}  # the head is as at the start
    assert moved(held.personal(1)) == set(start)
    heads = [trained(held.personal(k))["3.weight"] for k in (1, 2)]
    assert not np.array_equal(*heads)

    wrong = (y + 1) % 10  # by these, each round is worse than the one before
    worse = fedflux.run(x_test=x, y_test=wrong, rounds=3, lr=1.0, **options)
    assert worse.best is not None
    assert worse.best.round < 3
    best, last = trained(worse.best), trained(worse)
    assert any(not np.array_equal(best[name], last[name]) for name in best)


def test_the_weights_come_along(julia: None) -> None:
    """A step of PyTorch's own, and a round of one step of fedflux from the same weights."""
    x, y = pictures(20, 16)
    torch.manual_seed(1)
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(588, 10))
    usual: dict[str, Any] = {"x_train": x, "y_train": y, "clients": 1, "rounds": 1}
    usual |= {"batch_size": 20, "lr": 0.1, "engine": "julia"}
    result = fedflux.run(model=module, **usual)
    other = copy.deepcopy(module)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    loss = nn.functional.cross_entropy(other(torch.from_numpy(x)), torch.from_numpy(y))
    loss.backward()
    optimizer.step()
    for ours, theirs in zip(
        result.to_torch().parameters(), other.parameters(), strict=True
    ):
        assert torch.allclose(ours, theirs, atol=1e-6)
    assert result.history[0]["train_loss"] == pytest.approx(loss.item(), rel=1e-5)

    start = result.to_torch()
    same = [fedflux.run(model=m, init=i, **usual) for m, i in _starts(module, start)]
    assert len({r.params_sha256 for r in same}) == 1
    assert same[0].params_sha256 != result.params_sha256
    with pytest.raises(fedflux.DataError, match=r"does not fit the module: .*0\.weight"):
        fedflux.run(model=module, init={"0": torch.zeros(1)}, **usual)
    with pytest.raises(fedflux.DataError, match="model=module"):
        fedflux.run(model="mlp", init=module.state_dict(), **usual)


def _starts(module: nn.Module, start: nn.Module) -> list[tuple[Any, Any]]:
    """Ways to begin with the weights of `start`."""
    return [(start, None), (module, start), (module, start.state_dict())]


def test_a_residual_network_is_trained(julia: None) -> None:
    x, y = pictures(20, 4)
    module = small_residual()
    usual: dict[str, Any] = {"x_train": x, "y_train": y, "lr": 0.1, "local_steps": 1}
    result = fedflux.run(model=module, rounds=1, **usual, **QUICK)
    assert np.abs(logits(result.to_torch(), x) - predict.outputs(result, x)).max() < 1e-5
    more = fedflux.run(resume=result, x_train=x, y_train=y, rounds=2)
    assert type(more.to_torch()[2]) is type(module[2])
    with pytest.raises(fedflux.DataError, match="its layers are not those of the trained"):
        result.to_torch(nn.Sequential(nn.Flatten(), nn.Linear(16, 10)))


@pytest.mark.parametrize(
    "options",
    [
        {"model": "lenet", "x": (6, 1, 28, 28)},
        {"model": "mlp", "hidden": [5], "x": (6, 7)},
        {"model": "gru", "hidden": [5], "x": (6, 4), "loss": "cross_entropy"},
    ],
    ids=lambda o: o["model"],
)
def test_a_named_model_becomes_a_sequential(julia: None, options: dict[str, Any]) -> None:
    options = dict(options)
    rng = np.random.default_rng(0)
    x: Any = rng.random(options.pop("x"), dtype=np.float32)
    y: Any = np.arange(6) % 3
    if options["model"] == "gru":
        x = y = rng.integers(0, 9, x.shape)
    result = fedflux.run(x_train=x, y_train=y, rounds=1, **options, **QUICK)
    assert np.abs(logits(result.to_torch(), x) - predict.outputs(result, x)).max() < 1e-5
    if options["model"] == "lenet":
        again = fedflux.run(
            x_train=x, y_train=y, rounds=1, init=result.to_torch(), **options, **QUICK
        )
        known = fedflux.run(x_train=x, y_train=y, rounds=1, init=result, **options, **QUICK)
        assert again.params_sha256 == known.params_sha256


def test_modules_that_dont_fit_the_data(julia: None) -> None:
    x, y = pictures(20, 8)
    small = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    with pytest.raises(
        fedflux.FedFluxError, match="gives 3 outputs, and labels go up to 9"
    ):
        fedflux.run(x_train=x, y_train=y, model=small, **QUICK)
    with pytest.raises(fedflux.FedFluxError, match=r"layer \d, .* does not accept"):
        fedflux.run(x_train=x, y_train=y, model=vgg()[1:5], **QUICK)
    with pytest.raises(fedflux.OptionError, match="needs the Julia core"):
        fedflux.run(x_train=x, y_train=y, model=small, engine="reference")
