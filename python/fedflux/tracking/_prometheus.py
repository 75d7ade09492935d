"""A run's figures in Prometheus' format, on a port of this machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ..errors import OptionError, needs, shown
from ._protocol import Run

# Totals over the rounds: the figure of a round, and what the total is called and means.
TOTALS = {
    "clients": ("clients_accepted", "Updates that counted"),
    "rejected": ("clients_rejected", "Updates that were rejected"),
    "dropped": ("clients_dropped", "Clients that failed or did not answer"),
    "bytes_up": ("received_bytes", "Bytes of the clients' updates"),
    "bytes_down": ("sent_bytes", "Bytes that were sent to clients"),
}


class Prometheus:
    """Serves the figures of the last round, and totals, while a run goes on.

    `http://HOST:PORT/metrics` has `fedflux_round`, a gauge `fedflux_NAME` for each figure
    of the last round, such as `fedflux_accuracy`, and totals such as
    `fedflux_clients_dropped_total`. Figures whose names Prometheus can't have are
    `fedflux_figure` with a label. No client is named.

    Args:
        port: to listen on, or 0 for a free one.
        host: the address to listen on. Anyone who reaches it can read the figures.

    Attributes:
        port: the port, also if it was free to choose.

    Raises:
        FedFluxError: prometheus_client is not installed.
        OptionError: the port is none.

    Example:
        >>> Prometheus(9400, host="0.0.0.0")  # doctest: +SKIP
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        if type(port) is not int or not 0 <= port < 65536:
            raise OptionError(f"metrics_port: expected 0 to 65535, got {shown(port)}")
        if not isinstance(host, str) or not host:
            raise OptionError(f"metrics_host: expected an address, got {shown(host)}")
        self.port, self.host = port, host
        with needs("prometheus_client", "prometheus"):
            self._library = import_module("prometheus_client")

    def start(self, run: Run) -> _Track:
        """Listen, until the run ends."""
        registry = self._library.CollectorRegistry()
        server, _ = self._library.start_http_server(self.port, self.host, registry)
        self.port = server.server_port
        return _Track(self._library, registry, server, run)


class _Track:
    """The metrics of one run."""

    def __init__(self, library: Any, registry: Any, server: Any, run: Run) -> None:
        self._library, self._registry, self._server = library, registry, server
        self._gauges: dict[str, Any] = {}
        self._totals = {
            figure: library.Counter(f"fedflux_{name}", meaning, registry=registry)
            for figure, (name, meaning) in TOTALS.items()
        }
        self._others = library.Gauge(
            "fedflux_figure", "Figures of the last round", ["name"], registry=registry
        )
        said = library.Info("fedflux_run", "The run", registry=registry)
        said.info({"name": run.name})
        self._gauge("round").set(run.done)

    def _gauge(self, name: str) -> Any:
        if re.fullmatch(r"[a-z][a-z0-9_]*", name) is None or name == "figure":
            return self._others.labels(name)
        if name not in self._gauges:
            meaning = f"{name.replace('_', ' ')}, of the last round"
            self._gauges[name] = self._library.Gauge(
                f"fedflux_{name}", meaning, registry=self._registry
            )
        return self._gauges[name]

    def round(self, number: int, figures: Mapping[str, float]) -> None:
        for name, figure in figures.items():
            self._gauge(name).set(figure)
            if name in self._totals:
                self._totals[name].inc(figure)
        self._gauge("round").set(number)

    def end(self, summary: Mapping[str, Any]) -> None:
        self._server.shutdown()
        self._server.server_close()
