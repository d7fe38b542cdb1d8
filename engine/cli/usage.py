"""What is wrong with a call, in one line of our words instead of click's."""

from __future__ import annotations

import glob
import re
from pathlib import Path

import click
from click.core import ParameterSource

_WORDS = (
    (r"Option '(\S+)' requires an argument", r"\1 needs a value"),
    (r"Option '(\S+)' does not take a value", r"\1 takes no value"),
    (r"is not a valid (integer|float)( range)?", "is no number"),
    (r"is not in the range x>=(\S+)", r"is too small; the least is \1"),
    (r"is not in the range x>(\S+)", r"is too small; it must be above \1"),
    (r"is not in the range (\S+)<=x<=(\S+)", r"is not from \1 to \2"),
    (r"[Gg]ot unexpected extra arguments? \((.*)\)", r"unexpected: \1"),
)


def usage_message(error: click.ClickException) -> str:
    """Return what is wrong with a call, and what to do about it."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    see = f"; see {context.command_path} --help" if context else ""
    match error:
        case click.NoSuchOption():
            name = error.option_name
            hint = _owners(name, context) or _near(error.possibilities) or _file(name) or see
            return f"there is no option {name}{hint}"
        case click.NoSuchCommand():
            return f"there is no command {error.command_name}" + (_near(error.possibilities) or see)
        case click.MissingParameter(param=click.Parameter() as param):
            return f"{_name(param)} is missing{see}"
        case click.BadParameter(param=click.Parameter() as param):
            said = _sentence(error.message)
            prefix = "" if said.startswith(_name(param)) else f"{_name(param)}: "
            return f"{prefix}{said}{_origin(param, context)}"
    return _sentence(error.format_message()) + see


def _file(name: str) -> str:
    """Return how to name a file that was taken for an option, if there is one."""
    found = sorted(path.name for path in Path().glob(f"{glob.escape(name)}*"))
    return f"; for the file write ./{found[0]}" if found else ""


def _near(possibilities: list[str] | None) -> str:
    return f"; did you mean {possibilities[0]}?" if possibilities else ""


def _owners(option: str, context: click.Context | None) -> str:
    """Return which commands beside the one called have an option."""
    group = context.parent.command if context and context.parent else None
    if not isinstance(group, click.Group):
        return ""
    owners = [
        name
        for name, command in group.commands.items()
        if any(option in [*param.opts, *param.secondary_opts] for param in command.params)
    ]
    return f" here; it is one of {', '.join(sorted(owners))}" if owners else ""


def _name(param: click.Parameter) -> str:
    if isinstance(param, click.Option):
        return param.opts[0]
    return (param.metavar or param.name or "").strip(".[]").upper()


def _origin(param: click.Parameter, context: click.Context | None) -> str:
    """Return what set a value, if it was not the command line."""
    source = context.get_parameter_source(param.name or "") if context else None
    if source is ParameterSource.ENVIRONMENT:
        return f" (set by {param.envvar})"
    return " (set by the configuration file)" if source is ParameterSource.DEFAULT_MAP else ""


def _sentence(text: str) -> str:
    text = " ".join(text.split()).removesuffix(".")
    for theirs, ours in _WORDS:
        text = re.sub(theirs, ours, text)
    return text if text[:2].isupper() else text[:1].lower() + text[1:]
