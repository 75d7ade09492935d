"""MLDatasets.jl, installed when a run first asks for one of its data sets.

It brings more packages than the core, so those who don't need it don't wait for them. They
stand in a project of their own, whatever versions they need, so that the core's packages
stay what they were compiled as; a process of its own reads the data there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from .._options.datasets import by_mldatasets
from .._typing import Options
from ..errors import DataError, JuliaUnavailable
from . import core_source, failed_downloads, install as installing, start
from .project import find_julia, installed, own_project

PACKAGE = "MLDatasets"
FOLDER = "mldatasets"  # of its project, in the core's, whose mldatasets.jl knows it too
DIGITS = "the run uses digits (8×8 images) instead"
MNIST = "mnist"  # the data set, and as what its failed download is remembered
AGAIN = "(a few minutes ago; run `fedflux setup` to let the next run try again)"


def provided(
    options: Options, warn: Callable[[str], None], has_mnist: Callable[[], bool]
) -> Options:
    """Install MLDatasets if the run asks for one of its data sets and the project lacks it.

    Args:
        options: every option, checked.
        warn: called with the reason why `auto` is digits.
        has_mnist: whether the files of MNIST are on this machine.

    Returns:
        The options, with a data set that can be had.

    Raises:
        DataError: the data set was named, and the package can't be installed.

    Example:
        >>> provided({"dataset": "digits"}, print, lambda: False)
        {'dataset': 'digits'}
    """
    name, message = options["dataset"], None
    if not by_mldatasets(name):
        return options
    if name == "auto" and not options.get("data_dir") and not has_mnist():
        message = _lately(MNIST)
    if message is None:
        reason = _install(name)
        if reason is None:
            return options
        message = (
            f"dataset {MNIST if name == 'auto' else name} needs the Julia package "
            f"{PACKAGE}, which can't be installed: {reason}"
        )
    if name != "auto":
        raise DataError(f"{message}; dataset='digits' needs no package")
    warn(f"{message}; {DIGITS}")
    return options | {"dataset": "digits"}


def note(options: Options, warnings: Sequence[str]) -> None:
    """Remember that MNIST could not be downloaded, which takes seconds to find out.

    Args:
        options: of the run that found out.
        warnings: of the run.

    Example:
        >>> note({"dataset": "digits"}, [])
    """
    if options["dataset"] == "auto" and not options.get("data_dir"):
        for warning in warnings:
            if warning.endswith(f"; {DIGITS}"):
                failed_downloads.remember(MNIST, warning.removesuffix(f"; {DIGITS}"))


def version(project: Path) -> str | None:
    """Return the version of MLDatasets.jl beside the core, or None.

    Args:
        project: the Julia project of the core, which may hold it too.

    Example:
        >>> version(Path("/nowhere")) is None
        True
    """
    return (installed(project / FOLDER) | installed(project)).get(PACKAGE)


def _lately(what: str) -> str | None:
    """Return why a download failed a few minutes ago, or None if it did not."""
    reason = failed_downloads.recall(what)
    return reason and f"{reason} {AGAIN}"


def _install(name: str) -> str | None:
    """Install the package; return why it can't be."""
    try:
        start.install()
    except JuliaUnavailable:
        return None  # who starts Julia hears of it
    project = find_julia()[1]
    if own_project() is not None or version(project) is not None:
        return None  # if the user's own project lacks it, the core says so
    if installing.offline():
        return f"{installing.OFFLINE} is set"
    what = f"{PACKAGE}-{hashlib.sha256(str(project).encode()).hexdigest()[:12]}"
    if name == "auto" and (reason := _lately(what)):
        return reason
    from filelock import FileLock  # a dependency of juliapkg, which is there

    try:
        with FileLock(project / "lock.pid"):  # juliapkg's: one process changes the project
            reason = _add(name) if version(project) is None else None
    except OSError as error:
        reason = f"{project} can't be written ({error.strerror})"
    if reason is not None:
        failed_downloads.remember(what, reason)
    return reason


def _add(name: str) -> str | None:
    # Pkg makes the project only if all can be had.
    spec = f'name = "{PACKAGE}", uuid = "{core_source.project()["weakdeps"][PACKAGE]}"'
    which, doing = "MNIST" if name == "auto" else name, f"installing {PACKAGE}.jl"
    done = installing.begin(f"{doing} for {which}; this happens once")
    script = (
        f'import Pkg; cd(dirname(Base.active_project())); Pkg.activate("{FOLDER}"); '
        f"Pkg.add(; {spec})"
    )
    reason = installing.run_script(script, doing)
    if reason is None:
        done(f"{PACKAGE}.jl is installed")
    return reason
