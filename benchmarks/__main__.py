"""Measure FedFlux and its peers on this machine, and write docs/benchmarks.md with its
plot: `python -m benchmarks`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measure, report
from benchmarks.quiet import Quiet
from benchmarks.tasks import prepare
from benchmarks.workers import CONTENDERS, ROOT, Setup

PARTS = ("gemm", "steps", "overhead", "rounds", "start", "scale")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="tiny sizes, to see that everything runs; the figures mean nothing",
    )
    parser.add_argument(
        "--only",
        default=",".join(PARTS),
        help=f"parts to measure, of {', '.join(PARTS)}; the others stay as they were",
    )
    parser.add_argument(
        "--contenders", default=",".join(CONTENDERS), help=f"of {', '.join(CONTENDERS)}"
    )
    parser.add_argument(
        "--report",
        action="store_true",
        help="measure nothing: write the page and the plot from the figures there are",
    )
    parser.add_argument(
        "--julia",
        default=os.environ.get("FEDFLUX_JULIA", "julia"),
        help="the julia command (or FEDFLUX_JULIA)",
    )
    project = os.environ.get("FEDFLUX_JULIA_PROJECT", str(ROOT / "julia" / "FedFlux"))
    parser.add_argument(
        "--project",
        default=project,
        help="a Julia environment with FedFlux in it (or FEDFLUX_JULIA_PROJECT)",
    )
    parser.add_argument(
        "--depot",
        type=Path,
        help="Julia's depot; given, the very first start is measured too (minutes of "
        "compiling)",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=0,
        help="minutes to wait, in all, for the machine to be quiet",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=ROOT.parent / "shared" / "data",
        help="folder with mnist/ and tinyshakespeare/",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="folder for benchmarks.md, .json and .svg; docs/, or build/ for a quick run",
    )
    return parser.parse_args()


def main() -> None:
    args = arguments()
    out = args.out or ROOT / ("build/benchmarks" if args.quick else "docs")
    out.mkdir(parents=True, exist_ok=True)
    figures = out / "benchmarks.json"
    results: dict[str, Any] = json.loads(figures.read_text()) if figures.exists() else {}
    if not args.report:
        run(args, results, figures)
    report.write(results, out)


def run(args: argparse.Namespace, results: dict[str, Any], figures: Path) -> None:
    setup = Setup(shlex.split(args.julia), args.project, Quiet(60 * args.patience))
    chosen = [CONTENDERS[name] for name in args.contenders.split(",")]
    effort = measure.Effort.of(args.quick)
    with tempfile.TemporaryDirectory() as folder:
        space = prepare(Path(folder), args.data, args.quick)
        measures: dict[str, Any] = {
            "gemm": measure.gemm,
            "steps": measure.steps,
            "rounds": measure.rounds,
            "overhead": measure.overhead,
            "scale": measure.scale,
            "start": partial(measure.start_up, depot=args.depot),
        }
        for part in args.only.split(","):
            about = {
                "when": time.strftime("%Y-%m-%d %H:%M"),
                "load": os.getloadavg()[0],
                "commit": commit(),
            }
            results.setdefault("parts", {})[part] = about
            rows = results[part] = []
            for row in measures[part](setup, space, chosen, effort):
                rows.append(row)
                results["machine"] = machine()
                results["versions"] = {
                    **results.get("versions", {}),
                    **setup.versions,
                    "numpy": np.__version__,
                }
                results["absent"] = setup.absent
                figures.write_text(json.dumps(results, indent=1))


def commit() -> str:
    answer = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip() or "unknown"


def machine() -> dict[str, str]:
    info = Path("/proc/cpuinfo").read_text().splitlines()
    fields = {
        key.strip(): value.strip()
        for key, _, value in (line.partition(":") for line in info)
    }
    kind = f"family {fields.get('cpu family')}, model {fields.get('model')}"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": f"{fields.get('model name', platform.processor())} ({kind})",
        "vectors": "AVX-512" if "avx512f" in fields.get("flags", "") else "no AVX-512",
        "cores": f"{len(os.sched_getaffinity(0))} cores",
        "memory": f"{memory:.0f} GiB of memory",
        "system": f"{platform.system()}, Python {platform.python_version()}",
    }


if __name__ == "__main__":
    main()
