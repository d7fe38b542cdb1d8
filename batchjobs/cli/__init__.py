"""``evensplit batch``: one module of commands for each of jobs, pools, activities, deployment."""

from __future__ import annotations

from batchjobs.cli import activity, jobs, pools
from batchjobs.cli.group import batch

__all__ = ["activity", "batch", "jobs", "pools"]
