"""Which options take functions and objects of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._options.classes import Spec
from ..errors import OptionError
from .aggregator import Aggregator, aggregator
from .cohorts import Chooser, chooser
from .metrics import Metrics, metrics
from .partition import FunctionPartition, Listed, partition
from .rule import CLIENT_HOOKS, Rule, rule
from .server_step import ServerStep, server_step

OWN = (Aggregator, Rule, Chooser, Listed, FunctionPartition, Metrics, ServerStep)
Own = Aggregator | Rule | Chooser | Listed | FunctionPartition | Metrics | ServerStep


def title(own: Own) -> str | list[str]:
    """Return what results and messages call an object; metrics are several.

    Example:
        >>> title(aggregator(lambda updates, weights: updates[0]))
        'function'
    """
    return own._title() if isinstance(own, Aggregator | Rule) else own.name


def own_object(option: str, value: Any) -> Own | None:
    """Return the object that a user's value stands for, checked.

    Args:
        option: the option that it is given for.
        value: what the user gave.

    Returns:
        The object; None if the value is none of the user's own.

    Raises:
        OptionError: the value is the user's own, and not what the option takes.

    Example:
        >>> own_object("aggregate", lambda updates, weights: updates[0]).name
        'function'
        >>> own_object("aggregate", "median")
    """
    if isinstance(value, str | Spec) or value is None:
        return None
    if isinstance(value, type) and issubclass(value, Spec):
        raise OptionError(
            f"{option}: expected an object, got the class {value.__name__}: use "
            f"{value.__name__}()"
        )
    if isinstance(value, type) and issubclass(value, Rule | Aggregator):
        raise OptionError(
            f"{option}: expected an object, got a class: use {value.__name__}()"
        )
    match option:
        case "aggregate" if callable(value) or isinstance(value, Aggregator):
            return aggregator(value)
        case "sampling" | "availability" if callable(value):
            return chooser(option, value)
        case "partition" if callable(value) or isinstance(value, Mapping | list | tuple):
            return partition(value)
        case "metrics" if isinstance(value, Mapping):
            return metrics(value)
        case "server" if callable(value):
            return server_step(value)
        case "rules" if isinstance(value, Rule):
            return rule(value)
    return None


def own_objects(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the objects of the user's own among the values of options, checked.

    Args:
        given: values by option.

    Returns:
        The objects by option: one, or a tuple of objects and texts. Objects of Julia's are
        as they came.

    Raises:
        OptionError: a value is the user's own, and not what the option takes.

    Example:
        >>> given = {"lr": 0.1, "aggregate": lambda updates, weights: updates[0]}
        >>> own_objects(given).keys()
        dict_keys(['aggregate'])
    """
    objects: dict[str, Any] = {}
    for name, value in given.items():
        own = value if _of_julia(value) else own_object(name, value)
        if own is not None:
            objects[name] = own
        elif isinstance(value, list | tuple):
            listed = [v if _of_julia(v) else own_object(name, v) for v in value]
            if any(v is not None for v in listed):
                pairs = zip(listed, value, strict=True)
                objects[name] = tuple(str(v) if o is None else o for o, v in pairs)
    if isinstance(objects.get("aggregate"), tuple):
        raise OptionError(
            "aggregate: expected one aggregator, got several; under secure aggregation and "
            "CKKS the server knows nothing but the sum of the updates, so no function of "
            "yours can combine them"
        )
    return objects


def _of_julia(value: Any) -> bool:
    return type(value).__module__.startswith("juliacall")


def check_on_clients(rules: Any, why: str) -> None:
    """Check that no rule of the user's has hooks that run on clients.

    Args:
        rules: what is given for the option.
        why: they can't, the end of the message.

    Raises:
        OptionError: a rule has.

    Example:
        >>> check_on_clients(["fedprox"], "there is no Python")
    """
    for own in rules if isinstance(rules, tuple) else (rules,):
        if isinstance(own, Rule):
            for hook in own._hooks():
                if hook in CLIENT_HOOKS:
                    raise OptionError(
                        f"rule {own._title()}: its hook {hook} runs on the clients, and "
                        f"{why}"
                    )
