"""The entry point: check, choose the engine, run, and gather the result."""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _julia, datasets, options as opts, reference, reference_run
from .data import Data, from_arrays, from_npz
from .errors import DataError, FedFluxError, FedFluxWarning, JuliaUnavailable, OptionError
from .reference_models import Model
from .result import Result, fingerprint

ARRAYS = "arrays"  # the name of data that has none
Record = dict[str, Any]
TOKEN_MODELS = ("rnn", "gru", "lstm")
Init = Mapping[str, NDArray[Any]] | Result | str | os.PathLike[str]


def run(
    *,
    x_train: Any = None,
    y_train: Any = None,
    x_test: Any = None,
    y_test: Any = None,
    owner: Any = None,
    init: Init | None = None,
    callback: Callable[[Record], bool | None] | None = None,
    progress: bool = False,
    **options: Any,
) -> Result:
    """Train a model by federated averaging, with the clients simulated on this machine.

    Args:
        x_train, x_test: inputs in place of a named data set: uint8 (scaled to 0..1) or floats, (n, features),
            (n, height, width) or (n, channels, height, width); for rnn, gru and lstm tokens, integers from 0,
            (n, length). Test data may be left out.
        y_train, y_test: integer labels from 0, (n,) or, of tokens, (n, length); or for `mse` numbers, (n,) or
            (n, outputs).
        owner: whose each training sample is, (n,): numbers or names; `partition="owner"` makes each a client.
        init: parameters to start from: arrays by name, a `Result`, or the path of a saved one. Default: drawn from the
            seed.
        callback: called after every round with its record; returning True ends the run.
        progress: show a progress bar on stderr. Default: no.
        **options: any option of `fedflux run --help`, with underscores: dataset, model, clients, rounds, lr, seed, ...
            `model` may also be a Flux model made through juliacall.

    Returns:
        The history, the parameters and the facts of the run.

    Raises:
        OptionError: an unknown option, or a wrong type or value.
        DataError: data or initial parameters that are missing or don't fit.
        JuliaUnavailable: engine="julia", and Julia can't be had.
        FedFluxError: whatever else the core refuses.

    Example:
        >>> result = run(dataset="digits", model="softmax_regression", lr=0.5, rounds=3, engine="reference")
        >>> result.accuracy > 0.5
        True
    """
    arrays = (x_train, y_train, x_test, y_test, owner)
    model, options = _own_model(options)
    named = "dataset" in options
    checked = opts.check(_resumed(options, any(a is not None for a in arrays)))
    tokens = model is not None or checked["model"] in TOKEN_MODELS
    data = _user_data(arrays, checked, named, tokens)
    start = None if init is None else _initial(init)
    if data is not None:
        start = _fit(checked, data, start, model)
    listener = _Listener(callback)
    with _bar(progress, checked["rounds"]) as listener.bar:
        return _run(checked, data, model, start, listener)


def partition(*, x_train: Any = None, y_train: Any = None, owner: Any = None, **options: Any) -> dict[str, Any]:
    """Split the training data among clients as a run with these options would, and tell who holds what.

    Args:
        x_train, y_train, owner: as `run` takes them, in place of a named data set.
        **options: as `run` takes them: dataset, partition, clients, seed, loss, ...

    Returns:
        `clients` and `samples`: how many there are; `sizes`: samples of each client; `labels`: for each client the
        number of its samples of each label (left out where there are no labels); `table`: the same as text. For more
        than 1,000 clients min, q1, median, q3, max of `sizes` and of `labels_held`, the number of different labels.

    Raises:
        OptionError, DataError, JuliaUnavailable, FedFluxError: as `run`.

    Example:
        >>> fedflux.partition(dataset="digits", partition="labels(k=2)")["sizes"][:3]  # doctest: +SKIP
        [145, 143, 143]
    """
    checked = opts.check(options)
    data = _user_data((x_train, y_train, None, None, owner), checked, "dataset" in options, tokens=True)
    config = {name: value for name, value in checked.items() if value is not None}
    return _julia.partition(config, data)


