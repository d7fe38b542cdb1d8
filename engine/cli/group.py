"""Groups of commands, choices and completion, as all our commands have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import click
from click.shell_completion import CompletionItem

from engine.wording import choice_hint

_MOST_LETTERS = 1000  # of a summary: all

Completion = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


class Group(click.Group):
    """A group whose help tells the first sentence of each command in full."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write names and first sentences."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [
            (name, command.get_short_help_str(_MOST_LETTERS))
            for name, command in found
            if command is not None and not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Choice(click.Choice[str]):
    """One of a few words, in any case; what is none of them is told with the nearest."""

    def __init__(self, *choices: str) -> None:
        super().__init__(choices, case_sensitive=False)

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Return what is said of a wrong word."""
        return f"there is no {value!r}; {choice_hint(str(value), self.choices)}"


def completing(kind: Literal["file", "dir"]) -> Completion:
    """Return what has a shell complete the names of files, or of folders."""
    return lambda context, parameter, text: [CompletionItem(text, type=kind)]
