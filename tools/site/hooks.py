"""What MkDocs calls while it builds the site: made pages, tabs, links out of docs/."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))
import notebooks
import pages

LANGUAGES = {"python": "Python", "julia": "Julia", "sh": "Shell"}
BLOCK = r"```(?:python|julia|sh)\n(?:(?!```).*\n)*```\n"
BETWEEN = r"\n(?:In (?:Python|Julia|a shell):\n\n)?"


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made."""
    for path, text in {**pages.pages(), **notebooks.pages()}.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_config(config: Any) -> Any:
    """Put the pages of the methods into the navigation."""
    made = [
        {title: [f"methods/{kind}/{name}.md" for name in pages.tables()[1][kind]]}
        for kind, title in pages.KINDS.items()
    ]
    for part in config["nav"]:
        if "Methods" in part:
            part["Methods"] = ["methods/index.md", *made]
    return config


def tab(block: str) -> str:
    """Write a block of code as a tab."""
    language = LANGUAGES[block[3 : block.index("\n")]]
    indented = "".join(f"    {line}\n" if line else "\n" for line in block.splitlines())
    return f'=== "{language}"\n\n{indented}\n'


def tabs(found: re.Match[str]) -> str:
    """Put blocks of several languages, one after the other, into tabs."""
    blocks = re.findall(BLOCK, found[0])
    names = [block[3 : block.index("\n")] for block in blocks]
    if len(set(names)) < len(names):
        return found[0]
    return "".join(map(tab, blocks))


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Show languages in tabs, and lead links that leave docs/ to the repository."""
    markdown = re.sub(
        rf"(?:In (?:Python|Julia|a shell):\n\n)?{BLOCK}(?:{BETWEEN}{BLOCK})+",
        tabs,
        markdown,
    )
    markdown = re.sub(r"\]\((notebooks/[\w-]+)\.ipynb\)", r"](\1.md)", markdown)
    return re.sub(r"\]\(\.\./(?!\.\.|api/|rule/|aggregate/)([^)]+)\)", outside, markdown)


def outside(found: re.Match[str]) -> str:
    """Lead a link to the repository if its file is there."""
    file = found[1].partition("#")[0]
    there = (pages.ROOT / file).exists()
    return f"]({pages.HOME}{found[1]})" if there else found[0]
