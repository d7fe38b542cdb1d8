"""What a worker process of ours does when it is ended in the middle of a part: cancel its uploads.

Dask imports this by its name (``preload``) and calls :func:`dask_teardown`.
"""

from __future__ import annotations

from engine.storage import cancel_uploads


def dask_teardown(worker: object) -> None:
    """Leave nothing half-uploaded in a store; ``worker`` is Dask's."""
    cancel_uploads()
