"""Make the pictures of docs/gallery.md: `python tools/make_gallery.py`.

The pictures of reports are taken by Chromium; without one, they stay as they are.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
OUT = ROOT / "docs" / "gallery"
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from tests import browser  # noqa: E402

import fedflux  # noqa: E402
from fedflux import plots  # noqa: E402

QUICK = {"dataset": "digits", "batch_size": 10, "clients": 10}
SKEWED = QUICK | {"partition": "dirichlet(alpha=0.3)"}


def draw_runs() -> fedflux.Result:
    """Draw one run, its clients, and runs side by side."""
    skewed = fedflux.run(**SKEWED, rounds=15, client_test=0.2)
    skewed.plot(OUT / "run.svg")
    plots.clients(skewed, OUT / "clients.svg")
    plots.client_accuracy(skewed, OUT / "client-accuracy.svg")
    plots.accuracy(
        {
            "equal shares": fedflux.run(**QUICK, rounds=15),
            "Dirichlet, α = 0.3": skewed,
            "two digits each": fedflux.run(**QUICK, rounds=15, partition="shards(k=2)"),
        },
        OUT / "accuracy.svg",
    )
    plots.confusion(skewed, *digits(), path=OUT / "confusion.svg")
    rule = "client_dp(clip=0.5, noise_multiplier=1, reproducible=true)"
    private = fedflux.run(
        dataset="digits",
        model="softmax_regression",
        lr=0.5,
        clients=200,
        clients_per_round=40,
        sampling="poisson",
        weights="uniform",
        rounds=15,
        rules=[rule],
    )
    private.plot(OUT / "private.svg")
    return skewed


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Read the digits that the runs are tested on."""
    file = ROOT / "julia" / "FedFlux" / "data" / "digits.bin"
    records = np.fromfile(file, np.uint8).reshape(-1, 65)[1437:]
    return records[:, 1:].reshape(-1, 8, 8), records[:, 0]


def draw_comparison() -> fedflux.Comparison:
    """Compare three rules, with the spread over three seeds."""
    found = fedflux.compare(
        {"rules": ["none", "fedprox(mu=0.01)", "scaffold"]},
        seeds=3,
        rounds=10,
        **SKEWED,
    )
    found.plot(OUT / "comparison.svg")
    return found


def photograph(name: str, what: fedflux.Result | fedflux.Comparison) -> None:
    """Take pictures of a report: a desktop's window, and a phone's."""
    with tempfile.TemporaryDirectory() as folder:
        page = fedflux.report(what, Path(folder) / f"{name}.html")
        for kind, width, height in (("desktop", 1100, 1400), ("phone", 390, 1200)):
            profile = Path(folder) / "profile"
            browser.screenshot(page, OUT / f"{name}-{kind}.png", width, height, profile)


def main() -> None:
    """Make all pictures."""
    OUT.mkdir(exist_ok=True)
    fedflux.run(**SKEWED, rounds=1, client_test=0.2)  # Julia compiles now, not in a picture
    result, found = draw_runs(), draw_comparison()
    photograph("report", result)
    photograph("report-comparison", found)
    for picture in OUT.glob("*.svg"):  # matplotlib ends lines with spaces
        lines = picture.read_text(encoding="utf-8").splitlines()
        picture.write_text("\n".join(map(str.rstrip, lines)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
