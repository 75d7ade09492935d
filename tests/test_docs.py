"""The docs agree with the code."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def test_the_page_of_options_is_made_from_the_tables():
    page = runpy.run_path(str(DOCS / "make_options.py"))["page"]()
    assert (DOCS / "options.md").read_text() == page, "run `python docs/make_options.py`"
