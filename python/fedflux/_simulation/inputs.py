"""The inputs of a run: its options, Julia objects, arrays or a data set."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from .._data.arrays import Data, from_arrays, with_validation
from .._data.npz import from_npz
from .._data.targets import ANY_TARGETS
from .._extensions.metrics import Metrics
from .._extensions.own import check_on_clients, own_objects
from .._extensions.partition import Listed
from .._julia import calls
from .._options.datasets import is_named, listed
from .._options.models import has_labels
from .._options.options import SpecOption, by_owner, column, declared
from .._typing import Options
from ..errors import OptionError, shown
from .resume import ARRAYS


def with_recorded_options(options: Options, arrays_given: bool) -> Options:
    """Add the options of the run to resume, except those that are given.

    Args:
        options: the user's options, not checked.
        arrays_given: whether the user gave arrays.

    Returns:
        The options; the same if the run does not resume another.

    Raises:
        OptionError: the run was trained on arrays, or on a file, and none are given.
        FedFluxError: the checkpoints can't be read.

    Example:
        >>> with_recorded_options({"rounds": 3}, arrays_given=False)
        {'rounds': 3}
    """
    folder = options.get("resume")
    folder = os.fspath(folder) if isinstance(folder, os.PathLike) else folder
    if not isinstance(folder, str) or options.get("engine") == "reference":
        return options  # the check of the options reports an error
    recorded, files = calls.recorded_options(folder)
    for name, value in files.items():
        if name not in options and not (name == "dataset" and arrays_given):
            raise OptionError(
                f"resume: the run in {folder} has {name}={value!r}, a file: name it "
                "again, since a checkpoint may come from somebody else and opens no files "
                "by itself"
            )
    if recorded.get("dataset") == ARRAYS:
        if not arrays_given:
            raise OptionError(
                f"resume: the run in {folder} was trained on arrays: give x_train, "
                "y_train, ... again"
            )
        del recorded["dataset"]
    return recorded | options


def split_objects(options: Options) -> tuple[Options, dict[str, Any]]:
    """Separate objects of the user's own from the options that are texts and numbers.

    Returns:
        The other options, and the objects by the option that they are given for: one, or a
        tuple of objects and texts. They are Julia's or, of `_extensions`, Python's.

    Raises:
        OptionError: the model is neither a name nor an object made through juliacall, or an
            object is given for an option that takes none, or not this one.

    Example:
        >>> split_objects({"model": "mlp"})
        ({'model': 'mlp'}, {})
    """
    objects = own_objects(options)
    for name in objects:
        option = declared().get(name)
        takes = name in column("object") or isinstance(option, SpecOption)
        if option is not None and not takes:
            raise OptionError(f"{name}: expected {option.expected}, got a Julia object")
    _check_own(options, objects)
    model = options.get("model")
    if model is not None and not isinstance(model, str) and "model" not in objects:
        raise OptionError(
            "model: expected a name, a PyTorch module or a Flux model made through "
            "juliacall, got "
            f"{shown(model)}"
        )
    others = {n: value for n, value in options.items() if n not in objects}
    if isinstance(objects.get("partition"), Listed):
        others["clients"] = len(objects["partition"].parts)
    return others, objects


def own_names(objects: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the names of metrics of the user's own, by the option: `metrics`.

    Example:
        >>> own_names({})
        {}
    """
    given = objects.get("metrics")
    if given is None:
        return {}
    return {
        "metrics": given.name if isinstance(given, Metrics) else calls.metric_names(given)
    }


def _check_own(options: Options, objects: Mapping[str, Any]) -> None:
    """Check objects of the user's own beside the other options."""
    listed, clients = objects.get("partition"), options.get("clients")
    if isinstance(listed, Listed) and clients not in (None, len(listed.parts)):
        raise OptionError(
            f"clients is {clients}, and partition lists the samples of "
            f"{len(listed.parts)}: leave clients out"
        )
    for name in ("workers", "machines"):
        if options.get(name):
            why = f"{name} trains these in processes without Python; leave {name} out"
            check_on_clients(objects.get("rules", ()), why)


def user_data(
    arrays: tuple[Any, ...],
    options: Mapping[str, Any],
    dataset_given: bool,
    tokens: bool,
    own_loss: bool = False,
    validation: Sequence[Any] | None = None,
    keep_integers: bool = False,
    layout: str = "NCHW",
) -> Data | None:
    """Check the arrays or the .npz file that the user gave.

    Args:
        arrays: x_train, y_train, x_test, y_test, owner and owner_test, each an array or
            None.
        options: every option, checked.
        dataset_given: whether the user named a data set.
        tokens: whether the model takes tokens.
        own_loss: whether the loss is the user's own, which takes any targets.
        validation: the arrays (x, y) to validate on, or None.
        keep_integers: whether labels are the numbers of a model's outputs, if they are
            integers from 0.
        layout: the axes of images, of an .npz file; arrays have the channels first already.

    Returns:
        The data, or None for a named data set.

    Raises:
        OptionError: both arrays and a data set are given, the data set is unknown, or an
            option needs test data or classes.
        DataError: the data does not fit.
    """
    clients, dataset = options["clients"], options["dataset"]
    if by_owner(options):
        clients = 1  # the number of owners decides
    loss = ANY_TARGETS if own_loss else options["loss"]
    if options["target_accuracy"] is not None and not (own_loss or has_labels(loss)):
        raise OptionError(
            f"target_accuracy: expected a loss with classes, and {loss} compares numbers"
        )
    labels = {"keep_labels": False, "keep_integers": keep_integers}
    if any(a is not None for a in arrays):
        if dataset_given:
            raise OptionError(
                f"dataset={dataset!r} and arrays were both given: expected one of them"
            )
        data = from_arrays(*arrays, loss=loss, clients=clients, tokens=tokens, **labels)
    elif is_named(dataset):
        if validation is not None:
            raise OptionError(
                f"validation: arrays go with arrays to train on, and dataset is {dataset}: "
                "expected a share of its samples, such as 0.1"
            )
        if layout != "NCHW":
            raise OptionError(
                f"layout: the images of dataset {dataset} are what they are: leave it out"
            )
        return None
    elif dataset.endswith(".npz"):
        data = from_npz(dataset, loss, clients, tokens, **labels, layout=layout)
    else:
        raise OptionError(
            f"dataset: expected {listed()} or the path of an .npz file, got {dataset!r}"
        )
    shares = (options["validation"], options["client_validation"])
    if data.x_test is None and validation is None and shares == (None, None):
        _check_no_test_data_needed(options)
    return data if validation is None else with_validation(data, validation, loss, tokens)


def _check_no_test_data_needed(options: Mapping[str, Any]) -> None:
    for name in ("target_accuracy", "target_metric", "patience", "monitor", "metrics"):
        if options[name] != declared()[name].default:
            raise OptionError(
                f"{name}: expected test data to measure it on; give x_test and y_test, or "
                "validation"
            )


def user_data_name(dataset: str) -> str:
    """Return the name of the user's data: the `dataset` option, or "arrays" for arrays.

    Example:
        >>> user_data_name("folder/faces.npz"), user_data_name("auto")
        ('folder/faces.npz', 'arrays')
    """
    return ARRAYS if is_named(dataset) else dataset