def _bar(wanted: bool, rounds: int) -> Any:
    if not wanted:
        return contextlib.nullcontext()
    from .progress import Progress  # rich takes a while to import

    return Progress(rounds)


def _run(
    options: dict[str, Any], data: Data | None, model: Any, init: dict[str, NDArray[Any]] | None, listener: _Listener
) -> Result:
    engine = options["engine"]
    if engine == "auto":
        try:
            _julia.boot()
            engine = "julia"
        except JuliaUnavailable as error:
            engine = "reference"
            reference.check_supported(options)
            listener.warn(f"the slow reference engine is used: {error}")
    arrays = None if init is None else list(init.values())
    if engine == "reference":
        if model is not None:
            raise OptionError("model: a Flux model needs engine='julia'; the reference engine takes a model's name")
        reference.check_supported(options)
        name, loaded = _load_for_reference(options, data, listener)
        if data is None:
            init = _fit(options, loaded, init, None)
            arrays = None if init is None else list(init.values())
        facts, params = reference_run.run(options, name, loaded, arrays, listener)
    else:
        config = {name: value for name, value in options.items() if value is not None}
        if data is not None:
            named = options["dataset"] not in datasets.NAMED
            config["dataset"] = options["dataset"] if named else ARRAYS  # the core sees arrays, and tells this name
        serial = _julia.boot().serial
        if serial is not None:
            listener.warn(serial)
            config["threads"] = 1
        facts, params = _julia.run(config, data, model, arrays, listener)
    return _result(engine, options, facts, params, listener)


def _resumed(options: dict[str, Any], arrays: bool) -> dict[str, Any]:
    """Add the options of the run that is resumed, where none is given."""
    folder = options.get("resume")
    if not isinstance(folder, str) or options.get("engine") == "reference":
        return options  # what is wrong with them is said where options are checked
    recorded = _julia.recorded(folder)
    if recorded.get("dataset") == ARRAYS:
        if not arrays:
            raise OptionError(f"resume: the run in {folder} was trained on arrays: give x_train, y_train, ... again")
        del recorded["dataset"]
    return recorded | options


