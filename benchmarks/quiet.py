"""Waiting until nothing else runs on the machine: a measurement beside a compiler measures
the compiler.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

BUSY = 0.15  # of one core, by others, is still quiet


@dataclass
class Quiet:
    """`wait` returns when the machine is quiet, or when `patience` seconds have been waited
    in all.
    """

    patience: float
    waited: float = 0.0

    def wait(self) -> None:
        while self.waited < self.patience and busy_cores(0.3) > BUSY:
            if self.waited == 0:
                print("waiting until the machine is quiet", file=sys.stderr, flush=True)
            time.sleep(2)
            self.waited += 2.3


def busy_cores(seconds: float) -> float:
    """How many cores are busy now, with whatever; the contenders do nothing while they
    aren't asked.
    """
    before = idle()
    begun = time.perf_counter()
    time.sleep(seconds)
    spent = time.perf_counter() - begun
    return max(0.0, (os.cpu_count() or 1) - (idle() - before) / spent)


def idle() -> float:
    """Seconds that all cores together have been idle since the machine started."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")
