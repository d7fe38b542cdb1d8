"""Groups of commands, and completion of names, as all our commands have them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import click
from click.shell_completion import CompletionItem

_MOST_LETTERS = 1000  # of a summary: all

Completion = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


class Group(click.Group):
    """A group that tells the first sentence of each command in full, in help and to shells."""

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

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return what a shell completes to; zsh and fish show the sentences as well."""
        items = super().shell_complete(ctx, incomplete)
        for item in items:
            if command := self.get_command(ctx, item.value):
                item.help = command.get_short_help_str(_MOST_LETTERS)
        return items


def completing(kind: Literal["file", "dir"]) -> Completion:
    """Return what has a shell complete the names of files, or of folders."""
    return lambda context, parameter, text: [CompletionItem(text, type=kind)]


def completing_words(words: Callable[[], Iterable[str]]) -> Completion:
    """Return what has a shell complete words, which are asked for only then."""
    return lambda context, parameter, text: _beginning(words(), text)


def completing_commands(argument: str) -> Completion:
    """Return what has a shell complete names of commands, below those that an argument has."""

    def found(
        context: click.Context, parameter: click.Parameter, text: str
    ) -> list[CompletionItem]:
        command: click.Command | None = context.find_root().command
        for name in context.params.get(argument) or ():
            command = (
                command.get_command(context, name) if isinstance(command, click.Group) else None
            )
        names = command.list_commands(context) if isinstance(command, click.Group) else ()
        return _beginning(names, text)

    return found


def _beginning(words: Iterable[str], text: str) -> list[CompletionItem]:
    return [CompletionItem(word) for word in words if word.startswith(text)]
