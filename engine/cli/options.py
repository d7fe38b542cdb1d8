"""The table of options as click's decorators."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from engine.options import Command, Option, options_of

F = TypeVar("F", bound=Callable[..., Any])


class _Whole(click.ParamType):  # type: ignore[type-arg] # generic from click 8.2 on
    """Text that is taken as it is; a table of a file becomes JSON."""

    name = "text"

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        """Return the variable's whole text: JSON holds blanks."""
        return [rv] if rv else []

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return text."""
        return value if isinstance(value, str) else json.dumps(value)


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
        facts["type"] = click.Choice(option.choices, case_sensitive=False)
    else:
        facts["metavar"] = option.metavar
        facts["type"] = int if option.kind in ("count", "number") else str
    if option.kind == "pairs":  # one of them a time, in the environment and in files all at once
        facts |= {"multiple": True, "type": _Whole(), "callback": lambda *given: given[2] or None}
        has_default = False
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
