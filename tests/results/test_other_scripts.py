"""Paths, classes, clients and data in French and Chinese, from the data to the pictures."""

from __future__ import annotations

import csv
import html
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedflux
from fedflux._pictures import fonts

from ..conftest import Run

CLASSES = ["猫", "狗", "鸟"]
OWNERS = ["Besançon", "北京", "Nîmes"]


def animals() -> tuple[np.ndarray, np.ndarray]:
    """Three classes in two dimensions, far apart."""
    kinds = np.arange(120) % 3
    x = np.random.default_rng(3).normal(size=(120, 2)) * 0.3
    x[np.arange(120), kinds % 2] += 3.0 * (kinds - 1)
    return x.astype(np.float32), np.array(CLASSES)[kinds]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "données été" / "动物"
    found.mkdir(parents=True)
    return found


@pytest.fixture
def table(folder: Path) -> Path:
    """A CSV with a column of each kind."""
    x, y = animals()
    with (folder / "entraînement 训练.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["身高", "âge", "种类"])
        writer.writerows([*map(float, row), kind] for row, kind in zip(x, y, strict=True))
    return Path(file.name)


@pytest.mark.parametrize(
    "engine", ["reference", pytest.param("julia", marks=pytest.mark.julia)]
)
def test_classes_columns_and_files_keep_their_names(
    engine: str, table: Path, folder: Path, request: pytest.FixtureRequest
) -> None:
    if engine == "julia":
        request.getfixturevalue("julia")
    pytest.importorskip("pandas")
    x, y = animals()
    result = fedflux.run(
        x_train=table,
        y_train="种类",
        x_test=x,
        y_test=y,
        model="softmax_regression",
        clients=3,
        rounds=5,
        lr=0.5,
        engine=engine,
    )
    assert result.details["classes"] == sorted(CLASSES)
    assert result.accuracy is not None
    assert result.accuracy > 0.8
    assert np.mean(result.predict(x) == y) == pytest.approx(result.accuracy)
    loaded = fedflux.Result.load(result.save(folder / "résultat 结果.safetensors"))
    assert set(loaded.predict(x)) <= set(CLASSES)
    assert result.save_history(folder / "历史.csv").exists()


PLAY = "\n\n".join(
    f"{role}：\n{'。'.join([words] * 60)}。"
    for role, words in (
        ("窦娥", "天也你错勘贤愚枉做天"),
        ("赛卢医", "行医有斟酌下药依本草"),
    )
)


def test_a_chinese_play_trains_and_goes_on_in_a_folder_of_that_name(
    julia: None, folder: Path
) -> None:
    play, run = folder / "窦娥冤.txt", folder / "运行 été"
    play.write_text(PLAY, encoding="utf-8")
    given: dict[str, Any] = {"dataset": f"shakespeare:{play}", "partition": "owner"}
    given |= {"model": "rnn", "hidden": [8], "window": 10, "min_characters": 100}
    given |= {"tokens": "word", "lr": 0.5, "batch_size": 4}
    first = fedflux.run(**given, rounds=1, checkpoint=run)
    assert sorted(row["name"] for row in first.clients) == ["窦娥", "赛卢医"]
    tokens = set("天也你错勘贤愚枉做行医有斟酌下药依本草。")
    assert first.parameters["layers.1.weight"].shape[0] == len(tokens)
    second = fedflux.run(**given, rounds=2, resume=run)
    whole = fedflux.run(**given, rounds=2)
    assert second.params_sha256 == whole.params_sha256
    assert fedflux.Result.load(run).params_sha256 == whole.params_sha256


def test_both_languages_write_one_history(julia: None, folder: Path) -> None:
    from juliacall import Main as jl

    result = fedflux.run(
        dataset="digits",
        model="softmax_regression",
        rounds=2,
        clients=3,
        faults=["dropout(0.5)"],
    )
    tables = []
    for file in (folder / "à nous.csv", folder / "julia 历史.csv"):
        if "julia" in file.name:
            jl.FedFlux.save_history(str(file), result.state)
        else:
            result.save_history(file)
        tables.append(list(csv.DictReader(file.open(newline="", encoding="utf-8"))))
    ours, theirs = tables
    assert list(ours[0]) == list(theirs[0])
    for mine, other in zip(ours, theirs, strict=True):
        for name, value in mine.items():
            try:
                assert float(other[name]) == float(value), name
            except ValueError:
                assert other[name] == value, name


def test_the_report_and_the_pictures_show_them(table: Path, folder: Path) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib")
    x, y = animals()
    given = {"x_train": x, "y_train": y, "x_test": x, "y_test": y}
    result = fedflux.run(
        **given, model="softmax_regression", rounds=1, clients=3, engine="reference"
    )
    result.clients = [row | {"name": OWNERS[i]} for i, row in enumerate(result.clients)]
    page = fedflux.report(result, folder / "rapport été.html").read_text("utf-8")
    assert '<meta charset="utf-8">' in page
    for name in OWNERS:
        assert html.escape(name) in page
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of each missing glyph
        for file in ("confusion 猫.png", "confusion 猫.svg"):
            fedflux.plots.confusion(result, x, y, folder / file)
            assert (folder / file).stat().st_size > 1000
        split = {"sizes": [3, 4], "labels": [[3, 0, 0], [1, 3, 0]], "classes": CLASSES}
        fedflux.plots.clients(split, folder / "clients été.png")


def test_the_command_line_prints_and_writes_them(table: Path, python: Run) -> None:
    x, y = animals()
    numbers = np.unique(y, return_inverse=True)[1]
    file = table.with_name("chiffres 数字.npz")
    np.savez(file, x_train=x, y_train=numbers, x_test=x, y_test=numbers)
    given = ["--dataset", str(file), "--model", "softmax_regression", "--rounds", "1"]
    more = ["--engine", "reference", "--clients", "3", "--json", "结果.json"]
    for encoding, name in (("utf-8", file.name), ("cp1252", "chiffres ??.npz")):
        done = python(
            ["-m", "fedflux", "run", *given, *more],
            env=os.environ | {"PYTHONIOENCODING": encoding},
            encoding=encoding,
        )
        assert done.stdout.startswith(f"Result({name}: accuracy"), done.stdout
        assert done.stderr == ""
    facts = json.loads((table.parents[2] / "结果.json").read_text("utf-8"))
    assert facts["dataset"] == file.name


@pytest.fixture
def cjk_font(tmp_path: Path) -> Iterator[str]:
    """A font with one Chinese glyph, a full square, under the name of one that is known."""
    builder = pytest.importorskip("fontTools.fontBuilder").FontBuilder(1000, isTTF=True)
    pens = pytest.importorskip("fontTools.pens.ttGlyphPen")
    manager = pytest.importorskip("matplotlib.font_manager").fontManager
    pen = pens.TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 900), (900, 900), (900, 0)):
        pen.lineTo(corner)
    pen.closePath()
    empty, square = pens.TTGlyphPen(None).glyph(), pen.glyph()
    builder.setupGlyphOrder([".notdef", "cat"])
    builder.setupCharacterMap({ord("猫"): "cat"})
    builder.setupGlyf({".notdef": empty, "cat": square})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "cat": (1000, 0)})
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": fonts.FONTS[0], "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    file = tmp_path / "font.ttf"
    builder.save(file)
    before = list(manager.ttflist)
    manager.addfont(file)
    yield fonts.FONTS[0]
    manager.ttflist = before


