"""Fonts for names in any script: those on this machine that have what the usual one lacks.

matplotlib's own font has Latin, Greek and Cyrillic letters, and no Chinese, Japanese or
Korean ones.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

# In the order in which they are tried: fonts that come with Linux, macOS and Windows.
FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP"),
    *("Source Han Sans SC", "PingFang SC", "Hiragino Sans GB", "Hiragino Sans"),
    *("Microsoft YaHei", "SimHei", "Yu Gothic", "Malgun Gothic", "Apple SD Gothic Neo"),
    *("WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback"),
    *("Noto Sans", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari"),
    *("Noto Sans Thai", "Arial Unicode MS", "Segoe UI", "Nirmala UI"),
)
NOTE = "No font here has some of these letters: install one, such as Noto Sans CJK."


@contextlib.contextmanager
def readable(picture: Any, spelled: bool) -> Iterator[None]:
    """Let a figure's texts have glyphs inside a `with` block, in which it is drawn.

    Without a letter that the usual font lacks, nothing is changed.

    Args:
        picture: the figure. If no font has a letter, it says so below.
        spelled: whether what reads the picture has fonts of its own, as for texts of SVG.
    """
    from matplotlib import rc_context
    from matplotlib.text import Text

    texts: list[Any] = picture.findobj(Text)
    for axes in picture.axes:
        texts += [*axes.get_xticklabels(), *axes.get_yticklabels()]
    families, lacking = fallbacks("".join(text.get_text() for text in texts))
    if not families and not lacking:
        yield
        return
    for text in texts:
        if text.get_fontfamily() == ["sans-serif"]:
            text.set_fontfamily(["sans-serif", *families])
    if lacking and not spelled:
        picture.supxlabel(NOTE, fontsize=6, color="#7f7f7f")
    with rc_context({"font.family": ["sans-serif", *families]}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


def fallbacks(text: str) -> tuple[list[str], set[str]]:
    """Find fonts for the letters of a text that the usual one lacks.

    Returns:
        The names of fonts that are installed, and the letters that none of them has.

    Example:
        >>> fallbacks("été 0.5")
        ([], set())
    """
    from matplotlib import font_manager

    usual_file = font_manager.findfont(font_manager.FontProperties(family=["sans-serif"]))
    usual = font_manager.get_font(usual_file)
    lacking = {c for c in text if not c.isspace() and ord(c) not in usual.get_charmap()}
    found: list[str] = []
    if not lacking:
        return found, lacking
    files = {entry.name: entry.fname for entry in font_manager.fontManager.ttflist}
    for name in FONTS:
        if lacking and name in files:
            known = font_manager.get_font(files[name]).get_charmap()
            has = {c for c in lacking if ord(c) in known}
            if has:
                found.append(name)
                lacking -= has
    return found, lacking
