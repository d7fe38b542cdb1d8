"""``evensplit batch``: commands on jobs, pools, plans, activities and all of Azure."""

from __future__ import annotations

from batchjobs.cli import activity, deploy, doctor, images, jobs, pools, simulate, submit
from batchjobs.cli.group import batch

__all__ = ["activity", "batch", "deploy", "doctor", "images", "jobs", "pools", "simulate", "submit"]
