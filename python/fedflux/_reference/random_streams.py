"""Randomness that depends only on (seed, purpose, round, client).

SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA
2014). docs/random-streams.md defines the keys and the streams. The core draws the same
numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

PARTITION, INITIAL, COHORT, BATCHES, DROPOUT = 1, 2, 3, 4, 5
CLIENT_TEST = 15

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix 64 bits; uint64 arrays overflow without a warning."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


class Stream:
    """A SplitMix64 stream.

    Args:
        state: the initial state, 64 bits.

    Example:
        >>> [int(z) for z in Stream(1234567).draw(2)]
        [6457827717110365317, 3203168211198807973]
    """

    def __init__(self, state: int) -> None:
        self.state = state & _MASK

    def draw(self, n: int) -> NDArray[np.uint64]:
        """Draw n numbers of 64 bits, a uint64 array of shape (n,)."""
        steps = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(_GAMMA)
        steps += np.uint64(self.state)
        self.state = (self.state + n * _GAMMA) & _MASK
        return _mix(steps)

    def float32(self, n: int) -> NDArray[np.float32]:
        """Draw n numbers in [0, 1), a float32 array of shape (n,)."""
        return (self.draw(n) >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)

    def integers(self, bounds: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Draw an integer in 0..bound-1 for each bound (below 2^32)."""
        halves = self.draw(bounds.size) >> np.uint64(32)
        return ((halves * bounds) >> np.uint64(32)).astype(np.int64)

    def shuffle(self, values: NDArray[Any]) -> None:
        """Shuffle a vector in place, from its end to its beginning."""
        n = len(values)
        partners = self.integers(np.arange(n, 1, -1, dtype=np.uint64))
        for i, j in zip(range(n - 1, 0, -1), partners.tolist(), strict=True):
            values[i], values[j] = values[j], values[i]


def stream(seed: int, purpose: int, round: int = 0, client: int = 0) -> Stream:
    """Start the stream of one purpose.

    Args:
        seed: the run's seed, 0..2^53-1.
        purpose: PARTITION, INITIAL, COHORT, BATCHES, DROPOUT or CLIENT_TEST.
        round: from 1; 0 for none.
        client: from 1; 0 for none.

    Returns:
        A stream of its own for each (seed, purpose, round, client).

    Example:
        >>> stream(0, COHORT, 1).state == stream(0, COHORT, 2).state
        False
    """
    h = np.zeros(1, np.uint64)
    for part in (seed, purpose, round, client):
        h = _mix((h ^ np.uint64(part)) + np.uint64(_GAMMA))
    return Stream(int(h[0]))


def first_word(seed: int, purpose: int, round: int = 0) -> int:
    """Draw one word of 64 bits: the seed of the generator that a user's function gets.

    Example:
        >>> first_word(0, COHORT, 1) == first_word(0, COHORT, 2)
        False
    """
    return int(stream(seed, purpose, round).draw(1)[0])
