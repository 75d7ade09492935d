"""`fedflux new`: a project for Flower, copied from the example of a deployment."""

from __future__ import annotations

import keyword
from pathlib import Path

from ..errors import FedFluxError, OptionError

EXAMPLE = "fedapp"  # the example's name, which becomes the project's
LEFT_OUT = ("keys", "__pycache__", ".pytest_cache")  # what a trial of the example leaves


def new(name: str, folder: Path) -> Path:
    """Write a project that `flwr run` accepts.

    Args:
        name: of the project and of its package. Hyphens become underscores in the package.
        folder: the folder in which the project's folder is made.

    Returns:
        The project's folder.

    Raises:
        OptionError: the name can't be that of a package.
        FedFluxError: the project's folder exists, or can't be written.
    """
    package = name.replace("-", "_")
    if not package.isidentifier() or not package.isascii() or keyword.iskeyword(package):
        raise OptionError(
            f"name: expected letters, digits, - and _, with a letter first, got {name!r}"
        )
    project = folder / name
    if project.exists():
        raise FedFluxError(f"{project} exists: choose another name, or remove it")
    source = template()
    try:
        for file in sorted(source.rglob("*")):
            path = file.relative_to(source)
            if file.is_file() and not set(path.parts) & set(LEFT_OUT):
                target = project / str(path).replace(EXAMPLE, package)
                target.parent.mkdir(parents=True, exist_ok=True)
                text = file.read_text(encoding="utf-8").replace(EXAMPLE, package)
                target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FedFluxError(f"can't write {project}: {error.strerror}") from None
    return project


def template() -> Path:
    """Find the example: in the installed package or, for a checkout, in the repository.

    Raises:
        FedFluxError: neither exists.

    Example:
        >>> (template() / "pyproject.toml").is_file()
        True
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "template", package.parents[2] / "examples" / "deployment"):
        if (folder / "pyproject.toml").is_file():
            return folder
    raise FedFluxError("the example of a deployment is missing; reinstall fedflux")
