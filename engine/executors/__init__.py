"""Run parts on Dask, through its futures API only; the only package that knows Dask.

:func:`run_parts` is the whole interface: tasks in, receipts out, in whatever order they end.
"""

from __future__ import annotations

from engine.executors.dask import LocalProcesses, Resources, run_parts

__all__ = ["LocalProcesses", "Resources", "run_parts"]
