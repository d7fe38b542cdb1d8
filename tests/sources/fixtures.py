"""The ``source_file`` fixture: ``source_file("pyarrow-v2")`` is a path, written once a session.

With pytest-xdist the workers of one run share the files. Import it in a ``conftest.py``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sources import SOURCES, written


@pytest.fixture(scope="session")
def source_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    return lambda name: written(SOURCES[name], shared / "sources")
