"""Third-party files that lie beside this checkout, in ``../shared``, if anybody has put them there.

Tests that want them are left out where they are not, and show as skipped, with the folder's name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

PARQUET_TESTING = Path(__file__).parents[2] / "shared" / "parquet-testing"
_REASON = f"wants files in ../shared/{PARQUET_TESTING.name}, which are not there"


def shared_files(pattern: str = "data/*.parquet") -> list[Path]:
    """Return the files of a pattern; the test that asks is left out if there are none."""
    found = sorted(PARQUET_TESTING.glob(pattern))
    if not found:
        pytest.skip(_REASON)
    return found


def each_shared_file(pattern: str = "data/*.parquet", *, but: str = "") -> list[Any]:
    """Return one parameter a file; one that is skipped if there are none, so that it is seen.

    ``but`` is what names of files that are left out have in them.
    """
    found = sorted(PARQUET_TESTING.glob(pattern))
    found = [path for path in found if not but or but not in path.name]
    if not found:
        return [pytest.param(None, id="none", marks=pytest.mark.skip(reason=_REASON))]
    return [pytest.param(path, id=path.name) for path in found]
