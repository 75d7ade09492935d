"""Runs in the real TensorBoard, MLflow and Weights & Biases, all without a network."""

from __future__ import annotations

import itertools
import json
import math
import re
import shlex
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import fedflux
from fedflux import tracking
from fedflux.cli.commands import cli
from fedflux.tracking._figures import figures, named
from fedflux.tracking._tracks import FILE, kept

from ..conftest import ROOT, Run
from ..federation import wait_until

SMALL: dict[str, Any] = {
    "dataset": "digits",
    "model": "softmax_regression",
    "clients": 4,
    "clients_per_round": 3,
    "faults": ["dropout(0.2)"],
    "lr": 0.5,
    "rounds": 3,
}
FEW = SMALL | {"engine": "reference", "faults": []}
Points = dict[str, list[tuple[int, float]]]


def of_history(history: list[dict[str, Any]]) -> Points:
    """What must be in a track: each number, by hand from the history's records."""
    found: Points = {}
    for record in history:
        flat: dict[str, Any] = {}
        for name, value in record.items():
            if isinstance(value, dict):
                flat |= {f"{name}_{part}": number for part, number in value.items()}
            elif name in ("rejected", "dropped"):
                flat[name] = len(value)
            elif name == "skipped":
                flat[name] = 0 if value is None else 1
            elif name not in ("round", "cohort"):
                flat[name] = value
        for name, value in flat.items():
            if value is not None:
                found.setdefault(name, []).append((record["round"], float(value)))
    return found


def same(found: Points, expected: Points, tolerance: float = 0.0) -> None:
    assert found.keys() == expected.keys()
    for name, points in expected.items():
        assert [step for step, _ in found[name]] == [step for step, _ in points], name
        for (_, a), (_, b) in zip(found[name], points, strict=True):
            assert a == pytest.approx(b, rel=tolerance, abs=0, nan_ok=True), name


def in_tensorboard(folder: Path) -> tuple[Points, dict[str, Any]]:
    """The curves and the hyperparameters, as TensorBoard's own reader gives them."""
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="tensorboard, which reads event files, is not installed",
    )
    hparams = pytest.importorskip("tensorboard.plugins.hparams.plugin_data_pb2")
    events = reader.EventAccumulator(str(folder)).Reload()
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    data = hparams.HParamsPluginData.FromString(content)
    settings = {
        name: getattr(value, value.WhichOneof("kind"))
        for name, value in data.session_start_info.hparams.items()
    }
    points = {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }
    return points, settings


def test_a_run_is_in_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    result = fedflux.run(**FEW, track=f"tensorboard:{tmp_path / 'été 猫'}")
    (folder,) = (tmp_path / "été 猫").iterdir()
    assert folder.name.startswith("digits,clients=4,clients_per_round=3,model=")
    assert result.details["tracks"] == {"tensorboard": folder.name}
    points, settings = in_tensorboard(folder)
    expected = of_history(result.history)
    assert {"train_loss", "test_loss", "accuracy", "bytes_up", "dropped"} <= expected.keys()
    same(points, expected, 1e-6)  # event files hold float32
    assert (settings["lr"], settings["model"]) == (0.5, "softmax_regression")
    assert settings["dataset"] == "digits"
    assert settings["trainer"] == "numpy"


