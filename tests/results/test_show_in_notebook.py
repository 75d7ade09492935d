"""What notebooks show: a result, progress, plots."""

import base64
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import fedflux
from fedflux._results import progress
from fedflux._simulation.events import Monitor


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


def test_progress_says_why_the_first_round_takes_long(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown: list[str] = []
    bar = progress.Progress(lambda done, text, at_once: shown.append(text))
    facts = {"dataset": "digits", "clients": 3, "slow_start": "compiles, for layer 2"}
    bar.start(facts)
    bar.start(facts | {"slow_start": None})
    assert shown == ["digits, 3 clients: compiles, for layer 2", "digits, 3 clients"]
    with progress.progress(3) as bar:  # without a terminal: lines, one in ten seconds
        bar.start(facts | {"slow_start": None})
        assert not capsys.readouterr().err
        bar.start(facts)
        assert "round 0/3  digits, 3 clients: compiles" in capsys.readouterr().err


def test_progress_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    display = pytest.importorskip("IPython.display")
    capture = pytest.importorskip("IPython.utils.capture")
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell.instance()
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
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


CELLS = """\
import threading, fedflux
options = dict(dataset="digits", rounds=3, engine=ENGINE)
result = fedflux.run(**options, progress=True)
---
result
---
fedflux.plots.accuracy(result)
---
results = []
thread = threading.Thread(target=lambda: results.append(fedflux.run(**options)))
thread.start()
thread.join()
results[0].params_sha256 == result.params_sha256
---
fedflux.run(lr="fast")
"""


@pytest.mark.parametrize(
    "engine", ["reference", pytest.param("julia", marks=pytest.mark.julia)]
)
def test_a_real_notebook(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Jupyter's kernel runs the cells; the outputs are those that a browser would show."""
    if engine == "julia":
        request.getfixturevalue("julia")
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("matplotlib")
    cells = CELLS.replace("ENGINE", repr(engine)).split("---\n")
    new = nbformat.v4.new_code_cell
    notebook = nbformat.v4.new_notebook(cells=[new(cell) for cell in cells])
    client = nbclient.NotebookClient(
        notebook,
        timeout=600,
        allow_errors=True,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    shown = [cell.outputs for cell in notebook.cells]
    progress = next(out for out in shown[0] if out.output_type == "display_data")
    assert 'value="3"' in progress.data["text/html"]
    assert progress.data["text/plain"].startswith("round 3/3  loss")
    assert "</svg>" in shown[1][0].data["text/html"]
    assert base64.b64decode(shown[2][0].data["image/png"]).startswith(b"\x89PNG")
    assert shown[3][-1].data["text/plain"] == "True"
    assert shown[4][-1].ename == "OptionError"
    assert "lr: expected a number" in shown[4][-1].evalue


def test_no_notebook() -> None:
    assert not progress.in_notebook()
    with Monitor().progress(True, 1):
        pass


def test_progress_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line now and then, and the last; none for a run that is soon done."""
    record = {"train_loss": 1.0, "test_loss": None, "accuracy": 0.5, "clients": 9}
    record |= {"bytes_up": 3e6, "bytes_down": 1e6, "epsilon": 1.5, "dropped": [{}]}
    seconds = iter([0.0, 11.0, 12.0, 13.0, 14.0])  # the start, and each round
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))
    with progress.progress(4) as shown:
        for number in range(1, 5):
            shown.round(record | {"round": number})
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == (
        "round 1/4  loss 1.0000  accuracy 0.5000  ε 1.5  4 MB  9 clients, 1 failed  "
        "0:33 left"
    )
    assert len(lines) == 2
    assert lines[1].startswith("round 4/4")


def test_plots_appear_without_an_import() -> None:
    pytest.importorskip("matplotlib")
    fedflux.__dict__.pop("plots", None)
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
    assert result.holdings["sizes"] == [4, 4, 4]
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
