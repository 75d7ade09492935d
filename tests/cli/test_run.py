"""The command line in a process of its own."""

import csv
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import fedflux

from ..conftest import Run, in_terminal

FAST = shlex.split(
    "run --dataset digits --model softmax_regression --engine reference --rounds 2"
)


@pytest.fixture
def fed(python: Run) -> Run:
    return lambda *args, **kwargs: python(["-m", "fedflux", *map(str, args)], **kwargs)


def test_version(fed: Run) -> None:
    assert fed("--version").stdout.strip() == f"fedflux, version {fedflux.__version__}"


def test_run_writes_json_and_result(fed: Run, tmp_path: Path) -> None:
    more = shlex.split(
        "--json out.json --save out.safetensors --model mlp --hidden 20,10 --lr 0.5"
    )
    done = fed(*FAST, *more)
    facts = json.loads((tmp_path / "out.json").read_text())
    assert done.stderr == ""  # quiet where stderr is no terminal
    assert done.stdout.count("\n") == 1
    assert f"accuracy {facts['accuracy']:.4f}" in done.stdout
    assert facts["engine"] == "reference"
    assert (facts["options"]["hidden"], facts["options"]["lr"]) == ([20, 10], 0.5)
    assert [r["round"] for r in facts["history"]] == [1, 2]
    saved = fedflux.Result.load(tmp_path / "out.safetensors")
    assert saved.params_sha256 == facts["params_sha256"]


def test_the_history_is_a_file_by_its_ending(fed: Run, tmp_path: Path) -> None:
    fed(*FAST, "--history", "rounds.csv", "--json", "out.json")
    history = json.loads((tmp_path / "out.json").read_text())["history"]
    rows = list(csv.DictReader((tmp_path / "rounds.csv").open(newline="")))
    for name in ("train_loss", "accuracy", "bytes_up"):
        assert [float(row[name]) for row in rows] == [record[name] for record in history]
    done = fed(*FAST, "--history", "rounds.xlsx", "--json", "new.json", check=False)
    assert done.returncode == 2
    assert "history: expected a file .csv or .parquet, got 'rounds.xlsx'" in done.stderr
    done = fed(*FAST, "--history", "none/rounds.csv", "--json", "new.json", check=False)
    assert "there is no folder" in done.stderr
    assert not (tmp_path / "new.json").exists()  # said before the training
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: Parquet is not tested")
    fed(*FAST, "--history", "rounds.parquet")
    frame = pandas.read_parquet(tmp_path / "rounds.parquet")
    assert list(frame["accuracy"]) == [record["accuracy"] for record in history]


def test_rules_are_given_one_by_one(fed: Run) -> None:
    done = fed(*FAST, "--rule", "fedprox(mu=0.1)", "--rule", "scaffold", check=False)
    assert "rules=['fedprox(mu=0.1)', 'scaffold'] needs the Julia core" in done.stderr


