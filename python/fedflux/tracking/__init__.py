"""Runs in TensorBoard, MLflow, Weights & Biases, or a tracker of your own.

`fedflux.run(track="tensorboard")` is enough. The classes here set where a track goes. Each
needs its extra: `fedflux[tensorboard]`, `fedflux[mlflow]`, `fedflux[wandb]` or
`fedflux[prometheus]`.

Example:
    >>> import fedflux
    >>> class Printed:
    ...     def start(self, run):
    ...         print("start of", run.name)
    ...         return self
    ...
    ...     def round(self, number, figures):
    ...         print("round", number, "of", figures["clients"], "clients")
    ...
    ...     def end(self, summary):
    ...         print("ended by", summary["stopped"])
    >>> _ = fedflux.run(dataset="digits", rounds=1, engine="reference", track=Printed())
    start of digits, model=mlp, lr=0.3
    round 1 of 10.0 clients
    ended by rounds
"""

from ._mlflow import MLflow
from ._prometheus import Prometheus
from ._protocol import Run, Track, Tracker
from ._tensorboard import TensorBoard
from ._wandb import WandB

__all__ = ["MLflow", "Prometheus", "Run", "TensorBoard", "Track", "Tracker", "WandB"]
