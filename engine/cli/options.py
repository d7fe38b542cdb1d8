"""The table of options as click's decorators, and the types of values that commands share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click

from engine.cli.group import completing_words
from engine.errors import BadSetting
from engine.options import Command, Option, options_of
from engine.presets import preset_names
from engine.settings import CREDENTIALS, parse_size
from engine.wording import choice_hint

F = TypeVar("F", bound=Callable[..., Any])

# What a shell completes where other values are taken as well.
_USUAL: Mapping[str, Callable[[], Iterable[str]]] = {
    "preset": preset_names,
    "credential": lambda: CREDENTIALS,
    "schema": lambda: ("strict", "relaxed"),
}


class Choice(click.Choice[str]):
    """One of a few words, in any case; what is none of them is told with the nearest."""

    def __init__(self, *choices: str) -> None:
        super().__init__(choices, case_sensitive=False)

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Return what is said of a wrong word."""
        return f"there is no {value!r}; {choice_hint(str(value), self.choices)}"


class Checked(click.ParamType[Any]):
    """Text that is checked before a command begins, and handed on as it is."""

    def __init__(self, name: str, parse: Callable[[Any], Any]) -> None:
        self.name, self._parse = name, parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value, or refuse it."""
        try:
            self._parse(value)
        except BadSetting as error:
            self.fail(str(error), param, ctx)
        return value


class Whole(click.ParamType[str]):
    """Text that is taken as it is; a table of a file becomes JSON."""

    name = "text"

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        """Return the variable's whole text: JSON holds blanks."""
        return [rv] if rv else []

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return text."""
        return value if isinstance(value, str) else json.dumps(value)


SIZE = Checked("size", parse_size)


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
        facts["type"] = Checked(option.kind, option.parse)
        if option.name in _USUAL:
            facts["shell_complete"] = completing_words(_USUAL[option.name])
    if option.kind == "pairs":  # one of them a time, in the environment and in files all at once
        facts |= {"multiple": True, "type": Whole(), "callback": lambda *given: given[2] or None}
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
