"""Compare all methods on two labels a client of FashionMNIST, and write docs/methods.json
and the table of docs/measured.md: `python -m benchmarks.methods`.

Each method runs with three seeds, one run after another on one thread. The accuracy is that
of the last round. The factor of time is what a client's part of a round takes, over
FedAvg's: seconds of the processor, in one process, of the fastest two rounds in a row of a
run of each method. What else the machine does disturbs these least. A folder keeps the runs
and the seconds: if you stop the command, start it again, and it goes on.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

import fedflux

ROOT = Path(__file__).resolve().parent.parent
FILES = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist
TRAIN, TEST, SEEDS = 6000, 2000, (0, 1, 2)
SETTING: dict[str, Any] = {
    "partition": "labels(k=2)",
    "clients": 10,
    "model": "mlp",
    "hidden": [64],
    "local_epochs": 1,
    "batch_size": 32,
    "lr": 0.05,
}
ROUNDS, TURNS = 20, 200  # of FedAvg, and the trainings of clients in them
# The page of each method: the kind and the name of its object. Then its name in the table
# and its options, where they aren't the defaults.
METHODS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("", "", "FedAvg", {}),
    ("rule", "fedprox", "FedProx", {"rules": "fedprox(mu=0.01)"}),
    ("rule", "scaffold", "SCAFFOLD", {"rules": "scaffold"}),
    ("rule", "scaffnew", "Scaffnew", {"rules": "scaffnew(p=0.05)", "local_epochs": 4}),
    ("rule", "fednova", "FedNova", {"rules": "fednova"}),
    ("rule", "feddyn", "FedDyn", {"rules": "feddyn(alpha=0.1)"}),
    ("rule", "feddc", "FedDC", {"rules": "feddc(alpha=0.1)"}),
    ("rule", "fedadmm", "FedADMM", {"rules": "fedadmm(rho=0.1)"}),
    ("rule", "fedcm", "FedCM", {"rules": "fedcm(alpha=0.1)"}),
    ("rule", "mimelite", "MimeLite", {"rules": "mimelite"}),
    ("rule", "mime", "Mime", {"rules": "mime", "rounds": 2 * ROUNDS}),
    ("rule", "fedexp", "FedExP", {"rules": "fedexp", "weights": "uniform"}),
    ("rule", "feddisco", "FedDisco", {"rules": "feddisco"}),
    ("rule", "fedsam", "FedSAM", {"rules": "fedsam(rho=0.05)"}),
    ("rule", "", "MoFedSAM", {"rules": ["fedsam(rho=0.05)", "fedcm(alpha=0.1)"]}),
    ("rule", "fedntd", "FedNTD", {"rules": "fedntd"}),
    ("rule", "moon", "MOON", {"rules": "moon"}),
    ("rule", "fedlc", "FedLC", {"rules": "fedlc(tau=0.5)"}),
    ("rule", "", "balanced softmax", {"rules": "fedrod(personal=false)"}),
    ("rule", "fedrs", "FedRS", {"rules": "fedrs(alpha=0.5)"}),
    ("rule", "fedsgd", "FedSGD", {"rules": "fedsgd"}),
    ("rule", "qffl", "q-FFL", {"rules": "qffl(q=1)"}),
    ("rule", "afl", "AFL", {"rules": "afl(lr=0.1)"}),
    ("rule", "term", "TERM", {"rules": "term(t=1)"}),
    ("rule", "ema", "EMA", {"rules": "ema(decay=0.5)"}),
    (
        "rule",
        "fedbuff",
        "FedBuff",
        {
            "rules": "fedbuff(concurrency=4)",
            "clients_per_round": 2,
            "rounds": TURNS // 2,
            "weights": "uniform",
        },
    ),
    (
        "rule",
        "fedasync",
        "FedAsync",
        {"rules": "fedasync(concurrency=4)", "clients_per_round": 1, "rounds": TURNS},
    ),
    ("server", "fedavgm", "FedAvgM", {"server": "fedavgm(lr=1, momentum=0.9)"}),
    ("server", "nesterov", "Nesterov", {"server": "nesterov(lr=0.7, momentum=0.9)"}),
    ("server", "fedadagrad", "FedAdagrad", {"server": "fedadagrad(lr=0.1)"}),
    ("server", "fedadam", "FedAdam", {"server": "fedadam(lr=0.01)"}),
    ("server", "fedyogi", "FedYogi", {"server": "fedyogi(lr=0.01)"}),
    (
        "server",
        "",
        "DiLoCo",
        {
            "optimizer": "adamw(weight_decay=0.1, beta2=0.95)",
            "lr": 0.001,
            "keep_optimizer": True,
            "server": "nesterov(lr=0.7, momentum=0.9)",
            "weights": "uniform",
        },
    ),
    ("rule", "ditto", "Ditto", {"rules": "ditto(lam=0.1)"}),
    ("rule", "fedper", "FedPer", {"rules": "fedper"}),
    ("rule", "fedrep", "FedRep", {"rules": "fedrep"}),
    ("rule", "lgfedavg", "LG-FedAvg", {"rules": "lgfedavg"}),
    ("rule", "fedbabu", "FedBABU", {"rules": "fedbabu"}),
    ("rule", "fedrod", "FedRoD", {"rules": "fedrod"}),
    (
        "rule",
        "perfedavg",
        "Per-FedAvg",
        {"rules": "perfedavg(alpha=0.05)", "local_epochs": 2},
    ),
    ("rule", "pfedme", "pFedMe", {"rules": "pfedme(lam=2, inner_lr=0.05)"}),
    ("rule", "apfl", "APFL", {"rules": "apfl(alpha=0.5)"}),
    ("rule", "fedala", "FedALA", {"rules": "fedala"}),
    ("rule", "fedproto", "FedProto", {"rules": "fedproto"}),
    ("rule", "ifca", "IFCA", {"rules": "ifca(clusters=2)"}),
]
HEAD = """\
| method | options | accuracy % | personal % | time of a client over FedAvg's |
| --- | --- | ---: | ---: | ---: |"""
Row = dict[str, Any]


def main() -> None:
    """Run what is missing, and write the figures and the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.methods", description=__doc__
    )
    parser.add_argument("--data", type=Path, default=FILES, help="folder of the four files")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "methods")
    parser.add_argument("--only", help="names of the table, by commas; writes no file")
    parser.add_argument(
        "--report", action="store_true", help="run nothing: write what the folder has"
    )
    args = parser.parse_args()
    known = fedflux_names()
    methods = [m for m in METHODS if not m[1] or m[1] in known]
    if args.only:
        asked = args.only.split(",")
        methods = [m for m in methods if m[2] in ["FedAvg", *asked]]
    file = args.folder / "seconds.json"
    if args.report:
        found = fedflux.Comparison.load(args.folder)
        seconds = json.loads(file.read_text()) if file.exists() else {}
    else:
        found = fedflux.compare(
            [grid(options) for _, _, _, options in methods],
            seeds=SEEDS,
            folder=args.folder,
            parallel=1,
            progress=True,
            **arrays(args.data),
        )
        seconds = seconds_of_clients(methods, file, args.data)
    rows = [
        row(name, options, runs_of(found, i)) | ({"page": f"{kind}/{page}"} if page else {})
        for i, (kind, page, name, options) in enumerate(methods)
    ]
    for each in rows:
        taken = seconds.get(each["name"])
        each["factor"] = None if taken is None else round(taken / seconds["FedAvg"], 2)
    print("\n".join([HEAD, *map(line, rows)]))
    if not args.only:
        write(rows, found)


