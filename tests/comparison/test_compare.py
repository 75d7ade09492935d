"""Comparisons from Python and the shell: the grid, the folder, a kill, the errors."""

import csv
import json
import os
import re
import shlex
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import fedflux
from fedflux._comparison import live
from fedflux.cli import cli

from ..conftest import ROOT, Run, started

SMALL: dict[str, Any] = {
    "dataset": "digits",
    "model": "softmax_regression",
    "clients": 4,
    "local_steps": 2,
}
GRID = {"lr": [0.1, 0.5]}


def without_time(folder: Path) -> list[dict[str, str]]:
    rows = list(csv.DictReader((folder / "table.csv").open()))
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_runs_are_those_of_run(julia: None, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    found = fedflux.compare(
        GRID, seeds=[3, 7], folder=tmp_path, rounds=2, callback=events.append, **SMALL
    )
    alone = fedflux.run(lr=0.5, seed=7, rounds=2, **SMALL)
    run = next(r for r in found.runs if (r["configuration"], r["seed"]) == ("lr=0.5", 7))
    assert run["params_sha256"] == alone.params_sha256
    assert run["curve"]["accuracy"] == [r["accuracy"] for r in alone.history]
    assert found.result("lr=0.5", 7).params_sha256 == alone.params_sha256
    accuracies = [r["accuracy"] for r in found.runs if r["configuration"] == "lr=0.5"]
    row = found.rows[1]
    assert row["mean"] == pytest.approx(np.mean(accuracies))
    assert row["sd"] == pytest.approx(np.std(accuracies, ddof=1))
    assert row["settings"] == {"lr": "0.5"}
    assert sum(e["kind"] == "round" for e in events) == 8
    loaded = fedflux.Comparison.load(tmp_path)
    assert (loaded.rows, loaded.table) == (found.rows, found.table)
    frame = pytest.importorskip("pandas").read_csv(tmp_path / "table.csv")
    assert list(frame["lr"]) == [0.1, 0.5]
    assert list(found.to_frame()["mean"]) == [r["mean"] for r in found.rows]
    kept: list[dict[str, Any]] = []
    again = fedflux.compare(
        tmp_path / "comparison.toml", folder=tmp_path, callback=kept.append
    )
    assert [e["kind"] for e in kept] == ["kept"] * 4
    assert again.table == found.table


def test_killed_and_started_again(julia: None, tmp_path: Path) -> None:
    """SIGKILL in the middle: finished runs are not repeated, and the table is the same."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    flags = [f"--{n.replace('_', '-')}={v}" for n, v in SMALL.items()]
    flags += ["--lr=0.1", "--lr=0.5", "--rounds=200", "--seeds=3", f"--out={killed}"]
    with started(["-m", "fedflux", "compare", *flags, "--quiet"], tmp_path, 480) as process:
        while not (finished := list(killed.glob("runs/*/*/result.safetensors"))):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    finished = list(killed.glob("runs/*/*/result.safetensors"))
    assert 1 <= len(finished) < 6
    written = {file: file.stat().st_mtime_ns for file in finished}
    events: list[dict[str, Any]] = []
    fedflux.compare(killed / "comparison.toml", folder=killed, callback=events.append)
    assert {file: file.stat().st_mtime_ns for file in finished} == written
    assert sum(e["kind"] == "kept" for e in events) == len(finished)
    fedflux.compare(GRID, seeds=3, folder=whole, rounds=200, **SMALL)
    assert without_time(killed) == without_time(whole)
    runs = [
        json.loads((f / "comparison.json").read_text())["runs"] for f in (killed, whole)
    ]
    for one, other in zip(*runs, strict=True):
        assert one["params_sha256"] == other["params_sha256"]


def test_own_arrays_and_several_grids(
    julia: None, tmp_path: Path, blobs: dict[str, np.ndarray]
) -> None:
    grid = [
        {"rules": [None], "lr": [0.1]},
        {"rules": ["fedprox(mu=0.1)"], "lr": [0.2, 0.3]},
    ]
    options: dict[str, Any] = {"model": "softmax_regression", "rounds": 2, "clients": 3}
    found = fedflux.compare(grid, seeds=1, folder=tmp_path, **options, **blobs)
    assert [r["configuration"] for r in found.rows] == [
        "none, lr=0.1",
        "fedprox(mu=0.1), lr=0.2",
        "fedprox(mu=0.1), lr=0.3",
    ]
    alone = fedflux.run(lr=0.1, seed=1, **options, **blobs)
    assert found.runs[0]["params_sha256"] == alone.params_sha256
    # Other data are other runs.
    other = blobs | {"x_train": blobs["x_train"] + 1}
    again = fedflux.compare(grid, seeds=1, folder=tmp_path, **options, **other)
    assert again.runs[0]["folder"] != found.runs[0]["folder"]


def test_the_command(julia: None, python: Run, tmp_path: Path) -> None:
    flags = ["--rounds=2", "--seeds=2", "--out=out", "--dataset=digits"]
    rules = ["--rule=none", "--rule=fedprox(mu=0.1)", "--model=softmax_regression"]
    done = python(["-m", "fedflux", "compare", *flags, *rules])
    table = done.stdout.splitlines()
    assert table[1].startswith("none ")
    assert table[2].startswith("fedprox(mu=0.1) ")
    assert "paired t-test over 2 seeds" in done.stdout
    lines = [line for line in done.stderr.splitlines() if "of 4)" in line]
    assert len(lines) == 4  # no terminal: a line for each run
    assert (tmp_path / "out" / "runs.csv").exists()


@pytest.mark.parametrize(
    ("grid", "more", "words"),
    [
        ({"rule": ["none"]}, {}, "did you mean 'rules'"),
        ({"lr": [0.1, "fast"]}, {}, "lr: expected a number"),
        ({"lr": []}, {}, "at least one value"),
        ([1], {}, "grid: expected lists of values"),
        ({"lr": [0.1]}, {"seed": 3}, "seed: a comparison decides it"),
        ({"lr": [0.1]}, {"engine": "reference"}, "engine: a comparison decides it"),
        ({"lr": [0.1]}, {"seeds": "many"}, "seeds: expected how many"),
        ({"lr": [0.1]}, {"x_train": [[1.0]], "dataset": "digits"}, "both given"),
    ],
)
def test_bad_input(grid: Any, more: dict[str, Any], words: str) -> None:
    with pytest.raises(fedflux.OptionError, match=words):
        fedflux.compare(grid, **more)


def test_a_folder_without_a_comparison(tmp_path: Path) -> None:
    with pytest.raises(fedflux.DataError, match="no finished comparison"):
        fedflux.Comparison.load(tmp_path)
    for text in ("[]", '{"rows": 3}', "{", "{}"):
        (tmp_path / "comparison.json").write_text(text)
        with pytest.raises(fedflux.DataError, match="not a comparison of fedflux"):
            fedflux.Comparison.load(tmp_path)


def event(kind: str, payload: Any, name: str = "a", seed: int = 1) -> dict[str, Any]:
    return {
        **{"kind": kind, "payload": payload, "configuration": name, "seed": seed},
        **{"run": seed, "of": 4},
    }


def test_the_table_while_it_runs() -> None:
    from rich.console import Console

    record = {"round": 2, "train_loss": 1.0, "test_loss": 0.5, "accuracy": 0.75}
    state = live.State()
    for e in (
        event("start", {}),
        event("round", record, seed=2),
        event("end", "accuracy 0.8"),
        event("failed", "no memory", "b[red]"),
    ):
        state.add(e)
    assert state.done == 2
    console = Console(record=True, width=100, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(live._table(state))
    text = console.export_text()
    assert "2 of 4 runs" in text
    assert "seed 2, round 2: loss 0.5000  accuracy 0.7500" in text
    assert "failed: no memory" in text
    assert "b[red]" in text


def test_the_page_does_what_it_says(
    julia: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blocks of docs/comparing.md, one after the other, in one folder."""
    from juliacall import Main as jl

    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "comparing.md").read_text("utf-8")
    blocks = dict(re.findall(r"```(sh|python|julia)\n(.*?)```", page, re.S))
    names: dict[str, Any] = {}
    exec(blocks["python"], names)  # noqa: S102
    found = names["found"]
    assert [row["configuration"] for row in found.rows][2] == "scaffold"
    for file in re.findall(r"^\| `([\w.]+)` \|", page, re.M):
        assert (tmp_path / "comparison" / file).exists(), file
    assert (tmp_path / "comparison" / "report.html").exists()
    # The command and Julia mean the same runs, which are there.
    command = shlex.split(blocks["sh"].replace("\\\n", " "))
    done = CliRunner().invoke(cli, command[1:], catch_exceptions=False)
    assert found.table in done.output
    core = jl.seval(f"begin {blocks['julia'].replace('using FedFlux', '')} end")
    assert [str(r.params_sha256) for r in core.runs] == [
        r["params_sha256"] for r in found.runs
    ]
