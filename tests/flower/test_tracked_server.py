"""The rounds of a deployment's server in trackers, with a core that trains nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flwr", reason="Flower is not installed: fedflux[flower]")

from fedflux._results.file_format import fingerprint
from fedflux.flower.options import Server
from fedflux.flower.server import Rounds

from ..federation import free_port
from ..tracking.test_prometheus import scraped, values
from ..tracking.test_tracks import in_tensorboard, of_history, same
from .test_roster import (
    Grid,
    client,
    made_outside_of_a_run as made_outside_of_a_run,
)

W, B = np.zeros((4, 2), np.float32), np.zeros(2, np.float32)
HISTORY: list[dict[str, Any]] = [
    {
        **{"round": i, "train_loss": 1.0 / i, "accuracy": 0.3 * i, "clients": 2},
        **{"bytes_up": 10 * i, "bytes_down": 5, "cohort": [1, 2, 3], "rejected": []},
        **{"dropped": [{"client": 3, "reason": "of mine"}], "skipped": None},
    }
    for i in (1, 2, 3)
]


class Core:
    """In the place of the worker with the core: three rounds, and a result."""

    def __init__(self, port: int) -> None:
        self.port, self.rounds, self.seen = port, 0, list[str]()

    def ask(self, header: dict[str, Any], parts: Any = (), arrays: Any = ()) -> Any:
        if header["op"] == "open":
            told = {"names": ["w", "b"], "shapes": [[4, 2], [2]], "most_bytes": 1000}
            return told | {"trainer": "fast", "round": 0}, [], []
        if header["op"] == "next":
            self.seen.append(scraped(self.port))  # during the run
            record = HISTORY[self.rounds - 1] if self.rounds else None
            self.rounds += 1
            done = "rounds" if self.rounds == 4 else None
            return (
                {"round": self.rounds, "record": record, "done": done, "clients": []},
                [],
                [],
            )
        assert header["op"] == "result"
        self.seen.append(scraped(self.port))
        facts = {
            **{"names": ["w", "b"], "params_sha256": fingerprint({"w": W, "b": B})},
            **{"dataset": "arrays", "trainer": "fast", "history": HISTORY},
            **{"stopped": "rounds", "seconds": 1.0},
        }
        return facts, [], [W, B]


def test_the_rounds_are_tracked_and_scraped_and_no_client_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("prometheus_client", reason="prometheus_client is not installed")
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    core = Core(free_port())
    track = f"tensorboard:{tmp_path / 'one'}, tensorboard:{tmp_path / 'two'}"
    settings = Server(wait=5.0, track=track, metrics_port=core.port)
    options = {"clients": 3, "weights": "samples", "lr": 0.1, "dataset": "auto"}
    grid = Grid({10 + k: client(k) for k in (1, 2, 3)})
    Rounds(grid, core, options, settings).run(None)  # type: ignore[arg-type]
    scrapes = list(map(values, core.seen))
    assert [found["fedflux_round"] for found in scrapes] == [0, 0, 1, 2, 3]
    last = scrapes[-1]
    assert last["fedflux_accuracy"] == HISTORY[-1]["accuracy"]
    assert last["fedflux_clients_accepted_total"] == 6
    assert last["fedflux_clients_dropped_total"] == 3
    assert last["fedflux_received_bytes_total"] == 60
    assert "of mine" not in core.seen[-1]
    with pytest.raises(OSError):
        scraped(core.port)
    for name in ("one", "two"):
        (folder,) = (tmp_path / name).iterdir()
        assert folder.name.startswith("deployment,clients=3,lr=0.1-")
        same(in_tensorboard(folder)[0], of_history(HISTORY), 1e-6)
    assert "warning" not in capsys.readouterr().out


def test_a_server_whose_rounds_fail_ends_its_tracks() -> None:
    pytest.importorskip("prometheus_client", reason="prometheus_client is not installed")

    class Broken(Core):
        def ask(self, header: dict[str, Any], parts: Any = (), arrays: Any = ()) -> Any:
            if self.rounds == 2:
                raise RuntimeError("the worker exited")
            return super().ask(header, parts, arrays)

    core = Broken(free_port())
    settings = Server(wait=5.0, metrics_port=core.port)
    options = {"clients": 3, "weights": "samples", "lr": 0.1, "dataset": "auto"}
    grid = Grid({10 + k: client(k) for k in (1, 2, 3)})
    with pytest.raises(RuntimeError, match="the worker exited"):
        Rounds(grid, core, options, settings).run(None)  # type: ignore[arg-type]
    with pytest.raises(OSError):
        scraped(core.port)
