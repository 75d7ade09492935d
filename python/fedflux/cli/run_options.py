"""The help of `fedflux run`, and how its options look on the command line."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .._options.option import Option
from .._options.options import SpecOption, declared
from .._options.specs import known

FILES = "Files and output"
PATH = click.Path(path_type=Path)
# click.ParamType takes a type parameter from 8.4 on only.
_ParamType: Any = click.ParamType


class OptionType(_ParamType):  # type: ignore[misc]
    """A click type that reads a value as its declared option does."""

    def __init__(self, option: Option) -> None:
        self.option = option
        self.name = option.kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        return self.option.parse(value) if isinstance(value, str) else value


class RunCommand(click.Command):
    """`run`: its help names the options by group; `--help-all` says what each does.

    Attributes:
        examples: lines of the help.
    """

    examples = """\
fedflux run --dataset digits --rounds 5 --batch-size 10 --lr 0.2
fedflux run --partition 'dirichlet(0.1)' --rule 'fedprox(mu=0.01)'
"""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        wanted = {p.name for p in self.params} - {"help_all"}
        with formatter.section("Options (--help-all says what each does)"):
            for group, params in self._groups(ctx).items():
                flags = " ".join(p.opts[0] for p in params if p.name in wanted)
                lines = textwrap.wrap(flags, formatter.width - 25, break_on_hyphens=False)
                names = [f"{group}:".ljust(19), *[" " * 19] * len(lines)]
                formatter.write_dl(list(zip(names, lines, strict=False)))
        with formatter.section("Examples"):
            formatter.write_dl([(line, "") for line in self.examples.splitlines()])

    def full_help(self, ctx: click.Context) -> str:
        """Return the text of `--help-all`."""
        formatter = ctx.make_formatter()
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        for group, params in self._groups(ctx).items():
            records = (param.get_help_record(ctx) for param in params)
            with formatter.section(group):
                formatter.write_dl([record for record in records if record is not None])
        return formatter.getvalue().rstrip("\n")

    def _groups(self, ctx: click.Context) -> dict[str, list[click.Parameter]]:
        groups: dict[str, list[click.Parameter]] = {}
        for param in self.get_params(ctx):
            option = declared().get(param.name or "")
            groups.setdefault(option.group if option else FILES, []).append(param)
        return groups


def help_all(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option `--help-all`."""

    def show(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value and isinstance(ctx.command, RunCommand):
            click.echo(ctx.command.full_help(ctx))
            ctx.exit()

    return click.option(
        "--help-all",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=show,
        help="show what each option does, and exit",
    )(command)


def chosen(given: dict[str, Any]) -> dict[str, Any]:
    """Return what was given, with one list for all times that an option was repeated.

    Example:
        >>> chosen({"lr": 0.1, "seed": None, "rules": (["scaffold"], ["ditto"])})
        {'lr': 0.1, 'rules': ['scaffold', 'ditto']}
    """
    joined = {
        name: [item for items in value for item in items] or None
        if isinstance(value, tuple)
        else value
        for name, value in given.items()
    }
    return {name: value for name, value in joined.items() if value is not None}


def named(flag: str) -> str:
    """Return the name of the option that a flag, or its name with hyphens, stands for.

    Example:
        >>> named("rule"), named("batch-size"), named("batch_size")
        ('rules', 'batch_size', 'batch_size')
    """
    flags = {option.flag: option.name for option in declared().values()}
    return flags.get(flag.replace("_", "-"), flag.replace("-", "_"))


def track(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option `--track`."""
    return click.option(
        "--track",
        multiple=True,
        metavar="NAME[:PLACE]",
        help="note the rounds in tensorboard, mlflow or wandb too, such as "
        "tensorboard:FOLDER, mlflow:URI or wandb:PROJECT (repeatable)",
    )(command)


def as_click(option: Option) -> click.Option:
    """Return a declared option as one of click."""
    name = option.flag
    if option.kind == "bool":
        flags = f"--{name}/--no-{name}"
        return click.Option([flags, option.name], default=None, help=_help(option))
    choices = option.choices
    if isinstance(option, SpecOption):
        choices = option.names or tuple(known(option.spec_kind))
    return click.Option(
        [f"--{name}", option.name],
        type=OptionType(option),
        metavar="|".join(map(str, choices)) or option.kind.upper(),
        help=_help(option),
        multiple=option.kind == "specs",
    )


def _help(option: Option) -> str:
    text = f"{option.help} (repeatable)" if option.kind == "specs" else option.help
    default = option.default
    if default is None or default == []:
        return text
    shown = ",".join(map(str, default)) if isinstance(default, list) else str(default)
    special = f"; {option.special}" if option.special else ""
    return f"{text}  [default: {shown}{special}]"