def fedflux_names() -> set[str]:
    """List the names of rules and server steps that this version knows."""
    from fedflux._options.specs import known

    return {name for kind in ("rule", "server") for name in known(kind)}


def grid(options: dict[str, Any]) -> dict[str, list[Any]]:
    """Make the grid of one configuration; only the last round is evaluated."""
    every = {"rounds": ROUNDS} | SETTING | options
    every["eval_every"] = every["rounds"]
    return {name: [value] for name, value in every.items()}


def arrays(folder: Path) -> dict[str, Any]:
    """Read the first images and labels of FashionMNIST, to train and to test on."""

    def read(name: str, header: int, count: int, size: int) -> Any:
        with gzip.open(folder / f"{name}-ubyte.gz") as file:
            values = np.frombuffer(file.read(header + count * size), np.uint8)
        return values[header:]

    def images(name: str, count: int) -> Any:
        return read(f"{name}-images-idx3", 16, count, 784).reshape(count, 28, 28)

    return {
        "x_train": images("train", TRAIN),
        "y_train": read("train-labels-idx1", 8, TRAIN, 1).astype(int),
        "x_test": images("t10k", TEST),
        "y_test": read("t10k-labels-idx1", 8, TEST, 1).astype(int),
    }


def runs_of(found: fedflux.Comparison, i: int) -> list[dict[str, Any]]:
    """List the runs of the i-th configuration."""
    name = found.rows[i]["configuration"]
    return [run for run in found.runs if run["configuration"] == name]


