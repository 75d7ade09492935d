"""docs/benchmarks.md: the tables of a run's figures, set into page.md."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from benchmarks.tasks import TASKS
from benchmarks.workers import CONTENDERS

Row = dict[str, Any]
PEERS = ("pytorch", "pfl", "flower", "fedjax")
TITLES = {name: contender.title for name, contender in CONTENDERS.items()}
STEPPING = [name for name, contender in CONTENDERS.items() if contender.steps]


def write(results: dict[str, Any], out: Path) -> None:
    """The page and its plot into the folder `out`."""
    picture = "No times have been measured yet, so there is no picture."
    if any(
        "ms" in row
        for part in ("steps", "rounds", "scale")
        for row in results.get(part, [])
    ):
        from benchmarks import plot  # only here: matplotlib is needed for nothing else

        plot.draw(results, out / "benchmarks.svg")
        picture = "![Step times, round times and growth](benchmarks.svg)"
    page = (Path(__file__).parent / "page.md").read_text()
    tables = {
        "picture": picture,
        "facts": facts(results),
        "targets": targets(results),
        "steps": steps(results),
        "losses": losses(results),
        "allocated": allocated(results),
        "rounds_of": ", ".join(f"{task.title}: {task.rounds}" for task in TASKS.values()),
        "rounds_two": rounds(results, 2),
        "rounds_one": rounds(results, 1),
        "speedup": speedups(results),
        "growth": growth(results),
        "overhead": overhead(results),
        "start": start(results),
    }
    for name, text in tables.items():
        page = page.replace("{{" + name + "}}", text)
    (out / "benchmarks.md").write_text(page)


# --- small things ---


def table(header: list[str], rows: list[list[str]]) -> str:
    if not rows:
        return "Not measured."
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def find(rows: list[Row], **wanted: object) -> Row:
    return next(
        (
            row
            for row in rows
            if all(row.get(key) == value for key, value in wanted.items())
        ),
        {},
    )


def number(value: float | None, digits: int = 2) -> str:
    """`value` with that many significant digits at the least, or a dash."""
    if value is None or math.isnan(value):
        return "–"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{places}f}"


def ratio(slow: Row, fast: Row) -> float | None:
    """How many times faster; the median of the ratios of turns, where they were kept."""
    if slow.get("all") and fast.get("all"):
        ratios: list[float] = sorted(
            a / b for a, b in zip(slow["all"], fast["all"], strict=True)
        )
        return ratios[len(ratios) // 2]
    return slow["ms"] / fast["ms"] if "ms" in slow and "ms" in fast else None


def batches(rows: list[Row]) -> list[int]:
    return sorted({row["batch"] for row in rows})


# --- the tables ---


def facts(results: dict[str, Any]) -> str:
    machine, parts = results.get("machine", {}), results.get("parts", {})
    versions = sorted(results.get("versions", {}).items(), key=lambda item: item[0].lower())
    by = {"fast": "Julia's BLAS", "pytorch": "PyTorch's BLAS"}
    rates = [
        f"{by[row['contender']]} {number(row['gflops'], 3)} GFLOP/s"
        for row in results.get("gemm", [])
    ]
    whens = sorted(about["when"] for about in parts.values()) or ["–"]
    commits = sorted({about["commit"] for about in parts.values()})
    lines = [
        f"- Machine: {', '.join(f'{value}' for value in machine.values())}",
        f"- Versions: {', '.join(f'{name} {version}' for name, version in versions)}",
        f"- Best matrix product on one core: {', '.join(rates) or '–'}",
        f"- Measured: {whens[0]} to {whens[-1]}, at {', '.join(commits)}",
    ]
    lines += [
        f"- Absent: {TITLES[name]} ({reason})"
        for name, reason in results.get("absent", {}).items()
    ]
    return "\n".join(lines)


AIMS = (
    ("case_study", 10, 2.3),
    ("case_study", 32, 1.4),
    ("case_study", 64, 1.4),
    ("mcmahan", 10, 1.0),
    ("mcmahan", 32, 0.9),
    ("mcmahan", 64, 0.9),
    ("mlp", 10, 1.3),
    ("mlp", 64, 1.0),
    ("lstm", 10, 1.2),
    ("lstm", 32, 1.2),
    ("lstm", 64, 1.2),
)


def targets(results: dict[str, Any]) -> str:
    """What the project set out to reach, and what it reached."""
    all_steps, all_rounds = results.get("steps", []), results.get("rounds", [])
    lines: list[tuple[str, float, float | None]] = []
    for task, batch, aim in AIMS:
        ours, peers = (
            find(all_steps, task=task, batch=batch, contender=name)
            for name in ("fast", "pytorch")
        )
        lines.append(
            (
                f"step, {TASKS[task].title}, batch {batch}: over PyTorch",
                aim,
                ratio(peers, ours),
            )
        )
    for peer in ("flower", "pfl"):
        ours, peers = (
            find(all_rounds, task="case_study", batch=10, cores=2, contender=n)
            for n in ("fast", peer)
        )
        lines.append(
            (
                f"round, case-study CNN, batch 10, two cores: over {TITLES[peer]}",
                5.0,
                ratio(peers, ours),
            )
        )
    for batch in (10, 32):
        text = f"round, case-study CNN, batch {batch}: two threads over one"
        lines.append((text, 1.85, speedup(all_rounds, "fast", batch)))
    rows = [
        [text, f"≥ {aim}", number(got, 3), verdict(got, lambda v, aim=aim: v >= aim)]
        for text, aim, got in lines
    ]
    size = find(all_steps, task="case_study", batch=10, contender="fast").get(
        "bytes_per_step"
    )
    rows.append(
        [
            "bytes allocated in a step, case-study CNN",
            "0",
            number(size, 1),
            verdict(size, lambda v: v == 0),
        ]
    )
    extra = find(results.get("overhead", []), contender="fast").get("microseconds")
    rows.append(
        [
            "µs of a client beyond its steps",
            "< 50",
            number(extra),
            verdict(extra, lambda v: v < 50),
        ]
    )
    return table(["", "aim", "measured", "reached"], rows)


def verdict(value: float | None, reached: Any) -> str:
    return "–" if value is None else "yes" if reached(value) else "no"


def speedup(rows: list[Row], name: str, batch: int) -> float | None:
    one, two = (
        find(rows, task="case_study", batch=batch, cores=cores, contender=name)
        for cores in (1, 2)
    )
    return ratio(one, two)


def steps(results: dict[str, Any]) -> str:
    rows, peak = (
        results.get("steps", []),
        max((row["gflops"] for row in results.get("gemm", [])), default=None),
    )
    lines = []
    for task in TASKS.values():
        for batch in batches(rows):
            found = {
                name: find(rows, task=task.name, batch=batch, contender=name)
                for name in STEPPING
            }
            rate = found["fast"].get("gflops")
            share = "–" if rate is None or peak is None else f"{100 * rate / peak:.0f} %"
            times = [number(row.get("ms"), 3) for row in found.values()]
            over = [
                number(ratio(found[peer], found["fast"]), 3)
                for peer in ("zygote", "pytorch", "fedjax")
            ]
            lines.append([f"{task.title}, {batch}", *times, *over, share])
    head = [
        "model, batch",
        *[TITLES[name] for name in STEPPING],
        "× Zygote",
        "× PyTorch",
        "× FedJAX",
        "of GEMM peak",
    ]
    return table(head, lines)


def losses(results: dict[str, Any]) -> str:
    rows, lines = results.get("steps", []), []
    for task in TASKS.values():
        for batch in batches(rows):
            found = {
                name: find(rows, task=task.name, batch=batch, contender=name)
                for name in STEPPING
            }
            cells = [
                "–" if "loss" not in row else f"{row['loss']:.5f}" for row in found.values()
            ]
            lines.append(
                [f"{task.title}, {batch}", *cells, found["pytorch"].get("note", "–")]
            )
    return table(
        ["model, batch", *[TITLES[name] for name in STEPPING], "PyTorch's variant"], lines
    )


def allocated(results: dict[str, Any]) -> str:
    rows = results.get("steps", [])
    names = [
        name
        for name in STEPPING
        if any("bytes_per_step" in row for row in rows if row["contender"] == name)
    ]
    lines = []
    for task in TASKS.values():
        for batch in batches(rows):
            sizes = [
                find(rows, task=task.name, batch=batch, contender=n).get("bytes_per_step")
                for n in names
            ]
            lines.append([f"{task.title}, {batch}", *[number(size, 1) for size in sizes]])
    return table(["model, batch", *[TITLES[name] for name in names]], lines)


def rounds(results: dict[str, Any], cores: int) -> str:
    rows = [row for row in results.get("rounds", []) if row["cores"] == cores]
    lines = []
    for task in TASKS.values():
        for batch in batches([row for row in rows if row["task"] == task.name]):
            found = {
                name: find(rows, task=task.name, batch=batch, contender=name)
                for name in CONTENDERS
            }
            times = [
                f"{number(f.get('ms'), 3)} ({number(f.get('accuracy'), 3)})"
                for f in found.values()
            ]
            over = [number(ratio(found[peer], found["fast"]), 3) for peer in PEERS]
            lines.append([f"{task.title}, {batch}", *times, *over])
    return table(
        ["model, batch", *TITLES.values(), *[f"× {TITLES[peer]}" for peer in PEERS]], lines
    )


def speedups(results: dict[str, Any]) -> str:
    rows = results.get("rounds", [])
    lines = [
        [title, *[number(speedup(rows, name, batch), 3) for batch in (10, 32)]]
        for name, title in TITLES.items()
    ]
    return table(["", "batch 10", "batch 32"], lines if rows else [])


def growth(results: dict[str, Any]) -> str:
    lines = []
    for name, title in TITLES.items():
        for row in (row for row in results.get("scale", []) if row["contender"] == name):
            each = row["ms"] / row["cohort"] if "ms" in row else None
            cells = [number(row.get("ms"), 3), number(each, 3), number(row["peak_mib"], 3)]
            lines.append([title, f"{row['clients']:,}", *cells])
    return table(["", "clients", "ms a round", "ms a client", "peak MiB"], lines)


def overhead(results: dict[str, Any]) -> str:
    rows = [row for row in results.get("overhead", []) if "microseconds" in row]
    lines = [[TITLES[row["contender"]], number(row["microseconds"])] for row in rows]
    for name in PEERS:
        row = find(results.get("scale", []), contender=name, clients=1000)
        trained_by = "fedjax" if name == "fedjax" else "pytorch"
        step = find(
            results.get("steps", []), task="case_study", batch=10, contender=trained_by
        ).get("ms")
        if "ms" in row and step is not None:
            lines.append(
                [TITLES[name], number(1e3 * (row["ms"] / row["cohort"] - 2 * step))]
            )
    return table(["", "µs"], lines)


def start(results: dict[str, Any]) -> str:
    rows = results.get("start", [])
    lines = []
    for name, title in TITLES.items():
        found: Row = {}
        for row in rows:
            found |= row if row["contender"] == name else {}
        if found:
            lines.append(
                [title, number(found.get("first"), 2), number(found.get("second"), 2)]
            )
    return table(["", "first", "every later one"], lines)
