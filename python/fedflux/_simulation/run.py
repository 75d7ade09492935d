"""`fedflux.run` and `fedflux.partition`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .._data import advice, datasets
from .._data.arrays import Data, check_next_tokens
from .._data.by_client import Given, alone_with_labels
from .._data.given import prepared
from .._extensions.metrics import Metrics
from .._julia import calls, mldatasets
from .._options.effects import without_effect
from .._options.models import is_described
from .._options.options import by_owner, check, column, declared, settled
from .._options.signatures import describe
from .._results.result import Result
from ..errors import OptionError, shown, warn
from ..tracking._tracks import Plan
from . import engines, initial_parameters, inputs, torch_models
from .events import Callback, Monitor
from .resume import inherited
from .tracked import tracked

if TYPE_CHECKING:
    from typing import Unpack

    from .option_types import Options


def run(
    *,
    x_train: Any = None,
    y_train: Any = None,
    x_test: Any = None,
    y_test: Any = None,
    owner: Any = None,
    owner_test: Any = None,
    layout: str = "NCHW",
    init: initial_parameters.Init | None = None,
    callback: Callback | None = None,
    progress: bool = False,
    track: Any = None,
    **options: Unpack[Options],
) -> Result:
    """Train a model by federated averaging, with the clients simulated on this machine.

    Args:
        x_train, x_test: inputs, in place of a named data set: uint8 (scaled to 0..1) or
            floats of shape (n, features), (n, height, width) or (n, channels, height,
            width); for models of text, tokens from 0 of shape (n, length). Test data
            is optional. They may be tables, the paths of .csv or .parquet files, which
            pandas reads, tensors, or data sets of (x, y) as of PyTorch.
        y_train, y_test: labels of shape (n,), integers, texts or booleans, or, for tokens,
            integers from 0 of shape (n, length); for `mse` and `huber` numbers of shape
            (n,) or (n, outputs).
        owner: the owner of each training sample, numbers or names of shape (n,);
            `partition="owner"` makes each owner a client. With tables, targets and owners
            may be the names of columns.
        owner_test: the owner of each test sample: a client's own test data, for the loss
            and the accuracy in `Result.clients`.
        layout: the axes of images, "NCHW", or "NHWC" for channels last.
        init: initial parameters for a new run: arrays by name, in any order, a `Result`,
            its `best`, the path of a saved one or of a folder of checkpoints, a PyTorch
            module or, beside a module as `model`, its state_dict. Statistics, such as
            BatchNorm's, may be among them. Default: drawn from the seed, or a module's own.
        callback: function called after each round with its record; it returns True to stop
            the run. With a second parameter it gets the model after the round too, a
            `Snapshot`.
        progress: whether to show a progress bar, on stderr or in a notebook.
        track: where else each round is noted, and the options: "tensorboard", "mlflow" or
            "wandb", with a place behind it such as "tensorboard:runs", a tracker of
            `fedflux.tracking` or of your own, or a list of those. See docs/tracking.md.
        **options: any option that `fedflux run --help` lists, with underscores: dataset,
            model, clients, rounds, lr, seed, ... When an option names an object, such as
            model, loss, rules or aggregate, it may be one made through juliacall. `model`
            may be a PyTorch module, see docs/pytorch.md.
            `validation` also takes the arrays (x, y) to validate on.
            `clients` also takes the clients' own data, in place of the arrays: a list of
            (x, y) or (x, y, x_test, y_test), or a dict of those by the client's name.
            `resume` also takes a `Result`: the run goes on from its last round, with its
            options except those given here, as if it had never stopped.

    Returns:
        The history, the parameters and the facts of the run.

    Raises:
        OptionError: an unknown option, or a wrong type or value.
        DataError: data or initial parameters that are missing or don't fit.
        JuliaUnavailable: engine="julia", and Julia is not available.
        Interrupted: Ctrl-C while clients train; a KeyboardInterrupt whose `result` holds
            what was trained.
        FedFluxError: any other error of the engine.

    Example:
        >>> result = run(
        ...     dataset="digits",
        ...     model="softmax_regression",
        ...     lr=0.5,
        ...     rounds=3,
        ...     engine="reference",
        ... )
        >>> result.accuracy > 0.5
        True
    """
    arrays = Given(x_train, y_train, x_test, y_test, owner, owner_test)
    arrays, options, names = _as_given(arrays, dict(options), layout)
    arrays_given = any(a is not None for a in arrays)
    if not isinstance(progress, bool):
        raise OptionError(f"progress: expected True or False, got {shown(progress)}")
    monitor, plan = Monitor(callback), Plan.of(track)
    chosen, init, module = torch_models.taken(dict(options), init)
    plain, objects = inputs.split_objects(chosen)
    given = [*plain, *objects]
    validation = plain.get("validation")
    if isinstance(validation, tuple | list):
        del plain["validation"]
    else:
        validation = None
    previous = plain.get("resume")
    if isinstance(previous, Result):
        if init is not None:
            raise OptionError(
                "init and a result to resume were both given: expected one; init starts a "
                "new run from other parameters, and resume continues the result's run"
            )
        del plain["resume"]
        plain, kept = inherited(previous, plain, arrays_given)
        objects = kept | objects
    else:
        previous = None
        plain = inputs.with_recorded_options(plain, arrays_given)
    checked = check(plain, inputs.own_names(objects))
    trained = init is not None
    data = _data(arrays, checked, "dataset" in given, objects, validation, trained, layout)
    if data is not None:
        checked = settled(checked, "arrays")
        if isinstance(objects.get("metrics"), Metrics):
            objects["metrics"] = replace(objects["metrics"], classes=data.classes)
        columns = getattr(arrays.x_train, "columns", None)
        for message in _advice(data, checked, columns, own_loss="loss" in objects):
            monitor.warn(message)
        if names is not None and data.owner is not None:
            data = data._replace(owners=np.array(names))
            if data.y_train.dtype.kind == "i" and data.y_train.ndim == 1:
                held: Any = data.owner
                for message in alone_with_labels(data.y_train, held, names, data.classes):
                    monitor.warn(message)
    for message in without_effect(given, checked, objects):
        monitor.warn(message)
    if not by_owner(checked):
        for name, given_owner in (("owner", owner), ("owner_test", owner_test)):
            if given_owner is not None:
                monitor.warn(f"{name} has no effect: it needs partition=owner")
    start = None if init is None else initial_parameters.read(init)
    if data is not None and "loss" not in objects:
        start = initial_parameters.fit(start, checked, data, "model" in objects)
    task = engines.Task(checked, data, objects, start, previous, layout, module)
    with tracked(plan, monitor, checked, previous) as end:
        with monitor.progress(progress, checked["rounds"]):
            result = engines.execute(task, monitor)
        end(result)
    known = result.options | {"dataset": checked["dataset"]}  # auto, where that was asked
    for message in without_effect(given, known, objects):
        monitor.warn(message)  # of what only the data set decided
    return result


def _as_given(
    given: Given, options: dict[str, Any], layout: str
) -> tuple[Given, Any, list[Any] | None]:
    """Prepare the user's data; clients that bring their own are counted in the options."""
    arrays, names = prepared(given, options.get("clients"), layout)
    if names is not None:
        for name in ("partition", "dataset"):
            if name in options and not (name == "partition" and options[name] == "owner"):
                raise OptionError(
                    f"{name}={options[name]!s} and the data of clients were both given: "
                    "expected one of them"
                )
        options |= {"clients": len(names), "partition": "owner"}
    return arrays, options, names