def test_options_override_the_config(fed: Run, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(
        'dataset = "digits"\nmodel = "mlp"\nhidden = [8]\nengine = "reference"\n'
        "rounds = 5\nbatch-size = 50\nlr = 1\n"
    )
    fed("run", "--config", "run.toml", "--rounds", 1, "--json", "out.json")
    options = json.loads((tmp_path / "out.json").read_text())["options"]
    assert {k: options[k] for k in ("model", "hidden", "rounds", "batch_size", "lr")} == {
        "model": "mlp",
        "hidden": [8],
        "rounds": 1,
        "batch_size": 50,
        "lr": 1.0,
    }


SEE = r"fedflux: see https://\S+/errors/#[a-z-]+\n"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["run", "--round", "3"], ["--round", "--rounds"]),
        (["rum"], ["rum"]),
        (["run", "--rounds", "many"], ["rounds: expected an integer, got 'many'"]),
        (["run", "--rounds", "0"], ["rounds: expected at least 1, got 0"]),
        (["run", "--model", "lenett"], ["did you mean 'lenet'?"]),
        (["run", "--dataset", "none.npz"], ["no file 'none.npz'"]),
        (
            ["run", "--dataset", "digits", "--clients", "99999", "--engine", "reference"],
            ["99999", "1437"],
        ),
        (
            ["run", "--dataset", "digits", "--model", "lenet", "--engine", "reference"],
            ["layer 3", "at least 5", "got 4"],
        ),
        (["run", "--config", "none.toml"], ["config: no file 'none.toml'"]),
        (["run", "--config", "bad.toml"], ["bad.toml"]),
        (
            ["run", "--config", "unknown.toml"],
            ["unknown option 'round'; did you mean 'rounds'?"],
        ),
        (["run", "--json", "no/such/out.json"], ["can't write no/such/out.json"]),
    ],
)
def test_a_mistake_is_one_line_an_address_and_exit_code_2(
    fed: Run, tmp_path: Path, args: list[str], words: list[str]
) -> None:
    (tmp_path / "bad.toml").write_text("rounds = = 3")
    (tmp_path / "unknown.toml").write_text("round = 3")
    done = fed(*args, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(rf"fedflux: error: [^\n]+\n{SEE}", done.stderr)
    assert all(word in done.stderr for word in words)


def test_without_julia_auto_falls_back_and_julia_fails(
    fed: Run, no_julia: dict[str, str], tmp_path: Path
) -> None:
    auto = [*FAST[:5], "--rounds", "1", "--json", "out.json"]
    done = fed(*auto, env=no_julia)
    assert "fedflux: warning: the slow reference engine is used: Julia" in done.stderr
    facts = json.loads((tmp_path / "out.json").read_text())
    assert facts["engine"] == "reference"
    assert any("reference engine" in w for w in facts["warnings"])
    done = fed(*auto, "--engine", "julia", env=no_julia, check=False, timeout=60)
    assert done.returncode == 1
    assert re.search(rf"^fedflux: error: Julia [^\n]+\n{SEE}\Z", done.stderr, re.M)
    assert "Traceback" not in done.stderr


def test_progress_on_a_terminal() -> None:
    """The bar shows rounds, loss, accuracy, bytes and clients."""
    text = in_terminal(FAST, "stderr", COLUMNS="140", TERM="xterm")
    assert re.search(
        r"2/2.*loss \d\.\d+ +accuracy \d\.\d+ +[▁█]{2} .* MB +\d+ client", text
    )


def test_files_of_your_own_and_lists_of_samples(fed: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    x = (rng.random((40, 6, 5, 3)) + y[:, None, None, None]).astype("float32")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y)
    lists = [list(range(10)), list(range(10, 40))]
    (tmp_path / "parts.json").write_text(json.dumps(lists))
    run = [arg for arg in FAST if arg not in ("--dataset", "digits")]
    same = ["--layout", "NHWC", "--partition-file", "parts.json", "--json", "out.json"]

    def fingerprint(*args: str) -> str:
        fed(*run, *args, *same)
        return str(json.loads((tmp_path / "out.json").read_text())["params_sha256"])

    known = fedflux.run(
        x_train=np.moveaxis(x, -1, 1),
        y_train=y,
        partition=lists,
        model="softmax_regression",
        rounds=2,
        engine="reference",
    ).params_sha256
    assert fingerprint("--x-train", "x.npy", "--y-train", "y.npy") == known
    assert fingerprint("--dataset", "d.npz") == known
    table = "a,b,kind\n" + "".join(
        f"{i % 7 + 0.5},{i},{['even', 'odd'][i % 2]}\n" for i in y
    )
    (tmp_path / "t.csv").write_text(table)
    fed(*run, "--x-train", "t.csv", "--y-train", "kind", "--clients", 2)

    for text, words in (
        ("[[0]", "can't be read as JSON"),
        ("3", "expected a list of lists, or an object"),
        ("[[0, 99]]", "99"),
    ):
        (tmp_path / "parts.json").write_text(text)
        done = fed(*run, "--dataset", "d.npz", *same, check=False)
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    done = fed(*FAST, "--layout", "NHWC", check=False)
    assert "layout: the images of dataset digits" in done.stderr
