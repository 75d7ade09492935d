"""The one importer of juliacall: starting Julia, its threads, its signals, and the one call into the core."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import FedFluxError, JuliaUnavailable

MEND = "run `fedflux doctor` to see what is missing"


@dataclass(frozen=True)
class Boot:
    """A started Julia: the core's module, and the only thread and process that may call it."""

    core: Any
    thread: int
    pid: int
    serial: str | None  # why clients must be trained one at a time, if they must


_lock = threading.Lock()
_boot: Boot | None = None
_failure: str | None = None


def setup() -> None:
    """Install Julia and the core's packages where they are missing, and start them, with progress on stderr.

    The first run does the same; this does it ahead of time.

    Raises:
        JuliaUnavailable: Julia or a package can't be had; the message says why.

    Example:
        >>> import fedflux
        >>> fedflux.setup()  # doctest: +SKIP
    """
    global _failure
    _failure = None
    boot()


def boot() -> Boot:
    """Start Julia with the core, once a process.

    Returns:
        The started Julia.

    Raises:
        JuliaUnavailable: Julia or a package can't be had.
        FedFluxError: called from another thread than the one that started Julia, or from a forked child.
    """
    global _boot, _failure
    if _boot is not None:
        _check_place(_boot)
        return _boot
    with _lock:
        if _boot is None:
            if _failure is not None:  # a second try would cost as long as the first
                raise JuliaUnavailable(_failure)
            try:
                _boot = _start()
            except JuliaUnavailable as error:
                _failure = str(error)
                raise
    _check_place(_boot)
    return _boot


def _check_place(boot: Boot) -> None:
    if os.getpid() != boot.pid:
        raise FedFluxError(
            "Julia was started before this process was forked, and a forked Julia crashes: start worker processes with "
            "multiprocessing.get_context('spawn'), or fork before the first run"
        )
    if threading.get_ident() != boot.thread:
        raise FedFluxError(
            "Julia was started in another thread, and calls from this one would hang: call fedflux from the thread of "
            "the first run (or of fedflux.setup())"
        )


def _start() -> Boot:
    if importlib.util.find_spec("juliacall") is None:
        raise JuliaUnavailable("the Python package juliacall is not installed: pip install juliacall")
    main = threading.current_thread() is threading.main_thread()
    foreign = "juliacall" in sys.modules
    thread = threading.get_ident()
    if foreign:  # by someone else, in the main thread as far as anyone can tell
        main_thread = threading.main_thread().ident
        thread = thread if main_thread is None else main_thread
        if not main:
            raise FedFluxError(
                "juliacall was imported before fedflux, and not in this thread: call fedflux from the main one"
            )
    else:
        _environment(main)
    with _sigint_kept(main):
        julia = _import_juliacall()
        try:
            julia.Main.seval("import FedFlux")
        except julia.JuliaError as error:
            raise JuliaUnavailable(
                f"Julia started, but the core can't be loaded: {_first_line(error)}; {MEND}"
            ) from None
        core = julia.Main.seval("FedFlux")
    threads = int(julia.Main.seval("Threads.nthreads()"))
    serial = None
    if julia.CONFIG.get("opt_handle_signals") != "yes" and (threads > 1 or foreign):
        # Julia's threads stop each other for garbage collection by SIGSEGV, which Python then takes for a crash
        serial = (
            "Julia was started without its signal handlers, so clients are trained one at a time; "
            "call fedflux.setup() in the main thread before importing juliacall, or set "
            "PYTHON_JULIACALL_HANDLE_SIGNALS=yes"
        )
    return Boot(core, thread, os.getpid(), serial)


