"""Output in encodings that lack Greek letters and signs, as that of Windows in a file."""

import io
import sys
from collections.abc import Iterator

import click
import pytest

from fedflux.cli import commands as cli, spelling


def commands(group: click.Group, *before: str) -> Iterator[list[str]]:
    for name, command in group.commands.items():
        yield [*before, name, "--help"]
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)


ASKED = [
    *commands(cli.cli),
    ["run", "--help-all"],
    ["list"],
    ["rules"],
    *(["list", option] for option in ("aggregate", "partition", "schedule", "download")),
    ["run", "--rounds", "ε → 3"],  # an error on stderr
]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "cp437", "utf-8"])
@pytest.mark.parametrize("args", ASKED, ids=" ".join)
def test_every_command_speaks_any_encoding(
    args: list[str], encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = {}
    for name in ("stdout", "stderr"):
        streams[name] = io.BytesIO()
        wrapped = io.TextIOWrapper(streams[name], encoding=encoding, write_through=True)
        monkeypatch.setattr(sys, name, wrapped)
    with pytest.raises(SystemExit) as end:
        cli.main(args)
    out, err = (s.getvalue().decode(encoding) for s in streams.values())
    assert end.value.code == (2 if "ε → 3" in args else 0), err
    assert "�" not in out + err
    assert "?" not in out.replace("(?)", "") or encoding == "utf-8" or "?" in args


def test_what_is_spelled_how() -> None:
    assert spelling.spelled("ε, δ, Δ, √N ≥ 10⁻⁵ – naïve…") == (
        "epsilon, delta, Delta, sqrt N >= 10-5 - naive..."
    )
    assert spelling.spelled("漢") == "?"
