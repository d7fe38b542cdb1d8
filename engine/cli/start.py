"""Where the process of a command begins: signals are heard before anything else is imported."""

from __future__ import annotations

from engine.cli.stopping import watch_signals


def main() -> None:
    """Run the command line; see :func:`engine.cli.main.main`."""
    watch_signals()
    from engine.cli.main import main as run

    run()
