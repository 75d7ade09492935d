"""`fedflux.run` and `fedflux.partition`."""

from __future__ import annotations

from typing import Any

from . import _bridge, engines, initial, inputs
from .data import check_next_tokens
from .monitor import Callback, Monitor
from .options import check
from .result import Result


def run(
    *,
    x_train: Any = None,
    y_train: Any = None,
    x_test: Any = None,
    y_test: Any = None,
    owner: Any = None,
    init: initial.Init | None = None,
    callback: Callback | None = None,
    progress: bool = False,
    **options: Any,
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
        init: initial parameters: arrays by name, a `Result`, or the path of a saved one.
            Default: drawn from the seed.
        callback: function called after each round with its record; it returns True to stop
            the run.
        progress: whether to show a progress bar on stderr.
        **options: any option that `fedflux run --help` lists, with underscores: dataset,
            model, clients, rounds, lr, seed, ... `model` may also be a Flux model made
            through juliacall.

    Returns:
        The history, the parameters and the facts of the run.

    Raises:
        OptionError: an unknown option, or a wrong type or value.
        DataError: data or initial parameters that are missing or don't fit.
        JuliaUnavailable: engine="julia", and Julia is not available.
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
    arrays = (x_train, y_train, x_test, y_test, owner)
    arrays_given = any(a is not None for a in arrays)
    model, options = inputs.split_model(options)
    checked = check(inputs.with_recorded_options(options, arrays_given))
    next_tokens = model is None and checked["model"] in inputs.TOKEN_MODELS
    tokens = model is not None or next_tokens
    data = inputs.user_data(arrays, checked, "dataset" in options, tokens)
    if data is not None and next_tokens:
        check_next_tokens(data)
    start = None if init is None else initial.read(init)
    if data is not None:
        start = initial.fit(start, checked, data, model)
    monitor = Monitor(callback)
    with monitor.progress(progress, checked["rounds"]):
        return engines.execute(engines.Task(checked, data, model, start), monitor)


def partition(
    *, x_train: Any = None, y_train: Any = None, owner: Any = None, **options: Any
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
    arrays = (x_train, y_train, None, None, owner)
    data = inputs.user_data(arrays, checked, "dataset" in options, tokens=True)
    return _bridge.partition(checked, data)
