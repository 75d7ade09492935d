"""The contenders' processes: how each is started, asked and ended, and how much memory it
holds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers.protocol import MARK
from benchmarks.quiet import Quiet

ROOT = Path(__file__).resolve().parent.parent
Answer = dict[str, Any]


@dataclass(frozen=True)
class Contender:
    """Who competes. `steps`: has a gradient step of its own (pfl and Flower train with
    PyTorch's).
    """

    name: str
    title: str
    module: str = ""
    trainer: str = ""
    steps: bool = True


CONTENDERS = {
    c.name: c
    for c in (
        Contender("fast", "FedFlux, fast", trainer="fast"),
        Contender("zygote", "FedFlux, Zygote", trainer="zygote"),
        Contender("pytorch", "PyTorch loop", "pytorch_loop"),
        Contender("pfl", "pfl", "pfl_sim", steps=False),
        Contender("flower", "Flower (Ray)", "flower_sim", steps=False),
        Contender("fedjax", "FedJAX", "fedjax_sim"),
    )
}


@dataclass
class Setup:
    """Where the programs are, and what has been learned of the contenders so far."""

    julia: list[str]
    project: str
    quiet: Quiet
    versions: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def command(self, contender: Contender, cores: int) -> list[str]:
        if contender.trainer:
            script = str(ROOT / "benchmarks" / "worker.jl")
            return [
                *self.julia,
                f"--project={self.project}",
                f"--threads={cores}",
                script,
                contender.trainer,
            ]
        return [sys.executable, "-m", f"benchmarks.peers.{contender.module}"]


class Absent(Exception):
    """A contender that doesn't start here; its text says why."""


class Worker:
    """One contender's process, held to `cores` cores."""

    def __init__(
        self,
        setup: Setup,
        contender: Contender,
        cores: int,
        env: dict[str, str] | None = None,
    ) -> None:
        self.contender = contender
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the process)
        limits = {
            "OMP_NUM_THREADS": str(cores),
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
        }
        try:
            self.process = subprocess.Popen(
                setup.command(contender, cores),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.log,
                text=True,
                cwd=ROOT,
                env={**os.environ, **limits, **(env or {})},
                preexec_fn=lambda: os.sched_setaffinity(0, first_cores(cores)),
            )
        except OSError as error:
            raise Absent(str(error)) from None
        try:
            setup.versions.update(self.read()["versions"])
        except Absent:
            self.close()
            raise

    def read(self) -> Answer:
        """The next answer; what libraries print in between is passed over."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(MARK):
                answer: Answer = json.loads(line.removeprefix(MARK))
                return answer
        self.process.wait(timeout=60)
        raise Absent(self.reason())

    def reason(self) -> str:
        """The line of the process's last words that names its error."""
        self.log.seek(0)
        lines = [line.strip() for line in self.log.read().splitlines() if line.strip()]
        errors = [
            line for line in lines if line.startswith("ERROR: ")
        ]  # Julia's comes first, Python's last
        errors = errors[:1] or [
            line for line in lines if line.split(":")[0].endswith(("Error", "Exception"))
        ]
        return (errors or lines or ["it ended without a word"])[-1][:160]

    def ask(self, request: Answer) -> Answer:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Absent(self.reason()) from None
        return self.read()

    def close(self) -> None:
        """End the process by closing its line; only a process that doesn't listen is
        killed.
        """
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def first_cores(count: int) -> set[int]:
    return set(sorted(os.sched_getaffinity(0))[:count])


@contextmanager
def workers(
    setup: Setup, contenders: list[Contender], cores: int
) -> Iterator[list[Worker]]:
    """The processes of those contenders that start; the reasons of the others go into
    `setup.absent`.
    """
    started: list[Worker] = []
    try:
        for contender in contenders:
            try:
                started.append(Worker(setup, contender, cores))
            except Absent as reason:
                setup.absent[contender.name] = str(reason)
        yield started
    finally:
        for worker in started:
            worker.close()


class PeakMemory:
    """The most memory, in MiB, that a process and all its children held together (of shared
    pages each its part).
    """

    def __init__(self, pid: int, every: float = 0.2) -> None:
        self.pid, self.every, self.peak = pid, every, 0.0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop.set()
        self.thread.join()

    def watch(self) -> None:
        while not self.stop.wait(self.every):
            self.peak = max(
                self.peak, sum(proportional_mib(pid) for pid in family(self.pid))
            )


def family(pid: int) -> list[int]:
    """A process and all that it started, directly or not."""
    found = [pid]
    for parent in found:
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                found += [
                    int(child)
                    for child in Path(f"/proc/{parent}/task/{task}/children")
                    .read_text()
                    .split()
                ]
        except OSError:
            continue
    return found


def proportional_mib(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0
