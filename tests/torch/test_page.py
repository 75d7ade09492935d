"""The code of docs/pytorch.md, as a user would run it from above to below."""

import re
from pathlib import Path
from typing import Any

import pytest

from ..conftest import ROOT

PAGE = (ROOT / "docs" / "pytorch.md").read_text()


def test_the_code_of_the_page(
    julia: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for package in ("onnx", "onnxruntime", "sklearn"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    assert len(blocks) == 4
    for code in blocks:
        exec(code, names)  # noqa: S102
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == ["True", "True"]
    assert names["model"].score(names["x"], names["y"]) > 0.9
    assert (tmp_path / "model.onnx").exists()
