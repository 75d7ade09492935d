"""The options that the reference engine supports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._options.options import declared
from .._options.specs import parse
from ..errors import OptionError

# The supported options, with the values that the engine knows; None for all values.
# Any other option must have its default, so that an option that the core gains later raises
# an error instead of being ignored.
SUPPORTED: dict[str, tuple[Any, ...] | None] = {
    **dict.fromkeys(("dataset", "data_dir", "mean", "std")),
    **dict.fromkeys(("clients", "clients_per_round", "rounds", "hidden")),
    **dict.fromkeys(("local_epochs", "local_steps", "batch_size", "lr", "momentum")),
    **dict.fromkeys(("target_accuracy", "patience", "time_budget", "eval_every")),
    **dict.fromkeys(("seed", "engine", "trainer", "threads", "client_test")),
    "partition": ("iid",),
    "aggregate": ("mean",),
    "weights": ("samples", "uniform"),
    "model": ("case_study_cnn", "lenet", "mcmahan_cnn", "mlp", "softmax_regression"),
    "loss": ("cross_entropy", "binary_cross_entropy", "mse"),
    "optimizer": ("sgd", "momentum", "adam"),
}


def check_supported(options: Mapping[str, Any]) -> None:
    """Check that the reference engine supports the options.

    Args:
        options: every option of the run, checked.

    Raises:
        OptionError: an option or a value that only the core supports.

    Example:
        >>> from .._options.options import check
        >>> check_supported(check({}))
    """
    if options["dataset"].startswith("shakespeare:"):
        raise OptionError(
            "dataset shakespeare needs the Julia core; the reference engine has no models "
            "for text"
        )
    for name, value in options.items():
        if not _supported(name, value):
            raise OptionError(
                f"{name}={value!r} needs the Julia core; the reference engine does not "
                "support it"
            )


def _supported(name: str, value: Any) -> bool:
    if name not in SUPPORTED:
        return bool(value == declared()[name].default)
    known = SUPPORTED[name]
    if known is None or value is None:  # a default that the data set will decide
        return True
    return (parse(name, value)[0] if declared()[name].kind == "spec" else value) in known
