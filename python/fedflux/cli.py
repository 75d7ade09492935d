"""The command line: `fedflux run`, `partition`, `doctor`, `setup`. Its options are the declared ones."""

from __future__ import annotations

import json
import sys
import tomllib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import __version__
from .errors import FedFluxError, JuliaUnavailable, OptionError
from .options import Option, declared, unknown
from .specs import known

if TYPE_CHECKING:
    from .result import Result

MAX_CONFIG_BYTES = 2**20


class _Declared(click.ParamType[Any]):
    """A click type that reads a value as the declared option says."""

    def __init__(self, option: Option) -> None:
        self.option = option
        self.name = option.kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self.option.parse(value) if isinstance(value, str) else value


class _RunCommand(click.Command):
    """`run`, whose help lists the declared options under their headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            row = param.get_help_record(ctx)
            if row is not None:
                group = declared()[param.name].group if param.name in declared() else "Files"
                groups.setdefault(group, []).append(row)
        for group, rows in groups.items():
            with formatter.section(group):
                formatter.write_dl(rows)


def _as_click(option: Option) -> click.Option:
    name = option.flag
    if option.kind == "bool":
        return click.Option([f"--{name}/--no-{name}", option.name], default=None, help=_help(option))
    choices = known(option.names) if option.kind.startswith("spec") else option.choices
    metavar = "|".join(map(str, choices)) or option.kind.upper()
    many = option.kind == "specs"
    help = f"{_help(option)} (repeatable)" if many else _help(option)
    return click.Option([f"--{name}", option.name], type=_Declared(option), metavar=metavar, help=help, multiple=many)


def _help(option: Option) -> str:
    default = option.default
    if default is None or default == []:
        return option.help
    shown = ",".join(map(str, default)) if isinstance(default, list) else default
    return f"{option.help}  [default: {shown}]"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fedflux")
def cli() -> None:
    """Federated learning: a core in Julia, on Flux, with a thin front in Python."""


@cli.command(cls=_RunCommand)
@click.option("--config", type=click.Path(path_type=Path), help="a TOML file of options; those given here override it")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="write the facts and the history to this file"
)
@click.option("--save", "save_file", type=click.Path(path_type=Path), help="save the result to this safetensors file")
def run(config: Path | None, json_file: Path | None, save_file: Path | None, **given: Any) -> None:
    """Train a model by federated averaging."""
    from ._run import run as fedflux_run

    for file in (json_file, save_file):  # found out now rather than after an hour's training
        if file is not None and not file.resolve().parent.is_dir():
            raise FedFluxError(f"can't write {file}: there is no folder {file.resolve().parent}")
    options = _read_config(config) if config else {}
    for name, value in given.items():
        if isinstance(value, tuple):  # of lists, one for each time that the option was given
            value = [item for items in value for item in items] or None
        if value is not None:
            options[name] = value
    result = fedflux_run(progress=True, **options)
    folder = options.get("resume") or options.get("checkpoint")
    for file in (json_file, Path(folder) / "run.json" if folder else None):
        if file is not None:
            _write_record(file, result)
    if save_file is not None:
        result.save(save_file)
    click.echo(repr(result))


def _write_record(file: Path, result: Result) -> None:
    try:
        file.write_text(json.dumps(result.facts(), indent=1, allow_nan=False) + "\n")
    except OSError as error:
        raise FedFluxError(f"can't write {file}: {error.strerror}") from None


run.params[:0] = [_as_click(option) for option in declared().values()]


@cli.command()
@click.option("--plot", "plot_file", type=click.Path(path_type=Path), help="draw it to this file (.png, .svg or .pdf)")
def partition(plot_file: Path | None, **given: Any) -> None:
    """Show which client would hold what, without training."""
    from ._run import partition as who_holds_what

    held = who_holds_what(**{name: value for name, value in given.items() if value is not None})
    click.echo(held["table"], nl=False)
    if plot_file is not None:
        from .plots import clients

        clients(held, plot_file)


partition.params[:0] = [
    _as_click(declared()[name]) for name in ("dataset", "data_dir", "partition", "clients", "seed", "loss")
]


@cli.command()
def doctor() -> None:
    """Tell what is there of Julia, the packages and the data, and what mends what is missing."""
    from .doctor import examine

    sys.exit(examine())


@cli.command()
def setup() -> None:
    """Install Julia and the core's packages, and start them once."""
    from ._julia import setup

    setup()
    click.echo("Julia and the core are ready")


def _read_config(path: Path) -> dict[str, Any]:
    """Read a TOML file of options; hyphens are taken for underscores."""
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise OptionError(f"config {path}: larger than {MAX_CONFIG_BYTES} bytes; expected a few options")
        table = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise OptionError(f"config: no file {str(path)!r}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"config {path}: {error}") from None
    options = {name.replace("-", "_"): value for name, value in table.items()}
    for name in options:
        if name not in declared():
            raise OptionError(f"config {path}: {unknown(name)}")
    return options


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 2.

    Args:
        args: the arguments; None: the process's own.

    Raises:
        SystemExit: always; 0 for success, 1 where Julia can't be had, 2 for a mistake, 130 after Ctrl-C.
    """
    warnings.showwarning = lambda message, *_args, **_kwargs: _say("warning", str(message))
    try:
        code = cli.main(args, prog_name="fedflux", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        _say("error", error.format_message())
        sys.exit(2)
    except FedFluxError as error:
        _say("error", str(error))
        sys.exit(1 if isinstance(error, JuliaUnavailable) else 2)
    except (click.Abort, KeyboardInterrupt):
        _say("error", "interrupted")
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


def _say(kind: str, message: str) -> None:
    click.echo(f"fedflux: {kind}: {' '.join(message.split())}", err=True)
