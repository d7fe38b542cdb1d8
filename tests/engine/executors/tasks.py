"""Tasks as the splitter makes them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from engine import splitter
from engine.ledger.manifest import Ledger
from engine.settings import Settings
from engine.storage import open_storage
from engine.work import PartTask, is_intact
from tests.engine.executors.clusters import NUM_PARTS


def tasks_of(source: Path, dest: Path, **settings: Any) -> list[PartTask]:
    """Claim the destination and return what is left to do, as the splitter does."""
    chosen = Settings(**{"num_parts": NUM_PARTS} | settings)
    plan = splitter.plan_split([str(source)], chosen)
    store, folder = open_storage(str(dest))
    ledger = Ledger(store, folder)
    receipts = ledger.claim(
        plan,
        overwrite=False,
        is_intact=partial(is_intact, folder),
        check_sources=lambda: None,
    )
    return splitter._tasks(plan, receipts, ledger.held, folder, chosen)
