"""A page of HTML that stands alone: its style, its script, and the parts it is made of.

Everything that comes from data goes through `escaped`. The page names its one script by
its digest, so that a browser runs no other and loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Sequence
from typing import Any

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 0; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin-top: 2rem; border-bottom: 1px solid #ccc; }
p, li, dd { overflow-wrap: anywhere; }
figure { margin: 0; }
figure svg { display: block; max-width: 100%; height: auto; }
.pictures { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); }
.wide { overflow-x: auto; max-width: 100%; }
.wide:focus-visible, button:focus-visible, a:focus-visible, summary:focus-visible {
  outline: 3px solid #0072b2; outline-offset: 2px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: #555; padding: .25rem 0; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #ddd; text-align: left;
  vertical-align: top; }
td.n, th.n { text-align: right; white-space: nowrap; }
th button { font: inherit; background: none; border: 0; padding: 0; cursor: pointer;
  text-decoration: underline dotted; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
pre { background: #f4f4f4; padding: .75rem; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; padding: 0; margin: 0; }
.figures div { border: 1px solid #ccc; border-radius: .4rem; padding: .4rem .9rem; }
.figures dt { color: #555; font-size: .85rem; }
.figures dd { margin: 0; font-size: 1.25rem; }
.skip { position: absolute; left: -100rem; }
.skip:focus { left: 1rem; top: 1rem; background: #fff; padding: .5rem; }
@media print { .wide { overflow: visible; } }
"""

SCRIPT = """
"use strict";
document.querySelectorAll("table.sortable").forEach(function (table) {
  var heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach(function (head, column) {
    head.querySelector("button").addEventListener("click", function () {
      var up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach(function (h) { h.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      var value = function (row) { return row.cells[column].dataset.v; };
      var rows = Array.from(table.tBodies[0].rows);
      rows.sort(function (a, b) {
        var x = value(a), y = value(b);
        if (x === "" || y === "") { return (x === "") - (y === ""); }
        var order = x - y;
        if (isNaN(order)) { order = x < y ? -1 : x > y ? 1 : 0; }
        return up ? order : -order;
      });
      rows.forEach(function (row) { table.tBodies[0].append(row); });
    });
  });
});
"""

Rows = Iterable[Sequence[Any]]


def escaped(value: Any) -> str:
    """Return a value as text in HTML; "" for None.

    Example:
        >>> escaped("<b>"), escaped(0.123456), escaped(None)
        ('&lt;b&gt;', '0.1235', '')
    """
    if value is None:
        return ""
    if isinstance(value, float):
        return html.escape(f"{value:.4g}")
    return html.escape(str(value))


def page(title: str, parts: Sequence[str]) -> str:
    """Return a whole page.

    Args:
        title: its heading, not yet escaped.
        parts: pieces of HTML.
    """
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    name = escaped(title)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#main">To the content</a>\n'
        f'<main id="main">\n<h1>{name}</h1>\n'
        + "\n".join(part for part in parts if part)
        + f"\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def section(heading: str, *content: str) -> str:
    """Return a section, or nothing if it has no content."""
    inside = "\n".join(part for part in content if part)
    if not inside:
        return ""
    return f"<section>\n<h2>{escaped(heading)}</h2>\n{inside}\n</section>"


def paragraph(text: str) -> str:
    """Return a paragraph."""
    return f"<p>{escaped(text)}</p>"


def figures(values: Sequence[tuple[str, Any]]) -> str:
    """Return the most important figures, with their names."""
    shown = (
        f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>"
        for name, value in values
        if value is not None
    )
    return f'<dl class="figures">{"".join(shown)}</dl>'


def picture(description: str, svg: str) -> str:
    """Return a picture with its description; the SVG is trusted."""
    return f'<figure role="img" aria-label="{escaped(description)}">{svg}</figure>'


def command(text: str) -> str:
    """Return a command, as it is typed."""
    return f"<pre><code>{escaped(text)}</code></pre>"


def table(caption: str, headings: Sequence[str], rows: Rows, *, sortable: bool) -> str:
    """Return a table, or nothing if it has no rows.

    Args:
        caption: what it shows.
        headings: of the columns.
        rows: numbers, texts and None; a column of numbers is aligned to the right.
        sortable: whether a click on a heading sorts the rows.
    """
    rows = [list(row) for row in rows]
    if not rows:
        return ""
    numeric = [
        all(row[i] is None or isinstance(row[i], int | float) for row in rows)
        for i in range(len(headings))
    ]
    kind = [' class="n"' if number else "" for number in numeric]
    head = "".join(
        f'<th scope="col"{k}>{_button(name) if sortable else escaped(name)}</th>'
        for name, k in zip(headings, kind, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td{k} data-v="{"" if v is None else html.escape(str(v))}">{escaped(v)}</td>'
            for v, k in zip(row, kind, strict=True)
        )
        + "</tr>\n"
        for row in rows
    )
    what, sorts = escaped(caption), ' class="sortable"' if sortable else ""
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{what}">\n'
        f"<table{sorts}>\n<caption>{what}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n</div>"
    )


def _button(name: str) -> str:
    return f'<button type="button">{escaped(name)}</button>'
