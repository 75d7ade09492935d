"""The report of a run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from .._options.options import declared
from .._pictures import clients as client_pictures, curves
from .._pictures.style import figure, svg
from .._typing import Options, Record
from ..errors import FedFluxError
from . import page

MAX_ROWS = 1000
WORDS = {
    "not_covered": "Not covered",
    "amplification": "Sampling",
    "neighbours": "Neighbors",
    "noise": "Noise",
}


def run_page(facts: Mapping[str, Any]) -> str:
    """Return the report of a run as a page of HTML.

    Args:
        facts: as `Result.facts` has them.
    """
    options, details = facts["options"], facts.get("details") or facts
    history = facts["history"]
    parts = [
        page.figures(_figures(facts, history)),
        page.section(
            "Rounds", pictures({"": [curves.of_history(history)]}), _rounds(history)
        ),
        page.section("Clients", *_clients(facts, details)),
        page.section("Rejected updates, and clients that sent none", _left_out(history)),
        page.section("Privacy", *privacy(details.get("privacy"))),
        page.section("Warnings", _list(facts.get("warnings") or [])),
        page.section("Configuration", _options(options)),
        page.section("Versions", _versions(facts.get("versions") or {})),
        page.section("Run it again", *_again(options)),
    ]
    return page.page(f"fedflux: a run on {facts['dataset']}", parts)


def pictures(named: curves.Curves) -> str:
    """Return the curves as pictures with a description each, or why there are none."""
    made = []
    for title, draw in curves.panels(named).items():
        try:
            drawn = figure(curves.WIDTH, curves.HEIGHT)
        except FedFluxError as error:
            return page.paragraph(f"Without pictures: {error}.")
        draw(drawn.subplots())
        made.append(page.picture(f"{title} by round", svg(drawn, title)))
    return f'<div class="pictures">{"".join(made)}</div>' if made else ""


def _figures(facts: Mapping[str, Any], history: Sequence[Record]) -> list[tuple[str, Any]]:
    last = history[-1] if history else {}
    sent = sum(r.get("bytes_up", 0) + r.get("bytes_down", 0) for r in history)
    return [
        ("accuracy", facts.get("accuracy")),
        ("loss", facts.get("loss")),
        ("personal accuracy", last.get("personal_accuracy")),
        ("ε", last.get("epsilon")),
        ("rounds", len(history)),
        ("ended by", str(facts.get("stopped", "")).replace("_", " ")),
        ("seconds", facts.get("seconds")),
        ("MB sent", sent / 1e6),
    ]


def _rounds(history: Sequence[Record]) -> str:
    names = ("round", "train_loss", "test_loss", "accuracy", "clients", "epsilon")
    kept = [n for n in names if any(r.get(n) is not None for r in history)]
    rows = ([r.get(n) for n in kept] for r in history[-MAX_ROWS:])
    made = page.table(
        "Figures of the rounds", [_words(n) for n in kept], rows, sortable=False
    )
    return made and f"<details><summary>The same as a table</summary>{made}</details>"


def _clients(facts: Mapping[str, Any], details: Mapping[str, Any]) -> list[str]:
    rows = facts.get("clients") or facts.get("client_rows") or []
    names = ("name", "samples", "test_samples", "rounds", "accuracy", "personal_accuracy")
    kept = [n for n in names if any(row.get(n) is not None for row in rows)]
    content = [[row.get(n) for n in kept] for row in rows[:MAX_ROWS]]
    caption = "Each client; a heading sorts the table"
    if len(rows) > MAX_ROWS:
        caption += f" (the first {MAX_ROWS} of {len(rows)})"
    made = [page.table(caption, [_words(n) for n in kept], content, sortable=True)]
    if any(row.get("accuracy") is not None for row in rows[:100]) and len(rows) <= 100:
        made.insert(0, _accuracies(rows, details))
    return made


def _accuracies(rows: Sequence[Record], details: Mapping[str, Any]) -> str:
    holdings = details.get("clients")
    labels = holdings.get("labels") if isinstance(holdings, Mapping) else None
    labels = labels if isinstance(labels, list) else None
    try:
        drawn = svg(client_pictures.accuracies(rows, labels), "clients")
    except FedFluxError:
        return ""  # the picture of the rounds says why
    what = "accuracy of each client on its own test data, above the labels that it holds"
    return page.picture(what, drawn)


def _left_out(history: Sequence[Record]) -> str:
    rows = [
        [record["round"], one["client"], what, one["reason"]]
        for record in history
        for what, name in (("rejected", "rejected"), ("sent none", "dropped"))
        for one in record.get(name) or ()
    ]
    caption = f"{len(rows)} in all"
    if len(rows) > MAX_ROWS:
        caption += f", the last {MAX_ROWS} of them here"
    headings = ["round", "client", "what", "reason"]
    return page.table(caption, headings, rows[-MAX_ROWS:], sortable=True)


def privacy(promise: Mapping[str, Any] | None) -> list[str]:
    """Return the promise of differential privacy in words."""
    if not promise:
        return [page.paragraph("No rule of this run promises differential privacy.")]
    epsilon = promise.get("epsilon")
    bound = "no finite ε" if epsilon is None else f"ε = {epsilon:.4g}"
    said = (
        f"After {promise['rounds']} rounds the run is differentially private with {bound} "
        f"at δ = {promise['delta']:g}, for each {promise['unit']}: what it publishes tells "
        "almost as much about somebody who was not there. The smaller ε, the less it tells."
    )
    rows = []
    for name, label in WORDS.items():
        value = promise.get(name)
        if value:
            text = "; ".join(map(str, value)) if isinstance(value, list) else str(value)
            rows.append([label, text])
    return [
        page.paragraph(said),
        page.table("The terms", ["term", "what it is"], rows, sortable=False),
    ]


def _options(options: Options) -> str:
    known = declared()
    rows = []
    for name, value in sorted(options.items()):
        if value is None or value == []:
            continue
        default = name in known and known[name].default == value
        rows.append([name, _text(value), "default" if default else "you"])
    rows.sort(key=lambda row: row[2] == "default")
    return page.table("Options", ["option", "value", "set by"], rows, sortable=True)


def _again(options: Options) -> list[str]:
    made = [page.command(command_of(options))]
    if options.get("dataset") == "arrays":
        made.append(
            page.paragraph(
                "The data were arrays, which no command names: call fedflux.run in Python "
                "with x_train, y_train, and these options."
            )
        )
    return made


def command_of(options: Options) -> str:
    """Return the command that repeats a run with these options.

    Example:
        >>> command_of({"lr": 0.1, "rules": ["fedprox(mu=0.01)"], "rounds": 10})
        "fedflux run --rule 'fedprox(mu=0.01)' --lr 0.1"
    """
    words = ["fedflux", "run"]
    for name, option in declared().items():
        value = options.get(name)
        skipped = name in ("resume", "checkpoint", "workers", "machines", "threads")
        if skipped or value is None or value == option.default or value == []:
            continue
        if option.kind == "bool":
            words.append(f"--{option.flag}" if value else f"--no-{option.flag}")
        elif option.kind == "specs":
            for one in [value] if isinstance(value, str) else value:
                words += [f"--{option.flag}", str(one)]
        elif not (name == "dataset" and value == "arrays"):
            words += [f"--{option.flag}", _text(value)]
    return shlex.join(words)


def _versions(versions: Mapping[str, str]) -> str:
    rows = sorted(versions.items())
    return page.table("What the run used", ["name", "version"], rows, sortable=False)


def _list(texts: Sequence[str]) -> str:
    items = "".join(f"<li>{page.escaped(text)}</li>" for text in texts)
    return items and f"<ul>{items}</ul>"


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _words(name: str) -> str:
    return name.replace("_", " ")
