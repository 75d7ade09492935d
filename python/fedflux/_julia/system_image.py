"""A system image with the core in it: Julia starts with the core, and loads no packages.

PackageCompiler.jl makes it when `fedflux setup --system-image` asks for it. It holds one
core with one set of packages, for one Julia and one kind of processor: its name is a digest
of these, so that an image is never used for others.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

from ..errors import FedFluxError
from . import core_source, install
from .project import find_julia, manifest

COMPILER = '"PackageCompiler", uuid = "9b87118b-4619-50d2-8e1e-99f35a4d4d9d", version = "2"'
SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
BUILD = """
import Pkg
compiler, image = {compiler}, {image}
project = Base.active_project()
Pkg.activate(compiler; io = devnull)
Pkg.add(; name = {package}, io = stderr)
Pkg.activate(project; io = devnull)
push!(LOAD_PATH, compiler)
import PackageCompiler
PackageCompiler.create_sysimage(["FedFlux"]; sysimage_path = image)
"""
# What Python needs beyond the core is compiled for the image by its first load.
LOAD = 'import FedFlux, PythonCall; FedFlux.run(; dataset = "digits", rounds = 1)'


def find() -> Path | None:
    """Return the image of the core, if one was made for all that is installed now.

    Example:
        >>> image = find()
        >>> image is None or image.is_file()
        True
    """
    image = _place()
    return image if image and image.is_file() and _tried(image).is_file() else None


def build() -> Path:
    """Make the image, which takes minutes, and return its path; do nothing if it exists.

    Raises:
        FedFluxError: it can't be made; the message says why.
    """
    image = _place()
    if image is None:
        raise FedFluxError("a system image needs the packages of the core: fedflux setup")
    if find() is not None:
        return image
    compilers = (os.environ.get("JULIA_CC", "gcc"), "gcc", "clang")  # PackageCompiler's
    if sys.platform != "win32" and not any(map(shutil.which, compilers)):
        raise FedFluxError(
            "a system image needs a C compiler, gcc or clang, and there is none on PATH"
        )
    from filelock import FileLock  # a dependency of juliapkg

    done = install.begin(
        "making a system image of the core, once after each change; this takes minutes"
    )
    compiler = _text(image.parent / "compiler")
    script = BUILD.format(compiler=compiler, image=_text(image), package=COMPILER)
    try:
        image.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(image.with_suffix(".lock")):
            if find() is None:  # another process may have made it
                _run(script, "making the system image")
                _run(LOAD, "trying the system image", f"--sysimage={image}")
                _tried(image).touch()
    except OSError as error:
        raise FedFluxError(f"{image}: can't be written: {error.strerror}") from None
    done(f"{image} is made")
    return image


def _run(script: str, doing: str, *flags: str) -> None:
    reason = install.run_script(script, doing, *flags)
    if reason is not None:
        raise FedFluxError(f"{doing} failed: {reason}")


def _tried(image: Path) -> Path:
    """The file that says that the image works: with one that doesn't Julia just ends."""
    return image.with_suffix(".tried")


def _text(path: Path) -> str:
    """A path as Julia reads it."""
    return json.dumps(str(path)).replace("$", "\\$")


def _place() -> Path | None:
    """The path of the image, or None if the packages of the core are not installed."""
    exe, project = find_julia()
    packages = _packages(project)
    if exe is None or packages is None:
        return None
    from juliapkg.state import STATE

    stamps = core_source.stamps(Path(exe).resolve())
    files = sorted(project.glob("*Preferences.toml"))
    settings = [f.read_text(encoding="utf-8") for f in files]
    made_of = repr((stamps, packages, settings, _processor()))
    name = hashlib.sha256(made_of.encode()).hexdigest()[:16]
    return Path(STATE["depot"]) / "fedflux" / "images" / f"{name}{SUFFIX}"


def _packages(project: Path) -> list[Any] | None:
    """A manifest's Julia, and the core's packages and theirs with their versions."""
    told = manifest(project)
    found: dict[str, Any] = {}
    names = [core_source.NAME]
    try:
        for name in names:  # more come in the loop
            if name not in found:
                package = told["deps"][name][0]
                found[name] = {k: v for k, v in package.items() if k != "extensions"}
                names += package.get("deps", ())
    except LookupError:
        return None
    return [told.get("julia_version"), *sorted(found.items())]


def _processor() -> str:
    """The kind of processor, since an image has its instructions."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        told = [x for x in lines if x.startswith(("model name", "flags", "Features"))]
        return "\n".join(sorted(set(told)))
    return f"{platform.machine()} {platform.processor()}"
