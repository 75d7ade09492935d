"""A PyTorch module to a description with its weights, and back."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from .._description.rows import Layer, Row, described, flat, layer, places
from .._typing import Named
from ..errors import DataError, first_line
from . import weights
from .graph import read
from .steps import fused


@dataclass(frozen=True)
class Translation:
    """A module as fedflux takes it.

    Attributes:
        module: a copy of the module.
        row: its layers.
    """

    module: nn.Module
    row: Row

    @property
    def description(self) -> str:
        """What the core builds the model from, a list of layers in JSON."""
        return json.dumps(described(self.row))

    def arrays(self) -> Named:
        """Return the module's weights and statistics by their names in the Flux model."""
        return {
            f"{place}.{name}": array
            for place, one in places(self.row)
            if one.module
            for name, array in weights.read(
                one.kind, self.module.get_submodule(one.module), one.level
            ).items()
        }

    def filled(self, arrays: Named) -> nn.Module:
        """Return a copy of the module that holds other weights, in evaluation mode.

        Args:
            arrays: by their names in the Flux model, as `arrays` returns them.

        Raises:
            DataError: names or shapes differ from the module's.
        """
        own = self.arrays()
        if {n: a.shape for n, a in own.items()} != {n: a.shape for n, a in arrays.items()}:
            differ = [
                name
                for name in {**own, **arrays}
                if name not in own
                or name not in arrays
                or own[name].shape != arrays[name].shape
            ]
            raise DataError(
                "module: its layers are not those of the trained model; "
                f"{differ[0]} differs"
            )
        module = copy.deepcopy(self.module)
        for place, one in places(self.row):
            if one.module:
                start = f"{place}."
                mine = {
                    name.removeprefix(start): array
                    for name, array in arrays.items()
                    if name.startswith(start)
                }
                part = module.get_submodule(one.module)
                weights.write(one.kind, part, mine, one.level)
        return module.eval()


def translate(module: nn.Module) -> Translation:
    """Translate a module.

    Args:
        module: a Sequential, or any module that torch.fx can trace and that consists of
            PyTorch's usual layers.

    Raises:
        DataError: what can't be translated, with its name in the module.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        >>> list(translate(net).arrays())
        ['layers.2.weight', 'layers.2.bias']
    """
    _check_plain(module)
    copied = copy.deepcopy(module).train()  # in training mode dropout shows
    try:
        graph = fx.Tracer().trace(copied)
    except Exception as error:
        raise DataError(
            f"model: torch.fx can't trace {type(module).__name__}, whose forward must do "
            f"the same for every input: {first_line(error)}"
        ) from None
    row = read(copied, graph)
    if not any(one.module for one in flat(row)):
        raise DataError("model: the module has no layer with weights to train")
    if row and isinstance(row[0], Layer) and _takes_sequences(row[0]):
        row.insert(0, Layer(layer("as_sequence")))
    used = {one.module for one in flat(row)}
    for name, part in module.named_modules():
        if name not in used and next(part.parameters(recurse=False), None) is not None:
            raise DataError(
                f"model: {name or 'the module'} has parameters that forward does not use; "
                "expected layers that it calls"
            )
    return Translation(copied, fused(row))


def _takes_sequences(first: Layer) -> bool:
    """Whether a first layer takes samples of two axes, which fedflux has as images."""
    if first.kind in weights.RECURRENT:
        return True
    return len(first.entries.get("kernel", (0, 0))) == 1


def _check_plain(module: nn.Module) -> None:
    """Check what a trace doesn't show: frozen, shared or other weights, and hooks."""
    seen: dict[int, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if parameter.dtype != torch.float32:
            raise DataError(
                f"model: {name} is {parameter.dtype}; expected torch.float32: give "
                "module.float()"
            )
        if not parameter.requires_grad:
            raise DataError(
                f"model: {name} is frozen (requires_grad=False): unfreeze it, and name the "
                "layer in the option freeze, such as freeze=['layers.1'], instead"
            )
        other = seen.setdefault(id(parameter), name)
        if other != name:
            raise DataError(
                f"model: {name} is shared with {other}; expected weights of their own"
            )
    for name, part in module.named_modules():
        if part._forward_hooks or part._forward_pre_hooks:
            raise DataError(
                f"model: {name or 'the module'} has hooks, which can't be translated: "
                "remove them"
            )


def with_state(module: nn.Module, state: Mapping[str, Any]) -> nn.Module:
    """Return a copy of a module that holds a state_dict.

    Raises:
        DataError: the state_dict is of another module.
    """
    module = copy.deepcopy(module)
    try:
        module.load_state_dict(dict(state))
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        reason = lines[1] if len(lines) > 1 else lines[0]
        raise DataError(f"init: the state_dict does not fit the module: {reason}") from None
    return module
