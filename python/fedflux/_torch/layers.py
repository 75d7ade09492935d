"""PyTorch's modules as layers of a description, which the core builds a Flux model from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from .._description.rows import Entries, layer


class Untranslatable(Exception):
    """What a module has that a description can't say."""


def entries(module: nn.Module) -> list[Entries]:
    """Return the layers of a description that do what a module does.

    Args:
        module: one of PyTorch's own, without children; not a recurrent one.

    Raises:
        Untranslatable: there are none; the message says why.

    Example:
        >>> entries(nn.Flatten())
        [{'layer': 'flatten'}]
    """
    translate = _MODULES.get(type(module))
    if translate is None:
        raise Untranslatable("fedflux has no such layer")
    found = translate(module)
    return found if isinstance(found, list) else [found]


def expect(module: Any, **wanted: Any) -> None:
    """Check that settings of a module have the only values that can be translated."""
    for name, value in wanted.items():
        given = getattr(module, name)
        if given != value:
            raise Untranslatable(f"{name}={given!r}; expected {value!r}")


def _sizes(value: Any, dims: int) -> list[int]:
    return list(value) if isinstance(value, tuple | list) else [value] * dims


def _linear(m: nn.Linear) -> Entries:
    shape = {"in": m.in_features, "out": m.out_features}
    return layer("dense", **shape, bias=m.bias is not None, activation="identity")


