"""Any input from outside is read, or raises an error of fedflux and no other exception."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedflux
from fedflux._data.npz import from_npz
from fedflux._options.options import check, declared
from fedflux._options.specs import known, parse
from fedflux.cli.commands import _read_config

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

settings = hypothesis.settings(
    deadline=None,
    max_examples=200,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
KINDS = ("partition", "aggregate", "rule", "attack", "fault")
TOML = """
rounds = 3
lr = 0.5
hidden = [8, 4]
aggregate = 'krum(f=2)'
rules = ['fedprox(mu=0.1)']
"""


def damaged(good: bytes) -> Any:
    """Byte strings that differ from a good one in a few places, or are cut short."""
    changes = st.lists(
        st.tuples(st.integers(0, len(good) - 1), st.integers(0, 255)),
        min_size=1,
        max_size=4,
    )

    def change(places: list[tuple[int, int]], length: int) -> bytes:
        data = bytearray(good)
        for at, byte in places:
            data[at] = byte
        return bytes(data[:length])

    return st.builds(
        change, changes, st.one_of(st.just(len(good)), st.integers(0, len(good)))
    )


def test_config_files(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"

    @settings
    @hypothesis.given(
        st.one_of(
            st.binary(max_size=200),
            damaged(TOML.encode()),
            st.text(max_size=200).map(str.encode),
        )
    )
    def trial(content: bytes) -> None:
        path.write_bytes(content)
        with contextlib.suppress(fedflux.FedFluxError):
            check(_read_config(path))

    trial()


@settings
@hypothesis.given(st.sampled_from(KINDS), st.data())
def test_texts_that_name_an_object(kind: str, data: Any) -> None:
    names = st.sampled_from(sorted(known(kind)))
    values = st.one_of(
        st.integers(),
        st.floats(),
        st.booleans(),
        st.text(max_size=5),
        st.lists(st.integers(), max_size=3),
    )
    name = data.draw(names)
    parameters = st.sampled_from([*known(kind)[name], "x"])
    inside = ", ".join(
        f"{data.draw(parameters)}={data.draw(values)}"
        for _ in range(data.draw(st.integers(0, 3)))
    )
    for text in (
        f"{name}({inside})",
        data.draw(st.text(max_size=60)),
        name + data.draw(st.text('()[]=,." 1a', max_size=20)),
    ):
        with contextlib.suppress(fedflux.FedFluxError):
            parse(kind, text)


@settings
@hypothesis.given(st.sampled_from(sorted(declared())), st.data())
def test_options_of_any_type(name: str, data: Any) -> None:
    anything = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(),
        st.binary(),
        st.lists(st.integers() | st.text()),
    )
    with contextlib.suppress(fedflux.FedFluxError):
        check({name: data.draw(anything)})
    with contextlib.suppress(fedflux.FedFluxError):
        declared()[name].parse(data.draw(st.text()))


def test_npz_files(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    x, y = np.zeros((6, 4), np.float32), np.arange(6) % 2
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)

    @settings
    @hypothesis.given(damaged(path.read_bytes()))
    def trial(content: bytes) -> None:
        bad = tmp_path / "bad.npz"
        bad.write_bytes(content)
        with contextlib.suppress(fedflux.FedFluxError):
            from_npz(str(bad), "cross_entropy", 2)

    trial()


def test_saved_results(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "dataset": "digits",
        "model": "softmax_regression",
        "rounds": 1,
        "engine": "reference",
    }
    good = fedflux.run(**options).save(tmp_path / "run.safetensors").read_bytes()

    @settings
    @hypothesis.given(damaged(good))
    def trial(content: bytes) -> None:
        bad = tmp_path / "bad.safetensors"
        bad.write_bytes(content)
        with contextlib.suppress(fedflux.FedFluxError):
            fedflux.Result.load(bad)

    trial()
