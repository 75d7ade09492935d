"""Virtual environments of a test's own."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

from fedflux._julia.project import find_julia


class Environment:
    """A virtual environment that also has this one's packages, so nothing is downloaded.

    Its Julia project is its own. An editable fedflux is not among the packages: `more` are
    further folders to import from.
    """

    def __init__(self, folder: Path, *more: Path) -> None:
        command = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
        subprocess.run(command, check=True)
        self.folder = folder
        self.python = folder / "bin" / "python"
        self.project = folder / "julia_env"
        paths = {"base": str(folder), "platbase": str(folder)}
        self.site = Path(sysconfig.get_path("purelib", "venv", paths))
        outer = [sysconfig.get_path("purelib"), *map(str, more)]
        (self.site / "outer.pth").write_text("\n".join(outer) + "\n")

    def compile_less(self, more: str = "") -> None:
        """Leave out what only makes later starts shorter; `more`: further preferences."""
        self.project.mkdir(exist_ok=True)
        preferences = f"[FedFlux]\nprecompile_workload = false\n{more}"
        (self.project / "LocalPreferences.toml").write_text(preferences)

    def run(
        self, *args: str, env: dict[str, str], timeout: float = 3000, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run its Python in its folder."""
        return subprocess.run(
            [str(self.python), *args],
            cwd=self.folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=check,
        )

    def fedflux(
        self, *args: str, env: dict[str, str], timeout: float = 3000
    ) -> subprocess.CompletedProcess[str]:
        """Run its `fedflux`."""
        return self.run("-m", "fedflux", *args, env=env, timeout=timeout)


def depots() -> list[str]:
    """Where Julia finds packages."""
    done = subprocess.run(
        [
            str(find_julia()[0]),
            "--startup-file=no",
            "-e",
            "join(stdout, DEPOT_PATH, '\\n')",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()
