"""Adds the Julia core, and the example that `fedflux new` copies, to the wheel.

An editable install reads the core from the checkout, as python/fedflux/juliapkg.json says.
Only the standard wheel gets a copy, and a juliapkg.json with the path of that copy.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

EXCLUDED = ("test", "docs")  # folders of the core that a run does not need
NOT_PART = {"keys", "__pycache__", ".pytest_cache"}  # what a trial of the example leaves


class CoreHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds julia/FedFlux, a juliapkg.json with its version, and examples/deployment."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """List the files to add; `version` is the kind of wheel, standard or editable."""
        if version != "standard":
            return
        root = Path(self.root)
        core = root / "julia" / "FedFlux"
        for file in sorted(core.rglob("*")):
            path = file.relative_to(core)
            if (
                file.is_file()
                and path.parts[0] not in EXCLUDED
                and not file.name.startswith(("Manifest", "Local", "."))
            ):
                target = f"fedflux/julia/FedFlux/{path.as_posix()}"
                build_data["force_include"][str(file)] = target
        example = root / "examples" / "deployment"  # which `fedflux new` copies
        for file in sorted(example.rglob("*")):
            path = file.relative_to(example)
            if file.is_file() and not NOT_PART & set(path.parts):
                target = f"fedflux/flower/template/{path.as_posix()}"
                build_data["force_include"][str(file)] = target
        declared = json.loads((root / "python" / "fedflux" / "juliapkg.json").read_text())
        # juliapkg detects an upgrade by this file alone, so the version must change with
        # every release
        declared["packages"]["FedFlux"] |= {
            "path": "julia/FedFlux",
            "version": f"={self.metadata.version}",
        }
        self._folder = tempfile.TemporaryDirectory()
        generated = Path(self._folder.name) / "juliapkg.json"
        generated.write_text(json.dumps(declared, indent=2) + "\n")
        build_data["force_include"][str(generated)] = "fedflux/juliapkg.json"

    def finalize(
        self, version: str, build_data: dict[str, Any], artifact_path: str
    ) -> None:
        """Remove the temporary juliapkg.json."""
        if version == "standard":
            self._folder.cleanup()
