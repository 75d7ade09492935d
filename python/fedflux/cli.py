"""The command line: `fedflux run`, `partition`, `new`, `doctor`, `setup`, privacy's."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
import tomllib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import _julia, _privacy_commands
from ._version import __version__
from .errors import FedFluxError, JuliaUnavailable, OptionError
from .files import remove_unfinished, write_whole
from .option import Option
from .options import SpecOption, declared, unknown
from .specs import known

if TYPE_CHECKING:
    from .result import Result

MAX_CONFIG_BYTES = 2**20
PARTITION_OPTIONS = ("dataset", "data_dir", "partition", "clients", "seed", "loss")


# click.ParamType takes a type parameter from 8.4 on only.
_ParamType: Any = click.ParamType


class _OptionType(_ParamType):  # type: ignore[misc]
    """A click type that reads a value as its declared option does."""

    def __init__(self, option: Option) -> None:
        self.option = option
        self.name = option.kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        return self.option.parse(value) if isinstance(value, str) else value


class _RunCommand(click.Command):
    """`run`, whose help lists the declared options under their headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            row = param.get_help_record(ctx)
            if row is not None:
                option = declared().get(param.name or "")
                groups.setdefault(option.group if option else "Files", []).append(row)
        for group, rows in groups.items():
            with formatter.section(group):
                formatter.write_dl(rows)


def _as_click(option: Option) -> click.Option:
    name = option.flag
    if option.kind == "bool":
        flags = f"--{name}/--no-{name}"
        return click.Option([flags, option.name], default=None, help=_help(option))
    choices = option.choices
    if isinstance(option, SpecOption):
        choices = tuple(known(option.spec_kind))
    return click.Option(
        [f"--{name}", option.name],
        type=_OptionType(option),
        metavar="|".join(map(str, choices)) or option.kind.upper(),
        help=_help(option),
        multiple=option.kind == "specs",
    )


def _help(option: Option) -> str:
    text = f"{option.help} (repeatable)" if option.kind == "specs" else option.help
    default = option.default
    if default is None or default == []:
        return text
    shown = ",".join(map(str, default)) if isinstance(default, list) else default
    return f"{text}  [default: {shown}]"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fedflux")
def cli() -> None:
    """Federated learning with a Julia core, built on Flux, and a thin Python interface."""


@cli.command(cls=_RunCommand)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="a TOML file of options; the options of the command line override it",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path),
    help="write the facts and the history to this file",
)
@click.option(
    "--save",
    "save_file",
    type=click.Path(path_type=Path),
    help="save the result to this safetensors file",
)
def run(
    config: Path | None, json_file: Path | None, save_file: Path | None, **given: Any
) -> None:
    """Train a model by federated averaging."""
    from ._run import run as fedflux_run

    for file in (json_file, save_file):  # fail before the training, not after it
        if file is not None and not file.resolve().parent.is_dir():
            folder = file.resolve().parent
            raise FedFluxError(f"can't write {file}: there is no folder {folder}")
    options = _read_config(config) if config else {}
    for name, value in given.items():
        if isinstance(value, tuple):  # of a repeatable option: a list for each time
            value = [item for items in value for item in items] or None
        if value is not None:
            options[name] = value
    checkpoints = options.get("resume") or options.get("checkpoint")
    run_file = Path(checkpoints) / "run.json" if isinstance(checkpoints, str) else None
    for file in (json_file, run_file, save_file):
        if file is not None:
            remove_unfinished(file)
    result = fedflux_run(progress=True, **options)
    for file in (json_file, run_file):
        if file is not None:
            _write_facts(file, result)
    if save_file is not None:
        result.save(save_file)
    click.echo(repr(result))


def _write_facts(file: Path, result: Result) -> None:
    text = json.dumps(result.facts(), indent=1, allow_nan=False) + "\n"
    write_whole(file, text.encode())


run.params[:0] = [_as_click(option) for option in declared().values()]


@cli.command()
@click.option(
    "--plot",
    "plot_file",
    type=click.Path(path_type=Path),
    help="draw the split to this file (.png, .svg or .pdf)",
)
def partition(plot_file: Path | None, **given: Any) -> None:
    """Show how a partition splits the data among the clients."""
    from ._run import partition as fedflux_partition

    options = {name: value for name, value in given.items() if value is not None}
    split = fedflux_partition(**options)
    click.echo(split["table"], nl=False)
    if plot_file is not None:
        from .plots import clients

        clients(split, plot_file)


partition.params[:0] = [_as_click(declared()[name]) for name in PARTITION_OPTIONS]


cli.add_command(_privacy_commands.epsilon)
cli.add_command(_privacy_commands.noise)
cli.add_command(_privacy_commands.audit)


@cli.command()
@click.argument("name")
def new(name: str) -> None:
    """Write a project for a deployment on Flower, in the folder NAME."""
    from .flower.new import new as write

    project = write(name, Path.cwd())
    click.echo(f"{project} is ready: its README.md tells how to run it.")


@cli.command()
def doctor() -> None:
    """Check the installation: Julia, its packages and the data sets."""
    from .doctor import examine

    sys.exit(examine())


@cli.command()
def setup() -> None:
    """Install Julia and the packages of the core."""
    from ._julia import setup

    setup()
    click.echo("Julia and the core are ready.")


def _read_config(path: Path) -> dict[str, Any]:
    """Read a TOML file of options; a name may have hyphens for underscores."""
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise OptionError(f"config {path}: expected at most {MAX_CONFIG_BYTES} bytes")
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


class _Terminated(BaseException):
    """SIGTERM came."""


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Let SIGTERM raise `_Terminated` in the main thread, as Ctrl-C does its exception.

    A second SIGTERM ends the process at once.
    """

    def terminate(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise _Terminated

    main_thread = threading.current_thread() is threading.main_thread()
    if not main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield  # whoever calls handles it
        return
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; a user's error is printed as one line on stderr.

    Args:
        args: the arguments; None for those of the process.

    Raises:
        SystemExit: always, with 0 for success, 1 if Julia is not available, 2 for a user's
            error, 130 after Ctrl-C and 143 after SIGTERM.
    """
    warnings.showwarning = lambda message, *_args, **_kwargs: _print(
        "warning", str(message)
    )
    _julia.may_be_ended = True
    try:
        with _sigterm_raises():
            code = cli.main(args, prog_name="fedflux", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        _print("error", error.format_message())
        sys.exit(2)
    except FedFluxError as error:
        _print("error", str(error))
        sys.exit(1 if isinstance(error, JuliaUnavailable) else 2)
    except (click.Abort, KeyboardInterrupt):
        _print("error", "interrupted")
        sys.exit(130)
    except _Terminated:
        _print("error", "terminated")
        sys.exit(143)
    sys.exit(code if isinstance(code, int) else 0)


def _print(kind: str, message: str) -> None:
    click.echo(f"fedflux: {kind}: {' '.join(message.split())}", err=True)
