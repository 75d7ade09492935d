"""The named data sets for the reference engine; the core loads them itself."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .._options.tables import core_path
from ..errors import DataError
from .arrays import Data, from_arrays

HERE = ("auto", "mnist", "fashionmnist", "digits")  # what this module loads itself
FOLDERS = {"mnist": "MNIST", "fashionmnist": "FashionMNIST"}
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
MAX_IDX_BYTES = 2**30  # MNIST's largest file unpacks to 47 MB


def load(
    name: str, data_dir: str | None, loss: str, clients: int
) -> tuple[str, Data, list[str]]:
    """Load a named data set without Julia.

    Args:
        name: auto, mnist, fashionmnist or digits; auto is mnist if its files are found, and
            digits otherwise.
        data_dir: the folder of the data set's files; None for the core's downloads.
        loss, clients: as in `data.from_arrays`.

    Returns:
        The name of the data set that was loaded, the data, and warnings.

    Raises:
        DataError: the files are missing or damaged.

    Example:
        >>> load("digits", None, "cross_entropy", 10)[0]
        'digits'
    """
    if name == "digits":
        return name, _digits(loss, clients), []
    found = "mnist" if name == "auto" else name
    folder = find(found, data_dir)
    if folder is not None:
        arrays = [read_idx(_file(folder, file)) for file in FILES]
        return found, from_arrays(*arrays, loss=loss, clients=clients), []
    if name == "auto":
        warning = (
            "the files of MNIST were not found, and the reference engine can't download "
            "them: digits is used"
        )
        return "digits", _digits(loss, clients), [warning]
    where = data_dir or ", ".join(str(cache) for cache in _caches(name))
    raise DataError(
        f"dataset {name!r}: expected {', '.join(FILES)} (.gz or not) in {where}; put them "
        "there, give their folder as data_dir, or use engine='julia', which downloads them"
    )


def _digits(loss: str, clients: int) -> Data:
    records = np.fromfile(core_path() / "data" / "digits.bin", np.uint8).reshape(-1, 65)
    images, labels = records[:, 1:].reshape(-1, 8, 8), records[:, 0]
    parts = (images[:1437], labels[:1437], images[1437:], labels[1437:])
    return from_arrays(*parts, loss=loss, clients=clients)


def has_mnist() -> bool:
    """Whether the files of MNIST are on this machine.

    Example:
        >>> has_mnist() == (find("mnist") is not None)
        True
    """
    return find("mnist") is not None


def find(name: str, data_dir: str | None = None) -> Path | None:
    """Find the folder that holds all four files of a data set.

    Args:
        name: mnist or fashionmnist.
        data_dir: the folder to look in; None for the folders of the core's downloads.

    Returns:
        The folder, or None.

    Example:
        >>> find("mnist", "/nowhere") is None
        True
    """
    for folder in [Path(data_dir)] if data_dir else _caches(name):
        if all(_file(folder, file).is_file() for file in FILES):
            return folder
    return None


def _caches(name: str) -> list[Path]:
    """List the folders where DataDeps.jl, the core's downloader, keeps a data set."""
    depots = [*_environment_paths("JULIA_DEPOT_PATH"), Path.home() / ".julia"]
    roots = _environment_paths("DATADEPS_LOAD_PATH")
    roots += [depot / "datadeps" for depot in depots]
    return [root / FOLDERS[name] for root in dict.fromkeys(roots)]


def _environment_paths(variable: str) -> list[Path]:
    return [Path(p) for p in os.environ.get(variable, "").split(os.pathsep) if p]


def _file(folder: Path, name: str) -> Path:
    packed = folder / f"{name}.gz"
    return packed if packed.is_file() else folder / name


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read a file in MNIST's IDX format, gzipped or not.

    Args:
        path: the file.

    Returns:
        A uint8 array of the shape in the file's header.

    Raises:
        DataError: the file is not an IDX file of bytes, is damaged or too large.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            zeros, kind, ndim = struct.unpack(">HBB", file.read(4))
            if zeros != 0 or kind != 0x08 or not 1 <= ndim <= 4:
                raise DataError(f"{path}: not an IDX file of bytes")
            shape = struct.unpack(f">{ndim}I", file.read(4 * ndim))
            size = int(np.prod(shape, dtype=object))
            if size > MAX_IDX_BYTES:
                raise DataError(
                    f"{path}: its header announces {size} bytes, more than the "
                    f"{MAX_IDX_BYTES} allowed"
                )
            content = file.read(size + 1)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise DataError(f"{path}: can't be read ({error})") from None
    if len(content) != size:
        raise DataError(
            f"{path}: expected {size} bytes of data as in its header, got {len(content)}"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)
