"""``import evensplit`` and ``python -m evensplit``: the package ``engine`` by another name."""

from __future__ import annotations

import sys

import engine

if __name__ == "__main__":
    from engine.cli.start import main

    main()
else:
    sys.modules[__name__] = engine
