"""What is wrong with a call, in one line of our words instead of click's."""

from __future__ import annotations

import click
from click.core import ParameterSource


def usage_message(error: click.ClickException) -> str:
    """Return what is wrong with a call, and what to do about it."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    see = f"; see {context.command_path} --help" if context else ""
    match error:
        case click.NoSuchOption():
            return f"there is no option {error.option_name}" + (_near(error.possibilities) or see)
        case click.NoSuchCommand():
            return f"there is no command {error.command_name}" + (_near(error.possibilities) or see)
        case click.MissingParameter(param=click.Parameter() as param):
            return f"{_name(param)} is missing{see}"
        case click.BadParameter(param=click.Parameter() as param):
            return f"{_name(param)}{_origin(param, context)}: {_sentence(error.message)}"
    return _sentence(error.format_message()) + see


def _near(possibilities: list[str] | None) -> str:
    return f"; did you mean {possibilities[0]}?" if possibilities else ""


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
    return " ".join(text.split()).removesuffix(".")
