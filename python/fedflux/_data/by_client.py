"""The clients' own arrays: `clients=[(x, y), ...]`, or a dict by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array
from ..errors import DataError, shown
from .conversion import checked_array
from .mapped import from_npy
from .parts import Parts
from .torch_data import as_numpy, is_dataset, samples_of

MOST_NAMED = 5


class Given(NamedTuple):
    """The data of a run as a user gives it, before any check of its values."""

    x_train: Any = None
    y_train: Any = None
    x_test: Any = None
    y_test: Any = None
    owner: Any = None
    owner_test: Any = None


def is_data(clients: Any) -> bool:
    """Whether the argument `clients` is the clients' data, rather than their number.

    Example:
        >>> is_data(10), is_data([]), is_data({"a": ([[1.0]], [0])})
        (False, True, True)
    """
    return isinstance(clients, Mapping | list | tuple)


def joined(clients: Any) -> tuple[Given, list[Any]]:
    """Line up the clients' data, the inputs without a copy.

    Args:
        clients: `(x, y)` or `(x, y, x_test, y_test)` for each client, or a dataset as of
            PyTorch: in a list, or in a dict by the client's name.

    Returns:
        The data, whose owners are the numbers of the clients, from 0; and their names.

    Raises:
        DataError: no clients, a client without samples, one with other features than the
            first, or something else than arrays.

    Example:
        >>> given, names = joined({"b": ([[1.0]], [0]), "a": ([[2.0], [3.0]], [1, 0])})
        >>> given.owner.tolist(), names, len(given.x_train)
        ([0, 1, 1], ['b', 'a'], 3)
    """
    named = isinstance(clients, Mapping)
    items = list(clients.items()) if named else list(enumerate(clients, start=1))
    if not items:
        raise DataError("clients: expected at least one client's (x, y), got none")
    parts = [_arrays(name, value) for name, value in items]
    names = [name for name, _ in items]
    train = [(name, *p[:2]) for name, p in zip(names, parts, strict=True)]
    tests = [(name, *p[2:]) for name, p in zip(names, parts, strict=True) if len(p) > 2]
    x, y, owner = _lined_up(train, names, "samples")
    if not tests:
        return Given(x, y, owner=owner), names
    x_test, y_test, owner_test = _lined_up(tests, names, "test samples")
    return Given(x, y, x_test, y_test, owner, owner_test), names


def alone_with_labels(
    y: Array, owner: Array, names: Sequence[Any], classes: Sequence[Any] | None
) -> Iterator[str]:
    """Say which clients have labels that nobody else has, if most labels are shared.

    Args:
        y: labels, numbered from 0.
        owner: the number of each sample's client.
        names: of the clients.
        classes: what the labels stand for, or None.

    Yields:
        A message, or none.

    Example:
        >>> y, owner = np.array([0, 1, 0, 1, 2]), np.array([0, 0, 1, 1, 1])
        >>> list(alone_with_labels(y, owner, ["a", "b"], None))
        ["clients: client 'b' alone has the label 2, of 3 labels that there are"]
    """
    pairs = np.unique(np.stack([y, owner]), axis=1)
    labels, holders = np.unique(pairs[0], return_counts=True)
    alone = labels[holders == 1]
    if len(names) < 2 or not alone.size or 2 * alone.size > len(labels):
        return
    for label in alone[:MOST_NAMED]:
        who = names[int(pairs[1][pairs[0] == label][0])]
        yield (
            f"clients: client {who!r} alone has the label "
            f"{label if classes is None else repr(classes[label])}, of {len(labels)} "
            "labels that there are"
        )


def _arrays(name: Any, value: Any) -> tuple[Any, ...]:
    if is_dataset(value):
        return samples_of(f"clients: {name!r}", value)
    if not isinstance(value, list | tuple) or len(value) not in (2, 4):
        raise DataError(
            f"clients: expected (x, y) or (x, y, x_test, y_test) for client {name!r}, got "
            f"{shown(value, 40)}"
        )
    return tuple(from_npy(f"clients: {name!r}", v) for v in value)


def _lined_up(
    items: Sequence[tuple[Any, Any, Any]], names: Sequence[Any], what: str
) -> tuple[Any, Any, Array]:
    """Return the inputs and the targets one client after the other, and their owners."""
    xs, ys, owners = [], [], []
    number = {id(name): i for i, name in enumerate(names)}
    for name, x, y in items:
        where = f"clients: client {name!r}"
        if _is_empty(x):
            raise DataError(f"{where} has no {what}; leave it out of clients")
        xs.append(checked_array(f"x: {where}", as_numpy(x)))
        ys.append(checked_array(f"y: {where}", as_numpy(y)))
        if len(xs[-1]) != len(ys[-1]):
            raise DataError(
                f"{where}: expected {len(xs[-1])} targets, one for each of its {what}, got "
                f"{len(ys[-1])}"
            )
        for first, array, kind in ((xs[0], xs[-1], what), (ys[0], ys[-1], "targets")):
            if array.shape[1:] != first.shape[1:]:
                raise DataError(
                    f"{where} has {kind} of shape {array.shape[1:]}; expected "
                    f"{first.shape[1:]}, as client {items[0][0]!r} has"
                )
        owners.append(np.full(len(xs[-1]), number[id(name)]))
    kinds = {("text" if a.dtype.kind in "US" else "number") for a in ys}
    if len(kinds) > 1:
        odd = next(i for i, a in enumerate(ys) if a.dtype.kind not in "US")
        raise DataError(
            f"clients: expected labels of one type, got texts, and {ys[odd].dtype.name} of "
            f"client {items[odd][0]!r}"
        )
    return Parts(_of_one_type(xs, items)), np.concatenate(ys), np.concatenate(owners)


def _is_empty(x: Any) -> bool:
    try:
        return len(x) == 0
    except TypeError:
        return False


def _of_one_type(xs: list[Array], items: Sequence[tuple[Any, Any, Any]]) -> list[Array]:
    bytes_first = xs[0].dtype == np.uint8
    for (name, _, _), x in zip(items, xs, strict=True):
        if (x.dtype == np.uint8) != bytes_first:
            raise DataError(
                f"clients: client {name!r} has samples of type {x.dtype.name}; expected "
                f"{xs[0].dtype.name}, as client {items[0][0]!r} has: 8-bit images are "
                "scaled to 0..1 and floats are not"
            )
    dtype = np.result_type(*xs)
    return [x.astype(dtype, copy=False) for x in xs]
