"""The values of a traced module, and the way from its input to one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from .._description.rows import Layer, Row, Sum, flat
from .layers import Untranslatable


@dataclass(eq=False)
class Step:
    """A value of a traced module: layers on the value before, or its sum with another."""

    before: Step | None
    layers: Row = field(default_factory=list)
    added: Step | None = None

    def then(self, *layers: Layer) -> Step:
        """Return the value after some layers."""
        return Step(self, list(layers)) if layers else self

    @property
    def parents(self) -> tuple[Step, ...]:
        """The values that this one is made of."""
        return tuple(s for s in (self.before, self.added) if s is not None)


def row_to(end: Step) -> Row:
    """Return the layers from the input to a value.

    Raises:
        Untranslatable: a layer with weights would stand in two places.

    Example:
        >>> start = Step(None)
        >>> deeper = start.then(Layer({"layer": "flatten"}))
        >>> [type(one).__name__ for one in row_to(Step(deeper, added=start))]
        ['Sum']
    """
    row = _row(None, end, _forks(end))
    seen: set[tuple[str, int]] = set()
    for one in flat(row):
        if one.module and (one.module, one.level) in seen:
            raise Untranslatable(
                f"layer {one.module} is used more than once; expected a layer for each use"
            )
        seen.add((one.module, one.level))
    return row


def _forks(end: Step) -> dict[Step, Step | None]:
    """For each value, the last one before it that all ways to it lead through."""
    forks: dict[Step, Step | None] = {}
    waiting = [end]
    while waiting:  # parents first
        step = waiting[-1]
        missing = [p for p in step.parents if p not in forks]
        waiting.extend(missing)
        if missing:
            continue
        waiting.pop()
        if step not in forks:
            forks[step] = step.before
            if step.added is not None:
                way = {step.before, *_up(step.before, forks)}
                meet = next(s for s in (step.added, *_up(step.added, forks)) if s in way)
                forks[step] = meet
    return forks


def _up(step: Step | None, forks: dict[Step, Step | None]) -> Iterator[Step]:
    while step is not None and (step := forks[step]) is not None:
        yield step


def _row(start: Step | None, end: Step, forks: dict[Step, Step | None]) -> Row:
    """Return the layers between two values; `start` is one that all ways lead through."""
    backward: list[Layer | Sum] = []
    step: Step | None = end
    while step is not start and step is not None:
        if step.added is None:
            backward.extend(reversed(step.layers))
            step = step.before
        else:
            fork = forks[step]
            backward.append(Sum([_row(fork, parent, forks) for parent in step.parents]))
            step = fork
    return backward[::-1]


_FUSABLE = ("dense", "conv", "batch_norm")
_FUSED = ("relu", "tanh", "sigmoid")


def fused(row: Row) -> Row:
    """Return the row with activations in the layers before them, as Flux has them.

    Example:
        >>> dense = Layer({"layer": "dense", "activation": "identity"})
        >>> (one,) = fused([dense, Layer({"layer": "activation", "name": "relu"})])
        >>> one.entries["activation"]
        'relu'
    """
    result: Row = []
    for one in row:
        if isinstance(one, Sum):
            result.append(Sum([fused(branch) for branch in one.branches]))
            continue
        last = result[-1] if result else None
        fits = isinstance(last, Layer) and last.kind in _FUSABLE
        if fits and one.kind == "activation" and one.entries["name"] in _FUSED:
            assert isinstance(last, Layer)
            if last.entries["activation"] == "identity":
                entries = last.entries | {"activation": one.entries["name"]}
                result[-1] = replace(last, entries=entries)
                continue
        result.append(one)
    return result
