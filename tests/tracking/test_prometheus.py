"""Figures in Prometheus' format, read over HTTP from a real port."""

from __future__ import annotations

import urllib.request
from typing import Any

import pytest

import fedflux
from fedflux import tracking

from .test_tracks import FEW


@pytest.fixture(autouse=True)
def _prometheus() -> None:
    pytest.importorskip("prometheus_client", reason="prometheus_client is not installed")


def scraped(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text: str = answer.read().decode()
        return text


def values(text: str) -> dict[str, float]:
    """The values of a scrape, by name and labels."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)
    }


def test_the_figures_of_each_round_are_served_while_it_runs() -> None:
    tracker, seen = tracking.Prometheus(0), list[dict[str, float]]()

    def scrape(record: dict[str, Any]) -> None:
        seen.append(values(scraped(tracker.port)))

    result = fedflux.run(**FEW, track=tracker, callback=scrape)
    assert len(seen) == 3
    for i, (found, record) in enumerate(zip(seen, result.history, strict=True), 1):
        assert found["fedflux_round"] == i
        for name in ("accuracy", "train_loss", "test_loss", "bytes_down", "clients"):
            assert found[f"fedflux_{name}"] == record[name], name
        assert found["fedflux_clients_accepted_total"] == 3 * i
        total = sum(r["bytes_up"] for r in result.history[:i])
        assert found["fedflux_received_bytes_total"] == total
        assert found["fedflux_clients_rejected_total"] == 0
    with pytest.raises(OSError):
        scraped(tracker.port)  # the run is over


def test_no_client_is_named_and_nothing_but_the_run_is_said() -> None:
    tracker = tracking.Prometheus(0)
    track = tracker.start(tracking.Run("a run"))
    try:
        assert track._server.server_address[0] == "127.0.0.1"
        track.round(1, {"accuracy": 0.5, "准确率": 0.25, "f1 macro": 0.75})
        found = values(scraped(tracker.port))
    finally:
        track.end({"stopped": "rounds"})
    own = {name for name in found if not name.endswith("_created")}
    assert own == {
        *('fedflux_run_info{name="a run"}', "fedflux_round", "fedflux_accuracy"),
        *('fedflux_figure{name="准确率"}', 'fedflux_figure{name="f1 macro"}'),
        *(f"fedflux_clients_{what}_total" for what in ("accepted", "rejected", "dropped")),
        *("fedflux_received_bytes_total", "fedflux_sent_bytes_total"),
    }
    assert found['fedflux_figure{name="准确率"}'] == 0.25


def test_a_port_that_is_taken_is_a_warning() -> None:
    track = (taken := tracking.Prometheus(0)).start(tracking.Run("first"))
    try:
        with pytest.warns(fedflux.FedFluxWarning, match="prometheus failed at the start"):
            result = fedflux.run(**FEW, track=tracking.Prometheus(taken.port))
        assert len(result.history) == 3
    finally:
        track.end({"stopped": "rounds"})
