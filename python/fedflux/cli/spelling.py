"""Output whose encoding lacks a character: it is spelled out, as ε by epsilon."""

from __future__ import annotations

import codecs
import sys
import unicodedata

ERRORS = "fedflux.spelled"  # the name of the error handler
SPELLED = {
    **{
        "→": "->",
        "≤": "<=",
        "≥": ">=",
        "≈": "~",
        "×": "x",
        "·": "*",
        "√": "sqrt ",
        "±": "+-",
    },
    **{"−": "-", "–": "-", "—": "-", "’": "'", "“": '"', "”": '"', "‖": "||"},
    **{"│": "|", "─": "-", "━": "-", "•": "*", "Σ": "sum "},
}


def spelled(text: str) -> str:
    """Spell a text in ASCII.

    Example:
        >>> spelled("ε ≤ 3·10⁻² for naïve…")
        'epsilon <= 3*10-2 for naive...'
    """
    return "".join(map(_letter, text))


def _letter(char: str) -> str:
    if char.isascii():
        return char
    if char in SPELLED:
        return SPELLED[char]
    plain = unicodedata.normalize("NFKD", char).replace("−", "-")
    if plain != char:  # an accent, a ligature, a raised digit
        return "".join(_letter(c) for c in plain if not unicodedata.combining(c))
    name = unicodedata.name(char, "").split()
    if name[:1] == ["GREEK"] and "LETTER" in name:
        letter = name[name.index("LETTER") + 1].lower()
        return letter if "SMALL" in name else letter.capitalize()
    return "?"


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return spelled(error.object[error.start : error.end]), error.end


def spell_output() -> None:
    """Let stdout and stderr spell what their encoding lacks, as that of Windows does."""
    codecs.register_error(ERRORS, _spell)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=ERRORS)
