"""What a worker process of ours does when it is ended in the middle of a part: cancel its uploads.

Dask imports this by its name (``preload``). It calls :func:`dask_teardown` when a worker closes;
whoever ends this whole run at once sends SIGTERM (:mod:`engine.endings`).
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType

from engine import system
from engine.storage import cancel_uploads


def dask_setup(worker: object) -> None:
    """Begin to hear SIGTERM, and do without pandas; ``worker`` is Dask's."""
    with suppress(ValueError):  # a worker in a thread: its process hears for itself
        signal.signal(signal.SIGTERM, _end)
        system.leave_pandas_out()


def dask_teardown(worker: object) -> None:
    """Leave nothing half-uploaded in a store; ``worker`` is Dask's."""
    cancel_uploads()


def _end(number: int, _frame: FrameType | None) -> None:
    cancel_uploads()
    os._exit(128 + number)
