"""What notebooks show: a result, progress, plots."""

import re
from xml.etree import ElementTree

import pytest

import fedflux
from fedflux import notebook
from fedflux.monitor import Monitor


def run(**options: object) -> fedflux.Result:
    return fedflux.run(
        dataset="digits", model="softmax_regression", engine="reference", **options
    )


def test_a_result_shows_its_curve() -> None:
    result = run(rounds=3)
    page = ElementTree.fromstring(f"<body>{result._repr_html_()}</body>")
    assert page.find(".//code").text == repr(result)
    points = page.find(".//polyline").get("points").split()
    heights = [float(point.split(",")[1]) for point in points]
    accuracies = [record["accuracy"] for record in result.history]
    # y points down
    assert sorted(range(3), key=lambda i: -heights[i]) == sorted(
        range(3), key=lambda i: accuracies[i]
    )
    assert f"{accuracies[-1]:.4g} in round 3" in page.find(".//figcaption").text
    assert "svg" not in run(rounds=1)._repr_html_()
    result.dataset = "<script>"
    assert "<script>" not in result._repr_html_()


def test_progress_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    display = pytest.importorskip("IPython.display")
    capture = pytest.importorskip("IPython.utils.capture")
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell.instance()
    monkeypatch.setattr(notebook, "in_notebook", lambda: True)
    monkeypatch.setattr("fedflux.monitor.in_notebook", lambda: True)
    try:
        with capture.capture_output() as shown:
            result = run(rounds=2, progress=True)
    finally:
        shell.clear_instance()
    texts = [output.data["text/html"] for output in shown.outputs]
    assert display is not None
    assert "starting" in texts[0]
    assert 'value="2"' in texts[-1]
    assert f"accuracy {result.accuracy:.4f}" in texts[-1]
    ids = {output.transient["display_id"] for output in shown.outputs}
    assert len(ids) == 1  # the line is replaced


def test_no_notebook() -> None:
    assert not notebook.in_notebook()
    with Monitor().progress(True, 1):
        pass


def test_plots_appear_without_an_import() -> None:
    pytest.importorskip("matplotlib")
    del fedflux.__dict__["plots"]
    figure = fedflux.plots.accuracy(run(rounds=2))
    assert figure._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("owners", [["b", "a", "c"], [7, 3, 5]])
def test_owner_names_are_kept(owners: list[object], julia: None) -> None:
    import numpy as np

    x, y = np.eye(3, dtype="float32").repeat(4, axis=0), np.arange(3).repeat(4)
    result = fedflux.run(
        x_train=x,
        y_train=y,
        owner=np.array(owners).repeat(4),
        partition="owner",
        model="mlp",
        rounds=2,
        clients_per_round=2,
    )
    assert result.details["owners"] == sorted(owners, key=str)
    assert result.clients["sizes"] == [4, 4, 4]
    assert all(
        len(record["cohort"]) == 2 and set(record["cohort"]) <= {1, 2, 3}
        for record in result.history
    )
    assert re.match("arrays", result.dataset)


def test_cohorts_are_those_of_the_core(julia: None) -> None:
    cohorts = [
        [
            record["cohort"]
            for record in fedflux.run(
                dataset="digits", model="mlp", rounds=3, clients_per_round=3, engine=engine
            ).history
        ]
        for engine in ("reference", "julia")
    ]
    assert cohorts[0] == cohorts[1]