def _environment(main: bool) -> None:
    """Set what juliacall reads when it is imported, where the user has not."""
    if main:
        if "JULIA_NUM_THREADS" not in os.environ:
            os.environ.setdefault("PYTHON_JULIACALL_THREADS", str(_usable_cpus()))
        os.environ.setdefault("PYTHON_JULIACALL_HANDLE_SIGNALS", "yes")
    else:  # Ctrl-C can be mended in the main thread only
        os.environ.setdefault("PYTHON_JULIACALL_THREADS", "1")
        os.environ.setdefault("PYTHON_JULIACALL_HANDLE_SIGNALS", "no")
    os.environ.setdefault("PYTHON_JULIACALL_AUTOLOAD_IPYTHON_EXTENSION", "no")


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _sigint_kept(main: bool) -> Iterator[None]:
    """Give SIGINT back to Python after Julia took it, so that Ctrl-C raises KeyboardInterrupt at the next callback."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if main and handler is not None:
            signal.signal(signal.SIGINT, handler)
            if hasattr(signal, "pthread_sigmask"):
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


def _import_juliacall() -> Any:
    """Import juliacall, which installs what is missing; on failure say why Julia can't be had.

    Where Julia must be downloaded and there is no network, name look-up fails at once; a network that swallows packets
    is given up after ten seconds without an answer.
    """
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(10.0)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # juliapkg tells its progress on stdout, which is the user's
            import juliacall
    except subprocess.CalledProcessError as error:
        raise JuliaUnavailable(
            f"Julia is there, but its packages can't be installed (exit code {error.returncode}, see above); {MEND}"
        ) from None
    except OSError as error:  # urllib's errors among them
        raise JuliaUnavailable(f"Julia is not installed, and can't be downloaded ({_reason(error)}); {MEND}") from error
    except Exception as error:  # whatever juliacall and juliapkg raise: they have no error class of their own
        raise JuliaUnavailable(f"Julia can't be had: {_first_line(error)}; {MEND}") from error
    finally:
        socket.setdefaulttimeout(patience)
    return juliacall


def _reason(error: OSError) -> str:
    inner = getattr(error, "reason", None)  # urllib's, which says more than its wrapper
    return _first_line(inner if isinstance(inner, BaseException) else error)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def run(
    config: dict[str, Any],
    data: Sequence[NDArray[Any] | None] | None,
    model: Any,
    init: Sequence[NDArray[np.float32]] | None,
    listener: Callable[[str, Any], bool],
) -> tuple[dict[str, Any], list[NDArray[np.float32]]]:
    """Run the core.

    Args:
        config: the options that are set.
        data: x_train, y_train, x_test, y_test in NumPy's axes, or None when the core loads them.
        model: a Flux model, or None for the one that the options name.
        init: initial parameters in model order, in NumPy's axes, or None.
        listener: told of the start, of warnings (a string) and of every round; True asks to stop.

    Returns:
        The facts of the run, and the parameters in model order.

    Raises:
        FedFluxError: the core refused something.
    """
    core = boot().core

    def callback(kind: str, payload: str) -> bool:
        return kind != "tick" and bool(listener(str(kind), json.loads(str(payload))))

    turned = _turned(data)
    given = None if init is None else [np.ascontiguousarray(a, dtype=np.float32).T for a in init]
    import juliacall

    try:
        text, arrays = core._pyrun(json.dumps(config), turned, model, given, callback)
    except juliacall.JuliaError as error:
        if "InterruptException" in _first_line(error):
            raise KeyboardInterrupt from None
        raise
    facts = _facts(text)
    # np.array copies: the result must not point into Julia's memory
    return facts, [np.ascontiguousarray(np.array(a, dtype=np.float32).T) for a in arrays]


def recorded(folder: str) -> dict[str, Any]:
    """Read the options of the run whose checkpoints lie in a folder.

    Args:
        folder: that a run was given as `checkpoint` or `resume`.

    Returns:
        The options that were set; none where the folder has no checkpoint yet.

    Raises:
        FedFluxError: every checkpoint in the folder is damaged.
        JuliaUnavailable: Julia can't be had.

    Example:
        >>> recorded("no/such/folder")  # doctest: +SKIP
        {}
    """
    options = _facts(boot().core._recorded(folder))["options"]
    return {name: value for name, value in options.items() if value is not None}


def partition(config: dict[str, Any], data: Sequence[NDArray[Any] | None] | None) -> dict[str, Any]:
    """Split the training data among clients, without training.

    Args:
        config, data: as in `run`.

    Returns:
        Who holds what, see `fedflux.partition`.

    Raises:
        FedFluxError: the core refused something.
    """
    return _facts(boot().core._pypartition(json.dumps(config), _turned(data)))


def _turned(data: Sequence[NDArray[Any] | None] | None) -> tuple[NDArray[Any] | None, ...] | None:
    """Transpose: a C-ordered array is then what Julia calls contiguous, with the sample last."""
    return None if data is None else tuple(None if a is None else np.ascontiguousarray(a).T for a in data)


def _facts(text: Any) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(str(text))
    if "error" in facts:
        raise FedFluxError(facts["error"])
    return facts
