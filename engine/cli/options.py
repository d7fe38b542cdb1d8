"""The table of options as click's decorators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from engine.cli.group import Choice
from engine.options import Command, Option, options_of

F = TypeVar("F", bound=Callable[..., Any])


def click_option(option: Option, *, text: str = "", has_default: bool = True) -> Callable[[F], F]:
    """Return the decorator of an option.

    Args:
        option: which.
        text: help instead of its own.
        has_default: fill in its default, and show it; else what nobody gave is None.
    """
    name = option.flag
    facts: dict[str, Any] = {"envvar": option.variable, "help": text or option.help}
    if option.kind == "switch":
        name = f"{option.flag}/--no-{option.flag.removeprefix('--')}"
    elif option.choices:
        facts["type"] = Choice(*option.choices)
    else:
        facts["metavar"] = option.metavar
        facts["type"] = int if option.kind in ("count", "number") else str
    facts["default"] = option.default if has_default else None
    facts["show_default"] = has_default and option.default not in (None, False)
    return click.option(name, option.name, **facts)


def split_options(
    command: Command, texts: Mapping[str, str] | None = None, *, has_defaults: bool = True
) -> Callable[[F], F]:
    """Return the decorator that adds all options that a command has.

    Args:
        command: which.
        texts: help of some, by name, instead of their own.
        has_defaults: as for :func:`click_option`.
    """

    def decorate(function: F) -> F:
        for option in reversed(options_of(command)):
            text = (texts or {}).get(option.name, "")
            function = click_option(option, text=text, has_default=has_defaults)(function)
        return function

    return decorate
