"""Calls into the Julia core: options and facts as JSON, arrays transposed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._typing import Floats, Named
from ..errors import FedFluxError, first_line
from .json_losses import restored
from .own_objects import julia_object
from .start import boot

TOO_LARGE = ("OutOfMemoryError", "invalid Array dimensions", "invalid Array size")

Mapped = tuple[NDArray[Any], tuple[int, ...] | None]
Given = NDArray[Any] | Mapped
Arrays = Sequence[Given | list[NDArray[Any]] | list[Mapped] | str | None]


def run(
    config: dict[str, Any],
    data: Arrays | None,
    objects: dict[str, Any],
    init: Named | None,
    on_event: Callable[[str, Any], bool],
    previous: Any = None,
    on_model: Callable[[dict[str, Any], list[Floats], Any], None] | None = None,
) -> tuple[dict[str, Any], list[Floats], Any]:
    """Run the core.

    Args:
        config: the options, or None for what is unset.
        data: `Data.arrays`, with NumPy's axes, or None if the core loads the data.
        objects: Julia's objects, and those of `_extensions`, by option.
        init: initial parameters by name with NumPy's axes, or None.
        on_event: called with "start", "warning" or "round" and its payload; returns whether
            the run should stop.
        previous: the core's result to go on from, or None.
        on_model: called before each "round" with the facts of the model after it, its
            arrays, and the core's own snapshot; None if nobody asks for them.

    Returns:
        The facts of the run, the arrays of its models, see `Result.from_facts`, and the
        core's result.

    Raises:
        FedFluxError: the core reports an error.
    """
    julia = boot()

    def callback(kind: str, payload: str, snapshot: Any = None) -> bool:
        if on_model is not None and snapshot is not None:
            text, arrays = julia.core._pysnapshot(snapshot)
            on_model(_facts(text), [_own(a) for a in arrays], snapshot)
        return kind != "tick" and bool(on_event(str(kind), _read(payload)))

    start = None if init is None else _named(init)
    with _readable(julia.error):
        given = _objects(objects)
        text, trained, result = julia.core._pyrun(
            _json(config),
            _transposed(data),
            given,
            start,
            callback,
            previous,
            on_model is not None,
        )
    facts = _facts(text)
    return facts, [_own(a) for a in trained], result


@contextlib.contextmanager
def _readable(kind: type[Exception]) -> Iterator[None]:
    """Turn those of Julia's exceptions that a user can do something about into ours."""
    try:
        yield
    except kind as error:
        if "InterruptException" in first_line(error):
            raise KeyboardInterrupt from None
        if any(words in first_line(error) for words in TOO_LARGE):
            raise FedFluxError(
                "Julia ran out of memory: try a smaller model, fewer clients, less data or "
                "fewer threads"
            ) from None
        raise


