"""Starts Julia: its threads, its signals and the core. The only importer of juliacall."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..errors import FedFluxError, JuliaUnavailable, first_line
from . import failed_downloads, install as installing, signals
from .system_image import build as build_image, find as find_image

HINT = "; run `fedflux doctor` to see what is missing"
IMAGE = "PYTHON_JULIACALL_SYSIMAGE"
COMPILED = """
let core = Base.identify_package("FedFlux")
    core === nothing || Base.isprecompiled(core)  # if it is missing, the import says so
end
"""
T = TypeVar("T")


@dataclass(frozen=True)
class Boot:
    """A started Julia.

    Attributes:
        core: the Julia module FedFlux.
        error: the class of Julia's exceptions in Python.
        thread, pid: the only thread and process that may call Julia.
        serial: why clients must be trained one at a time, or None if they need not be.
    """

    core: Any
    error: type[Exception]
    thread: int
    pid: int
    serial: str | None


_lock = threading.Lock()
_boot: Boot | None = None
_failure: JuliaUnavailable | None = None
_hint = HINT  # not after a setup, to which the doctor's advice leads

# Set by the command line: Ctrl-C and SIGTERM may end the process while Julia starts.
may_be_ended = False


def setup(*, system_image: bool = False) -> None:
    """Install Julia and the packages of the core if they are missing, and start them.

    Progress is printed to stderr. The first run does the same; call this to do it earlier.

    Args:
        system_image: also make a system image of the core, with which later starts are
            shorter. It takes minutes, a C compiler and some hundred megabytes.

    Raises:
        JuliaUnavailable: Julia or a package can't be installed; the message says why.
        FedFluxError: the system image can't be made.

    Example:
        >>> import fedflux
        >>> fedflux.setup()  # doctest: +SKIP
    """
    global _failure, _hint
    _failure, _hint = None, ""
    failed_downloads.forget()
    try:
        boot()
    finally:
        _hint = HINT
    if system_image:
        build_image()


def boot() -> Boot:
    """Start Julia with the core, once per process.

    Returns:
        The started Julia.

    Raises:
        JuliaUnavailable: Julia or a package can't be installed or started.
        FedFluxError: the call comes from a forked child, or from a thread other than the
            one that started Julia.
    """
    global _boot
    with _lock:
        _boot = _boot or _once(_start)
    _check_caller(_boot)
    return _boot


def install() -> None:
    """Install what Julia needs to start; nothing if it is installed or started.

    Raises:
        JuliaUnavailable: as in `boot`.
    """
    if _boot is None:
        with _lock:
            _once(_install)


def _once(action: Callable[[], T]) -> T:
    """Do it, unless it failed: a second attempt would take as long as the first."""
    global _failure
    if _failure is not None:
        raise _failure
    try:
        return action()
    except JuliaUnavailable as error:
        _failure = error
        raise


def callable_here() -> bool:
    """Whether this thread may call Julia: it started Julia, or nobody did yet."""
    here = (os.getpid(), threading.get_ident())
    return _boot is None or here == (_boot.pid, _boot.thread)


def _check_caller(boot: Boot) -> None:
    if os.getpid() != boot.pid:
        raise FedFluxError(
            "Julia was started before this process was forked, and a forked Julia crashes: "
            "start worker processes with multiprocessing.get_context('spawn'), or fork "
            "before the first run"
        )
    if threading.get_ident() != boot.thread:
        raise FedFluxError(
            "Julia was started in another thread, and calls from this one would hang: call "
            "fedflux from the thread of the first run or of fedflux.setup()"
        )


def _install() -> None:
    if importlib.util.find_spec("juliacall") is None:
        raise JuliaUnavailable(
            "the Python package juliacall is not installed: run pip install juliacall",
            absent=True,
        )
    reason = failed_downloads.recall(failed_downloads.JULIA)
    if reason is not None and not any(map(shutil.which, ("julia", "juliaup"))):
        raise JuliaUnavailable(
            f"{reason}; that was a few minutes ago; run `fedflux setup` to try again",
            absent=True,
        )
    installing.install()


def _start() -> Boot:
    _install()
    main = threading.current_thread() is threading.main_thread()
    already_imported = "juliacall" in sys.modules  # by other code, in the main thread
    if already_imported and not main:
        raise FedFluxError(
            "juliacall was imported before fedflux, and fedflux was called from another "
            "thread: call fedflux from the main thread"
        )
    image = None if already_imported else _set_environment(main)
    with signals.kept(main), signals.ended_by_them(main and may_be_ended):
        julia = _import_juliacall()
        if image is not None:
            del os.environ[IMAGE]  # processes that this one starts may have another core
        # a handler would wait until the core is loaded
        for number in (signal.SIGTERM, *([signal.SIGINT] if may_be_ended else [])):
            if main and signal.getsignal(number) is not signal.SIG_IGN:
                signals.give_back(number, signal.SIG_DFL)
        core = _import_core(julia, in_image=image is not None)
    threads = int(julia.Main.seval("Threads.nthreads()"))
    serial = None
    handles_signals = julia.CONFIG.get("opt_handle_signals") == "yes"
    if not handles_signals and (threads > 1 or already_imported):
        # for garbage collection Julia's threads stop each other with SIGSEGV, which
        # Python takes for a crash
        serial = (
            "Julia was started without its signal handlers, so clients are trained one at "
            "a time; call fedflux.setup() in the main thread before importing juliacall, "
            "or set PYTHON_JULIACALL_HANDLE_SIGNALS=yes"
        )
    return Boot(core, julia.JuliaError, threading.get_ident(), os.getpid(), serial)


def _set_environment(main: bool) -> Path | None:
    """Set the variables that juliacall reads on import, unless the user has set them.

    Returns:
        The system image that is started, if it is fedflux's.
    """
    defaults = {
        "PYTHON_JULIACALL_AUTOLOAD_IPYTHON_EXTENSION": "no",
        # Ctrl-C can be restored in the main thread only
        "PYTHON_JULIACALL_HANDLE_SIGNALS": "yes" if main else "no",
    }
    if not main or "JULIA_NUM_THREADS" not in os.environ:
        defaults["PYTHON_JULIACALL_THREADS"] = "auto" if main else "1"
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    if IMAGE in os.environ or "juliacall-sysimage" in sys._xoptions:
        return None  # the user's own
    image = find_image()
    if image is not None:
        os.environ[IMAGE] = str(image)
    return image


def _import_juliacall() -> Any:
    try:
        import juliacall
    except Exception as error:  # juliacall has no error class of its own
        reason = first_line(error)
        if isinstance(error, subprocess.CalledProcessError):
            reason = f"it ended with exit code {error.returncode}"
        raise JuliaUnavailable(f"Julia can't be started: {reason}{_hint}") from error
    return juliacall


def _compile() -> None:
    """Compile the core in its own process, which shows that something goes on."""
    done = installing.begin(
        "compiling the core, once after each change of it; this takes some minutes"
    )
    # if this fails, the import tells why
    installing.run_script('import Pkg; Pkg.precompile("FedFlux")', "compiling the core")
    done("the core is compiled")


def _import_core(julia: Any, in_image: bool) -> Any:
    try:
        if not in_image and not _evaluate(julia, COMPILED):
            _compile()  # as after a change of the core
        if not _evaluate(julia, "import FedFlux; true"):
            julia.Main.seval("import FedFlux")  # raises what went wrong
    except julia.JuliaError as error:
        raise JuliaUnavailable(
            f"Julia started, but the core can't be loaded: {first_line(error)}{_hint}"
        ) from None
    return julia.Main.seval("FedFlux")


def _evaluate(julia: Any, code: str) -> bool:
    """Evaluate code that gives a Bool; False if it throws.

    Uses Julia's C interface if juliacall has it. PythonCall's own calls are compiled with
    the core, and would have to be compiled again before the core is loaded.
    """
    library = julia.CONFIG.get("lib")
    if library is None:  # Julia started Python
        return bool(julia.Main.seval(f"begin {code} end"))
    unbox = library.jl_unbox_bool
    unbox.argtypes, unbox.restype = [ctypes.c_void_p], ctypes.c_int8
    value = library.jl_eval_string(code.encode())
    return value is not None and bool(unbox(value))