def test_two_runs_at_the_same_time_have_folders_of_their_own(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    tracker = tracking.TensorBoard(tmp_path)
    keys = {tracker.start(tracking.Run("same")).key for _ in range(3)}
    assert keys == {folder.name for folder in tmp_path.iterdir()}
    assert len(keys) == 3
    for hostile in ("..", "a/b", str(tmp_path), "", "."):
        assert tracker.start(tracking.Run("new", key=hostile)).key not in (hostile, *keys)


def in_mlflow(uri: str) -> list[Any]:
    """The runs of the experiment fedflux, by a client of MLflow."""
    mlflow = pytest.importorskip("mlflow.tracking", reason="mlflow is not installed")
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("fedflux")
    found = []
    for run in client.search_runs([experiment.experiment_id]):
        points: Points = {
            name: [
                (m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)
            ]
            for name in run.data.metrics
        }
        found.append((run, points))
    return found


def test_a_run_is_in_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    result = fedflux.run(**FEW, track=[f"mlflow:{uri}"])
    ((run, points),) = in_mlflow(uri)
    same(points, of_history(result.history))
    assert run.data.params["lr"] == "0.5"
    assert run.data.params["clients_per_round"] == "3"
    assert run.data.tags["result.stopped"] == "rounds"
    assert run.data.tags["result.params_sha256"] == result.params_sha256
    assert float(run.data.tags["result.accuracy"]) == result.accuracy
    assert run.info.status == "FINISHED"
    assert run.info.run_name.startswith(
        "digits, clients=4, clients_per_round=3, model=softmax_"
    )


def in_wandb(folder: Path) -> list[dict[str, Any]]:
    """What runs wrote offline, read from the log of records by W&B's own messages.

    The log has blocks of 32 KiB; a record has a checksum, a length and whether it goes on.
    """
    records = pytest.importorskip(
        "wandb.proto.wandb_internal_pb2", reason="wandb is not installed"
    )
    found = []
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        data, at, parts = file.read_bytes(), 7, b""
        run: dict[str, Any] = {"points": {}, "config": {}, "summary": {}, "name": None}
        while at + 7 <= len(data):
            if (left := 32768 - at % 32768) < 7:
                at += left
                continue
            _, length, kind = struct.unpack_from("<IHB", data, at)
            if at + 7 + length > len(data):
                break  # it is being written
            parts += data[at + 7 : at + 7 + length]
            at += 7 + length
            if kind in (1, 4):  # whole, or the last part
                take(records.Record.FromString(parts), run)
                parts = b""
        found.append(run)
    return found


def take(record: Any, run: dict[str, Any]) -> None:
    def named(items: Any) -> dict[str, Any]:
        return {
            "/".join([i.key, *i.nested_key]).strip("/"): json.loads(i.value_json)
            for i in items
        }

    match record.WhichOneof("record_type"):
        case "run":
            run |= {"name": record.run.display_name, "id": record.run.run_id}
            run["config"] |= named(record.run.config.update)
        case "config":
            run["config"] |= named(record.config.update)
        case "history":
            items = named(record.history.item)
            for name, value in items.items():
                if not name.startswith("_"):
                    step = items.get("_step", record.history.step.num)
                    run["points"].setdefault(name, []).append((step, float(value)))
        case "summary":
            run["summary"] |= named(record.summary.update)
        case "exit":
            run["exit"] = record.exit.exit_code


def test_a_run_is_in_weights_and_biases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_SILENT", "true")
    tracker = tracking.WandB(mode="offline", dir=str(tmp_path))
    result = fedflux.run(**FEW, track=tracker)
    # W&B's own process writes the file, and may be at it when the run has ended
    wait_until(lambda: ["exit" in r for r in in_wandb(tmp_path)] == [True], 60, "the file")
    (run,) = in_wandb(tmp_path)
    same(run["points"], of_history(result.history))
    assert run["config"]["lr"] == 0.5
    assert run["config"]["dataset"] == "digits"
    assert run["name"].startswith("digits, clients=4, clients_per_round=3, model=softmax_")
    assert run["id"] == result.details["tracks"]["wandb"]
    assert run["summary"]["result/accuracy"] == result.accuracy
    assert run["exit"] == 0


def test_the_page_does_what_it_says(
    julia: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The blocks of docs/tracking.md, one after the other, in one folder.

    But for the last, which needs a package that fedflux does not have.
    """
    from juliacall import Main as jl

    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "tracking.md").read_text("utf-8")
    names: dict[str, Any] = {}
    for i, block in enumerate(re.findall(r"```python\n(.*?)```", page, re.S)):
        exec(block, names)  # noqa: S102
        assert len(list(Path("runs").iterdir())) == min(i + 1, 2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["digits,", "1", "2", "rounds"]
    shell = "".join(re.findall(r"```sh\n(.*?)```", page, re.S)).splitlines()
    assert shell.pop(0) == "pip install 'fedflux[tensorboard]'"
    for command in shell:
        done = CliRunner().invoke(cli, shlex.split(command)[1:], catch_exceptions=False)
        assert done.exit_code == 0
    assert len(list(Path("runs").iterdir())) == 3
    assert len(Path("rounds.csv").read_text().splitlines()) == 3
    follow, _ = re.findall(r"```julia\nusing FedFlux(.*?)```", page, re.S)
    core = jl.seval(f"begin {follow} end")
    assert len(core.history) == 2


class Several:
    """A tracker of runs side by side, each with a track of its own."""

    def __init__(self) -> None:
        self.tracks: dict[str, Kept] = {}

    def start(self, run: tracking.Run) -> Kept:
        return self.tracks.setdefault(run.name, Kept()).start(run)


def test_each_run_of_a_comparison_has_its_track(julia: None, tmp_path: Path) -> None:
    mine, folder = Several(), tmp_path / "rates"
    options = {name: SMALL[name] for name in ("dataset", "model", "clients")}
    found = fedflux.compare(
        {"lr": [0.1, 0.5]}, seeds=2, folder=folder, track=mine, rounds=2, **options
    )
    names = [f"lr={lr}, seed {seed}" for seed in (1, 2) for lr in (0.1, 0.5)]
    assert sorted(mine.tracks) == sorted(names)
    for run in found.runs:
        track = mine.tracks[f"{run['configuration']}, seed {run['seed']}"]
        (begun,), (end,) = track.runs, track.ends
        assert (begun.group, begun.options["clients"]) == ("rates", 4)
        assert f"lr={begun.options['lr']}" == run["configuration"]
        assert [f["accuracy"] for _, f in track.rounds] == run["curve"]["accuracy"]
        assert end.items() <= run.items()
        assert end["params_sha256"] == run["params_sha256"]
        assert kept(folder / run["folder"]) == {"several": "key 1"}
    assert fedflux.compare(folder / "comparison.toml", folder=folder, track=mine).runs
    assert all(len(track.runs) == 1 for track in mine.tracks.values())  # none runs again


def test_each_trial_of_a_sweep_has_its_track(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="Optuna is not installed")
    mine, options = Several(), {n: v for n, v in FEW.items() if n != "lr"}
    study = fedflux.sweep(
        {"lr": [0.1, 0.5]}, trials=2, folder=tmp_path / "study", track=mine, **options
    )
    names = [f"trial {t.number + 1}, lr={t.params['lr']}" for t in study.trials]
    assert list(mine.tracks) == names
    for trial, track in zip(study.trials, mine.tracks.values(), strict=True):
        assert track.ends[0]["accuracy"] == trial.value
        assert track.runs[0].group == "study"


class Kept:
    """A tracker of the user's own."""

    def __init__(self, fails: str = "") -> None:
        self.fails, self.runs, self.rounds = fails, list[tracking.Run](), list[Any]()
        self.ends: list[Mapping[str, Any]] = []

    def start(self, run: tracking.Run) -> Kept:
        self.runs.append(run)
        self._fail("start")
        self.key = f"key {len(self.runs)}" if run.key is None else run.key
        return self

    def round(self, number: int, figures: Mapping[str, float]) -> None:
        self.rounds.append((number, dict(figures)))
        self._fail("round")

    def end(self, summary: Mapping[str, Any]) -> None:
        self.ends.append(summary)
        self._fail("end")

    def _fail(self, where: str) -> None:
        if self.fails == where:
            raise ConnectionError("the server is gone\nand more")


def test_an_object_hears_of_each_round_and_of_the_end() -> None:
    mine = Kept()
    result = fedflux.run(**FEW, track=mine)
    (run,) = mine.runs
    assert (run.done, run.key, run.group) == (0, None, None)
    assert run.options["clients_per_round"] == 3
    assert [number for number, _ in mine.rounds] == [1, 2, 3]
    assert [f["accuracy"] for _, f in mine.rounds] == [
        r["accuracy"] for r in result.history
    ]
    (end,) = mine.ends
    expected = {"stopped": "rounds", "rounds": 3, "accuracy": result.accuracy}
    assert expected.items() <= end.items()
    assert end["params_sha256"] == result.params_sha256
    scored = Kept()
    own = {"hits": lambda y, predicted: float((y == predicted).mean())}
    plain = fedflux.run(**FEW, track=scored, metrics=own)
    assert [f["metrics_hits"] for _, f in scored.rounds] == [
        pytest.approx(record["accuracy"]) for record in plain.history
    ]
    assert plain.params_sha256 == result.params_sha256


@pytest.mark.parametrize(
    ("fails", "when", "rounds"), [("start", "at the start", 0), ("round", "in round 1", 1)]
)
def test_a_tracker_that_fails_is_one_warning(fails: str, when: str, rounds: int) -> None:
    bad, good = Kept(fails), Kept()
    with pytest.warns(fedflux.FedFluxWarning) as warned:
        result = fedflux.run(**FEW, track=[bad, good])
    said = [str(w.message) for w in warned]
    assert said == [
        f"tracking with kept failed {when}: ConnectionError: the server is gone; the run "
        "goes on without it"
    ]
    assert said[0] in result.warnings
    assert len(result.history) == len(good.rounds) == 3
    assert (len(bad.rounds), bad.ends) == (rounds, [])


def test_a_tracker_that_fails_at_the_end_loses_no_result() -> None:
    bad = Kept("end")
    with pytest.warns(fedflux.FedFluxWarning, match="failed at the end"):
        assert len(fedflux.run(**FEW, track=bad).history) == 3


def test_the_end_comes_after_an_error_too() -> None:
    mine = Kept()

    def broken(record: dict[str, Any]) -> bool:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fedflux.run(**FEW, track=mine, callback=broken)
    assert mine.ends == [{"stopped": "error"}]


def test_a_result_that_goes_on_keeps_its_track() -> None:
    mine = Kept()
    first = fedflux.run(**FEW | {"rounds": 2}, track=mine)
    second = fedflux.run(resume=first, rounds=4, track=mine)
    assert [(run.done, run.key) for run in mine.runs] == [(0, None), (2, "key 1")]
    assert [number for number, _ in mine.rounds] == [1, 2, 3, 4]
    assert second.details["tracks"] == first.details["tracks"] == {"kept": "key 1"}


def test_a_killed_run_goes_on_in_its_track(
    julia: None, python: Run, tmp_path: Path
) -> None:
    """In TensorBoard and MLflow: the rounds after the last checkpoint are there once."""
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    folder, logs = tmp_path / "run", tmp_path / "logs"
    track = [f"tensorboard:{logs}", f"mlflow:sqlite:///{tmp_path / 'm.db'}"]
    options = SMALL | {"checkpoint": str(folder), "checkpoint_every": 2, "rounds": 5}
    code = (
        "import fedflux, os\n"
        "kill = lambda record: record['round'] == 3 and os._exit(9)\n"
        f"fedflux.run(**{options!r}, track={track!r}, callback=kill)"
    )
    assert python(code, check=False).returncode == 9
    assert kept(folder).keys() == {"tensorboard", "mlflow"}
    del options["checkpoint"]
    result = fedflux.run(**options | {"resume": str(folder), "rounds": 6}, track=track)
    assert result.details["resumed"] == 2
    (only,) = logs.iterdir()
    points, _ = in_tensorboard(only)
    same(points, of_history(result.history), 1e-6)
    ((run, _),) = in_mlflow(track[1].removeprefix("mlflow:"))
    assert run.data.params["rounds"] == "5"
    assert run.data.tags["resumed.rounds"] == "6"
    assert run.info.status == "FINISHED"


def test_a_damaged_file_of_keys_begins_a_new_track(tmp_path: Path) -> None:
    for text in (
        "",
        "[]",
        "[1",
        '{"kept": 3}',
        '{"kept": "' + "x" * 300 + '"}',
        "x" * 70000,
    ):
        (tmp_path / FILE).write_text(text)
        assert kept(tmp_path) == {}
    assert kept(tmp_path / "none") == {}


def test_what_track_takes() -> None:
    for wrong, words in (
        ("tensorbord", "did you mean 'tensorboard'"),
        (3, "an object with start"),
        (Kept, "an object with start"),
        (["mlfow"], "did you mean 'mlflow'"),
    ):
        with pytest.raises(fedflux.OptionError, match=words):
            fedflux.run(**FEW, track=wrong)


@pytest.mark.parametrize("package", ["tensorboardX", "mlflow", "wandb"])
def test_a_missing_package_is_said_before_the_run(package: str, python: Run) -> None:
    name = package.removesuffix("X")
    code = (
        f"import sys, fedflux; sys.modules['{package}'] = None\n"
        f"sys.modules['{package}.tracking'] = None\n"
        f"fedflux.run(track='{name}', engine='reference', dataset='digits')"
    )
    done = python(code, check=False)
    assert f"pip install 'fedflux[{name}]'" in done.stderr


def test_figures_are_what_the_record_holds() -> None:
    record = {
        **{"round": 2, "train_loss": math.nan, "accuracy": None, "cohort": [1, 2]},
        **{"rejected": [{"client": 1, "reason": "NaN"}], "dropped": [], "clients": 3},
        **{
            "skipped": None,
            "aggregation": {"clipped": 2},
            "epsilon": 1.5,
            "own metric": 0.5,
        },
    }
    found = figures(record)
    assert math.isnan(found.pop("train_loss"))
    assert found == {
        **{"rejected": 1, "dropped": 0, "clients": 3, "skipped": 0, "epsilon": 1.5},
        **{"aggregation_clipped": 2, "own metric": 0.5},
    }


def test_names_are_short_and_tell_runs_apart() -> None:
    names = [
        named({"seed": seed, "lr": lr, "threads": 2, "rounds": 9}, "données/été.npz")
        for seed, lr in itertools.product((0, 2), (0.05, 0.1))
    ]
    assert names == [
        "été.npz",
        "été.npz, lr=0.1",
        "été.npz, seed=2",
        "été.npz, seed=2, lr=0.1",
    ]
    assert len(named({"attacker_list": list(range(999))}, "digits")) <= 120


def test_the_command_tracks(python: Run, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    flags = ["--dataset=digits", "--engine=reference", "--rounds=1", "--quiet"]
    python(["-m", "fedflux", "run", *flags, "--track", "tensorboard:logs"])
    (folder,) = (tmp_path / "logs").iterdir()
    assert [file.name.split(".")[2] for file in folder.iterdir()] == ["tfevents"]
    done = python(["-m", "fedflux", "run", *flags, "--track", "tensorbord"], check=False)
    assert done.returncode == 2
    assert "did you mean 'tensorboard'" in done.stderr
