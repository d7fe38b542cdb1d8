"""Where the files of ``conf/`` are: presets, formulas, pipelines, template, start task.

They are installed with the program, as the package :data:`PACKAGE`. A copy in ``conf/`` of the
current folder wins, folder by folder, formulas and presets file by file.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

PACKAGE = "evensplit_conf"
HERE = Path("conf")


def conf_folders(inside: str, given: Path | None = None) -> list[Path]:
    """Return the folders of ``conf/`` that hold some files, the one that wins first.

    Args:
        inside: of ``conf/``: ``adf``, ``azure``, ``batch/autoscale``, ``presets``.
        given: the only ``conf/`` to look at, if the caller names one.
    """
    roots = [given] if given is not None else [HERE, Path(str(files(PACKAGE)))]
    return [root / inside for root in roots if (root / inside).is_dir()]


def conf_file(inside: str, name: str, given: Path | None = None) -> Path | None:
    """Return a file of such a folder, None if no folder has it; arguments as above."""
    found = (folder / name for folder in conf_folders(inside, given))
    return next((path for path in found if path.is_file()), None)
