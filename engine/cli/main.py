"""``evensplit``: the command group, and how errors reach the shell.

Each command lives in :mod:`engine.cli.commands`; how things look in :mod:`engine.cli.show`.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from signal import SIGINT, SIGPIPE
from typing import TYPE_CHECKING, cast

import click

from engine import endings, events, system
from engine.cli import commands, log, stopping, terminal
from engine.cli.config import load_config
from engine.cli.group import Group, completing, completing_commands
from engine.cli.usage import usage_message
from engine.errors import BadSetting, CallError, EvensplitError, InternalError, OverBudget
from engine.version import __version__

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

_GC_THRESHOLD = 2_000_000
_RESUMABLE = ("split", "batch")  # a second run of the others begins anew
_WITHOUT_PANDAS = (["plan"], ["split"], ["verify"], ["batch"])
_NOWHERE = logging.NullHandler()

HELP = """Split Parquet, CSV or NDJSON files that are too large into equal parts, all rows in order.

\b
  evensplit profile big.parquet             how is it laid out, where is it skewed?
  evensplit plan    big.parquet             what would a split write?
  evensplit split   big.parquet parts/      write parts of at most 100 MB
  evensplit verify  parts/                  prove them equal to the source, value by value
  evensplit report  parts/                  all of it as pictures: one HTML page

Settings come from options, else from EVENSPLIT_* variables, else from a TOML file (--config, else
conf/evensplit.toml here), else from defaults. A split that was interrupted resumes when the same
command is run again.
"""


class Commands(Group):
    """Our commands, and those that other packages add by an entry point.

    They know the engine, and the engine does not know them; nor are they imported for our own.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all, sorted."""
        return sorted({*super().list_commands(ctx), *_added().names})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command of ours, else one that was added."""
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name not in _added().names:
            return own
        return cast(click.Command, _added()[cmd_name].load())


def _added() -> EntryPoints:
    from importlib.metadata import entry_points

    return entry_points(group="evensplit.commands")


@click.group(cls=Commands, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="evensplit")
@click.option(
    "--config",
    metavar="FILE",
    envvar="EVENSPLIT_CONFIG",
    help="Settings in TOML.",
    shell_complete=completing("file"),
)
@click.pass_context
def cli(context: click.Context, config: str | None) -> None:
    """See HELP."""
    goes_on = context.invoked_subcommand in _RESUMABLE
    stopping.say(stopping.RESUMABLE if goes_on else stopping.STOPPING)
    context.default_map = load_config(config)


for command in commands.ALL:
    cli.add_command(command)


@cli.command("help")
@click.argument(
    "names", nargs=-1, metavar="[COMMAND]...", shell_complete=completing_commands("names")
)
@click.pass_context
def help_command(context: click.Context, names: tuple[str, ...]) -> None:
    """Show the help of a command, or this list."""
    found = context.find_root()
    for name in names:
        if not isinstance(found.command, click.Group):
            raise click.UsageError(f"{found.command_path} has no commands, so no {name!r}", found)
        command = found.command.resolve_command(found, [name])[1]
        assert command is not None  # unknown names are errors
        found = click.Context(command, info_name=name, parent=found)
    click.echo(found.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, and end the process with the exit code that the errors' register gives."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    log.begin(words, os.environ)
    stopping.say_as(lambda text: log.line_of("stopping", text, logging.WARNING))
    # Footers become many small objects without cycles; collecting these again and again would
    # cost a quarter of the time that reading them takes.
    gc.set_threshold(_GC_THRESHOLD)
    terminal.prepare()
    # Libraries tell of each attempt of theirs, with tracebacks; of what came of it we tell a line.
    logging.getLogger().addHandler(_NOWHERE)
    if arguments is None:  # a process of its own
        if words[:1] in _WITHOUT_PANDAS:
            system.leave_pandas_out()
        stopping.watch_signals()
        # What workers log of an error comes here too, and is told once.
        os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "critical")  # read when Dask is imported
    output = sys.stdout
    try:
        code = cli.main(
            args=words,
            prog_name="evensplit",
            standalone_mode=False,
            color=None if terminal.has_colours() else False,
        )
        sys.stdout.flush()
    except EvensplitError as error:
        sys.exit(_tell(error, as_json=as_json))
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(CallError.exit_code)
    except click.ClickException as error:
        sys.exit(_tell(BadSetting(usage_message(error)), as_json=as_json))
    except (KeyboardInterrupt, click.Abort):  # where signals are not watched
        sys.exit(stopping.exit_code(SIGINT))
    except (BrokenPipeError, SystemExit):
        if sys.exc_info()[0] is SystemExit and sys.stdout is output:
            raise  # of what completes a line; where a reader has left, click puts it aside first
        terminal.let_go(output)
        sys.exit(stopping.exit_code(SIGPIPE))  # what comes behind is not done, a proof say
    except MemoryError:
        full = OverBudget("out of memory; lower --memory or --workers")
        sys.exit(_tell(full, as_json=as_json))
    except Exception as error:  # noqa: BLE001 - what nobody foresaw has an exit code
        endings.stay_if_ending()
        if known := _of_surroundings(error):
            sys.exit(_tell(known, as_json=False))
        fields = {"traceback": traceback.format_exc()}
        if not log.is_json():
            traceback.print_exc()
        defect = InternalError(_one_line(f"{type(error).__name__}: {error}; please report this"))
        sys.exit(_tell(defect, as_json=as_json, **fields))
    else:
        if arguments is None:  # what is left goes with the process: no need to look for cycles
            gc.freeze()
        sys.exit(code if isinstance(code, int) else 0)


def _tell(error: EvensplitError, *, as_json: bool, **fields: str) -> int:
    endings.stay_if_ending()
    if as_json:
        try:
            click.echo(json.dumps({"error": error.as_dict()}))
        except OSError:  # a disk is full, or a reader has left: what was wrong first is told
            terminal.let_go(sys.stdout)
    text = str(error) if log.is_json() else f"evensplit: {error.kind}: {error}"
    about = {"kind": error.kind, "exit_code": error.exit_code, **fields}
    events.say("error", text, logging.ERROR, **about)
    return error.exit_code


def _of_surroundings(error: Exception) -> EvensplitError | None:
    """Return what is wrong with what is around this: output, folder, memory, Dask's files."""
    if isinstance(error, ImportError) and "failed to map segment" in str(error):
        return OverBudget(f"out of memory ({error}); raise ulimit -v")
    if isinstance(error, ValueError) and str(error).startswith("A dask config file"):
        return BadSetting(f"{str(error).partition(',')[0]}; mend it, or name others by DASK_CONFIG")
    if not isinstance(error, OSError):
        return None
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if frames[-1].f_globals["__name__"] in (click.utils.__name__, __name__):  # no others print
        from engine.storage.local import translated

        terminal.let_go(sys.stdout)
        return translated(error, "standard output")
    try:
        os.getcwd()
    except FileNotFoundError:
        return CallError("the folder that this was called in is gone; change to another one")
    return None


def _one_line(text: str) -> str:
    return " ".join(text.split())
