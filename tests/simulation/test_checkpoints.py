"""Checkpoints and resuming, from Python and the command line, with processes killed."""

import contextlib
import hashlib
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedflux

from ..conftest import Run, started, wait_for

KILLS = int(os.environ.get("FEDFLUX_KILLS", "2"))
SMALL: dict[str, Any] = {
    "dataset": "digits",
    "model": "softmax_regression",
    "clients": 4,
    "lr": 0.3,
    "engine": "julia",
}


def test_resume_with_the_same_options_or_none(julia: None, tmp_path: Path) -> None:
    folder = str(tmp_path / "run")
    whole = fedflux.run(**SMALL, rounds=4)
    begun = fedflux.run(**SMALL, rounds=2, resume=folder)  # the folder is empty
    assert begun.details["resumed"] == 0
    rest = fedflux.run(resume=folder, rounds=3)
    assert (rest.details["resumed"], rest.options["lr"], rest.options["model"]) == (
        2,
        0.3,
        "softmax_regression",
    )
    last = fedflux.run(**SMALL, rounds=4, resume=folder)
    assert last.params_sha256 == whole.params_sha256
    assert [r["test_loss"] for r in last.history] == [r["test_loss"] for r in whole.history]


def test_a_changed_option_is_refused_by_name(julia: None, tmp_path: Path) -> None:
    folder = str(tmp_path)
    fedflux.run(**SMALL, rounds=1, checkpoint=folder)
    with pytest.raises(
        fedflux.FedFluxError, match=r"option lr is 0\.1, and the run in .* has 0\.3"
    ):
        fedflux.run(resume=folder, lr=0.1)
    with pytest.raises(
        fedflux.FedFluxError, match="holds a run's checkpoints, up to round 1"
    ):
        fedflux.run(**SMALL, rounds=1, checkpoint=folder)
    with pytest.raises(fedflux.OptionError, match=r"resume.* needs the Julia core"):
        fedflux.run(resume=folder, engine="reference")
    with pytest.raises(fedflux.OptionError, match=r"checkpoint.* needs the Julia core"):
        fedflux.run(checkpoint=folder, engine="reference")


def test_arrays_must_be_given_again(
    julia: None, tmp_path: Path, blobs: dict[str, np.ndarray]
) -> None:
    folder = str(tmp_path)
    options: dict[str, Any] = {
        "model": "softmax_regression",
        "clients": 3,
        "engine": "julia",
    }
    whole = fedflux.run(**blobs, **options, rounds=3)
    fedflux.run(**blobs, **options, rounds=1, checkpoint=folder)
    with pytest.raises(fedflux.OptionError, match="give x_train"):
        fedflux.run(resume=folder)
    with pytest.raises(fedflux.FedFluxError, match="the data or its split changed"):
        fedflux.run(**{**blobs, "x_train": blobs["x_train"] + 1}, resume=folder)
    assert (
        fedflux.run(**blobs, resume=folder, rounds=3).params_sha256 == whole.params_sha256
    )


def forge(file: Path, **changed: object) -> None:
    """Change options in a checkpoint, with a right checksum."""
    content = json.loads(file.read_text(encoding="utf-8"))
    del content["sha256"]
    content["run"]["options"] |= changed
    text = json.dumps(content)[1:]
    digest = hashlib.sha256(text.encode()).hexdigest()
    file.write_text(f'{{"sha256":"{digest}",{text}', encoding="utf-8")


