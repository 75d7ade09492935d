"""PyTorch modules and state_dicts in the place of a model and its initial parameters."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .._results.result import Result
from .._typing import Options
from ..errors import DataError

if TYPE_CHECKING:
    from .._torch.translate import Translation


def taken(options: Options, init: Any) -> tuple[Options, Any, Any]:
    """Translate a module that stands for the option `model`, and initial weights.

    Args:
        options: as the user gave them.
        init: initial parameters of any kind, or None.

    Returns:
        The options with the module's description, initial parameters without modules, and
        a copy of the module; as given if there are no modules.

    Raises:
        DataError: a module that can't be translated, or a state_dict that does not fit.

    Example:
        >>> taken({"model": "mlp"}, None)
        ({'model': 'mlp'}, None, None)
    """
    module = options.get("model")
    if not _is_module(module):
        if _is_module(init):
            init = _translate(init).arrays()
        elif _is_state(init):
            raise DataError(
                "init: a state_dict names weights as its module does, which is not given: "
                "expected model=module beside it, or the module itself"
            )
        return options, init, None
    translation = _translate(module)
    if _is_module(init):
        init = _translate(init).arrays()
    elif _is_state(init):
        from .._torch.translate import with_state

        init = _translate(with_state(translation.module, init)).arrays()
    elif init is None and not isinstance(options.get("resume"), Result):
        init = translation.arrays()  # the weights come along
    return options | {"model": translation.description}, init, translation.module


def _translate(module: Any) -> Translation:
    from .._torch.translate import translate

    return translate(module)


def _is_module(value: Any) -> bool:
    torch = sys.modules.get("torch")  # a module is there only if PyTorch is
    return torch is not None and isinstance(value, torch.nn.Module)


def _is_state(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return (
        torch is not None
        and isinstance(value, Mapping)
        and any(isinstance(v, torch.Tensor) for v in value.values())
    )
