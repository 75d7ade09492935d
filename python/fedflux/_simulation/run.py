"""`fedflux.run` and `fedflux.partition`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .._data import advice, datasets
from .._data.arrays import Data, check_next_tokens
from .._julia import calls, mldatasets
from .._options.effects import without_effect
from .._options.options import check, column, declared, settled
from .._options.signatures import describe
from .._results.result import Result
from ..errors import OptionError, shown, warn
from . import engines, initial_parameters, inputs
from .events import Callback, Monitor
from .resume import inherited

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
    init: initial_parameters.Init | None = None,
    callback: Callback | None = None,
    progress: bool = False,
    **options: Unpack[Options],
) -> Result:
    """Train a model by federated averaging, with the clients simulated on this machine.

    Args:
        x_train, x_test: inputs, in place of a named data set: uint8 (scaled to 0..1) or
            floats of shape (n, features), (n, height, width) or (n, channels, height,
            width); for rnn, gru and lstm tokens, integers from 0 of shape (n, length). Test
            data is optional.
        y_train, y_test: integer labels from 0 of shape (n,) or, for tokens, (n, length);
            for `mse` numbers of shape (n,) or (n, outputs).
        owner: the owner of each training sample, numbers or names of shape (n,);
            `partition="owner"` makes each owner a client.
        owner_test: the owner of each test sample: a client's own test data, for the loss
            and the accuracy in `Result.clients`.
        init: initial parameters for a new run: arrays by name, in any order, a `Result`,
            its `best`, or the path of a saved one or of a folder of checkpoints.
            Statistics, such as BatchNorm's, may be among them. Default: drawn from the
            seed.
        callback: function called after each round with its record; it returns True to stop
            the run. With a second parameter it gets the model after the round too, a
            `Snapshot`.
        progress: whether to show a progress bar, on stderr or in a notebook.
        **options: any option that `fedflux run --help` lists, with underscores: dataset,
            model, clients, rounds, lr, seed, ... Where an option names an object, such as
            model, loss, rules or aggregate, it may be one made through juliacall.
            `validation` also takes the arrays (x, y) to validate on.
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
    arrays = (x_train, y_train, x_test, y_test, owner, owner_test)
    arrays_given = any(a is not None for a in arrays)
    if not isinstance(progress, bool):
        raise OptionError(f"progress: expected True or False, got {shown(progress)}")
    monitor = Monitor(callback)
    plain, objects = inputs.split_objects(dict(options))
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
    checked = check(plain)
    data = _data(arrays, checked, "dataset" in given, objects, validation)
    if data is not None:
        checked = settled(checked, "arrays")
        names = getattr(x_train, "columns", None)
        for message in _advice(data, checked, names, own_loss="loss" in objects):
            monitor.warn(message)
    for message in without_effect(given, checked, objects):
        monitor.warn(message)
    if not checked["partition"].startswith(("owner", "ByOwner")):
        for name, given_owner in (("owner", owner), ("owner_test", owner_test)):
            if given_owner is not None:
                monitor.warn(f"{name} has no effect: it needs partition=owner")
    start = None if init is None else initial_parameters.read(init)
    if data is not None and "loss" not in objects:
        start = initial_parameters.fit(start, checked, data, "model" in objects)
    task = engines.Task(checked, data, objects, start, previous)
    with monitor.progress(progress, checked["rounds"]):
        result = engines.execute(task, monitor)
    known = result.options | {"dataset": checked["dataset"]}  # auto, where that was asked
    for message in without_effect(given, known, objects):
        monitor.warn(message)  # of what only the data set decided
    return result


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
) -> Data | None:
    """Check the user's arrays or file; None if the core has or loads the data."""
    if "dataset" in objects:
        if validation is not None or any(a is not None for a in arrays):
            raise OptionError("dataset and arrays were both given: expected one of them")
        return None
    own_model = "model" in objects
    next_tokens = not own_model and options["model"] in column("tokens")["model"]
    tokens, own_loss = own_model or next_tokens, "loss" in objects
    data = inputs.user_data(arrays, options, dataset_given, tokens, own_loss, validation)
    if data is not None and next_tokens:
        check_next_tokens(data)
    return data


def partition(
    *,
    x_train: Any = None,
    y_train: Any = None,
    owner: Any = None,
    **options: Unpack[Options],
) -> dict[str, Any]:
    """Show how a partition splits the training data among the clients, without training.

    Args:
        x_train, y_train, owner: as in `run`, in place of a named data set.
        **options: as in `run`: dataset, partition, clients, seed, loss, ...

    Returns:
        `clients` and `samples`, their numbers; `sizes`, the number of samples per client;
        `labels`, the number of samples per client and label (absent without labels);
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
    checked = check(options)
    arrays = (x_train, y_train, None, None, owner, None)
    data = inputs.user_data(arrays, checked, "dataset" in options, tokens=True)
    if data is None:
        checked = mldatasets.provided(checked, warn, datasets.has_mnist)
    return calls.partition(checked, None if data is None else data.arrays)


describe(run, declared())
describe(partition, column("splits"))
