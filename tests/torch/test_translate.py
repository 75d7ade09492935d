"""PyTorch modules as descriptions, and back, without Julia and with it."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fedflux
from fedflux._torch.modules import build
from fedflux._torch.translate import Translation, translate
from fedflux._typing import Named

from .nets import NETS, inputs


def some(name: str) -> tuple[nn.Module, torch.Tensor]:
    """A module with running statistics and biases of its own, and inputs."""
    torch.manual_seed(1)
    module, shape = NETS[name]
    x = inputs(shape, tokens="text" in name)
    module.train()
    with torch.no_grad():
        for _ in range(3):
            module(x if x.dtype == torch.int64 else x * 2 + 1)
        for own in module.parameters():
            own.add_(0.1 * torch.rand(own.shape) - 0.05)
    return module.eval(), x


def close(a: Any, b: Any) -> bool:
    return bool(np.abs(np.asarray(a) - np.asarray(b)).max() < 1e-5)


@pytest.mark.parametrize("name", NETS)
def test_a_module_is_the_same_after_its_description(name: str) -> None:
    module, x = some(name)
    translation = translate(module)
    arrays = translation.arrays()
    assert all(a.dtype == np.float32 and a.flags["C_CONTIGUOUS"] for a in arrays.values())
    with torch.no_grad():
        wanted = module(x)
        fresh = translate(_redrawn(module))
        assert not close(fresh.module.eval()(x), wanted)
        assert close(fresh.filled(arrays)(x), wanted)
        assert type(fresh.filled(arrays)) is type(module)
        rebuilt = _built(translation, x)
        assert close(rebuilt(x), wanted)
    again = translate(rebuilt)
    assert json.loads(again.description) == json.loads(translation.description)


def _redrawn(module: nn.Module) -> nn.Module:
    import copy

    module = copy.deepcopy(module)
    with torch.no_grad():
        for own in module.parameters():
            own.copy_(torch.rand(own.shape))
    return module


def _parts(translation: Translation) -> tuple[Named, Named]:
    """The parameters and the statistics."""
    arrays = translation.arrays()
    statistics = {n: a for n, a in arrays.items() if n.endswith((".μ", ".σ²"))}
    return {n: a for n, a in arrays.items() if n not in statistics}, statistics


def _built(translation: Translation, x: torch.Tensor) -> nn.Module:
    description = json.loads(translation.description)
    return build(description, list(x.shape[1:]), *_parts(translation))


@pytest.mark.parametrize("name", NETS)
def test_onnx_runtime_gives_the_modules_outputs(name: str) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed: fedflux[onnx]")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from fedflux._onnx.export import export

    module, x = some(name)
    translation = translate(module)
    description = json.loads(translation.description)
    sample = list(x.shape[1:])
    sample = [1, *sample] if description[0]["layer"] == "as_sequence" else sample
    content = export(description, sample, *_parts(translation))
    session = runtime.InferenceSession(content)
    for part in (x, x[:1]):
        (out,) = session.run(["logits"], {"x": part.numpy()})
        with torch.no_grad():
            assert close(out, module(part))


# the others are in test_runs.py
@pytest.mark.parametrize("name", ["features", "images", "signals", "lstm", "gru", "rnn"])
def test_the_flux_model_gives_the_modules_outputs(julia: None, name: str) -> None:
    module, x = some(name)
    translation = translate(module)
    from fedflux._julia import calls

    config = {"model": translation.description, "outputs": 3, "sample": [1], "input": None}
    seen = x.numpy()
    if x.ndim == 3:  # as `fedflux.run` takes samples of two axes: images of one channel
        seen = seen[:, None]
    out = calls.outputs(config, translation.arrays(), seen, None)
    with torch.no_grad():
        assert close(out, module(x))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.layer(self.layer(x))
        return y


class Depends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.layer(x) if x.sum() > 0 else x
        return y


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.scale = nn.Linear(4, 4), nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.layer(x) * self.scale
        return y


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.other = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.layer(x)
        return y


def _frozen() -> nn.Module:
    module = nn.Sequential(nn.Linear(2, 2))
    module[0].bias.requires_grad = False
    return module


def _tied() -> nn.Module:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[1].weight = module[0].weight
    return module


def _hooked() -> nn.Module:
    module = nn.Sequential(nn.Linear(2, 2))
    module[0].register_forward_hook(lambda m, x, y: 2 * y)
    return module


REFUSED = [
    (nn.Sequential(nn.Linear(2, 2), nn.PReLU()), "layer 1, PReLU,.*slope is trained"),
    (nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")), "padding_mode"),
    (nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), nn.Linear(2, 2)), "ceil_mode=True"),
    (nn.Sequential(nn.AdaptiveAvgPool2d((7, None)), nn.Linear(2, 2)), "expected numbers"),
    (nn.Sequential(nn.Embedding(3, 2, padding_idx=0)), "layer 0, Embedding.*padding_idx=0"),
    (nn.Sequential(nn.Linear(2, 2), nn.GRU(2, 2)), "layer 1, GRU.*batch_first=False"),
    (nn.Sequential(nn.LSTM(2, 2, batch_first=True, bidirectional=True)), "bidirectional"),
    (
        nn.Sequential(nn.LSTM(2, 2, batch_first=True), nn.Linear(2, 2)),
        "layer 1, Linear.*LSTM",
    ),
    (
        nn.Sequential(nn.Linear(2, 2).double()),
        r"0.weight is torch.float64.*module.float\(\)",
    ),
    (nn.Sequential(nn.Flatten()), "no layer with weights"),
    (_frozen(), "0.bias is frozen"),
    (_tied(), "1.weight is shared with 0.weight"),
    (_hooked(), "0 has hooks"),
    (Twice(), "layer layer is used more than once"),
    (Depends(), "torch.fx can't trace Depends"),
    (Scaled(), "scale in forward can't be translated: a parameter"),
    (Unused(), "other has parameters that forward does not use"),
]


@pytest.mark.parametrize(("module", "words"), REFUSED, ids=[w[:30] for _, w in REFUSED])
def test_what_cant_be_translated_is_named(module: nn.Module, words: str) -> None:
    with pytest.raises(fedflux.DataError, match=words) as error:
        fedflux.run(dataset="digits", model=module)
    assert "\n" not in str(error.value)
