"""Worker processes from Python: the numbers of one process, and no process left behind."""

import subprocess
from typing import Any

import pytest

import fedflux

SMALL: dict[str, Any] = {
    "dataset": "digits",
    "model": "softmax_regression",
    "clients": 4,
    "rounds": 2,
    "rules": ["scaffold"],
    "seed": 3,
}


def children() -> set[str]:
    """The processes of Julia that are workers."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True)
    return {line.split()[0] for line in listed.stdout.splitlines() if "--worker" in line}


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


def test_the_reference_engine_has_no_workers() -> None:
    with pytest.raises(fedflux.OptionError, match=r"workers=2 needs the Julia core"):
        fedflux.run(dataset="digits", rounds=1, engine="reference", workers=2)
