"""What is logged, under the one name ``evensplit``: a sentence for people, an event with fields.

Levels: DEBUG for each part, INFO for each step of a run, WARNING for what a user may want to change
although it went on, ERROR for what ends a run (the command line's; a library raises). No handler is
installed here: who wants to hear it adds one to the logger. A record has its event's name as
``event``, and a dictionary of plain values as ``fields``.
"""

from __future__ import annotations

import logging
from typing import Any

logger = logging.getLogger("evensplit")
logger.addHandler(logging.NullHandler())


def say(event: str, text: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log an event; names in ``text`` and ``fields`` hold no secret."""
    logger.log(level, "%s", text, extra={"event": event, "fields": fields})
