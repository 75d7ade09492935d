"""What a run gives back."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError, FedFluxError

if TYPE_CHECKING:
    import pandas

FORMAT = 1  # of saved results; rises when older readers can't read them


@dataclass(repr=False)
class Result:
    """A finished run.

    Attributes:
        engine: "julia" or "reference".
        dataset: name of the data that was used.
        trainer: the gradient engine: "fast", "zygote" or "numpy".
        history: one record (a dict) a round: round, train_loss, test_loss, accuracy, client_accuracy, personal_accuracy
            (of the clients' own models, where a rule makes such), clients, seconds_train, seconds_aggregate,
            seconds_eval, bytes_up, bytes_down, rejected and lost (lists of client and reason), skipped (why the round
            left the model as it was), seconds_simulated. None stands for what was not measured.
        parameters: float32 arrays by name, in model order. A Dense weight is (in, out).
        params_sha256: SHA-256 over the parameters' bytes, in model order.
        stopped: why the run ended: rounds, target_accuracy, patience, time_budget or callback.
        seconds: how long it took.
        options: every option of the run.
        versions: of what ran.
        warnings: what the run warned of.
        details: further facts from the engine.

    Example:
        >>> import fedflux
        >>> result = fedflux.run(dataset="digits", model="softmax_regression", rounds=1, engine="reference")
        >>> result.parameters["layers.2.weight"].shape
        (64, 10)
    """

    engine: str
    dataset: str
    trainer: str
    history: list[dict[str, Any]]
    parameters: dict[str, NDArray[np.float32]]
    params_sha256: str
    stopped: str
    seconds: float
    options: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def accuracy(self) -> float | None:
        """Test accuracy after the last evaluated round, 0..1; None where there is none."""
        return self._last("accuracy")

    @property
    def loss(self) -> float | None:
        """Test loss after the last evaluated round; the last training loss where there is no test data."""
        test_loss = self._last("test_loss")
        return self._last("train_loss") if test_loss is None else test_loss

    @property
    def clients(self) -> dict[str, Any] | None:
        """Who held what, as `fedflux.partition` tells it; None where the engine doesn't."""
        return self.details.get("clients")

    def _last(self, name: str) -> float | None:
        return next((r[name] for r in reversed(self.history) if r.get(name) is not None), None)

    @property
    def frame(self) -> pandas.DataFrame:
        """The history as a pandas DataFrame, see `to_frame`."""
        return self.to_frame()

    def to_frame(self) -> pandas.DataFrame:
        """Give the history as a pandas DataFrame.

        Returns:
            One row a round; client_accuracy is spread over columns client_accuracy_min, _q1, _median, _q3, _max.

        Raises:
            FedFluxError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise FedFluxError(
                "pandas is not installed: pip install 'fedflux[pandas]'; history needs nothing"
            ) from None
        rows = []
        for record in self.history:
            row = {name: value for name, value in record.items() if name != "client_accuracy"}
            spread = record.get("client_accuracy") or {}
            row |= {f"client_accuracy_{q}": spread.get(q) for q in ("min", "q1", "median", "q3", "max")}
            rows.append(row)
        return pandas.DataFrame(rows)

    def facts(self) -> dict[str, Any]:
        """Give everything but the parameters, ready for JSON.

        Returns:
            A dict with engine, dataset, accuracy, loss, params_sha256, seconds, history and the rest; numbers that JSON
            can't hold (NaN, infinity) are None.
        """
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "parameters"}
        facts: dict[str, Any] = _plain(own | {"accuracy": self.accuracy, "loss": self.loss})
        return facts

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Save the result as a safetensors file; `load` reads it, and so does any reader of safetensors.

        Args:
            path: of the file; an existing one is replaced.

        Returns:
            The path.

        Raises:
            FedFluxError: the file can't be written.

        Example:
            >>> import fedflux, tempfile
            >>> result = fedflux.run(dataset="digits", model="softmax_regression", rounds=1, engine="reference")
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     fedflux.Result.load(result.save(f"{folder}/run.safetensors")).params_sha256 == result.params_sha256
            True
        """
        from safetensors.numpy import save

        # the file's own order of tensors is by size and name, so the model's is kept beside
        facts = self.facts() | {"format": FORMAT, "names": list(self.parameters)}
        content = save(self.parameters, metadata={"fedflux": json.dumps(facts, allow_nan=False)})
        path = Path(path)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            part.write_bytes(content)
            part.replace(path)  # a reader sees the old file or the whole new one
        except OSError as error:
            raise FedFluxError(f"can't write {path}: {error.strerror}") from None
        finally:
            part.unlink(missing_ok=True)
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Result:
        """Load a saved result.

        Args:
            path: of a file that `save` wrote.

        Returns:
            The result.

        Raises:
            DataError: no such file, not a saved result, or damaged.
        """
        from safetensors import SafetensorError, safe_open

        path = Path(path)
        if not path.is_file():
            raise DataError(f"no file {str(path)!r} (looked in {os.getcwd()})")
        try:
            with safe_open(path, framework="numpy") as file:
                facts = json.loads((file.metadata() or {})["fedflux"])
                if facts.pop("format") > FORMAT:
                    raise DataError(f"{path}: saved by a newer fedflux; update with pip install -U fedflux")
                parameters = {name: file.get_tensor(name) for name in facts.pop("names")}
            result = cls(
                parameters=parameters, **{f.name: facts[f.name] for f in fields(cls) if f.name != "parameters"}
            )
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path}: not a result saved by fedflux ({type(error).__name__}: {error})") from None
        if fingerprint(parameters) != result.params_sha256:
            raise DataError(f"{path}: damaged, its parameters do not have the recorded SHA-256")
        return result

    def __repr__(self) -> str:
        figures = f"loss {self.loss:.4f}" if self.loss is not None else "no loss"
        if self.accuracy is not None:
            figures = f"accuracy {self.accuracy:.4f}, {figures}"
        figures += "".join(f", {name} {value:.4f}" for name, value in self._beside().items())
        rounds = f"{len(self.history)} round{'s' * (len(self.history) != 1)}"
        return (
            f"Result({self.dataset}: {figures} after {rounds} in {self.seconds:.1f} s; "
            f"engine {self.engine}, trainer {self.trainer}; params {self.params_sha256[:12]})"
        )

    def _beside(self) -> dict[str, float]:
        """Gather the accuracies that a run tells beside the global model's, by what they are of."""
        found = {
            "personal accuracy": self.history[-1].get("personal_accuracy") if self.history else None,
            "fine-tuned": self.details.get("finetuned_accuracy"),
            **{name: figures["accuracy"] for name, figures in self.details.get("baselines", {}).items()},
        }
        return {name: value for name, value in found.items() if value is not None}


def fingerprint(parameters: Mapping[str, NDArray[np.float32]]) -> str:
    """Compute the SHA-256 over the bytes of the parameters, in their order.

    Example:
        >>> fingerprint({})[:8]
        'e3b0c442'
    """
    digest = hashlib.sha256()
    for array in parameters.values():
        digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
