"""Put the Julia core into the wheel.

An editable install reads the core from the checkout (python/fedflux/juliapkg.json points there), so only the standard
wheel gets a copy, and a juliapkg.json that points to it.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LEFT_OUT = ("test", "docs")  # of the core: nothing that a run needs


class CoreHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds julia/FedFlux as fedflux/julia/FedFlux, and juliapkg.json with its path and this version."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files to add; `version` is the kind of wheel, standard or editable."""
        if version != "standard":
            return
        root = Path(self.root)
        core = root / "julia" / "FedFlux"
        for file in sorted(core.rglob("*")):
            inside = file.relative_to(core)
            if (
                file.is_file()
                and inside.parts[0] not in LEFT_OUT
                and not file.name.startswith(("Manifest", "Local", "."))
            ):
                build_data["force_include"][str(file)] = f"fedflux/julia/FedFlux/{inside.as_posix()}"
        declared = json.loads((root / "python" / "fedflux" / "juliapkg.json").read_text())
        # juliapkg looks only at this file to see that something changed: the version must rise with every release
        declared["packages"]["FedFlux"] |= {"path": "julia/FedFlux", "version": f"={self.metadata.version}"}
        self._folder = tempfile.TemporaryDirectory()
        made = Path(self._folder.name) / "juliapkg.json"
        made.write_text(json.dumps(declared, indent=2) + "\n")
        build_data["force_include"][str(made)] = "fedflux/juliapkg.json"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the temporary juliapkg.json."""
        if version == "standard":
            self._folder.cleanup()