def drawn(classes: list[str]) -> tuple[Any, np.ndarray]:
    """A picture with names of classes, and its pixels."""
    pytest.importorskip("matplotlib")
    agg = pytest.importorskip("matplotlib.backends.backend_agg")
    split = {"sizes": [3, 4], "labels": [[3, 0], [1, 3]], "classes": classes}
    picture = fedflux.plots.clients(split)
    canvas = agg.FigureCanvasAgg(picture)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        canvas.draw()
    return picture, np.asarray(canvas.buffer_rgba())


def test_a_font_that_has_the_letters_draws_them(cjk_font: str) -> None:
    assert fonts.fallbacks("été 猫") == ([cjk_font], set())
    assert fonts.fallbacks("猫狗") == ([cjk_font], {"狗"})
    picture, pixels = drawn(["猫", "été"])
    assert picture.get_supxlabel() == ""
    left = pixels[:, : pixels.shape[1] // 14, :3].max(axis=2) < 60  # beside the axis
    solid = left[:-5, :-5] & left[5:, 5:] & left[:-5, 5:] & left[5:, :-5]
    middle = left[2:-3, 2:-3]
    assert (solid & middle).sum() > 9  # the square; letters have no strokes that wide


def test_without_a_font_the_picture_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "FONTS", ())
    picture, _ = drawn(["猫", "été"])
    assert picture.get_supxlabel() == fonts.NOTE
    picture, _ = drawn(["a", "été"])
    assert picture.get_supxlabel() == ""
