"""The curve that a terminal shows, and what stands below it."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import fedflux
from fedflux._results.show_text import BRAILLE, HEIGHT, advice, chart

from ..conftest import in_terminal

FAST = shlex.split("run --dataset digits --engine reference --batch-size 10 --rounds 4")
CURVE = [(1.0, 0.1), (2.0, 0.7), (5.0, 0.4), (9.0, 0.9)]


def test_the_curve_is_where_numpy_says() -> None:
    np = pytest.importorskip("numpy")
    width = 40
    lines = chart(CURVE, width, ascii_only=True)
    assert lines[0].startswith("0.900 |")
    assert lines[HEIGHT - 1].startswith("0.100 |")
    assert lines[-1].split() == ["1", "9"]
    rounds, values = zip(*CURVE, strict=True)
    expected = np.interp(np.linspace(1, 9, width), rounds, values)
    for column, value in enumerate(expected):
        drawn = [
            row
            for row, line in enumerate(lines[:HEIGHT])
            if line[7 + column : 8 + column] == "*"
        ]
        at = (0.9 - value) / 0.8 * (HEIGHT - 1)
        assert any(abs(row - at) <= 0.5 + 1e-9 for row in drawn)
        assert drawn == list(range(drawn[0], drawn[-1] + 1))  # no gaps


def test_braille_has_the_dots_of_a_finer_curve() -> None:
    fine = chart(CURVE, 40)
    text = "".join(fine)
    assert any(ord(c) > BRAILLE for c in text)
    assert max(map(len, fine)) == max(map(len, chart(CURVE, 40, ascii_only=True)))
    # a straight line from the lowest dot, on the left, to the highest, on the right
    rise = chart([(1, 0.0), (2, 1.0)], 10)
    assert ord(rise[0][-1]) - BRAILLE & 0x08  # the highest dot of the right column
    assert rise[HEIGHT - 1].startswith("0.000 │")
    assert ord(rise[HEIGHT - 1][7]) - BRAILLE & 0x40  # the lowest dot of the left column


def test_a_level_curve_has_one_label() -> None:
    assert sum("0.500" in line for line in chart([(1, 0.5), (2, 0.5)], 10)) == 1


def test_a_terminal_shows_the_curve_of_the_run(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    out = in_terminal([*FAST, "--json", str(file)], TERM="xterm", PYTHONUTF8="1")
    assert out.startswith("Result(digits")
    curve = out.splitlines()[1:]
    accuracies = re.findall(r'"accuracy": (0\.\d+)', file.read_text())
    assert curve[0] == "accuracy"
    assert curve[1].startswith(f"{max(map(float, accuracies)):.3f} │")
    assert "--save" in out


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"PYTHONIOENCODING": "ascii"}])
def test_a_plain_terminal_shows_stars(env: dict[str, str]) -> None:
    out = in_terminal(FAST, **{"TERM": "xterm", "PYTHONUTF8": "1", **env})
    assert out.isascii()
    assert "|" in out
    assert "*" in out


def test_elsewhere_only_verbose_shows_it() -> None:
    def out(*args: str) -> str:
        command = [sys.executable, "-m", "fedflux", *FAST, *args]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert len(out().splitlines()) == 1
    assert "accuracy\n" in out("--verbose")
    assert out("--quiet", "--verbose") == ""


def test_what_to_try_next_fits_the_run(tmp_path: Path) -> None:
    none = str(tmp_path / "none")
    with pytest.warns(fedflux.FedFluxWarning, match="digits is used"):
        result = fedflux.run(rounds=1, engine="reference", data_dir=none)
    first, second, last = advice(result)
    assert "mlp and lr 0.3" in first
    assert "Julia" in second
    assert "--save" in last
    result.engine, result.options["dataset"] = "julia", "digits"
    assert advice(result)[0].startswith("Next: --partition 'dirichlet(0.1)'")
    result.options["partition"] = "dirichlet(0.1)"
    assert advice(result) == []
