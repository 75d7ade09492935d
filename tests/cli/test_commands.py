"""The command line: help, lists of objects, output, config files."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fedflux
from fedflux._options.options import declared
from fedflux._options.tables import read_table
from fedflux.cli import commands

FAST = "run --dataset digits --model softmax_regression --engine reference --rounds 2"


@pytest.fixture
def fed(capfd: pytest.CaptureFixture[str]) -> Callable[[str], tuple[int, str, str]]:
    """The command line in this process: its status, stdout and stderr."""

    def run(line: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            commands.main(shlex.split(line))
        out, err = capfd.readouterr()
        return int(str(end.value.code)), out, err

    return run


Fed = Callable[[str], tuple[int, str, str]]


def test_the_help_fits_a_screen(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, short, _ = fed("run --help")
    _, long, _ = fed("run --help-all")
    assert len(short.splitlines()) <= 36 < len(long.splitlines())
    assert max(map(len, short.splitlines())) <= 80
    for option in declared().values():
        assert re.search(rf"--{option.flag}\s", short)
        assert re.search(rf"^  --{option.flag} ", long, re.M)
        assert f"{option.group}:" in short
        assert f"\n{option.group}:\n" in long


def test_lists_name_every_object_with_its_parameters_and_paper(fed: Fed) -> None:
    _, out, _ = fed("rules")
    assert out == fed("list rules")[1] == fed("list rule")[1]
    for name, entry in read_table("specs.toml")["rule"].items():
        assert re.search(rf"^{name}\b", out, re.M)
        for parameter in entry.get("params", {}):
            assert f"      {parameter}: " in out
        # a line may end inside the source
        assert "".join(entry.get("source", "").split()) in "".join(out.split())
    assert "fedprox(mu=0.01)" in out
    assert "server_schedule" in fed("list")[1]
    assert fed("list server-schedule")[1].startswith("step(")
    assert "did you mean 'server'?" in fed("list servr")[2]


def test_download_names_only_compressors(fed: Fed) -> None:
    text = fed("run --help-all")[1]
    assert "--download topk|randk|quantize|qsgd|sign|ternary|powersgd" in text
    status, _, err = fed("run --download fedprox")
    assert status == 2
    assert "download: expected one of topk, randk, quantize" in err


def test_json_on_stdout_quiet_and_verbose(fed: Fed, tmp_path: Path) -> None:
    _, out, err = fed(f"{FAST} --json -")
    assert [r["round"] for r in json.loads(out)["history"]] == [1, 2]
    assert fed(f"{FAST} --quiet") == (0, "", "")
    _, out, err = fed(f"{FAST} --verbose")
    assert re.fullmatch(
        r"(round \d: train loss \d\.\d{4}, test loss \d\.\d{4}, accuracy \d\.\d{4}\n){2}",
        err,
    )
    assert out.startswith("Result(")
    assert fed(f"{FAST} --verbose --quiet")[1] == ""


def test_init_begins_with_a_saved_result(fed: Fed, tmp_path: Path) -> None:
    file = tmp_path / "first"
    first = fedflux.run(dataset="digits", model="mlp", rounds=1, engine="reference")
    first.save(file)
    args = f"run --dataset digits --model mlp --engine reference --rounds 1 --init {file}"
    more = json.loads(fed(f"{args} --json -")[1])
    same = fedflux.run(
        dataset="digits", model="mlp", rounds=1, engine="reference", init=first
    )
    assert more["params_sha256"] == same.params_sha256
    assert "no file" in fed(f"{FAST} --init {tmp_path / 'none'}")[2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[model]\nmodel = "mlp"\nhidden = [9]\n[local-training]\nbatch-size = 50', {}),
        ('model = "mlp"\nhidden = [9]\nbatch_size = 50', {}),
        ('model = "mlp"\nhidden = [9]\n[rest]\nbatch-size = 50\nrule = []', {"rules": []}),
    ],
)
def test_config_files(
    fed: Fed, tmp_path: Path, text: str, expected: dict[str, Any]
) -> None:
    file = tmp_path / "run.toml"
    file.write_text(f'dataset = "digits"\nengine = "reference"\n{text}\n')
    options = json.loads(fed(f"run --config {file} --rounds 1 --json -")[1])["options"]
    expected = {"model": "mlp", "hidden": [9], "batch_size": 50, "rounds": 1, **expected}
    assert {name: options[name] for name in expected} == expected


def test_a_config_file_with_a_byte_order_mark(fed: Fed, tmp_path: Path) -> None:
    file = tmp_path / "notepad.toml"
    file.write_text("rounds = 0\n", encoding="utf-8-sig")
    assert "rounds: expected at least 1, got 0" in fed(f"run --config {file}")[2]
    file.write_text("rounds = 0\n", encoding="utf-16")
    assert "expected TOML" in fed(f"run --config {file}")[2]


def test_a_config_file_that_gives_an_option_twice(fed: Fed, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("batch_size = 3\n[local]\nbatch-size = 4\n")
    assert "batch-size is given twice" in fed(f"run --config {file}")[2]
    file.write_text("[local]\nbatch = 4\n")
    assert "unknown option 'batch'; did you mean" in fed(f"run --config {file}")[2]
