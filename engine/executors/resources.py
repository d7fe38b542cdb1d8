"""Where parts run and with what."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from engine import events
from engine.errors import EvensplitError
from engine.storage.base import redacted
from engine.work import PartTask

if TYPE_CHECKING:
    from distributed import Client

RESOURCE = "evensplit_memory_bytes"
MAX_TRIES = 3


def say_tried_again(task: PartTask, error: EvensplitError) -> None:
    """Log that a part is written once more."""
    text = f"{task.part.name} is tried again: {error}"
    events.say("split.tried-again", text, logging.WARNING, part=task.part.name, kind=error.kind)


@dataclass(frozen=True)
class Resources:
    """Where parts run and with what.

    Attributes:
        kind: ``threads`` of this process, local ``processes``, or the ``cluster`` at ``scheduler``.
        num_workers: parts at once (threads or processes); a cluster decides itself.
        memory_bytes: for all of them together; a cluster's workers say themselves.
        scheduler: address of a cluster's scheduler.
        run_bytes: projected peak of the whole run on this machine, processes included.
        limit_bytes: the user's own limit, if any.
        preload: modules that processes import before there is a part to wait.
        client: of the cluster, if the caller has one; it stays open.
    """

    kind: Literal["threads", "processes", "cluster"]
    num_workers: int
    memory_bytes: int
    scheduler: str | None = None
    run_bytes: int = 0
    limit_bytes: int | None = None
    preload: tuple[str, ...] = ()
    client: Client | None = None

    @property
    def place(self) -> str:
        """The scheduler's address, without what may be secret."""
        return redacted(self.scheduler or "")
