"""The nodes of torch.fx's graph of a module, read one after the other."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from .._description.rows import Layer, Row, layer
from ..errors import DataError
from .layers import Untranslatable, entries, recurrent
from .steps import Step, row_to
from .weights import has_weights

# Functions and methods that do what a module does, with the same arguments in its order.
_AS_MODULES: dict[Any, type[nn.Module]] = {
    torch.relu: nn.ReLU,
    torch.tanh: nn.Tanh,
    torch.sigmoid: nn.Sigmoid,
    torch.softmax: nn.Softmax,
    torch.log_softmax: nn.LogSoftmax,
    torch.flatten: nn.Flatten,
    functional.relu: nn.ReLU,
    functional.relu6: nn.ReLU6,
    functional.tanh: nn.Tanh,
    functional.sigmoid: nn.Sigmoid,
    functional.gelu: nn.GELU,
    functional.silu: nn.SiLU,
    functional.elu: nn.ELU,
    functional.selu: nn.SELU,
    functional.mish: nn.Mish,
    functional.hardswish: nn.Hardswish,
    functional.leaky_relu: nn.LeakyReLU,
    functional.softmax: nn.Softmax,
    functional.log_softmax: nn.LogSoftmax,
    functional.max_pool1d: nn.MaxPool1d,
    functional.max_pool2d: nn.MaxPool2d,
    functional.avg_pool1d: nn.AvgPool1d,
    functional.avg_pool2d: nn.AvgPool2d,
    functional.adaptive_avg_pool1d: nn.AdaptiveAvgPool1d,
    functional.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d,
    functional.adaptive_max_pool1d: nn.AdaptiveMaxPool1d,
    functional.adaptive_max_pool2d: nn.AdaptiveMaxPool2d,
    functional.dropout: nn.Dropout,
    "relu": nn.ReLU,
    "relu_": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softmax": nn.Softmax,
    "log_softmax": nn.LogSoftmax,
    "flatten": nn.Flatten,
}
_ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")
_MEANS = (torch.mean, "mean")
_RESHAPES = ("view", "reshape", torch.reshape)
_SIZES = ("size", len)
_ALL = slice(None)


@dataclass(frozen=True, eq=False)
class _Returned:
    """What a recurrent module returns, or a `part` of it: [1] is (1,), [1][0] is (1, 0)."""

    outputs: Step
    module: nn.RNNBase
    part: tuple[int, ...] = ()

    @property
    def is_state(self) -> bool:
        """Whether it is the last hidden states, (layers, n, hidden)."""
        return self.part == ((1, 0) if isinstance(self.module, nn.LSTM) else (1,))


class _Size:
    """The shape of a value, or one of its axes."""


def read(module: nn.Module, graph: fx.Graph) -> Row:
    """Return the layers of a traced module.

    Raises:
        DataError: what can't be translated, with its name in the module.
    """
    reader = _Reader(module)
    values: dict[fx.Node, Any] = {}
    for node in graph.nodes:
        try:
            args = fx.node.map_arg(node.args, values.__getitem__)
            kwargs = fx.node.map_arg(node.kwargs, values.__getitem__)
            values[node] = reader.value(node, *args, **kwargs)
            if node.op == "output":
                return row_to(values[node])
        except Untranslatable as reason:
            where = reader.name(node)
            raise DataError(f"model: {where} can't be translated: {reason}") from None
    raise DataError("model: forward returns nothing; expected the outputs")


class _Reader:
    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.input: Step | None = None

    def name(self, node: fx.Node) -> str:
        """Return the name of a node in messages."""
        if node.op == "call_module":
            kind = type(self.module.get_submodule(str(node.target))).__name__
            return f"layer {node.target}, {kind},"
        return f"{getattr(node.target, '__name__', node.target)} in forward"

    def value(self, node: fx.Node, *args: Any, **kwargs: Any) -> Any:
        """Return the value of a node with these arguments."""
        match node.op:
            case "placeholder":
                return self._placeholder(node)
            case "call_module":
                return self._module(str(node.target), *args, **kwargs)
            case "output":
                return _step(args[0])
            case "get_attr":
                raise Untranslatable("a parameter or a buffer outside the layers")
        if node.target is getattr:
            return self._attribute(*args)
        return self._call(node.target, *args, **kwargs)

    def _placeholder(self, node: fx.Node) -> Step:
        if self.input is not None:
            raise Untranslatable("a second input; expected one")
        self.input = Step(None)
        return self.input

    def _module(self, name: str, x: Any, *args: Any, **kwargs: Any) -> Step | _Returned:
        if args or kwargs:
            raise Untranslatable("more than one input; expected the values alone")
        module, step = self.module.get_submodule(name), _step(x)
        if isinstance(module, nn.RNNBase):
            for level, layers in enumerate(recurrent(module)):
                step = step.then(*_layers(layers, name, level))
            return _Returned(step, module)
        return step.then(*_layers(entries(module), name))

    def _attribute(self, x: Any, name: str) -> _Size:
        if name != "shape":
            raise Untranslatable(f"the attribute {name}")
        return _Size()

    def _call(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        if target in _SIZES:
            return _Size()
        if target is operator.getitem:
            return self._item(*args)
        if target in _ADDITIONS:
            return self._sum(*args, **kwargs)
        if target in _MEANS:
            return self._mean(*args, **kwargs)
        if target in _RESHAPES:
            return self._reshape(*args, **kwargs)
        if target == "squeeze" and isinstance(args[0], _Returned):
            return self._squeezed(*args, **kwargs)
        if target == "contiguous":
            return _step(args[0])
        if target not in _AS_MODULES:
            raise Untranslatable("fedflux has no such layer")
        return self._function(target, *args, **kwargs)

    def _function(self, target: Any, x: Any, *args: Any, **kwargs: Any) -> Step:
        kwargs = {k: v for k, v in kwargs.items() if k not in ("inplace", "_stacklevel")}
        if target in (torch.flatten, "flatten"):  # all axes, unless told otherwise
            kwargs = dict(zip(("start_dim", "end_dim"), args, strict=False)) | kwargs
            args, kwargs = (), {"start_dim": 0} | kwargs
        if kwargs.pop("training", True) is False:
            return _step(x)
        kwargs = {k: v for k, v in kwargs.items() if v is not None}
        try:
            module = _AS_MODULES[target](*args, **kwargs)
        except TypeError:
            raise Untranslatable(f"with arguments {args} and {kwargs}") from None
        return _step(x).then(*_layers(entries(module)))

    def _sum(self, a: Any, b: Any, alpha: Any = 1) -> Step:
        if alpha != 1 or not isinstance(a, Step) or not isinstance(b, Step):
            raise Untranslatable("expected the sum of two values of the model")
        return Step(a, added=b)

    def _mean(self, x: Any, dim: Any = None, keepdim: bool = False) -> Step:
        axes = sorted(a % 4 for a in dim) if isinstance(dim, tuple | list) else dim
        if axes == [2, 3]:
            pooled = _step(x).then(Layer(layer("global_mean_pool")))
            return pooled if keepdim else pooled.then(Layer(layer("flatten")))
        if axes in (1, [1]) and not keepdim:
            return _step(x).then(Layer(layer("mean_of_steps")))
        raise Untranslatable(
            f"over dim={dim!r}; expected 1, the steps of a sequence, or (2, 3), the pixels"
        )

    def _reshape(self, x: Any, *shape: Any) -> Step:
        if len(shape) == 1 and isinstance(shape[0], tuple | list):
            shape = tuple(shape[0])
        samples, rest = (*shape, None, None)[:2]
        flattens = isinstance(samples, _Size) and isinstance(rest, int)
        if len(shape) != 2 or not (flattens or (samples == -1 and isinstance(rest, int))):
            raise Untranslatable("expected (x.size(0), -1), which flattens")
        return _step(x).then(Layer(layer("flatten")))

    def _item(self, x: Any, index: Any) -> Any:
        if isinstance(x, _Size):
            return x
        if isinstance(x, Step):
            whole = index[2:] in ((), (_ALL,)) if isinstance(index, tuple) else False
            if whole and index[:2] == (_ALL, -1):
                return x.then(Layer(layer("last_step")))
            raise Untranslatable(f"[{index}]; expected [:, -1], the last step")
        if x.is_state:
            if index in (-1, x.module.num_layers - 1):
                return x.outputs.then(Layer(layer("last_step")))
            raise Untranslatable(f"the state of layer {index}; expected the last, [-1]")
        part = replace(x, part=(*x.part, index))
        return part.outputs if part.part == (0,) else part

    def _squeezed(self, x: _Returned, dim: Any = None) -> Step:
        if dim != 0 or not x.is_state or x.module.num_layers != 1:
            raise Untranslatable("expected the state of one layer, and dim 0")
        return x.outputs.then(Layer(layer("last_step")))


def _step(value: Any) -> Step:
    if isinstance(value, Step):
        return value
    if isinstance(value, _Returned):
        what = "hidden states" if value.is_state else "outputs and states"
        raise Untranslatable(
            f"it takes the {what} of {type(value.module).__name__} together: in a module "
            "of your own take its outputs, [0], or the state of its last layer, [-1]"
        )
    raise Untranslatable("expected one value of the model")


def _layers(found: list[dict[str, Any]], name: str = "", level: int = 0) -> list[Layer]:
    return [
        Layer(one, name, level) if has_weights(one["layer"]) else Layer(one)
        for one in found
    ]
