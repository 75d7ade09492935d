"""SIGINT and SIGTERM while Julia starts, and afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

TAKEN = (signal.SIGINT, signal.SIGTERM)  # by Julia
ENDED = "fedflux: error: ended by a signal while Julia started"
_WATCH = 'trap "" INT TERM HUP; read _ || echo "$0" >&2'


@contextlib.contextmanager
def kept(main: bool) -> Iterator[None]:
    """Give SIGINT and SIGTERM, which Julia takes, back to Python.

    Ctrl-C then raises KeyboardInterrupt at the next callback. SIGTERM does what it did
    before, which is to end the process, rather than print Julia's stack.
    """
    handlers = [(number, signal.getsignal(number)) for number in TAKEN]
    try:
        yield
    finally:
        if main:
            for number, handler in handlers:
                if handler is not None:
                    give_back(number, handler)


@contextlib.contextmanager
def ended_by_them(wanted: bool) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the process at once, with one line, while Julia starts.

    Python runs no handler during these seconds, and Julia would print its native stack. The
    default action needs a thread that doesn't block the signals, and is older than Julia's
    own, which takes them otherwise. A shell says the line: its pipe ends with the process.
    """
    if not wanted or os.name != "posix":
        yield
        return
    done = threading.Event()
    idle = threading.Thread(target=done.wait, daemon=True)
    idle.start()
    for number in TAKEN:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    watcher = subprocess.Popen(["/bin/sh", "-c", _WATCH, ENDED], stdin=subprocess.PIPE)
    try:
        yield
    finally:
        done.set()
        idle.join()
        watcher.communicate(b"started\n")


def give_back(number: signal.Signals, handler: Any) -> None:
    """Let a handler of Python's have a signal again, also if Julia blocks it."""
    signal.signal(number, handler)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
