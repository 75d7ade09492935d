"""The result of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._pictures.curves import of_history, overview
from .._pictures.style import saved
from .._version import __version__
from ..errors import DataError, FedFluxError
from . import checkpoint_folder, file_format, frame, personal, show_html
from .atomic_write import as_path
from .file_format import fingerprint, plain
from .personal import PersonalModel
from .predict import Predictor
from .snapshot import Snapshot, best_of

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure


@dataclass(repr=False)
class Result(Predictor):
    """The result of a run.

    Attributes:
        engine: "julia" or "reference".
        dataset: name of the data.
        trainer: the gradient engine: "fast", "zygote" or "numpy".
        history: one record, a dict, per round: round, train_loss, test_loss, accuracy,
            client_accuracy, personal_accuracy (of the clients' own models, if a rule keeps
            them), clients, seconds_train, seconds_aggregate, seconds_eval, bytes_up,
            bytes_down, rejected and dropped (lists of client and reason), skipped (why the
            round did not change the model), seconds_simulated, epsilon (after the round,
            if differential privacy is promised), membership (auc, accuracy and epsilon
            of the attack that the option membership asks for), aggregation (what the
            aggregator reports, by name) and cohort (the clients that were asked, by number
            from 1, or empty if a private rule hides them), validation_loss,
            validation_accuracy and metric (the figure of the option monitor, if it is
            neither loss nor accuracy); and metrics, a dict of the figures that the option
            metrics asks for, if it does. None for what was not measured. With validation
            data only the last round is measured on the test data.
        parameters: float32 arrays by name, in model order. A Dense weight is (in, out).
        params_sha256: SHA-256 of the parameters' bytes, in model order.
        stopped: why the run ended: rounds, target_accuracy, target_metric, patience,
            time_budget, budget (of ε), callback, interrupted (by Ctrl-C), or checkpoint
            (loaded from one).
        seconds: duration of the run.
        options: every option of the run.
        clients: a dict for each client (none above 100,000): its number `client` and its
            `name`, the owner as given or the number; `samples` that it trains on,
            `test_samples` of its own, `rounds` in which its update was accepted; `loss` and
            `accuracy` of the final model on its own test samples, `personal_loss` and
            `personal_accuracy` of its own model. None for what is not known.
        versions: versions of fedflux and of what it used.
        warnings: warnings of the run.
        details: further facts from the engine; `owners`, if the partition is by owner:
            the owner of each client, as they were given. `clients` there is the data of
            each client, see `holdings`.
        statistics: the running means and variances of BatchNorm by name, float32 arrays,
            which `init` begins with too. Most models have none.
        best: the model after the best round by the option monitor, with `predict`, `score`
            and the rest, or None if no round was evaluated.
        state: the core's own result, for `fedflux.run(resume=result)`. It is not saved.
        module: a copy of the PyTorch module that was given as `model`, before training, or
            None. It is not saved.
        own: what the reference engine keeps of the user's own objects, for the same. It is
            not saved either.

    Example:
        >>> import fedflux
        >>> result = fedflux.run(
        ...     dataset="digits", model="softmax_regression", rounds=1, engine="reference"
        ... )
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
    clients: list[dict[str, Any]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    statistics: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    state: Any = field(default=None, compare=False)
    module: Any = field(default=None, compare=False)
    own: Any = field(default=None, compare=False)
    best: Snapshot | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles have no state of the core."""
        return self.__dict__ | {"state": None, "own": None}

    @property
    def accuracy(self) -> float | None:
        """Test accuracy after the last evaluated round, 0..1, or None."""
        return self._last("accuracy")

    @property
    def loss(self) -> float | None:
        """Test loss after the last evaluated round, or training loss without test data.

        NaN or infinite if the run diverged.
        """
        test_loss = self._last("test_loss")
        return self._last("train_loss") if test_loss is None else test_loss

    @property
    def holdings(self) -> dict[str, Any] | None:
        """The samples and labels of the clients, see `fedflux.partition`, or None."""
        return self.details.get("clients")

    def _last(self, name: str) -> float | None:
        return next(
            (r[name] for r in reversed(self.history) if r.get(name) is not None), None
        )

    @property
    def frame(self) -> pandas.DataFrame:
        """The history as a pandas DataFrame, see `to_frame`."""
        return self.to_frame()

    def to_frame(self) -> pandas.DataFrame:
        """Convert the history to a pandas DataFrame.

        Returns:
            One row per round; client_accuracy becomes the columns client_accuracy_min, _q1,
            _median, _q3 and _max, and each number of aggregation, membership and metrics a
            column such as aggregation_NAME.

        Raises:
            FedFluxError: pandas is not installed.
        """
        return frame.of(self.history)

    def save_history(self, path: str | os.PathLike[str]) -> Path:
        """Write the history to a file, with the columns of `to_frame`.

        Args:
            path: a file .csv or .parquet; an existing one is replaced. In CSV the cohort
                and the clients that were left out are texts.

        Returns:
            The path.

        Raises:
            OptionError: another ending.
            FedFluxError: the file can't be written, or Parquet without pandas and pyarrow.
        """
        return frame.write(self.history, path)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw by round: accuracy, loss, bytes, ε, seconds, the spread over the clients.

        `fedflux.plots` has further pictures.

        Args:
            path: the picture to write, .png, .svg or .pdf; None for none.

        Returns:
            The figure, which a notebook shows.

        Raises:
            DataError: there is nothing to draw.
            FedFluxError: matplotlib is not installed, or the file can't be written.
        """
        return saved(overview({"": [of_history(self.history)]}), path)

    def personal(self, client: Any) -> PersonalModel:
        """Return the model that a client would use itself, if a rule makes one.

        Args:
            client: its name in `clients`, or its number if names aren't numbers.

        Returns:
            Its parameters, with predict, predict_proba and score as a result has them. A
            client that was never in a round has the global model.

        Raises:
            OptionError: no rule of the run makes personal models, or no such client.
            FedFluxError: the result was loaded or copied: `save` keeps no personal models.

        Example:
            >>> result = fedflux.run(  # doctest: +SKIP
            ...     x_train=x, y_train=y, owner=names, partition="owner", rules="ditto"
            ... )
            >>> result.personal("alice").predict(x_alice)  # doctest: +SKIP
        """
        names = [row["name"] for row in self.clients]
        return personal.of(self, client, names, (self.holdings or {}).get("clients", 0))

    def facts(self) -> dict[str, Any]:
        """Return everything but the parameters, ready for JSON.

        Returns:
            A dict with engine, dataset, accuracy, loss, params_sha256, seconds, history and
            the rest. JSON has no number for NaN and infinity: a loss is then "NaN",
            "Infinity" or "-Infinity", anything else None.
        """
        own = {name: getattr(self, name) for name in _FACTS}
        best = None if self.best is None else self.best.figures()
        more = {"accuracy": self.accuracy, "loss": self.loss, "best": best}
        facts: dict[str, Any] = plain(own | more)
        return facts

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Save the result as a safetensors file, for `load` or any safetensors reader.

        Args:
            path: the file; an existing one is replaced.

        Returns:
            The path.

        Raises:
            FedFluxError: the file can't be written.

        Example:
            >>> import fedflux, tempfile
            >>> result = fedflux.run(
            ...     dataset="digits", model="mlp", rounds=1, engine="reference"
            ... )
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     saved = fedflux.Result.load(result.save(f"{folder}/run.safetensors"))
            >>> saved.params_sha256 == result.params_sha256
            True
        """
        facts = self.facts() | {
            "names": list(self.parameters),
            "statistics": list(self.statistics),
            "statistics_sha256": fingerprint(self.statistics),
        }
        arrays = self.parameters | self.statistics
        if self.best is not None:
            apart = self.best.parameters is not self.parameters
            model = self.best if apart else self
            sha256 = fingerprint(model.statistics)
            facts["best"] |= {"apart": apart, "statistics_sha256": sha256}
            if apart:
                held = model.parameters | model.statistics
                arrays |= {f"best/{name}": a for name, a in held.items()}
        return file_format.write(as_path("path", path), facts, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Result:
        """Load a saved result.

        Args:
            path: a file that `save` wrote; or a run's folder of checkpoints, of which the
                newest is taken.

        Returns:
            The result.

        Raises:
            DataError: the file does not exist, is not a saved result or is damaged.
        """
        path = as_path("path", path)
        reader = checkpoint_folder if path.is_dir() else file_format
        facts, arrays = reader.read(path)
        try:
            facts.setdefault("clients", [])  # files of older versions
            names, statistics = facts["names"], facts.get("statistics", ())
            result = cls(
                parameters={name: arrays[name] for name in names},
                statistics={name: arrays[name] for name in statistics},
                **{name: facts[name] for name in _FACTS},
            )
            result.best = best_of(result, facts.get("best"), arrays)
            _check_whole(path, result, facts)
            if result.best is not None:
                _check_whole(path, result.best, facts["best"])
        except (KeyError, TypeError) as error:
            raise file_format.not_a_result(path, error) from None
        return result

    @classmethod
    def from_facts(
        cls,
        engine: str,
        options: dict[str, Any],
        facts: Mapping[str, Any],
        arrays: Sequence[NDArray[np.float32]],
        warnings: list[str],
    ) -> Result:
        """Assemble the result from what an engine returned.

        Args:
            engine: "julia" or "reference".
            options: every option of the run.
            facts: the facts of the run.
            arrays: the parameters in model order, then BatchNorm's statistics and, if the
                best model is another, its own.
            warnings: the warnings of the run.

        Raises:
            FedFluxError: the parameters differ from those that the engine had.
        """
        held = dict(zip(file_format.array_names(facts), arrays, strict=True))
        parameters = {name: held[name] for name in facts["names"]}
        if fingerprint(parameters) != facts["params_sha256"]:
            raise FedFluxError(
                "the parameters changed between the engine and Python: expected the "
                f"SHA-256 {facts['params_sha256']}; please report this"
            )
        known = ("dataset", "trainer", "history", "params_sha256", "stopped", "seconds")
        elsewhere = {*known, "names", "warnings", "versions", "client_rows"}
        elsewhere |= {"statistics", "best"}
        result = cls(
            engine=engine,
            parameters=parameters,
            statistics={name: held[name] for name in facts.get("statistics", ())},
            options=options,
            clients=list(facts.get("client_rows", ())),
            versions={"fedflux": __version__, **facts.get("versions", {})},
            warnings=warnings,
            details={name: value for name, value in facts.items() if name not in elsewhere},
            **{name: facts[name] for name in known},
        )
        result.best = best_of(result, facts.get("best"), held)
        return result

    def __repr__(self) -> str:
        figures = f"loss {self.loss:.4f}" if self.loss is not None else "no loss"
        if self.accuracy is not None:
            figures = f"accuracy {self.accuracy:.4f}, {figures}"
        figures += "".join(f", {name} {value:.4f}" for name, value in self._comparisons())
        rounds = f"{len(self.history)} round{'s' * (len(self.history) != 1)}"
        return (
            f"Result({self.dataset}: {figures} after {rounds} in {self.seconds:.1f} s; "
            f"engine {self.engine}, trainer {self.trainer}; "
            f"params {self.params_sha256[:12]})"
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the figures, and the curve of the accuracy."""
        return show_html.page(repr(self), self.history)

    def _comparisons(self) -> Iterator[tuple[str, float]]:
        """Yield the accuracies besides the global model's, with their names."""
        personal = self.history[-1].get("personal_accuracy") if self.history else None
        if personal is not None:
            yield "personal accuracy", personal
        finetuned = self.details.get("finetuned_accuracy")
        if finetuned is not None:
            yield "fine-tuned", finetuned
        for name, baseline in self.details.get("baselines", {}).items():
            if baseline["accuracy"] is not None:
                yield name, baseline["accuracy"]


_APART = ("parameters", "statistics", "state", "own", "module", "best")
_FACTS = tuple(f.name for f in fields(Result) if f.name not in _APART)


def _check_whole(path: Path, model: Result | Snapshot, facts: Mapping[str, Any]) -> None:
    """Raise DataError for arrays that are not those that were saved."""
    recorded = {
        "parameters": (model.parameters, facts["params_sha256"]),
        "statistics": (
            model.statistics,
            facts.get("statistics_sha256", fingerprint({})),
        ),
    }
    for name, (arrays, sha256) in recorded.items():
        if fingerprint(arrays) != sha256:
            raise DataError(f"{path}: damaged, its {name} do not have the recorded SHA-256")
