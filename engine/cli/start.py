"""Where the process of a command begins: streams are there, and signals heard, before all else."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from engine.cli.stopping import watch_signals

_STREAMS = ("stdin", "stdout", "stderr")


def main() -> None:
    """Run the command line; see :func:`engine.cli.main.main`."""
    _hold_streams()
    watch_signals()
    from engine.cli.main import main as run

    run()


def _hold_streams() -> None:
    """Have standard streams that were closed lead nowhere.

    What is opened next would have their numbers else, and be written to as if it were they.
    """
    for number, name in enumerate(_STREAMS):
        with suppress(OSError):
            os.fstat(number)
            continue
        os.open(os.devnull, os.O_RDWR)  # the lowest number that is free is this one
        os.set_inheritable(number, True)
        stream = open(number, "w" if number else "r", encoding="utf-8")  # noqa: SIM115 - for ever
        setattr(sys, name, stream)
