"""What a run says on standard error: lines for people, or one JSON object a line for machines.

Everything goes through the logger ``evensplit``, to which library and commands both speak; here is
the one handler, and the options that set it. Progress is in :mod:`engine.cli.progress`, results go
to standard output. A line of JSON has ``run_id`` (EVENSPLIT_RUN_ID, else made up), ``time`` (UTC),
``level``, ``event``, ``message``, and what the event is about.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, wraps
from typing import Any, TypeVar

import click

from engine.cli import terminal
from engine.events import logger
from engine.wording import shown

F = TypeVar("F", bound=Callable[..., Any])

_FORMAT, _QUIET, _VERBOSE = (f"EVENSPLIT_{name}" for name in ("LOG_FORMAT", "QUIET", "VERBOSE"))

_PLAIN = {"error", "stopping"}  # their sentences need no level before them


@cache
def run_id() -> str:
    """Return what names this run in its log."""
    return os.environ.get("EVENSPLIT_RUN_ID") or secrets.token_hex(8)


class _Handler(logging.Handler):
    """Writes records to whatever standard error is now."""

    is_json = False

    def __init__(self) -> None:
        super().__init__()
        self._complete = set[str]()

    def begin(self, *, is_json: bool, level: int) -> None:
        """Listen to a command from its start."""
        self.is_json = is_json
        self.setLevel(level)
        self._complete.clear()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, unless it is of progress that a thread told as the end was said."""
        verb, _, told = getattr(record, "event", "").partition(".")
        if told == "complete":
            self._complete.add(verb)
        elif told == "progress" and verb in self._complete:
            return
        if self.is_json:
            terminal.echo_aside(self._as_json(record))
        else:
            terminal.say(self._as_text(record), err=True)

    def line_of(self, record: logging.LogRecord) -> str:
        """Return a record as it is written."""
        return self._as_json(record) if self.is_json else self._as_text(record)

    def _as_text(self, record: logging.LogRecord) -> str:
        text = shown(record.getMessage())
        is_plain = getattr(record, "event", "") in _PLAIN
        return text if is_plain else f"{record.levelname.lower()}: {text}"

    def _as_json(self, record: logging.LogRecord) -> str:
        about = {
            "run_id": run_id(),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "log"),
            "message": record.getMessage(),
        }
        return json.dumps(about | getattr(record, "fields", {}), default=str)


_handler = _Handler()


def begin(words: Sequence[str], environment: Mapping[str, str]) -> None:
    """Begin to listen, as a command line says: it may be refused before its options are known."""
    text = environment.get(_FORMAT, "text")
    for before, word in zip(["", *words], words, strict=False):
        if before == "--log-format" or word.startswith("--log-format="):
            text = word.rpartition("=")[2]
    _listen(is_json=text.lower() == "json", level=logging.WARNING)


def _listen(*, is_json: bool, level: int) -> None:
    _handler.begin(is_json=is_json, level=level)
    logger.setLevel(min(level, logging.INFO))
    if _handler not in logger.handlers:
        logger.addHandler(_handler)


def line_of(event: str, text: str, level: int) -> str:
    """Return a record as its line, without writing it; empty if it is not wanted."""
    if level < _handler.level:
        return ""
    record = logger.makeRecord(logger.name, level, "", 0, text, (), None, extra={"event": event})
    return _handler.line_of(record)


def is_json() -> bool:
    """Whether machines read the log."""
    return _handler.is_json


def is_quiet() -> bool:
    """Whether only errors are wanted."""
    return _handler.level > logging.WARNING


_OPTIONS = (
    click.option(
        "--log-format",
        type=click.Choice(("text", "json"), case_sensitive=False),
        envvar=_FORMAT,
        default="text",
        show_default=True,
        help="Standard error in lines for people, or in JSON objects, one a line.",
    ),
    click.option(
        "-q",
        "--quiet",
        is_flag=True,
        envvar=_QUIET,
        help="Beside the result, say nothing but errors.",
    ),
    click.option("-v", "--verbose", is_flag=True, envvar=_VERBOSE, help="Say what is done."),
)


def log_options(function: F) -> F:
    """Return the decorator of a command that runs long: how much it says, and in which form."""

    @wraps(function)
    def listening(*args: Any, log_format: str, quiet: bool, verbose: bool, **options: Any) -> Any:
        usual = logging.INFO if log_format == "json" else logging.WARNING
        level = logging.ERROR if quiet else logging.DEBUG if verbose else usual
        _listen(is_json=log_format == "json", level=level)
        return function(*args, **options)

    for decorate in reversed(_OPTIONS):
        listening = decorate(listening)
    return listening  # type: ignore[return-value]
