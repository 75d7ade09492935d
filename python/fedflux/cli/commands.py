"""The command line: `fedflux run`, `partition`, `new`, `doctor`, `setup`, privacy's."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
import tomllib
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .._julia import start
from .._options.options import column, declared, unknown
from .._results.atomic_write import remove_unfinished, write_whole
from .._results.frame import writable
from .._version import __version__
from ..errors import FedFluxError, OptionError, help_address
from . import comparison, ending, listing, pictures, privacy, spelling, sweeps
from .data_options import FILES, TEST_FILES, data_options, with_partition
from .run_options import PATH, RunCommand, as_click, chosen, help_all, named, track

if TYPE_CHECKING:
    from .._results.result import Result

MAX_CONFIG_BYTES = 2**20
SETTINGS = {"help_option_names": ["-h", "--help"], "show_default": True}


@click.group(context_settings=SETTINGS)
@click.version_option(__version__, prog_name="fedflux")
@click.option("--debug", is_flag=True, expose_value=False, help="show an error's stack")
def cli() -> None:
    """Federated learning with a Julia core, built on Flux, and a thin Python interface."""


@cli.command(cls=RunCommand)
@click.option(
    "--config",
    type=PATH,
    help="a TOML file of options, named as here, in sections or not; the options of the "
    "command line override it",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, allow_dash=True),
    help="write the facts and the history to this file; - is stdout",
)
@click.option(
    "--save", "save_file", type=PATH, help="save the result to this safetensors file"
)
@click.option(
    "--history",
    "history_file",
    type=PATH,
    help="write a line for each round to this file, .csv or .parquet",
)
@click.option(
    "--init", "init_file", type=PATH, help="begin with the parameters of this saved result"
)
@track
@data_options(FILES, TEST_FILES)
@click.option("--quiet", is_flag=True, help="no progress bar, and no result on stdout")
@click.option(
    "--verbose", is_flag=True, help="a line for each round and a curve, without a bar"
)
@help_all
def run(
    config: Path | None,
    json_file: Path | None,
    save_file: Path | None,
    history_file: Path | None,
    init_file: Path | None,
    partition_file: Path | None,
    track: tuple[str, ...],
    quiet: bool,
    verbose: bool,
    **given: Any,
) -> None:
    """Train a model by federated averaging."""
    from .._simulation.run import run as fedflux_run

    to_stdout = json_file == Path("-")
    if to_stdout:
        json_file = None
    if history_file is not None:
        writable("history", history_file)
    for file in (json_file, save_file, history_file):  # fail before, not after training
        if file is not None and not file.resolve().parent.is_dir():
            folder = file.resolve().parent
            raise FedFluxError(f"can't write {file}: there is no folder {folder}")
    options = (_read_config(config) if config else {}) | chosen(given)
    options = with_partition(options, partition_file)
    checkpoints = options.get("resume") or options.get("checkpoint")
    run_file = Path(checkpoints) / "run.json" if isinstance(checkpoints, str) else None
    for file in (json_file, run_file, save_file, history_file):
        if file is not None:
            remove_unfinished(file)
    if verbose:
        options["callback"] = _print_round
    progress = not quiet and not verbose
    result = fedflux_run(progress=progress, init=init_file, track=track, **options)
    for file in (json_file, run_file):
        if file is not None:
            _write_facts(file, result)
    if save_file is not None:
        result.save(save_file)
    if history_file is not None:
        result.save_history(history_file)
    if to_stdout:
        click.echo(_facts_text(result), nl=False)
    elif not quiet:
        click.echo(repr(result))
        _show_curve(result, verbose)


def _show_curve(result: Result, verbose: bool) -> None:
    from rich.console import Console  # which takes a while to import

    from .._results.show_text import summary

    console = Console(highlight=False)
    if console.is_terminal or verbose:
        click.echo(summary(result, console))


def _print_round(record: dict[str, Any]) -> None:
    names = ("train_loss", "test_loss", "accuracy", "validation_loss")
    measured = {n: record[n] for n in (*names, "validation_accuracy")}
    figures = (
        f"{name.replace('_', ' ')} {figure:.4f}"
        for name, figure in (measured | record.get("metrics", {})).items()
        if figure is not None
    )
    click.echo(f"round {record['round']}: {', '.join(figures)}", err=True)


def _facts_text(result: Result) -> str:
    return json.dumps(result.facts(), indent=1, allow_nan=False) + "\n"


def _write_facts(file: Path, result: Result) -> None:
    write_whole(file, _facts_text(result).encode())


run.params[:0] = [as_click(option) for option in declared().values()]


@cli.command()
@click.option(
    "--plot",
    "plot_file",
    type=PATH,
    help="draw the split to this file (.png, .svg or .pdf)",
)
@data_options(FILES)
def partition(plot_file: Path | None, partition_file: Path | None, **given: Any) -> None:
    """Show how a partition splits the data among the clients."""
    from .._simulation.run import partition as fedflux_partition

    split = fedflux_partition(**with_partition(chosen(given), partition_file))
    click.echo(split["table"], nl=False)
    if plot_file is not None:
        from ..plots import clients

        clients(split, plot_file)


partition.params[:0] = [as_click(declared()[name]) for name in column("splits")]


for command in (
    *(comparison.compare, pictures.plot, pictures.report, sweeps.sweep),
    *(listing.list_objects, listing.rules),
    *(privacy.epsilon, privacy.noise, privacy.audit, privacy.ckks_key),
):
    cli.add_command(command)


@cli.command()
@click.argument("name")
def new(name: str) -> None:
    """Write a project for a deployment on Flower, in the folder NAME."""
    from ..flower.new_project import new as write

    project = write(name, Path.cwd())
    click.echo(f"{project} is ready: its README.md tells how to run it.")


@cli.command()
def doctor() -> None:
    """Check the installation: Julia, its packages and the data sets."""
    from .doctor import examine

    sys.exit(examine())


@cli.command()
@click.option(
    "--system-image",
    is_flag=True,
    help="Also make a system image of the core. Takes minutes, makes starts shorter.",
)
def setup(system_image: bool) -> None:
    """Install Julia and the packages of the core."""
    from .._julia.start import setup

    setup(system_image=system_image)
    click.echo("Julia and the core are ready.")


def _read_config(path: Path) -> dict[str, Any]:
    """Read a TOML file of options. Names are those of the flags, or of the options."""
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise OptionError(f"config {path}: expected at most {MAX_CONFIG_BYTES} bytes")
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise OptionError(f"config: no file {str(path)!r}") from None
    except OSError as error:
        raise OptionError(f"config {path}: can't be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"config {path}: expected TOML: {error}") from None
    options: dict[str, Any] = {}
    for name, value in table.items():  # of a section or not
        section = value if isinstance(value, dict) else {name: value}
        for key, v in section.items():
            option = named(key)
            if option in options:
                raise OptionError(f"config {path}: {key} is given twice")
            options[option] = v
    for name, value in options.items():
        if name not in declared():
            raise OptionError(f"config {path}: {unknown(name)}")
        try:
            declared()[name].check(value)
        except OptionError as error:
            raise OptionError(f"config {path}: {error}") from None
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
        args: the arguments, or None for those of the process.

    Raises:
        SystemExit: always, with 0 for success, 1 if Julia is not available, 2 for a user's
            error, 70 for an unexpected one, 130 after Ctrl-C and 143 after SIGTERM.
    """
    given = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in given  # at any place, also after the command
    args = [argument for argument in given if argument != "--debug"]
    warnings.showwarning = lambda message, *_args, **_kwargs: _print(
        "warning", str(message)
    )
    start.may_be_ended = True
    spelling.spell_output()
    try:
        with _sigterm_raises():
            code = cli.main(args, prog_name="fedflux", standalone_mode=False)
            ending.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        _print("error", error.format_message())
        _see(help_address(error.format_message()))
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        _print("error", "interrupted")
        sys.exit(130)
    except _Terminated:
        _print("error", "terminated")
        sys.exit(143)
    except Exception as error:
        if debug:
            traceback.print_exc()
        message, code = ending.described(error)
        _print("error", message)
        if isinstance(error, FedFluxError):
            _see(error.help)
        with contextlib.suppress(OSError):
            ending.flush()
        sys.exit(code)
    sys.exit(code if isinstance(code, int) else 0)


def _see(address: str) -> None:
    click.echo(f"fedflux: see {address}", err=True)


def _print(kind: str, message: str) -> None:
    click.echo(f"fedflux: {kind}: {' '.join(message.split())}", err=True)
