"""What a comparison found: a table, and the runs behind it."""

from __future__ import annotations

import html
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._pictures.curves import Curve, of_compared, overview
from .._pictures.style import saved
from .._results.atomic_write import as_path
from .._results.result import Result
from .._results.saved import read_json
from ..errors import DataError, FedFluxError, needs

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

FILE = "comparison.json"


@dataclass(repr=False)
class Comparison:
    """What `fedflux.compare` found.

    Attributes:
        rows: a dict for each configuration: its name `configuration` and its `settings`,
            the number of `runs` that ended and of those that `failed`; of the metric the
            `mean`, the standard deviation over the seeds (`sd`), `min` and `max`; the mean
            `difference` to the baseline, paired over the seeds, the p-value `p` of a paired
            t-test, `p_holm`, adjusted for the number of tests, and `p_signs` of an exact
            sign-flip test; the `verdict`, "better" or "worse" if p_holm is at most 0.05;
            `rounds_to_target`, the mean over the runs that `reached` it; the means of
            `epsilon`, `bytes_up`, `bytes_down` and `seconds`. None for what there is not.
        runs: a dict for each run: `configuration`, `seed`, `folder` (below that of the
            comparison), `accuracy`, `loss`, `personal_accuracy`, `epsilon`, `rounds`,
            `bytes_up`, `bytes_down`, `seconds`, `stopped`, `params_sha256`, `error`, and
            `curve`, figures of each round by name.
        metric: accuracy, personal_accuracy or loss.
        target: what rounds_to_target counts to.
        baseline: the configuration that others are compared with.
        seeds: the seeds.
        options: the options that all runs have, as text.
        table: the table as text, with what was tested and what that can't say.
        how_tested: these words alone.
        versions: versions of fedflux and of what it used.
        warnings: warnings of the runs.
        seconds: how long it took.
        folder: the folder, or None.
    """

    rows: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    metric: str
    target: float | None
    baseline: str
    seeds: list[int]
    options: dict[str, str]
    table: str
    how_tested: str
    versions: dict[str, str]
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    folder: Path | None = None

    @classmethod
    def of(cls, facts: dict[str, Any], folder: Path | None) -> Comparison:
        """Make a comparison from what the core returned."""
        kept = {name: value for name, value in facts.items() if name != "format"}
        rows = [row | {"settings": dict(row["settings"])} for row in kept.pop("rows")]
        return cls(rows=rows, folder=folder, **kept)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Comparison:
        """Load the comparison that `fedflux.compare` wrote into a folder.

        Raises:
            DataError: there is none, or its file is damaged.
        """
        path = as_path("folder", folder) / FILE
        if not path.is_file():
            raise DataError(
                f"{path.parent} holds no finished comparison (no file {FILE}): run "
                "fedflux compare with this folder again to finish it"
            )
        facts = read_json(path, "a comparison of fedflux")
        try:
            return cls.of(facts, path.parent)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise DataError(
                f"{path}: not a comparison of fedflux ({type(error).__name__}: {error})"
            ) from None

    def result(self, configuration: str, seed: int) -> Result:
        """Load the result of a run from its folder.

        Raises:
            DataError: there is no such run.
            FedFluxError: the comparison has no folder.
        """
        if self.folder is None:
            raise FedFluxError(
                "the runs of this comparison were not kept: give folder=... to compare"
            )
        for run in self.runs:
            if (run["configuration"], run["seed"]) == (configuration, seed):
                return Result.load(self.folder / run["folder"] / "result.safetensors")
        raise DataError(f"no run of {configuration!r} with seed {seed}")

    def curves(self) -> dict[str, list[Curve]]:
        """Return the figures by round of the runs that ended, by configuration."""
        found: dict[str, list[Curve]] = {}
        for run in self.runs:
            if run["error"] is None:
                found.setdefault(run["configuration"], []).append(of_compared(run["curve"]))
        return found

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw each figure by round: a line a configuration, and a band over its seeds.

        Args:
            path: the picture to write, .png, .svg or .pdf; None for none.

        Raises:
            FedFluxError: matplotlib is not installed, or the file can't be written.
        """
        return saved(overview(self.curves()), path)

    def to_frame(self) -> pandas.DataFrame:
        """Convert the table to a pandas DataFrame, a column for each setting.

        Raises:
            FedFluxError: pandas is not installed.
        """
        with needs("pandas", "pandas", ", or use rows"):
            import pandas
        plain = [{k: v for k, v in row.items() if k != "settings"} for row in self.rows]
        settings = [row["settings"] for row in self.rows]
        return pandas.DataFrame([s | p for s, p in zip(settings, plain, strict=True)])

    def __str__(self) -> str:
        return self.table

    def __repr__(self) -> str:
        return (
            f"Comparison({len(self.rows)} configurations, {len(self.seeds)} seeds, by "
            f"{self.metric})"
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the table."""
        return f"<pre>{html.escape(self.table)}</pre>"