def _own_model(options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Take a Flux model out of the options, if one was given."""
    model = options.get("model")
    if model is None or isinstance(model, str):
        return None, options
    if not type(model).__module__.startswith("juliacall"):
        raise OptionError(f"model: expected a name or a Flux model made through juliacall, got {type(model).__name__}")
    return model, {name: value for name, value in options.items() if name != "model"}


def _user_data(arrays: tuple[Any, ...], options: Mapping[str, Any], named: bool, tokens: bool) -> Data | None:
    """Check the arrays or the .npz file that the user gave; None where a data set is named."""
    loss, clients, dataset = options["loss"], options["clients"], options["dataset"]
    if any(a is not None for a in arrays):
        if named:
            raise OptionError(f"dataset={dataset!r} and arrays were both given: expected one of them")
        data = from_arrays(*arrays, loss=loss, clients=clients, tokens=tokens)
    elif dataset in datasets.NAMED or dataset.startswith("shakespeare:"):
        return None
    elif not dataset.endswith(".npz"):
        names = ", ".join((*datasets.NAMED, "shakespeare:PATH"))
        raise OptionError(f"dataset: expected {names} or the path of an .npz file, got {dataset!r}")
    else:
        data = from_npz(dataset, loss, clients, tokens)
    if data.x_test is None:
        for name in ("target_accuracy", "patience"):
            if options[name] is not None:
                raise OptionError(f"{name}: expected test data to measure it on; give x_test and y_test")
    return data


def _initial(init: Init) -> dict[str, NDArray[Any]]:
    """Read initial parameters: float32 arrays by name."""
    if isinstance(init, str | os.PathLike):
        init = Result.load(init)
    if isinstance(init, Result):
        return dict(init.parameters)
    if not isinstance(init, Mapping):
        raise DataError(
            f"init: expected arrays by name, a Result or the path of a saved one, got {type(init).__name__}"
        )
    params = {}
    for name, value in init.items():
        array = np.asarray(value)
        if array.dtype.kind not in "fiu":
            raise DataError(f"init: expected numbers for {name}, got {array.dtype.name}")
        params[name] = array.astype(np.float32)
        if not np.isfinite(params[name]).all():
            raise DataError(f"init: {name} has NaN or infinite values")
    return params


def _fit(
    options: Mapping[str, Any], data: Data, init: dict[str, NDArray[Any]] | None, model: Any
) -> dict[str, NDArray[Any]] | None:
    """Check, before Julia starts, that a known model takes the data; give the initial parameters in its order."""
    if model is not None or options["model"] not in (reference.SUPPORTED["model"] or ()):
        return init
    outputs, _ = reference_run.outputs_and_classes(options["loss"], data)
    shapes = Model(options["model"], data.x_train.shape[1:], outputs, options["hidden"]).shapes
    if init is None:
        return None
    if set(init) != set(shapes):
        raise DataError(f"init: expected {', '.join(shapes)} for model {options['model']}, got {', '.join(init)}")
    for name, shape in shapes.items():
        if init[name].shape != shape:
            raise DataError(f"init: expected shape {shape} for {name}, got {init[name].shape}")
    return {name: init[name] for name in shapes}


def _load_for_reference(options: Mapping[str, Any], data: Data | None, listener: _Listener) -> tuple[str, Data]:
    if data is not None:
        return _name(options, data), data
    name, loaded, notes = datasets.load(options["dataset"], options["data_dir"], options["loss"], options["clients"])
    for note in notes:
        listener.warn(note)
    return name, loaded


def _name(options: Mapping[str, Any], data: Data | None) -> str:
    dataset = options["dataset"]
    return ARRAYS if data is not None and dataset in datasets.NAMED else Path(dataset).name


class _Listener:
    """Hears the engine: warns once of each thing, shows progress, and asks the user's callback."""

    def __init__(self, callback: Callable[[Record], bool | None] | None) -> None:
        self.callback = callback
        self.bar: Any = None
        self.warned: list[str] = []

    def warn(self, message: str) -> None:
        if message not in self.warned:
            self.warned.append(message)
            warnings.warn(message, FedFluxWarning, stacklevel=6)

    def __call__(self, kind: str, payload: Any) -> bool:
        if kind == "warning":
            self.warn(payload)
            return False
        if kind == "start":
            for message in payload.get("warnings", ()):
                self.warn(message)
            if self.bar is not None:
                self.bar.start(payload)
            return False
        if self.bar is not None:
            self.bar.round(payload)
        loss = payload["train_loss"]
        if payload["clients"] and (loss is None or not math.isfinite(loss)):
            self.warn(f"the training loss is not finite in round {payload['round']}: try a smaller lr")
        return self.callback is not None and bool(self.callback(payload))


def _result(
    engine: str, options: dict[str, Any], facts: Record, params: Sequence[NDArray[np.float32]], listener: _Listener
) -> Result:
    for message in facts.get("warnings", ()):
        listener.warn(message)
    parameters = dict(zip(facts["names"], params, strict=True))
    if fingerprint(parameters) != facts["params_sha256"]:
        raise FedFluxError(
            "the parameters changed on their way from the core: their SHA-256 differs; please report this"
        )
    from . import __version__

    known = ("dataset", "trainer", "history", "params_sha256", "stopped", "seconds")
    return Result(
        engine=engine,
        parameters=parameters,
        options=options,
        versions={"fedflux": __version__, **facts.get("versions", {})},
        warnings=listener.warned,
        details={k: v for k, v in facts.items() if k not in (*known, "names", "warnings", "versions")},
        **{name: facts[name] for name in known},
    )
