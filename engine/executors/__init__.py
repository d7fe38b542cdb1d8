"""Run parts on Dask, through its futures API only; the only package that knows Dask.

:func:`run_parts` is the whole interface: tasks in, receipts out, in whatever order they end.
:mod:`.choosing` says for a plan where they run, and how many at once.
"""

from __future__ import annotations

from engine.executors.resources import Resources
from engine.executors.run import run_parts

__all__ = ["Resources", "run_parts"]