def _advice(
    data: Data, options: dict[str, Any], columns: Any, own_loss: bool
) -> Iterator[str]:
    """Say what in the data will train badly."""
    scaled = options["mean"] is not None or options["std"] is not None
    if options["normalise"] == "none" and not scaled:
        yield from advice.of_inputs(data.x_train, None if columns is None else [*columns])
    labels = options["loss"] == "cross_entropy" and not own_loss
    if labels and data.y_train.ndim == 1:
        yield from advice.of_labels(data.y_train)


def _data(
    arrays: tuple[Any, ...],
    options: dict[str, Any],
    dataset_given: bool,
    objects: dict[str, Any],
    validation: Sequence[Any] | None,
    trained: bool,
    layout: str,
) -> Data | None:
    """Check the user's arrays or file; None if the core has or loads the data."""
    if "dataset" in objects:
        if validation is not None or any(a is not None for a in arrays):
            raise OptionError("dataset and arrays were both given: expected one of them")
        return None
    own_model = "model" in objects or is_described(options["model"])
    next_tokens = not own_model and options["model"] in column("tokens")["model"]
    tokens, own_loss = own_model or next_tokens, "loss" in objects
    keep = own_model or trained  # the outputs have their meaning already
    data = inputs.user_data(
        arrays, options, dataset_given, tokens, own_loss, validation, keep, layout
    )
    if data is not None and next_tokens:
        check_next_tokens(data)
    return data


def partition(
    *,
    x_train: Any = None,
    y_train: Any = None,
    owner: Any = None,
    layout: str = "NCHW",
    **options: Unpack[Options],
) -> dict[str, Any]:
    """Show how a partition splits the training data among the clients, without training.

    Args:
        x_train, y_train, owner, layout: as in `run`, in place of a named data set.
        **options: as in `run`: dataset, partition, clients, seed, loss, ...

    Returns:
        `clients` and `samples`, their numbers; `sizes`, the number of samples per client;
        `labels`, the number of samples per client and label (absent without labels);
        `classes`, the labels as they were given, unless they are the numbers from 0;
        `table`, the same as text. With more than 1,000 clients `sizes` and `labels_held`,
        the number of different labels, are given as min, q1, median, q3 and max.

    Raises:
        OptionError, DataError, JuliaUnavailable, FedFluxError: as in `run`.

    Example:
        >>> split = fedflux.partition(  # doctest: +SKIP
        ...     dataset="digits", partition="labels(k=2)"
        ... )
        >>> split["sizes"][:3]  # doctest: +SKIP
        [145, 143, 143]
    """
    given = Given(x_train, y_train, owner=owner)
    arrays, options, _ = _as_given(given, dict(options), layout)
    plain, objects = inputs.split_objects(dict(options))
    checked = check(plain)
    data = inputs.user_data(
        arrays, checked, "dataset" in options, tokens=True, layout=layout
    )
    if data is None:
        checked = mldatasets.provided(checked, warn, datasets.has_mnist)
    return calls.partition(checked, None if data is None else data.arrays, objects)


describe(run, declared())
describe(partition, column("splits"))
