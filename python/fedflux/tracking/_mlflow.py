"""A track in MLflow: a server, or a database on this machine."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ..errors import needs
from ._protocol import Run

LONGEST_VALUE = 500  # characters of a parameter that every version of MLflow takes
MOST = 100  # parameters in one call
STATUS = {"error": "FAILED", "interrupted": "KILLED"}  # by what stopped the run


class MLflow:
    """Notes each run as one of an experiment of MLflow.

    Args:
        uri: of the tracking server or its database, such as "http://localhost:5000" or
            "sqlite:///mlflow.db". Default: MLflow's own, which the environment variable
            MLFLOW_TRACKING_URI names.
        experiment: its name. Default: that of the environment variable
            MLFLOW_EXPERIMENT_NAME, else "fedflux".

    Raises:
        FedFluxError: MLflow is not installed.

    Example:
        >>> import fedflux
        >>> tracker = fedflux.tracking.MLflow(experiment="digits")  # doctest: +SKIP
        >>> fedflux.run(dataset="digits", track=tracker)  # doctest: +SKIP
    """

    def __init__(self, uri: str | None = None, experiment: str | None = None) -> None:
        self.uri = uri
        usual = os.environ.get("MLFLOW_EXPERIMENT_NAME", "fedflux")
        self.experiment = usual if experiment is None else experiment
        with needs("MLflow", "mlflow"):
            self._tracking = import_module("mlflow.tracking")
            self._entities = import_module("mlflow.entities")

    def start(self, run: Run) -> _Track:
        """Begin a run of the experiment, or go on with the one of the key."""
        client = self._tracking.MlflowClient(tracking_uri=self.uri)
        number = None if run.key is None else self._found(client, run.key)
        if number is None:
            tags = {} if run.group is None else {"group": run.group}
            made = client.create_run(self._experiment(client), run_name=run.name, tags=tags)
            number = made.info.run_id
        else:
            client.update_run(number, status="RUNNING")
        track = _Track(number, client, self._entities)
        track.options(run.options)
        return track

    def _experiment(self, client: Any) -> str:
        found = client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        return str(client.create_experiment(self.experiment))

    def _found(self, client: Any, key: str) -> str | None:
        """Return the key, which comes from a file, if it is that of a run."""
        exceptions = import_module("mlflow.exceptions")
        if re.fullmatch(r"[0-9a-f]{32}", key) is None:
            return None
        try:
            client.get_run(key)
        except exceptions.MlflowException:
            return None
        return key


class _Track:
    """One run of MLflow."""

    def __init__(self, key: str, client: Any, entities: Any) -> None:
        self.key, self._client, self._entities = key, client, entities

    def options(self, options: Mapping[str, Any]) -> None:
        """Note options as parameters. MLflow lets none change: a changed one is a tag."""
        known = self._client.get_run(self.key).data.params
        texts = {name: str(value)[:LONGEST_VALUE] for name, value in options.items()}
        new = [self._entities.Param(n, t) for n, t in texts.items() if n not in known]
        for i in range(0, len(new), MOST):
            self._client.log_batch(self.key, params=new[i : i + MOST])
        for name, text in texts.items():
            if known.get(name, text) != text:
                self._client.set_tag(self.key, f"resumed.{name}", text)

    def round(self, number: int, figures: Mapping[str, float]) -> None:
        now = int(1000 * time.time())
        self._client.log_batch(
            self.key,
            metrics=[
                self._entities.Metric(metric_name(name), figure, now, number)
                for name, figure in figures.items()
            ],
        )

    def end(self, summary: Mapping[str, Any]) -> None:
        for name, value in summary.items():
            self._client.set_tag(self.key, f"result.{name}", str(value))
        status = STATUS.get(summary["stopped"], "FINISHED")
        self._client.set_terminated(self.key, status)


def metric_name(name: str) -> str:
    """Return the name of a figure with the characters that MLflow takes.

    Example:
        >>> metric_name("f1(average=macro)")
        'f1_average_macro_'
    """
    return re.sub(r"[^\w.:/ -]", "_", name)