def _conv(m: nn.Conv1d | nn.Conv2d) -> Entries:
    expect(m, padding_mode="zeros")
    dims = len(m.kernel_size)
    padding: Any = m.padding
    if padding == "valid":
        padding = 0
    elif padding == "same":
        reach = [d * (k - 1) for k, d in zip(m.kernel_size, m.dilation, strict=True)]
        if any(r % 2 for r in reach):
            raise Untranslatable("padding='same' pads one side more than the other")
        padding = tuple(r // 2 for r in reach)
    return layer(
        "conv",
        **{"in": m.in_channels, "out": m.out_channels},
        kernel=_sizes(m.kernel_size, dims),
        stride=_sizes(m.stride, dims),
        pad=_sizes(padding, dims),
        dilation=_sizes(m.dilation, dims),
        groups=m.groups,
        bias=m.bias is not None,
        activation="identity",
    )


def _pool(kind: str, dims: int) -> Callable[[Any], Entries]:
    def translate(m: Any) -> Entries:
        expect(m, ceil_mode=False)
        if kind == "max_pool":
            expect(m, return_indices=False)
            if set(_sizes(m.dilation, dims)) != {1}:
                raise Untranslatable(f"dilation={m.dilation!r}; expected 1")
        elif any(_sizes(m.padding, dims)):
            expect(m, count_include_pad=True)
        if getattr(m, "divisor_override", None) is not None:
            expect(m, divisor_override=None)
        kernel = _sizes(m.kernel_size, dims)
        stride = kernel if m.stride is None else _sizes(m.stride, dims)
        return layer(kind, kernel=kernel, stride=stride, pad=_sizes(m.padding, dims))

    return translate


def _adaptive_pool(kind: str, dims: int) -> Callable[[Any], Entries]:
    def translate(m: Any) -> Entries:
        sizes = _sizes(m.output_size, dims)
        if None in sizes:
            raise Untranslatable(f"output_size={m.output_size!r}; expected numbers")
        if getattr(m, "return_indices", False):
            expect(m, return_indices=False)
        if set(sizes) == {1}:
            return layer(f"global_{kind}")
        return layer(f"adaptive_{kind}", out=sizes)  # the core checks that they divide

    return translate


def _prelu(m: nn.PReLU) -> Entries:
    raise Untranslatable(
        "its slope is trained, which no activation of fedflux does; expected a fixed one, "
        f"such as LeakyReLU({m.init})"
    )


def _batch_norm(m: nn.BatchNorm1d | nn.BatchNorm2d) -> Entries:
    if m.momentum is None:
        raise Untranslatable("momentum=None; expected a number")
    return layer(
        "batch_norm",
        channels=m.num_features,
        eps=m.eps,
        momentum=m.momentum,
        affine=m.affine,
        running=m.track_running_stats,
        activation="identity",
    )


def _layer_norm(m: nn.LayerNorm) -> Entries:
    if m.elementwise_affine and m.bias is None:
        raise Untranslatable("bias=False; expected both a weight and a bias, or neither")
    affine = m.elementwise_affine
    return layer("layer_norm", size=list(m.normalized_shape), eps=m.eps, affine=affine)


def _group_norm(m: nn.GroupNorm) -> Entries:
    shape = {"channels": m.num_channels, "groups": m.num_groups}
    return layer("group_norm", **shape, eps=m.eps, affine=m.affine)


def _embedding(m: nn.Embedding) -> Entries:
    wanted = {"padding_idx": None, "max_norm": None, "scale_grad_by_freq": False}
    expect(m, **wanted, sparse=False)
    return layer("embedding", vocabulary=m.num_embeddings, size=m.embedding_dim)


def _flatten(m: nn.Flatten) -> Entries:
    expect(m, start_dim=1, end_dim=-1)
    return layer("flatten")


def _activation(name: str, **wanted: Any) -> Callable[[Any], Entries]:
    def translate(m: Any) -> Entries:
        expect(m, **wanted)
        return layer("activation", name=name)

    return translate


def _valued(name: str, attribute: str) -> Callable[..., Entries]:
    def translate(m: Any) -> Entries:
        return layer("valued_activation", name=name, value=float(getattr(m, attribute)))

    return translate


def _gelu(m: nn.GELU) -> Entries:
    return layer("activation", name="gelu_tanh" if m.approximate == "tanh" else "gelu")


def _softmax(kind: str) -> Callable[[Any], Entries]:
    def translate(m: Any) -> Entries:
        if not isinstance(m.dim, int) or m.dim == 0:
            raise Untranslatable(f"dim={m.dim!r}; expected an axis but the samples'")
        return layer(kind, axis=m.dim)

    return translate


_MODULES: dict[type[nn.Module], Callable[[Any], Entries | list[Entries]]] = {
    nn.Identity: lambda m: [],
    nn.Linear: _linear,
    nn.Conv1d: _conv,
    nn.Conv2d: _conv,
    nn.MaxPool1d: _pool("max_pool", 1),
    nn.MaxPool2d: _pool("max_pool", 2),
    nn.AvgPool1d: _pool("mean_pool", 1),
    nn.AvgPool2d: _pool("mean_pool", 2),
    nn.AdaptiveMaxPool1d: _adaptive_pool("max_pool", 1),
    nn.AdaptiveMaxPool2d: _adaptive_pool("max_pool", 2),
    nn.AdaptiveAvgPool1d: _adaptive_pool("mean_pool", 1),
    nn.AdaptiveAvgPool2d: _adaptive_pool("mean_pool", 2),
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.LayerNorm: _layer_norm,
    nn.GroupNorm: _group_norm,
    nn.Dropout: lambda m: layer("dropout", p=m.p),
    nn.Embedding: _embedding,
    nn.Flatten: _flatten,
    nn.ReLU: _activation("relu"),
    nn.Tanh: _activation("tanh"),
    nn.Sigmoid: _activation("sigmoid"),
    nn.GELU: _gelu,
    nn.SiLU: _activation("silu"),
    nn.Softplus: _activation("softplus", beta=1, threshold=20),
    nn.Softsign: _activation("softsign"),
    nn.ReLU6: _activation("relu6"),
    nn.Hardsigmoid: _activation("hardsigmoid"),
    nn.Hardtanh: _activation("hardtanh", min_val=-1, max_val=1),
    nn.Hardswish: _activation("hardswish"),
    nn.LogSigmoid: _activation("logsigmoid"),
    nn.SELU: _activation("selu"),
    nn.Mish: _activation("mish"),
    nn.PReLU: _prelu,
    nn.LeakyReLU: _valued("leaky_relu", "negative_slope"),
    nn.ELU: _valued("elu", "alpha"),
    nn.CELU: _valued("celu", "alpha"),
    nn.Softmax: _softmax("softmax"),
    nn.LogSoftmax: _softmax("log_softmax"),
}


def recurrent(module: nn.RNNBase) -> list[list[Entries]]:
    """Return the layers of each level of a recurrent module, dropout after its own.

    Raises:
        Untranslatable: a setting that a description can't say.

    Example:
        >>> len(recurrent(nn.LSTM(4, 8, num_layers=2, batch_first=True)))
        2
    """
    expect(module, batch_first=True, bidirectional=False, proj_size=0)
    if type(module) not in (nn.RNN, nn.LSTM, nn.GRU):
        raise Untranslatable("fedflux has no such layer")
    levels = []
    for level in range(module.num_layers):
        shape = {
            "in": module.hidden_size if level else module.input_size,
            "out": module.hidden_size,
        }
        if isinstance(module, nn.GRU) and module.bias:
            own = layer("two_bias_gru", **shape)
        elif isinstance(module, nn.RNN):
            activation = module.nonlinearity
            own = layer("rnn", **shape, bias=module.bias, activation=activation)
        else:
            own = layer(type(module).__name__.lower(), **shape, bias=module.bias)
        dropout = module.dropout and level < module.num_layers - 1
        levels.append([own, *([layer("dropout", p=module.dropout)] if dropout else [])])
    return levels
