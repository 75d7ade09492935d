"""The pages that show the notebooks of docs/notebooks, with what their cells gave."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent.parent / "docs" / "notebooks"


def pages() -> dict[str, str | bytes]:
    """Make the pages, and the pictures in them, by their paths in the site."""
    made: dict[str, str | bytes] = {}
    for file in sorted(FOLDER.glob("*.ipynb")):
        parts = []
        for number, cell in enumerate(
            json.loads(file.read_text(encoding="utf-8"))["cells"]
        ):
            source = "".join(cell["source"])
            if cell["cell_type"] == "markdown":
                parts.append(re.sub(r"\.ipynb\)", ".md)", source))
                continue
            parts.append(f"```python\n{source}\n```")
            for output in cell["outputs"]:
                shown, picture = as_markdown(output, source, f"{file.stem}-{number}.png")
                parts.append(shown)
                if picture is not None:
                    made[f"notebooks/{file.stem}-{number}.png"] = picture
        parts.insert(1, f"[Download this notebook]({file.name})")
        made[f"notebooks/{file.stem}.md"] = "\n\n".join(parts) + "\n"
    return made


def as_markdown(output: dict[str, Any], source: str, name: str) -> tuple[str, bytes | None]:
    """Write what a cell gave as Markdown, and its picture if it is one."""
    data = output.get("data", {})
    if "image/png" in data:
        drawn = source.strip().splitlines()[-1].strip("() }")
        return f"![What the cell draws: {drawn}]({name})", base64.b64decode(
            data["image/png"]
        )
    if "text/html" in data:
        lines = "".join(data["text/html"]).splitlines()
        kept = "\n".join(line for line in lines if line.strip())
        return f'<div class="output">\n{kept}\n</div>', None
    text = "".join(output.get("text", data.get("text/plain", ""))).rstrip("\n")
    return f"```text\n{text}\n```", None
