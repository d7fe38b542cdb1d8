"""Layout and skew of files, from footers and page indexes alone: no page is read.

:func:`profile_files` is the whole interface; :mod:`.profiler.model` says what it returns.
"""

from __future__ import annotations

from engine.formats.parquet.profiler.model import (
    ColumnProfile,
    FileProfile,
    Profile,
    RowGroupProfile,
    Skew,
)
from engine.formats.parquet.profiler.read import profile_files

__all__ = [
    "ColumnProfile",
    "FileProfile",
    "Profile",
    "RowGroupProfile",
    "Skew",
    "profile_files",
]