@pytest.mark.skipif(os.name == "nt", reason="a script stands for ssh")
def test_a_checkpoint_of_somebody_else_starts_nothing_and_opens_nothing(
    julia: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, called = tmp_path / "run", tmp_path / "called"
    fedflux.run(**SMALL, rounds=1, checkpoint=str(folder))
    ssh, hosts = tmp_path / "ssh", tmp_path / "hosts.txt"
    ssh.write_text(f"#!/bin/sh\ntouch {called}\nexit 1\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    hosts.write_text("fl.example.org 2\n")
    newest = folder / "round-000001.json"
    forge(newest, machines=str(hosts), workers=2, data_dir=str(tmp_path))
    rest = fedflux.run(resume=str(folder), rounds=2)
    assert rest.details["resumed"] == 1
    assert not called.exists()
    assert {rest.options["machines"], rest.options["data_dir"]} == {None}
    assert rest.options["workers"] == 0
    forge(folder / "round-000002.json", dataset=str(tmp_path / "secret.npz"))
    with pytest.raises(fedflux.OptionError, match=r"dataset='.*secret\.npz', a file: name"):
        fedflux.run(resume=str(folder), rounds=3)


def test_a_file_of_data_is_named_again(
    julia: None, tmp_path: Path, blobs: dict[str, np.ndarray]
) -> None:
    file, folder = str(tmp_path / "mine.npz"), str(tmp_path / "run")
    np.savez(file, **blobs)
    options: dict[str, Any] = {"model": "softmax_regression", "clients": 3}
    fedflux.run(dataset=file, **options, engine="julia", rounds=1, checkpoint=folder)
    with pytest.raises(fedflux.OptionError, match="name it again"):
        fedflux.run(resume=folder, rounds=2)
    assert fedflux.run(dataset=file, resume=folder, rounds=2).details["resumed"] == 1
    assert fedflux.run(**blobs, resume=folder, rounds=3).details["resumed"] == 2


def test_the_arrays_are_ordinary_safetensors(julia: None, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    result = fedflux.run(**SMALL, rounds=1, checkpoint=str(tmp_path))
    arrays = load_file(tmp_path / "round-000001.safetensors")
    for name, value in result.parameters.items():
        np.testing.assert_array_equal(arrays[f"parameters/{name}"], value)
    assert json.loads((tmp_path / "round-000001.json").read_text())["round"] == 1


@pytest.mark.filterwarnings("ignore::fedflux.FedFluxWarning")
def test_a_damaged_checkpoint_is_passed_over(julia: None, tmp_path: Path) -> None:
    whole = fedflux.run(**SMALL, rounds=3)
    fedflux.run(**SMALL, rounds=2, checkpoint=str(tmp_path))
    newest = tmp_path / "round-000002.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    rest = fedflux.run(resume=str(tmp_path), rounds=3)
    assert rest.details["resumed"] == 1
    assert any("round 2 is skipped" in w for w in rest.warnings)
    assert rest.params_sha256 == whole.params_sha256


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte; the test is skipped where none can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk],
            check=True,
            capture_output=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small disk can't be mounted here: {error}")
    yield disk
    subprocess.run(["umount", disk], check=True)


def _fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_full_disk_is_a_warning_and_the_run_goes_on(
    julia: None, small_disk: Path
) -> None:
    filler, folder = small_disk / "filler", small_disk / "run"

    def callback(record: dict[str, Any]) -> bool:
        if record["round"] == 2:
            _fill(filler)
        elif record["round"] == 4:
            filler.unlink()
        return False

    with pytest.warns(fedflux.FedFluxWarning, match=r"No space left.*the run goes on"):
        result = fedflux.run(
            **SMALL, rounds=6, checkpoint=str(folder), checkpoint_keep=9, callback=callback
        )
    assert len(result.warnings) == 1
    written = [
        f"round-{number:06}.{kind}"
        for number in (0, 1, 2, 5, 6)
        for kind in ("json", "safetensors")
    ]
    assert sorted(p.name for p in folder.iterdir()) == [
        ".lock",
        "history.jsonl",
        *written,
    ]
    whole = fedflux.run(**SMALL, rounds=8)
    assert fedflux.run(resume=str(folder), rounds=8).params_sha256 == whole.params_sha256
    _fill(filler)
    with pytest.raises(fedflux.FedFluxError, match=r"(?i)no space left"):
        fedflux.run(**SMALL, rounds=1, checkpoint=str(small_disk / "other"))


def _newest(folder: Path) -> str:
    return max((p.name for p in folder.glob("round-*.json")), default="")


def test_two_runs_in_one_folder(julia: None, tmp_path: Path) -> None:
    args = "-m fedflux run --dataset digits --rounds 1000000 --engine julia --resume run"
    folder = tmp_path / "run"
    with started(shlex.split(args), tmp_path) as process:
        wait_for(folder / "round-000001.json", process)
        with pytest.raises(
            fedflux.FedFluxError,
            match=rf"another run writes to .*run \(process {process.pid} on",
        ):
            fedflux.run(resume=str(folder), rounds=3)
    newest = int(_newest(folder)[6:12])
    rest = fedflux.run(resume=str(folder), rounds=newest + 1)
    assert (rest.details["resumed"], len(rest.history)) == (newest, newest + 1)


def test_killed_while_it_saves_a_process_leaves_nothing_for_good(
    tmp_path: Path, python: Run
) -> None:
    path = tmp_path / "r.safetensors"
    code = f"""
import fedflux, numpy as np
x, y = np.zeros((8, 4000), np.float32), [0, 1] * 4
result = fedflux.run(
    x_train=x, y_train=y, model="softmax_regression", engine="reference", rounds=1,
    clients=2)
print("go", flush=True)
while True:
    result.save({str(path)!r})
"""
    rng, left = random.Random(5), 0
    for _ in range(10):
        with subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(rng.uniform(0.01, 0.1))
            process.kill()
        parts = list(tmp_path.glob(".*.part"))
        assert len(parts) <= 1
        left += len(parts)
        result = fedflux.Result.load(path)  # whole, at any moment
    (tmp_path / ".r.safetensors.x.part").write_text("the user's own")
    result.save(path)
    assert [p.name for p in tmp_path.glob(".*.part")] == [".r.safetensors.x.part"]
    print(f"killed 10 times; {left} left an unfinished file for the next to remove")


def test_killed_at_random_moments_a_run_ends_the_same(
    julia: None, python: Run, tmp_path: Path
) -> None:
    """FEDFLUX_KILLS=50 kills 50 times."""
    rounds = 20 * KILLS
    options = shlex.split("--dataset digits --model mlp --hidden 20 --clients 4 --rounds")
    options += [str(rounds)]
    options += [
        "--save",
        "result.safetensors",
        "--rule",
        "scaffold",
        "--server",
        "fedadam(lr=0.01)",
        "--eval-every",
        "5",
    ]
    run = [sys.executable, "-m", "fedflux", "run", *options]
    python([*run[1:], "--json", "whole.json"])
    rng, folder, kills, at = random.Random(7), tmp_path / "run", 0, []
    while kills < KILLS:
        before = _newest(folder)
        process = subprocess.Popen(
            [*run, "--resume", "run"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        while process.poll() is None and _newest(folder) == before:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.3))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        at.append(_newest(folder))
    python([*run[1:], "--resume", "run", "--json", "resumed.json"])
    assert (folder / "run.json").read_text() == (tmp_path / "resumed.json").read_text()
    assert not list(tmp_path.rglob(".*.part"))
    whole, resumed = (
        json.loads((tmp_path / name).read_text()) for name in ("whole.json", "resumed.json")
    )
    print(
        f"killed {kills} times, last after {at[-1] if at else 'nothing'}; "
        f"{resumed['params_sha256'][:12]}"
    )
    assert kills > 0
    assert resumed["params_sha256"] == whole["params_sha256"]
    assert [r["train_loss"] for r in resumed["history"]] == [
        r["train_loss"] for r in whole["history"]
    ]
