"""``evensplit batch``: commands on jobs, pools and plans, a module each."""

from __future__ import annotations

from batchjobs.cli import jobs, pools, simulate, submit
from batchjobs.cli.group import batch

__all__ = ["batch", "jobs", "pools", "simulate", "submit"]
