"""Inputs of every type and layout, in training and in prediction: taken, or refused with a
sentence that says what to do."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fedflux
from fedflux._data import advice
from fedflux._data.arrays import from_arrays

RNG = np.random.default_rng(2)
PIXELS = RNG.integers(0, 256, (40, 6, 6)).astype(np.uint8)
LABELS = (PIXELS.reshape(40, -1).mean(axis=1) > 127).astype(int)
FLOATS = RNG.normal(size=(40, 3))
RUN: dict[str, Any] = {
    "model": "mlp",
    "hidden": [8],
    "rounds": 2,
    "clients": 2,
    "engine": "reference",
}
TRAINED = {
    "bytes": PIXELS,
    "flat bytes": PIXELS.reshape(40, -1),
    "channels": PIXELS[:, None],
    "float32": FLOATS.astype(np.float32),
    "float64": FLOATS,
    "float16": FLOATS.astype(np.float16),
    "images of floats": PIXELS / 255,
}
ASKED = {**TRAINED, "bytes as floats": PIXELS.astype(float), "one image": PIXELS[0]}
SAME = [
    {"bytes", "channels"},
    {"float32", "float64", "float16"},
    {"images of floats", "bytes as floats"},  # floats alone tell nothing of their scale
    {"flat bytes"},
]


@pytest.mark.parametrize("engine", ["reference", "julia"])
@pytest.mark.parametrize("trained", TRAINED)
def test_samples_of_another_kind_are_refused(
    trained: str, engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if engine == "julia":
        request.getfixturevalue("julia")
    result = fedflux.run(
        x_train=TRAINED[trained], y_train=LABELS, **RUN | {"engine": engine}
    )
    loaded = fedflux.Result.load(result.save(tmp_path / "saved"))
    kinds = next(kinds for kinds in SAME if trained in kinds)
    for r in (result, loaded):
        expected = r.predict(TRAINED[trained])
        for asked, x in ASKED.items():
            if asked in kinds:
                same = asked != "bytes as floats" and "images" not in trained
                assert not same or (r.predict(x) == expected).all(), asked
                continue
            with pytest.raises(fedflux.DataError, match=r"x: expected .* as in x_train"):
                r.score(x, LABELS[: len(x)])


# the same numbers in memory of other layouts
LAYOUTS: dict[str, Any] = {
    "Fortran": np.asfortranarray,
    "backwards": lambda x: x[::-1].copy()[::-1],
    "every other": lambda x: np.repeat(x, 2, axis=0)[::2],
    "transposed": lambda x: np.moveaxis(np.moveaxis(x, 0, -1).copy(), -1, 0),
    "other bytes first": lambda x: x.astype(x.dtype.newbyteorder()),
    "read only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
    "a list": lambda x: x.tolist() if x.dtype == np.float64 else x,
}


@pytest.mark.parametrize("engine", ["reference", "julia"])
@pytest.mark.parametrize("kind", ["bytes", "channels", "float32", "float64", "float16"])
def test_any_layout_in_memory_trains_and_predicts_the_same(
    kind: str, engine: str, request: pytest.FixtureRequest
) -> None:
    if engine == "julia":
        request.getfixturevalue("julia")
    x, run = TRAINED[kind], RUN | {"engine": engine, "rounds": 1}
    plain = fedflux.run(x_train=x, y_train=LABELS, x_test=x, y_test=LABELS, **run)
    for layout, of in LAYOUTS.items():
        z, y = of(x), LAYOUTS["backwards"](LABELS)
        other = fedflux.run(x_train=z, y_train=y, x_test=z, y_test=y, **run)
        assert other.params_sha256 == plain.params_sha256, layout
        assert other.history[0]["test_loss"] == plain.history[0]["test_loss"], layout
        assert (plain.predict(z) == plain.predict(x)).all(), layout
        assert plain.score(z, y) == plain.score(x, LABELS), layout


def test_one_image_gets_the_advice_to_make_it_a_list() -> None:
    result = fedflux.run(x_train=PIXELS, y_train=LABELS, **RUN)
    with pytest.raises(fedflux.DataError, match=r"for one sample give x\[None\]"):
        result.predict(PIXELS[0])
    assert result.predict(PIXELS[0][None]).shape == (1,)


@pytest.mark.parametrize("engine", ["reference", "julia"])
def test_large_numbers_keep_their_differences(
    engine: str, request: pytest.FixtureRequest
) -> None:
    if engine == "julia":
        request.getfixturevalue("julia")
    times = 1.7e9 + np.linspace(0, 120, 400)  # two minutes; float32 has steps of 128
    y = (times > 1.7e9 + 60).astype(int)
    scale: dict[str, Any] = {"mean": 1.7e9 + 60, "std": 35.0}
    if engine == "julia":
        scale = {"normalise": "federated"}
    result = fedflux.run(
        x_train=times[:, None],
        y_train=y,
        x_test=times[:, None],
        y_test=y,
        **RUN | {"engine": engine, "lr": 1.0, "rounds": 20},
        **scale,
    )
    assert result.accuracy is not None
    assert result.accuracy > 0.95
    assert result.score(times[:, None], y) == result.accuracy


def test_a_saved_run_that_was_normalised_predicts(julia: None, tmp_path: Path) -> None:
    for x in (PIXELS, PIXELS[:, None] * np.ones((1, 2, 1, 1), np.uint8), FLOATS * 9 + 4):
        run = RUN | {"engine": "julia", "normalise": "federated"}
        result = fedflux.run(x_train=x, y_train=LABELS, x_test=x, y_test=LABELS, **run)
        loaded = fedflux.Result.load(result.save(tmp_path / "saved"))
        assert result.accuracy == result.score(x, LABELS) == loaded.score(x, LABELS)
        assert (loaded.predict_proba(x) == result.predict_proba(x)).all()


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.full((40, 3), 300), "of 300 to 300; convert with x_train.astype('float32')"),
        (
            PIXELS.astype(int),
            "of 0 to 255; for images convert with x_train.astype('uint8')",
        ),
        (np.full((40, 3), -1), "convert with x_train.astype('float32')"),
        (np.full((40, 2), 2**31), "convert with x_train.astype('float64')"),
        (PIXELS.astype("uint16") * 200, r"x_train.astype('float32') / 65535 scales images"),
        (FLOATS > 0, "got bool; convert with x_train.astype('float32')"),
        (FLOATS.astype("datetime64[s]"), "or floats, got datetime64[s]"),
        (FLOATS.astype(str), "or floats, got str"),
    ],
)
def test_advice_for_other_types_changes_no_value(x: np.ndarray, words: str) -> None:
    with pytest.raises(fedflux.DataError) as error:
        fedflux.run(x_train=x, y_train=LABELS, **RUN)
    assert words in str(error.value)
    assert "uint8')" not in str(error.value) or x.max() <= 255


FRAME = pd.DataFrame(
    {
        "age": [1.5, 2.5, 3.5],
        "city": ["Rome", "Oslo", "Rome"],
        "ok": [True, False, True],
        "count": pd.array([1, None, 3], dtype="Int64"),
        "whole": pd.array([1, 2, 3], dtype="Int64"),
        "day": pd.to_datetime(["2020-01-01"] * 3),
        "pay": [50_000.0, 60_000.0, np.nan],
    }
)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (["age", "city"], r"column 'city' holds texts, such as 'Rome'; .*get_dummies"),
        (["age", "count"], r"column 'count' has 1 missing values; .*fillna"),
        (["pay"], r"column 'pay' has 1 missing values"),
        (["day", "age"], r"column 'day' holds dates or times"),
        (["ok", "whole"], r"got int64 of 0 to 3"),
    ],
)
def test_tables_name_the_column(columns: list[str], words: str) -> None:
    with pytest.raises(fedflux.DataError, match=f"x_train: .*{words}|{words}"):
        fedflux.run(x_train=FRAME[columns], y_train=[0, 1, 0], **RUN)


def test_tables_of_numbers_are_taken() -> None:
    x = FRAME[["age", "ok", "whole"]]
    result = fedflux.run(x_train=x, y_train=FRAME[["ok"]], **RUN, loss="mse")
    assert result.parameters["layers.2.weight"].shape == (3, 8)
    assert result.predict(x).shape == (3,)
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    with pytest.raises(fedflux.DataError, match=r"a sparse matrix; give x_train.toarray"):
        fedflux.run(x_train=sparse.csr_matrix(FLOATS), y_train=LABELS, **RUN)


def test_channels_last_are_seen_for_every_number_of_channels() -> None:
    for channels in (1, 2, 3, 4):
        x = np.zeros((6, 16, 16, channels), np.uint8)
        with pytest.warns(fedflux.FedFluxWarning, match=r"np.moveaxis"):
            from_arrays(x, [0, 1] * 3, None, None, loss="cross_entropy", clients=1)
    for shape in ((6, 16, 4, 4), (6, 3, 8, 4), (6, 16, 8, 8)):
        x = np.zeros(shape, np.uint8)
        from_arrays(x, [0, 1] * 3, None, None, loss="cross_entropy", clients=1)


def test_labels_that_do_not_count_from_0_are_a_warning_for_a_trained_model() -> None:
    """Its outputs have their meaning, so integers stay; otherwise they are numbered."""
    first = fedflux.run(x_train=FLOATS, y_train=LABELS + 1, **RUN | {"hidden": [1]})
    assert (first.classes, first.warnings) == ([1, 2], [])
    with (
        pytest.warns(fedflux.FedFluxWarning, match=r"the labels begin at 1.*np.unique"),
        pytest.raises(fedflux.DataError, match="init"),
    ):
        fedflux.run(x_train=FLOATS, y_train=LABELS + 1, init=first, **RUN)
    many = next(advice.of_labels(np.array([1001, 20555])[LABELS]))
    assert "the labels are 2 of 0 to 20555" in many
    assert not list(advice.of_labels(np.array([0, 1, 3])))


def test_large_raw_columns_are_a_warning() -> None:
    frame = pd.DataFrame({"age": FLOATS[:, 0], "pay": FLOATS[:, 1] * 50_000})
    words = "x_train: column 'pay' has values around .*,000: train with normalise="
    with pytest.warns(fedflux.FedFluxWarning, match=words):
        result = fedflux.run(x_train=frame, y_train=LABELS, **RUN)
    assert any("column 'pay'" in message for message in result.warnings)
    with pytest.warns(fedflux.FedFluxWarning, match="feature 1 has values around"):
        fedflux.run(x_train=frame.to_numpy(), y_train=LABELS, **RUN)
    fedflux.run(x_train=frame, y_train=LABELS, **RUN, std=50_000.0)  # no warning


def test_owners_need_no_more_samples_than_there_are_owners(julia: None) -> None:
    options = RUN | {"engine": "julia", "partition": "owner"}
    del options["clients"]
    result = fedflux.run(
        x_train=FLOATS[:6], y_train=LABELS[:6], owner=list("aabbcc"), **options
    )
    assert [row["name"] for row in result.clients] == ["a", "b", "c"]
