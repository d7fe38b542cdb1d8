"""``evensplit batch``: :mod:`batchjobs.cli.jobs` and :mod:`batchjobs.cli.pools`."""

from __future__ import annotations

from batchjobs.cli import jobs, pools
from batchjobs.cli.group import batch

__all__ = ["batch", "jobs", "pools"]