def compare(
    config: dict[str, Any], data: Arrays | None, on_event: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Compare runs in the core.

    Args:
        config: the grid or its file, the seeds, the folder and the options of all runs.
        data: as in `run`.
        on_event: called with each event; returns whether the comparison should end.

    Returns:
        The facts of the comparison.

    Raises:
        FedFluxError: the core reports an error.
    """
    julia = boot()

    def callback(kind: str, payload: str) -> bool:
        return kind != "tick" and bool(on_event(_read(payload)))

    with _readable(julia.error):
        return _facts(julia.core._pycompare(_json(config), _transposed(data), callback))


def _objects(objects: Mapping[str, Any]) -> tuple[tuple[str, Any], ...] | None:
    """The objects as the core takes them."""
    core = boot().core
    pairs = ((name, julia_object(core, name, value)) for name, value in objects.items())
    return tuple(pairs) or None


def _own(array: Any) -> Floats:
    """Copy an array of Julia's, whose memory a result must not point into."""
    return np.ascontiguousarray(np.array(array, dtype=np.float32).T)


def outputs(
    config: dict[str, Any], parameters: Named, x: NDArray[Any], result: Any
) -> Floats:
    """Compute the raw outputs of a model, (n, ..., outputs).

    Args:
        config: the options of the run, and the `sample` and `outputs` of a named model.
        parameters: by name, for a named model.
        x: inputs, checked.
        result: the core's result that holds the model, or None for the named model.

    Raises:
        FedFluxError: the core reports an error.
    """
    text, out = boot().core._pyoutputs(
        _json(config), _named(parameters), np.ascontiguousarray(x).T, result
    )
    _facts(text)
    return _own(out)


def personal(result: Any, client: int) -> tuple[list[Floats], Any]:
    """Make the personal model of a client.

    Args:
        result: the core's result.
        client: the number of the client, from 1.

    Returns:
        Its parameters and then its statistics in model order, and the core's model.

    Raises:
        FedFluxError: the core reports an error.
    """
    text, arrays, own = boot().core._pypersonal(result, client)
    _facts(text)
    return [_own(a) for a in arrays], own


def model(config: dict[str, Any], parameters: Named) -> Any:
    """Make the Flux model that the options name, with these parameters."""
    text, flux = boot().core._pymodel(_json(config), _named(parameters))
    _facts(text)
    return flux


def description(
    config: dict[str, Any], parameters: Named, result: Any
) -> list[dict[str, Any]]:
    """Describe the layers of a model; arguments as of `outputs`.

    Raises:
        FedFluxError: a layer has no description.
    """
    text = boot().core._pydescription(_json(config), _named(parameters), result)
    layers: list[dict[str, Any]] = _facts(text)["layers"]
    return layers


def provide_ckks(parties: Callable[..., Any]) -> None:
    """Give the core the function that makes the parties of CKKS from its parameters."""
    boot().core._provide_ckks(parties)


def metric_names(given: Any) -> list[str]:
    """Return the names of metrics that are Julia's.

    Raises:
        FedFluxError: they are no functions by name.
    """
    names: list[str] = _facts(boot().core._metric_names(given))["names"]
    return names


def recorded_options(folder: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the options of the run whose checkpoints are in a folder.

    A checkpoint may be somebody else's: what it says of machines, processes and folders is
    left out.

    Args:
        folder: the `checkpoint` or `resume` folder of a run.

    Returns:
        The options that were set, and those of which the value is a file, which the user
        has to name again; both empty if the folder has no checkpoint yet.

    Raises:
        FedFluxError: every checkpoint in the folder is damaged.
        JuliaUnavailable: Julia is not available.

    Example:
        >>> recorded_options("no/such/folder")  # doctest: +SKIP
        ({}, {})
    """
    recorded = _facts(boot().core._recorded(folder))
    return _given(recorded["options"]), recorded["files"]


def partition(
    config: dict[str, Any], data: Arrays | None, objects: Mapping[str, Any]
) -> dict[str, Any]:
    """Split the training data among the clients, without training.

    Args:
        config, data, objects: as in `run`.

    Returns:
        The data of each client, see `fedflux.partition`.

    Raises:
        FedFluxError: the core reports an error.
    """
    return _facts(
        boot().core._pypartition(_json(config), _transposed(data), _objects(objects))
    )


def facts(function: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Call a function of the core that takes an object of arguments and returns an object.

    Args:
        function: its name.
        arguments: the arguments, as JSON can hold them, or None for what is unset.

    Returns:
        The object.

    Raises:
        FedFluxError: the core reports an error.
    """
    return _facts(getattr(boot().core, function)(_json(arguments)))


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _json(config: dict[str, Any]) -> str:
    return json.dumps(_given(config))


def _named(arrays: Named) -> tuple[str, list[Floats]]:
    """The names as JSON, and the arrays as Julia takes them."""
    return json.dumps(list(arrays)), _floats(arrays.values())


def _floats(arrays: Iterable[Floats]) -> list[Floats]:
    """Float32 arrays as Julia takes them."""
    return [np.ascontiguousarray(a, dtype=np.float32).T for a in arrays]


def _transposed(data: Arrays | None) -> tuple[Any, ...] | None:
    """Transpose C-ordered arrays: Julia then sees contiguous ones with the sample last."""
    if data is None:
        return None
    return tuple(map(_turned, data))


def _turned(value: Any) -> Any:
    if isinstance(value, str | None):
        return value
    if isinstance(value, list):  # Julia joins them in the array that it makes anyway
        return [_turned(a) for a in value]
    if isinstance(value, tuple):  # mapped, and its axes, which Julia counts from the last
        array, axes = value
        n = array.ndim
        return array.T, None if axes is None else [n - axis for axis in reversed(axes)]
    return np.ascontiguousarray(value).T


def _read(text: Any) -> Any:
    return json.loads(str(text), object_hook=restored)


def _facts(text: Any) -> dict[str, Any]:
    facts: dict[str, Any] = _read(text)
    if "error" in facts:
        raise FedFluxError(facts["error"])
    return facts