def seconds_of_clients(
    methods: list[tuple[str, str, str, dict[str, Any]]], file: Path, data: Path
) -> dict[str, float]:
    """Measure what a client's part of a round takes, of each method, in one process."""
    given = arrays(data)
    known: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}
    for _, _, name, options in methods:
        if name in known:
            continue
        known[name] = seconds_of_a_client(options, given)
        if name == "FedAvg":  # compiles what all have in common, too
            known[name] = min(known[name], seconds_of_a_client(options, given))
        print(f"{name}: {1e3 * known[name]:.2f} ms a client", flush=True)
        file.write_text(json.dumps(known, indent=1))
    return known


def seconds_of_a_client(options: dict[str, Any], given: dict[str, Any]) -> float:
    """Take the fastest two rounds in a row, over the clients that trained in them.

    The first round compiles. Two in a row, for methods whose rounds take turns.
    """
    ends: list[float] = []
    settings = SETTING | options | {"rounds": 24, "eval_every": 24, "threads": 1}
    fedflux.run(**settings, **given, callback=lambda _: ends.append(time.process_time()))
    times = np.diff(ends)[:-1]  # the last round is evaluated
    clients = int(options.get("clients_per_round", SETTING["clients"]))
    return float((times[1:] + times[:-1]).min()) / 2 / clients


def row(name: str, options: dict[str, Any], runs: list[dict[str, Any]]) -> Row:
    """Collect the figures of a method."""
    failed = [run["error"] for run in runs if run["error"] is not None]
    if failed:
        raise SystemExit(f"{name}: {failed[0]}")
    return {
        "name": name,
        "options": options,
        "accuracy": [run["accuracy"] for run in runs],
        "personal": [run["personal_accuracy"] for run in runs],
    }


def percent(values: list[float | None]) -> str:
    """Write the mean of the seeds, and their range, in percent."""
    known = [100 * v for v in values if v is not None]
    if len(known) < len(values):
        return ""
    return f"{statistics.mean(known):.1f} ({min(known):.1f}–{max(known):.1f})"


def line(row: Row) -> str:
    """Write a row of the table."""
    options = ", ".join(f"{name}={value!r}" for name, value in row["options"].items())
    shown = f"`{options}`" if options else ""
    factor = "" if row["factor"] is None else f"{row['factor']:.2f}"
    figures = [percent(row["accuracy"]), percent(row["personal"]), factor]
    name = row["name"]
    if "page" in row:
        kind, page = row["page"].split("/")
        name = f"{name} (`{page}`)" if kind == "rule" else name
    return "| " + " | ".join([name, shown, *figures]) + " |"


def write(rows: list[Row], found: fedflux.Comparison) -> None:
    """Write the figures, and the table into its page."""
    setting = SETTING | {"rounds": ROUNDS, "train": TRAIN, "test": TEST, "seeds": SEEDS}
    facts = {"setting": setting, "versions": found.versions, "rows": rows}
    file = ROOT / "docs" / "methods.json"
    file.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    page = ROOT / "docs" / "measured.md"
    begin, end = "<!-- table: made by python -m benchmarks.methods -->\n", "\n<!-- end -->"
    before, _, rest = page.read_text().partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(before + begin + "\n".join([HEAD, *map(line, rows)]) + end + after)


if __name__ == "__main__":
    main()
