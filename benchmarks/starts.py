"""Starts: seconds from a new process to the end of a run of one round of the digits.

    python -m benchmarks.starts          # medians of five starts, as a table

Each start is a process of its own, after one that doesn't count. CPU seconds are those of
the process and of all that it started.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time

from fedflux.installed import find_julia

RUN = 'fedflux.run(dataset="digits", rounds=1)'


def commands() -> dict[str, list[str]]:
    """What is started, by its name in the table."""
    exe, project = find_julia()
    if exe is None:
        sys.exit("benchmarks.starts: there is no Julia; fedflux setup installs it")
    julia = [exe, f"--project={project}", "--startup-file=no", "--threads=2", "-e"]
    shell = ["-m", "fedflux", "run", "--dataset", "digits", "--rounds", "1"]
    return {
        "`FedFlux.run` in Julia": [*julia, "using FedFlux; FedFlux." + RUN[8:]],
        "`fedflux.run` in Python": [sys.executable, "-c", f"import fedflux; {RUN}"],
        "`fedflux run` in a shell": [sys.executable, *shell],
        "the same, `--engine reference`": [sys.executable, *shell, "--engine", "reference"],
        "`fedflux --version`": [sys.executable, "-m", "fedflux", "--version"],
    }


def start(command: list[str]) -> tuple[float, float]:
    """Run a command to its end: wall and CPU seconds."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, sum(
        getattr(after, part) - getattr(before, part) for part in ("ru_utime", "ru_stime")
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.starts")
    parser.add_argument("-n", type=int, default=5, help="counted starts of each command")
    runs = parser.parse_args().n
    print("| start | wall | CPU |\n| --- | ---: | ---: |")
    for name, command in commands().items():
        start(command)
        wall, cpu = zip(*(start(command) for _ in range(runs)), strict=True)
        medians = f"{statistics.median(wall):.1f} s | {statistics.median(cpu):.1f} s"
        print(f"| {name} | {medians} |", flush=True)


if __name__ == "__main__":
    main()
