"""``evensplit batch``: commands on jobs, pools, plans and activities, a module each."""

from __future__ import annotations

from batchjobs.cli import activity, jobs, pools, submit
from batchjobs.cli.group import batch

__all__ = ["activity", "batch", "jobs", "pools", "submit"]
