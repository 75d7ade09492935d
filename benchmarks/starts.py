"""Starts: seconds from a new process to the end of a run of one round.

    python -m benchmarks.starts             # of the digits, as a table
    python -m benchmarks.starts --models    # of each standard model, at three batch sizes

Medians of five starts, each a process of its own, after one that doesn't count. CPU seconds
are those of the process and of all that it started. A system image is used where
`fedflux setup --system-image` made one, in Julia too.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from fedflux._julia.project import find_julia
from fedflux._julia.system_image import find as find_image

RUN = 'fedflux.run(dataset="digits", rounds=1)'
BATCHES = (10, 32, 64)
DIGITS = ("softmax_regression", "mlp", "case_study_cnn")
IMAGES = ("lenet", "mcmahan_cnn")  # of 28 × 28 pixels
TEXTS = ("rnn", "gru", "lstm")

# 1,000 samples, and 200 for test, without a file to read.
PYTHON = """
import fedflux, numpy as np
rng = np.random.default_rng(0)
pixels = lambda n: rng.integers(0, 256, (n, 28, 28), np.uint8)
labels = lambda n: np.arange(n) % 10
tokens = lambda n: rng.integers(0, 60, (n, 40))
named = {"dataset": "digits"}
def arrays(x, y):
    return dict(x_train=x(1000), y_train=y(1000), x_test=x(200), y_test=y(200))
"""
JULIA = """
using FedFlux, Random
pixels(n) = rand(Xoshiro(n), UInt8, 28, 28, n)
labels(n) = (0:(n-1)) .% 10
tokens(n) = rand(Xoshiro(n), 0:59, 40, n)
named = (; dataset = "digits")
arrays(x, y) = (; dataset = Dataset(x(1000), y(1000), x(200), y(200)))
"""


def julia() -> list[str]:
    """The command of Julia, before its code."""
    exe, project = find_julia()
    if exe is None:
        sys.exit("benchmarks.starts: there is no Julia; fedflux setup installs it")
    image = find_image()
    sysimage = [] if image is None else [f"--sysimage={image}"]
    options = (f"--project={project}", "--startup-file=no", "--threads=2", "-e")
    return [exe, *sysimage, *options]


def commands() -> Iterator[tuple[str, list[str]]]:
    """What is started, by its name in the table."""
    shell = [sys.executable, "-m", "fedflux", "run", "--dataset", "digits", "--rounds", "1"]
    yield "`FedFlux.run` in Julia", [*julia(), "using FedFlux; FedFlux." + RUN[8:]]
    yield "`fedflux.run` in Python", [sys.executable, "-c", f"import fedflux; {RUN}"]
    yield "`fedflux run` in a shell", shell
    yield "the same, `--engine reference`", [*shell, "--engine", "reference"]
    yield "`fedflux --version`", [sys.executable, "-m", "fedflux", "--version"]


def models() -> Iterator[tuple[str, list[str]]]:
    """One round of each standard model, at each batch size, in both languages."""
    data = dict.fromkeys(DIGITS, "named") | dict.fromkeys(IMAGES, "arrays(pixels, labels)")
    data |= dict.fromkeys(TEXTS, "arrays(tokens, tokens)")
    for model, given in data.items():
        for batch in BATCHES:
            options = f'rounds=1, model="{model}", batch_size={batch}'
            there = f"{JULIA}\nFedFlux.run(; {given}..., {options})"
            yield f"{model}, {batch}, Julia", [*julia(), there]
            here = f"{PYTHON}\nfedflux.run(**{given}, {options})"
            yield f"{model}, {batch}, Python", [sys.executable, "-c", here]


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
    parser.add_argument("--models", action="store_true", help="the standard models")
    given = parser.parse_args()
    print("| start | wall | CPU |\n| --- | ---: | ---: |")
    for name, command in models() if given.models else commands():
        start(command)
        wall, cpu = zip(*(start(command) for _ in range(given.n)), strict=True)
        medians = f"{statistics.median(wall):.1f} s | {statistics.median(cpu):.1f} s"
        print(f"| {name} | {medians} |", flush=True)


if __name__ == "__main__":
    main()
