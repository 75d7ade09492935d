"""Worker processes from Python: the numbers of one process, and no process left behind."""

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import fedflux

from .. import processes
from ..conftest import started
from ..federation import wait_until
from ..processes import alive, command

SMALL: dict[str, Any] = {
    "dataset": "digits",
    "model": "softmax_regression",
    "clients": 4,
    "rounds": 2,
    "rules": ["scaffold"],
    "seed": 3,
}


def children() -> set[str]:
    """The workers that this process has started."""
    shown = ["ps", "-wweo", "pid,ppid,args"]  # -ww: in full, however long
    listed = subprocess.run(shown, capture_output=True, text=True)
    rows = [line.split() for line in listed.stdout.splitlines()]
    return {row[0] for row in rows if row[1] == str(os.getpid()) and "--worker" in row}


def test_worker_processes_give_the_numbers_of_one_and_end_with_the_run(
    julia: None,
) -> None:
    before, seen = children(), set()

    def callback(record: dict[str, Any]) -> bool:
        seen.update(children() - before)
        return False

    one = fedflux.run(**SMALL, engine="julia", threads=1)
    two = fedflux.run(**SMALL, engine="julia", workers=2, callback=callback)
    assert two.params_sha256 == one.params_sha256
    assert (one.details["workers"], two.details["workers"]) == (0, 2)
    assert len(seen) >= 2
    assert not children() & seen


def test_a_kept_optimizer_travels_and_is_in_checkpoints(
    julia: None, tmp_path: Path
) -> None:
    kept: dict[str, Any] = SMALL | {
        "rules": [],
        "engine": "julia",
        "optimizer": "adamw(weight_decay=0.1)",
        "keep_optimizer": True,
        "lr": 0.01,
        "rounds": 3,
        "clients_per_round": 2,
    }
    one = fedflux.run(**kept, threads=1)
    assert fedflux.run(**kept, workers=2).params_sha256 == one.params_sha256
    folder = tmp_path / "run"
    fedflux.run(**kept | {"rounds": 2}, checkpoint=folder)
    resumed = fedflux.run(resume=folder, rounds=3, threads=1)
    assert resumed.params_sha256 == one.params_sha256
    anew = fedflux.run(**kept | {"keep_optimizer": False})
    assert anew.params_sha256 != one.params_sha256


def test_the_reference_engine_has_no_workers() -> None:
    with pytest.raises(fedflux.OptionError, match=r"workers=2 needs the Julia core"):
        fedflux.run(dataset="digits", rounds=1, engine="reference", workers=2)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="it reads Linux's /proc")
@pytest.mark.parametrize(
    ("number", "code", "word", "delay"),
    [
        (signal.SIGINT, 130, "interrupted", 0),
        (signal.SIGTERM, 143, "terminated", 1),
        (signal.SIGINT, 130, "interrupted", 5),
    ],
)
def test_a_signal_while_workers_start_ends_them_too(
    julia: None, tmp_path: Path, number: signal.Signals, code: int, word: str, delay: float
) -> None:
    """They are launched, connect or load the core, which takes longer than this waits."""
    args = "-m fedflux run --dataset digits --rounds 100000 --engine julia --workers 2"
    with started(shlex.split(args), tmp_path, stderr=subprocess.PIPE) as process:
        wait_until(lambda: len(workers_of(process.pid)) == 2, 120, "two workers")
        time.sleep(delay)
        workers, sent = workers_of(process.pid), time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    took = time.monotonic() - sent
    # after ^C, a line of its own
    assert (process.returncode, err.strip()) == (code, f"fedflux: error: {word}")
    assert len(workers) == 2
    assert not any(map(alive, workers))
    print(f"{took:.1f} s")
    assert took < 10  # measured: 2 to 5 s beside the suite; before, all of the start


def workers_of(pid: int) -> list[int]:
    return [child for child in processes.children(pid) if "--worker" in command(child)]
