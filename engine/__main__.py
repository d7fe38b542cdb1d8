"""``python -m engine`` is the command ``evensplit``."""

from __future__ import annotations

from engine.cli.start import main

main()
