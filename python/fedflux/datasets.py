"""The named data sets, for the reference engine; the core loads them itself."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ._core import core_path
from .data import Data, from_arrays, from_npz
from .errors import DataError

NAMED = ("auto", "mnist", "fashionmnist", "digits")
FOLDERS = {"mnist": "MNIST", "fashionmnist": "FashionMNIST"}
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
MAX_IDX_BYTES = 2**30  # MNIST's largest file unpacks to 47 MB


def load(name: str, data_dir: str | None, loss: str, clients: int) -> tuple[str, Data, list[str]]:
    """Load a named data set without Julia.

    Args:
        name: auto, mnist, fashionmnist or digits; auto is mnist where its files are found, else digits.
        data_dir: folder with the data set's files; None: where the core's downloads lie.
        loss, clients: as in `data.from_arrays`.

    Returns:
        The name of what was loaded, the data, and warnings.

    Raises:
        DataError: the files are not there, or damaged.

    Example:
        >>> load("digits", None, "cross_entropy", 10)[0]
        'digits'
    """
    if name == "digits":
        return name, from_npz(str(core_path() / "data" / "digits.npz"), loss, clients), []
    folder = find("mnist" if name == "auto" else name, data_dir)
    if folder is not None:
        name = "mnist" if name == "auto" else name
        arrays = [read_idx(_file(folder, file)) for file in FILES]
        return name, from_arrays(*arrays, loss=loss, clients=clients), []
    if name == "auto":
        digits = from_npz(str(core_path() / "data" / "digits.npz"), loss, clients)
        return "digits", digits, ["MNIST is not cached here and the reference engine downloads nothing: digits is used"]
    where = data_dir or ", ".join(str(place) for place in _caches(name))
    raise DataError(
        f"dataset {name!r}: expected {FILES[0]}.gz and its three companions in {where}; "
        "put them there, name their folder with data_dir, or run with Julia, which downloads them"
    )


def find(name: str, data_dir: str | None = None) -> Path | None:
    """Find the folder that holds all four files of a data set, or None.

    Example:
        >>> find("mnist", "/nowhere") is None
        True
    """
    places = [Path(data_dir)] if data_dir else _caches(name)
    return next((place for place in places if all(_file(place, file).is_file() for file in FILES)), None)


def _caches(name: str) -> list[Path]:
    """Where DataDeps.jl, with which the core downloads, keeps a data set."""
    depots = [Path(p) for p in os.environ.get("JULIA_DEPOT_PATH", "").split(os.pathsep) if p]
    loadpath = [Path(p) for p in os.environ.get("DATADEPS_LOAD_PATH", "").split(os.pathsep) if p]
    roots = loadpath + [depot / "datadeps" for depot in [*depots, Path.home() / ".julia"]]
    return [root / FOLDERS[name] for root in dict.fromkeys(roots)]


def _file(folder: Path, name: str) -> Path:
    packed = folder / f"{name}.gz"
    return packed if packed.is_file() else folder / name


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read a file in MNIST's IDX format, gzipped or not.

    Args:
        path: of the file.

    Returns:
        A uint8 array of the shape that the file's header gives.

    Raises:
        DataError: not an IDX file of bytes, or damaged, or unreasonably large.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            zeros, kind, ndim = struct.unpack(">HBB", file.read(4))
            if zeros != 0 or kind != 0x08 or not 1 <= ndim <= 4:
                raise DataError(f"{path}: not an IDX file of bytes")
            shape = struct.unpack(f">{ndim}I", file.read(4 * ndim))
            size = int(np.prod(shape, dtype=object))
            if size > MAX_IDX_BYTES:
                raise DataError(f"{path}: its header asks for {size} bytes, more than the {MAX_IDX_BYTES} allowed")
            content = file.read(size + 1)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise DataError(f"{path}: can't be read ({error})") from None
    if len(content) != size:
        raise DataError(f"{path}: expected {size} bytes of data as its header says, got {len(content)}")
    return np.frombuffer(content, np.uint8).reshape(shape)
