"""The measurements.

Contenders take turns, so that what else the machine does meets them all; medians are kept.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.tasks import TASKS, Workspace, flops
from benchmarks.workers import (
    CONTENDERS,
    Absent,
    Contender,
    PeakMemory,
    Setup,
    Worker,
    workers,
)

BATCHES = (10, 32, 64)
# How far a loss may be from PyTorch's, relatively; 1e-3 where nothing is said. Flux's
# max-pool (NNlib 0.9.36) sends the gradient to the first value that is only about equal to
# the maximum (≈), so its gradients are a little off.
TOLERANCE = {"zygote": 0.05}
Row = dict[str, Any]


@dataclass(frozen=True)
class Effort:
    """How long and how often things are measured."""

    seconds: float
    repeats: int
    rounds: int | None  # None: as many as the task says
    population: tuple[int, ...]
    crowd: tuple[int, ...]  # numbers of clients for FedFlux alone

    @classmethod
    def of(cls, quick: bool) -> Effort:
        return (
            cls(0.02, 2, 2, (10, 40), (100,))
            if quick
            else cls(0.4, 7, None, (10, 100, 1000, 10_000), (100_000, 1_000_000))
        )


def say(*words: object) -> None:
    print(*words, file=sys.stderr, flush=True)


def ask(worker: Worker, setup: Setup, request: Row) -> Row:
    """The answer, or one with the error; a process that dies is absent from then on."""
    try:
        answer = worker.ask(request)
    except Absent as reason:
        setup.absent[worker.contender.name] = str(reason)
        answer = {"error": str(reason)}
    if "error" in answer:
        say(f"  {worker.contender.title}: {answer['error']}")
    return answer


def steps(
    setup: Setup, space: Workspace, chosen: list[Contender], effort: Effort
) -> Iterator[Row]:
    """Milliseconds of one training step on one core, each contender's in turns with the
    others'.
    """
    with workers(setup, [c for c in chosen if c.steps], cores=1) as started:
        for task in TASKS.values():
            for batch in BATCHES:
                request = space.request(task, batch, seconds=effort.seconds)
                yield from step_rows(
                    setup,
                    started,
                    request,
                    effort.repeats,
                    flops(task.name, batch, space.vocabulary),
                )


def step_rows(
    setup: Setup, started: list[Worker], request: Row, repeats: int, work: int
) -> list[Row]:
    ready: dict[str, Row] = {}
    for worker in started:
        answer = ask(worker, setup, {"do": "prepare", **request})
        ready[worker.contender.name] = {
            "contender": worker.contender.name,
            "task": request["task"],
            "batch": request["batch"],
            **answer,
        }
    able = [w for w in started if "error" not in ready[w.contender.name]]
    times: dict[str, list[float]] = {w.contender.name: [] for w in able}
    for turn in range(repeats):
        setup.quiet.wait()
        for worker in able[turn % len(able) :] + able[: turn % len(able)]:
            times[worker.contender.name].append(
                ask(worker, setup, {"do": "steps", **request})["ms"]
            )
    for name, values in times.items():
        ms = statistics.median(values)
        ready[name] |= {
            "ms": ms,
            "low": min(values),
            "high": max(values),
            "all": values,
            "gflops": work / ms / 1e6,
        }
    agree([row for row in ready.values() if "loss" in row])
    say(
        f"steps {request['task']:>10} {request['batch']:>3}: "
        + "  ".join(f"{n} {r.get('ms', float('nan')):.3f} ms" for n, r in ready.items())
    )
    return list(ready.values())


def agree(rows: list[Row]) -> None:
    """Same model, same batches, same optimizer: after one pass over the same data all
    losses must be the same.
    """
    reference = next(
        (row["loss"] for row in rows if row["contender"] in ("pytorch", "fedjax")), None
    )
    for row in rows:
        if (
            reference
            and abs(row["loss"] - reference)
            > TOLERANCE.get(row["contender"], 1e-3) * reference
        ):
            raise SystemExit(
                f"{row['contender']} does other work than its peers: loss {row['loss']}, "
                f"theirs {reference}"
            )


def rounds(
    setup: Setup, space: Workspace, chosen: list[Contender], effort: Effort
) -> Iterator[Row]:
    """Seconds of a round of 10 clients and the accuracy after the task's rounds, on two
    cores, and in part on one.
    """
    for cores in (1, 2):
        with workers(setup, chosen, cores) as started:
            for task in TASKS.values():
                for batch in BATCHES:
                    headline = task.name == "case_study" and batch in (10, 32)
                    if cores == 1 and not headline:
                        continue
                    count = effort.rounds or task.rounds
                    request = space.request(
                        task, batch, do="round", cohort=10, rounds=count
                    )
                    turns = 2 if headline and effort.repeats > 2 else 1
                    yield from round_rows(setup, started, request, cores, turns)


def round_rows(
    setup: Setup, started: list[Worker], request: Row, cores: int, turns: int
) -> list[Row]:
    """The median of all rounds but the first of each run, in which one compiles and another
    starts its processes.
    """
    rows: dict[str, Row] = {}
    times: dict[str, list[float]] = {}
    for turn in range(turns):
        for worker in started:
            name = worker.contender.name
            setup.quiet.wait()
            answer = ask(worker, setup, request)
            if "error" not in answer:
                times.setdefault(name, []).extend(answer["seconds"][1:])
            if turn == 0 or "error" in answer:
                rows[name] = {
                    "contender": name,
                    "task": request["task"],
                    "batch": request["batch"],
                    "cores": cores,
                    "rounds": request["rounds"],
                    **answer,
                }
    for name, values in times.items():
        rows[name] |= {
            "ms": 1e3 * statistics.median(values),
            "low": 1e3 * min(values),
            "high": 1e3 * max(values),
            "timed": len(values),
        }
    shown = "  ".join(
        f"{n} {r.get('ms', float('nan')):.0f} ms {r.get('accuracy', float('nan')):.3f}"
        for n, r in rows.items()
    )
    say(f"round {request['task']:>10} {request['batch']:>3} on {cores} cores: {shown}")
    return list(rows.values())


def scale(
    setup: Setup, space: Workspace, chosen: list[Contender], effort: Effort
) -> Iterator[Row]:
    """Time and memory from 10 to 10,000 clients of 20 images, and to a million with FedFlux
    alone, 100 a round: a process for every point, on one core.
    """
    for clients in (*effort.population, *effort.crowd):
        cohort = min(100, clients)
        request = space.request(
            TASKS["case_study"],
            10,
            space.split(clients, 20),
            do="round",
            cohort=cohort,
            rounds=5,
        )
        for contender in chosen:
            if clients in effort.crowd and contender.name != "fast":
                continue
            with workers(setup, [contender], cores=1) as started:
                for worker in started:
                    setup.quiet.wait()
                    with PeakMemory(worker.process.pid) as memory:
                        answer = ask(worker, setup, request)
                    row = {
                        "contender": contender.name,
                        "clients": clients,
                        "cohort": cohort,
                        "peak_mib": memory.peak,
                        **answer,
                    }
                    if "error" not in answer:
                        row["ms"] = 1e3 * statistics.median(answer["seconds"][1:])
                        say(
                            f"scale {clients:>6}: {contender.name} {row['ms']:.1f} ms "
                            f"a round, {memory.peak:.0f} MiB"
                        )
                    yield row


def overhead(
    setup: Setup, space: Workspace, chosen: list[Contender], effort: Effort
) -> Iterator[Row]:
    """Microseconds that a client of 20 images costs FedFlux beyond its two gradient steps,
    on one core.
    """
    with workers(setup, [c for c in chosen if c.trainer], cores=1) as started:
        for worker in started:
            request = space.request(
                TASKS["case_study"],
                10,
                space.split(1000, 20),
                do="overhead",
                cohort=100,
                repeats=effort.repeats + 1,
            )
            setup.quiet.wait()
            row = {"contender": worker.contender.name, **ask(worker, setup, request)}
            say("overhead", row)
            yield row


def gemm(
    setup: Setup, space: Workspace, chosen: list[Contender], effort: Effort
) -> Iterator[Row]:
    """The rate of the best matrix product on one core: the most that a step could reach."""
    with workers(
        setup, [c for c in chosen if c.name in ("fast", "pytorch")], cores=1
    ) as started:
        for worker in started:
            rates = []
            for n in (512, 1024):
                setup.quiet.wait()
                answer = ask(
                    worker, setup, {"do": "gemm", "n": n, "seconds": 5 * effort.seconds}
                )
                rates.append(answer.get("gflops", 0.0))
            row = {"contender": worker.contender.name, "gflops": max(rates)}
            say("gemm", row)
            yield row


def start_up(
    setup: Setup,
    space: Workspace,
    chosen: list[Contender],
    effort: Effort,
    depot: Path | None,
) -> Iterator[Row]:
    """Seconds from starting a process to the end of its first round (case-study CNN, 10
    clients), on two cores.
    """
    request = space.request(TASKS["case_study"], 10, do="round", cohort=10, rounds=1)
    for contender in chosen:
        seconds = [
            first_round(setup, contender, request, None)
            for _ in range(1 if effort.repeats <= 2 else 2)
        ]
        known = [s for s in seconds if s is not None]
        row = {
            "contender": contender.name,
            "second": statistics.median(known) if known else None,
        }
        say("start", row)
        yield row
    if depot is not None and any(c.name == "fast" for c in chosen):
        row = {"contender": "fast", "first": cold_start(setup, request, depot)}
        say("start", row)
        yield row


def first_round(
    setup: Setup, contender: Contender, request: Row, env: dict[str, str] | None
) -> float | None:
    setup.quiet.wait()
    begun = time.perf_counter()
    try:
        worker = Worker(setup, contender, 2, env)
    except Absent as reason:
        setup.absent[contender.name] = str(reason)
        return None
    answer = ask(worker, setup, request)
    seconds = time.perf_counter() - begun
    worker.close()
    return None if "error" in answer else seconds


def cold_start(setup: Setup, request: Row, depot: Path) -> float | None:
    """The first start ever: the packages are there, nothing is compiled (a depot whose
    compiled/ is empty).
    """
    with tempfile.TemporaryDirectory() as folder:
        for part in depot.iterdir():
            if part.name != "compiled":
                Path(folder, part.name).symlink_to(part)
        seconds = first_round(
            setup, CONTENDERS["fast"], request, {"JULIA_DEPOT_PATH": folder}
        )
        shutil.rmtree(Path(folder, "compiled"), ignore_errors=True)
    return seconds
