"""``python -m engine`` is the command ``evensplit``."""

from __future__ import annotations

from engine.cli.main import main

main()
