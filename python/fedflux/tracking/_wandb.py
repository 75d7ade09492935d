"""A track in Weights & Biases, on its server or in a folder for later."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ..errors import needs
from ._protocol import Run

LONGEST_KEY = 64  # of a run's id


class WandB:
    """Notes each run as one of a project of Weights & Biases.

    With the environment variable WANDB_MODE=offline, or `mode="offline"`, runs are written
    into the folder wandb, and `wandb sync` uploads them.

    Args:
        project: its name. Default: that of the environment variable WANDB_PROJECT, else
            "fedflux".
        **settings: further arguments of `wandb.init`, such as `mode`, `dir`, `entity`,
            `tags` or `notes`.

    Raises:
        FedFluxError: wandb is not installed.

    Example:
        >>> import fedflux
        >>> tracker = fedflux.tracking.WandB(mode="offline")  # doctest: +SKIP
        >>> fedflux.run(dataset="digits", track=tracker)  # doctest: +SKIP
    """

    def __init__(self, project: str | None = None, **settings: Any) -> None:
        usual = os.environ.get("WANDB_PROJECT", "fedflux")
        self.project = usual if project is None else project
        self.settings = settings
        with needs("wandb", "wandb"):
            self._library = import_module("wandb")

    def start(self, run: Run) -> _Track:
        """Begin a run of the project, or go on with the one of the key."""
        known = run.key is not None and _is_key(run.key)
        given = {
            "project": self.project,
            "name": run.name,
            "group": run.group,
            "config": dict(run.options),
            "id": run.key if known else None,
            "resume": "allow" if known else None,
            "reinit": "create_new",  # others may run beside it
            "settings": self._library.Settings(console="off"),
        }
        begun = self._library.init(**given | self.settings)
        if known:
            begun.config.update(dict(run.options), allow_val_change=True)
        return _Track(begun)


def _is_key(key: str) -> bool:
    return len(key) <= LONGEST_KEY and key.isascii() and key.replace("-", "").isalnum()


class _Track:
    """One run of Weights & Biases."""

    def __init__(self, run: Any) -> None:
        self.key, self._run = str(run.id), run

    def round(self, number: int, figures: Mapping[str, float]) -> None:
        self._run.log(dict(figures), step=number)

    def end(self, summary: Mapping[str, Any]) -> None:
        for name, value in summary.items():
            self._run.summary[f"result/{name}"] = value
        self._run.finish(exit_code=int(summary["stopped"] == "error"))
