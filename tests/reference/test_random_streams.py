"""Random streams, against published numbers and a plain-integer SplitMix64."""

import numpy as np
import pytest

from fedflux._reference import training
from fedflux._reference.random_streams import BATCHES, COHORT, Stream, stream

M = (1 << 64) - 1


def mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M
    return z ^ (z >> 31)


def test_published_vector() -> None:
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    s = Stream(1234567)
    assert [*map(int, s.draw(2)), *map(int, s.draw(3))] == expected


def test_key_follows_the_definition() -> None:
    h = 0
    for part in (42, BATCHES, 3, 7):
        h = mix(((h ^ part) + 0x9E3779B97F4A7C15) & M)
    assert stream(42, BATCHES, 3, 7).state == h


def test_shuffle_follows_the_definition() -> None:
    state = stream(5, COHORT, 1).state
    expected = list(range(10))
    for i in range(10, 1, -1):
        state = (state + 0x9E3779B97F4A7C15) & M
        j = ((mix(state) >> 32) * i) >> 32
        expected[i - 1], expected[j] = expected[j], expected[i - 1]
    values = np.arange(10)
    stream(5, COHORT, 1).shuffle(values)
    assert values.tolist() == expected


def test_floats_are_the_upper_24_bits() -> None:
    draws = Stream(1).draw(1000)
    floats = Stream(1).float32(1000)
    assert floats.dtype == np.float32
    assert [int(d) >> 40 for d in draws] == (floats.astype(float) * 2**24).astype(
        int
    ).tolist()
    assert 0 <= floats.min() < 0.05
    assert 0.95 < floats.max() < 1


def test_integers_are_uniform() -> None:
    counts = np.bincount(Stream(3).integers(np.full(70000, 7, np.uint64)), minlength=7)
    assert counts.sum() == 70000
    assert np.abs(counts - 10000).max() < 5 * np.sqrt(10000)


@pytest.mark.parametrize(("n", "clients"), [(10, 3), (7, 7), (100, 1)])
def test_iid_shares_everything_evenly(n: int, clients: int) -> None:
    parts = training.iid(n, clients, seed=1)
    assert sorted(np.concatenate(parts).tolist()) == list(range(n))
    assert [len(p) for p in parts] == [
        n // clients + (k < n % clients) for k in range(clients)
    ]


def test_cohorts_are_sorted_differ_by_round_and_favour_nobody() -> None:
    drawn = [training.cohort(10, 3, seed=0, round=r) for r in range(1, 3001)]
    assert all(
        c == sorted(set(c)) and len(c) == 3 and c[0] >= 1 and c[-1] <= 10 for c in drawn
    )
    counts = np.bincount(np.concatenate(drawn), minlength=11)[1:]
    assert np.abs(counts - 900).max() < 5 * np.sqrt(900 * 0.7)
    assert (
        training.cohort(4, None, seed=0, round=1)
        == training.cohort(4, 4, seed=9, round=2)
        == [1, 2, 3, 4]
    )
