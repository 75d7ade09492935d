"""Adds the Julia core, and the example that `fedflux new` copies, to the wheel.

An editable install reads the core from the checkout, as python/fedflux/juliapkg.json says.
Only the standard wheel gets a copy, and the digest by which environments share it.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

EXCLUDED = ("test", "docs")  # folders of the core that a run does not need
NOT_PART = {"keys", "__pycache__", ".pytest_cache"}  # what a trial of the example leaves


class CoreHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds julia/FedFlux with its digest, a juliapkg.json, and examples/deployment."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """List the files to add; `version` is the kind of wheel, standard or editable."""
        if version != "standard":
            return
        root = Path(self.root)
        core = root / "julia" / "FedFlux"
        digest = hashlib.sha256()
        for file in sorted(core.rglob("*")):
            path = file.relative_to(core)
            if (
                file.is_file()
                and path.parts[0] not in EXCLUDED
                and not file.name.startswith(("Manifest", "Local", "."))
            ):
                target = f"fedflux/julia/FedFlux/{path.as_posix()}"
                build_data["force_include"][str(file)] = target
                digest.update(f"{path.as_posix()}\0{file.stat().st_size}\0".encode())
                digest.update(file.read_bytes())
        example = root / "examples" / "deployment"  # which `fedflux new` copies
        for file in sorted(example.rglob("*")):
            path = file.relative_to(example)
            if file.is_file() and not NOT_PART & set(path.parts):
                target = f"fedflux/flower/template/{path.as_posix()}"
                build_data["force_include"][str(file)] = target
        declared = json.loads((root / "python" / "fedflux" / "juliapkg.json").read_text())
        del declared["packages"]  # fedflux/_julia/core_source.py names the core of a wheel
        self._folder = tempfile.TemporaryDirectory()
        for name, text in (
            ("juliapkg.json", json.dumps(declared, indent=2) + "\n"),
            ("julia/digest", digest.hexdigest()[:16] + "\n"),
        ):
            generated = Path(self._folder.name) / name
            generated.parent.mkdir(exist_ok=True)
            generated.write_text(text)
            build_data["force_include"][str(generated)] = f"fedflux/{name}"

    def finalize(
        self, version: str, build_data: dict[str, Any], artifact_path: str
    ) -> None:
        """Remove the temporary files."""
        if version == "standard":
            self._folder.cleanup()
