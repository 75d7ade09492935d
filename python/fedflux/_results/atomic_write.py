"""Files that are whole or not there, whenever the process is killed."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path

from ..errors import FedFluxError, OptionError, shown

PART = ".part"  # the ending of a file that is being written


def as_path(name: str, value: object) -> Path:
    """Return a path that the user gave for the argument `name`.

    Raises:
        OptionError: it is neither text nor a path.

    Example:
        >>> as_path("path", "a/b").name
        'b'
    """
    if not isinstance(value, str | os.PathLike):
        raise OptionError(f"{name}: expected the path of a file, got {shown(value)}")
    return Path(value)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, or replace an existing one: a reader sees the old one or the new one.

    The content and its name are on the disk when the function returns.
    What a killed process left beside it is removed. A link or a device, such as
    /dev/stdout, is written to as it is.

    Raises:
        FedFluxError: the file can't be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}{PART}")
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            path.write_bytes(content)
            return
        remove_unfinished(path)
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            _sync_folder(path.parent)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise FedFluxError(f"can't write {path}: {error.strerror}") from None


def _sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk: a power cut would bring the old one back."""
    if sys.platform == "win32":
        return  # has no such call; NTFS keeps a journal of names
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_unfinished(path: Path) -> None:
    """Remove what a process that was killed while it wrote `path` left beside it."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.(\d+){re.escape(PART)}")
    with contextlib.suppress(OSError):
        for file in path.parent.iterdir():
            match = pattern.fullmatch(file.name)
            if match is not None and not _runs(int(match[1])):
                with contextlib.suppress(OSError):
                    file.unlink()


def _runs(pid: int) -> bool:
    if sys.platform == "win32":
        return False  # a file that a process has open can't be removed there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    except OverflowError:
        return False
    return True
