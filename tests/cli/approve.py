"""``python -m tests.cli.approve [GROUP]...`` writes the texts anew: read what git says changed.

A text with a defect of ours (exit 70) is not approved.
"""

from __future__ import annotations

import sys

from tests.cli.texts import FOLDER, groups, text_of


def main() -> None:
    for group in sys.argv[1:] or groups():
        text = text_of(group)
        if "\nexit 70\n" in text:
            sys.exit(f"{group}: a command ends with exit 70, and its text is not approved:\n{text}")
        (FOLDER / f"{group}.txt").write_text(text)


if __name__ == "__main__":
    main()
