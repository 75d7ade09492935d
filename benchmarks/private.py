"""Milliseconds of a private training step (DP-SGD: each example's gradient clipped, noise
on the sum) beside a plain one, and beside Opacus's: `python -m benchmarks.private`.

All on one core, taking turns; milliseconds are those of the fastest turn, ratios the
medians of the turns' own. Batches are of a fixed size, so that all do the same work.
FedFlux's noise comes from ChaCha20; Opacus's, in its default mode, from PyTorch's
generator. Both start from the same parameters, and without noise they end a pass at the
same loss. Opacus doesn't take PyTorch's LSTM.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import statistics
import tempfile
from operator import truediv
from pathlib import Path
from typing import Any

from benchmarks.quiet import Quiet
from benchmarks.tasks import TASKS, Workspace, prepare
from benchmarks.workers import CONTENDERS, ROOT, Contender, Setup, Worker, workers

CLIP = 1.0
OPACUS = Contender("opacus", "Opacus", "opacus_steps")
WAYS = (("plain", "fast", None), ("private", "fast", CLIP), ("opacus", "opacus", CLIP))
TABLE = """\
| model | batch | plain, ms | private, ms | private/plain | Opacus, ms | Opacus/private |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |"""
Row = dict[str, Any]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.private", description=__doc__
    )
    parser.add_argument("--tasks", default="case_study,mlp,lstm", help=f"of {list(TASKS)}")
    parser.add_argument("--batches", default="10,32,64")
    parser.add_argument("--repeats", type=int, default=21, help="turns of each")
    parser.add_argument("--seconds", type=float, default=0.2, help="of each turn")
    parser.add_argument("--julia", default=os.environ.get("FEDFLUX_JULIA", "julia"))
    project = os.environ.get("FEDFLUX_JULIA_PROJECT", str(ROOT / "julia" / "FedFlux"))
    parser.add_argument("--project", default=project)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--json", type=Path, help="file for the figures")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    setup = Setup(shlex.split(args.julia), args.project, Quiet(0))
    with (
        tempfile.TemporaryDirectory() as folder,
        workers(setup, [CONTENDERS["fast"], OPACUS], cores=1) as started,
    ):
        space = prepare(Path(folder), args.data, quick=False)
        by_name = {worker.contender.name: worker for worker in started}
        print(setup.versions, setup.absent or "", TABLE, sep="\n", flush=True)
        rows = []
        for task in args.tasks.split(","):
            for batch in map(int, args.batches.split(",")):
                rows.append(measure(by_name, space, task, batch, args))
                print(line(rows[-1]), flush=True)
    if args.json:
        args.json.write_text(
            json.dumps({"versions": setup.versions, "rows": rows}, indent=1)
        )


def measure(
    started: dict[str, Worker],
    space: Workspace,
    task: str,
    batch: int,
    args: argparse.Namespace,
) -> Row:
    requests = {
        way: (
            started[name],
            space.request(TASKS[task], batch, clip=clip, seconds=args.seconds),
        )
        for way, name, clip in WAYS
        if name in started
    }
    row: Row = {"task": task, "batch": batch, "notes": {}}
    answers = {w: worker.ask({"do": "prepare", **r}) for w, (worker, r) in requests.items()}
    for way, answer in answers.items():
        row["notes"][way] = answer.get("error") or answer.get("note", "")
    ready = [way for way, answer in answers.items() if "error" not in answer]
    losses = [answers[way]["loss"] for way in ("private", "opacus") if way in ready]
    if not math.isclose(losses[0], losses[-1], rel_tol=1e-3):
        raise SystemExit(f"{task}, batch {batch}: the private losses are {losses}")
    times: dict[str, list[float]] = {way: [] for way in ready}
    for _ in range(args.repeats):
        for way in ready:
            worker, request = requests[way]
            times[way].append(worker.ask({"do": "steps", **request})["ms"])
    row["ms"] = {way: min(turns) for way, turns in times.items()}
    row["ratio"] = {
        f"{a}/{b}": statistics.median(map(truediv, times[a], times[b]))
        for a, b in (("private", "plain"), ("opacus", "private"))
        if a in times
    }
    return row


def line(row: Row) -> str:
    ms, ratio, note = row["ms"], row["ratio"], row["notes"].get("opacus", "absent")
    cells = [
        TASKS[row["task"]].title,
        str(row["batch"]),
        f"{ms['plain']:.3f}",
        f"{ms['private']:.3f}",
        f"{ratio['private/plain']:.2f}",
        f"{ms['opacus']:.2f} ({note})" if "opacus" in ms else note.split(":")[0],
        f"{ratio['opacus/private']:.1f}" if "opacus" in ms else "",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
