"""``python -m tests.cli.approve [GROUP]...`` writes the texts anew: read what git says changed."""

from __future__ import annotations

import sys

from tests.cli.texts import FOLDER, groups, text_of


def main() -> None:
    for group in sys.argv[1:] or groups():
        (FOLDER / f"{group}.txt").write_text(text_of(group))


if __name__ == "__main__":
    main()
