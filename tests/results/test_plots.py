"""Plots: what is drawn, and the errors."""

from pathlib import Path

import numpy as np
import pytest

import fedflux

plots = pytest.importorskip("fedflux.plots")
pytest.importorskip("matplotlib")

SPLIT = {"sizes": [30, 12, 5], "labels": [[30, 0], [2, 10], [0, 5]]}


def test_clients(tmp_path: Path) -> None:
    figure = plots.clients(SPLIT, tmp_path / "clients.png")
    grid, bars, _ = figure.axes
    assert (tmp_path / "clients.png").read_bytes().startswith(b"\x89PNG")
    assert np.array_equal(grid.images[0].get_array(), np.array(SPLIT["labels"]).T)
    assert [bar.get_height() for bar in bars.patches] == SPLIT["sizes"]
    assert sorted(text.get_text() for text in grid.texts) == sorted(
        ["30", "2", "10", "5", "·", "·"]
    )


def test_clients_without_labels() -> None:
    assert len(plots.clients({"sizes": [1, 2]}).axes) == 1


@pytest.mark.parametrize("split", [{"sizes": {"min": 1.0, "max": 9.0}}, {}])
def test_clients_in_summary(split: dict[str, object]) -> None:
    with pytest.raises(fedflux.DataError, match="samples per client are not available"):
        plots.clients(split)


def test_clients_of_the_reference_engine() -> None:
    result = fedflux.run(
        dataset="digits", model="softmax_regression", rounds=1, engine="reference"
    )
    with pytest.raises(fedflux.DataError, match="samples per client are not available"):
        plots.clients(result)


def test_accuracy(tmp_path: Path) -> None:
    result = fedflux.run(
        dataset="digits", model="softmax_regression", rounds=3, engine="reference"
    )
    line = (
        plots.accuracy({"a": result, "b": result}, tmp_path / "accuracy.svg")
        .axes[0]
        .lines[0]
    )
    assert list(line.get_ydata()) == [r["accuracy"] for r in result.history]
    assert (tmp_path / "accuracy.svg").stat().st_size > 1000
    result.history[:] = [r | {"accuracy": None} for r in result.history]
    with pytest.raises(fedflux.DataError, match="no round has an accuracy"):
        plots.accuracy(result)


def test_where_it_can_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(fedflux.FedFluxError, match="can't write"):
        plots.clients(SPLIT, tmp_path / "missing" / "clients.png")
    with pytest.raises(fedflux.FedFluxError, match="can't write"):
        plots.clients(SPLIT, tmp_path / "clients.doc")


def test_rounds_of_several_seeds(tmp_path: Path) -> None:
    kind = {"dataset": "digits", "model": "softmax_regression", "engine": "reference"}
    runs = {
        f"lr=${lr}": [fedflux.run(lr=lr, seed=s, rounds=2, **kind) for s in (1, 2)]
        for lr in (0.1, 0.5)
    }
    figure = plots.rounds(runs, tmp_path / "rounds.svg")
    named = [axes for axes in figure.axes if axes.lines]
    assert [axes.get_ylabel() for axes in named[:2]] == ["test accuracy", "loss"]
    line, band = named[0].lines[0], named[0].collections[0]
    values = [[r["accuracy"] for r in run.history] for run in runs["lr=$0.1"]]
    assert np.allclose(line.get_ydata(), np.mean(values, axis=0))
    heights = band.get_paths()[0].vertices[:, 1]
    assert np.isclose(heights.min(), np.min(values))
    assert np.isclose(heights.max(), np.max(values))
    names = [text.get_text() for text in named[0].texts]  # at the ends of the lines
    assert sorted(names) == [r"lr=\$0.1", r"lr=\$0.5"]
    alone = runs["lr=$0.5"][0].plot(tmp_path / "one.png")
    assert "accuracy of clients" in [axes.get_ylabel() for axes in alone.axes]
    for axes in named[2:]:  # bytes and seconds are sums: they start at zero
        assert axes.get_ylim()[0] == 0


def test_more_lines_than_colors_can_be_told_apart() -> None:
    from fedflux._pictures.style import COLORS, look

    assert len(COLORS) == len(set(COLORS)) <= 8
    looks = [tuple(map(str, look(i).values())) for i in range(24)]
    assert len(set(looks)) == 24


def test_confusion_and_clients(tmp_path: Path) -> None:
    x = np.eye(4, dtype="float32")[[0, 1, 2, 3] * 9]
    y = [0, 0, 1, 1] * 9
    result = fedflux.run(x_train=x, y_train=y, model="mlp", lr=0.5, engine="reference")
    figure = plots.confusion(result, x, y, tmp_path / "c.png", classes=["no", "yes"])
    cells = [text.get_text() for text in figure.axes[0].texts]
    assert cells == ["18", "·", "·", "18"]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["no", "yes"]
    with pytest.raises(fedflux.OptionError, match="2 names or more"):
        plots.confusion(result, x, y, classes=["no"])
    with pytest.raises(fedflux.DataError, match="client_test"):
        plots.client_accuracy(result)
    result.clients = [{"client": 1, "name": "a", "accuracy": 0.25}]
    (bar,) = plots.client_accuracy(result).axes[0].patches
    assert (bar.get_y(), bar.get_height()) == (0, 0.25)
