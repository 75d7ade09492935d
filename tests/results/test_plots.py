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
