"""`fedflux list` and `fedflux rules`: the objects that options name."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import click

from .._options.hints import suggestion
from .._options.options import SpecOption, declared
from .._options.tables import read_table
from ..errors import OptionError
from .run_options import named

WIDTH = 88


@click.command("list")
@click.argument("option", required=False)
def list_objects(option: str | None) -> None:
    """List what an option can name: rules, aggregate, partition, ...

    Without an OPTION, the options that name something.
    """
    options = {o.name: o for o in declared().values() if isinstance(o, SpecOption)}
    if option is None:
        for name, declaration in options.items():
            click.echo(f"{name:16}{declaration.help}")
        return
    name = named(option)
    if name not in options:
        near = suggestion(option, options)
        raise OptionError(
            f"list: expected one of {', '.join(options)}, got {option!r}{near}"
        )
    click.echo("\n".join(described(options[name])))


@click.command()
def rules() -> None:
    """List the rules, with their parameters and their papers."""
    option = declared()["rules"]
    assert isinstance(option, SpecOption)
    click.echo("\n".join(described(option)))


def described(option: SpecOption) -> Iterator[str]:
    """Yield the lines about each object that an option can name.

    Example:
        >>> option = declared()["server"]
        >>> assert isinstance(option, SpecOption)
        >>> next(described(option))
        'sgd(lr=1.0)'
    """
    for name, entry in read_table("specs.toml")[option.spec_kind].items():
        if option.names and name not in option.names:
            continue
        parameters = entry.get("params", {})
        given = (f"{p}={e.get('default', '…')}" for p, e in parameters.items())
        yield f"{name}({', '.join(given)})" if parameters else name
        source = f" ({entry['source']})" if "source" in entry else ""
        yield from _indented(f"{entry['help']}{source}", 4)
        for p, declaration in parameters.items():
            yield from _indented(f"{p}: {declaration.get('help', '')}", 6)


def _indented(text: str, by: int) -> list[str]:
    indent = " " * by
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  "
    )
