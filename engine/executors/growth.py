"""How far parts are that are being written: told every second, while something else is waited for.

Sinks count what they were given (:func:`engine.work.in_the_making`), so that telling costs what is
written nothing. Dask's workers send theirs as events, to whom has the parts written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from engine.executors.interrupts import every
from engine.model import Receipt
from engine.work import PartTask, in_the_making

if TYPE_CHECKING:
    from distributed import Client

TELL_SECONDS = 1.0


def telling(
    measure: Callable[[], int], tell: Callable[[int], None]
) -> AbstractContextManager[None]:
    """Tell every second what is measured: bytes of unfinished parts."""
    return every(TELL_SECONDS, lambda: tell(measure()))


def write_and_tell(write: Callable[[PartTask], Receipt], task: PartTask, topic: str) -> Receipt:
    """Run on a worker of Dask: write a part, and send events that say how far it is."""
    from distributed import get_worker

    worker = get_worker()

    def tell(num_bytes: int) -> None:
        worker.log_event(topic, (task.part.index, num_bytes))

    def measure() -> int:
        return in_the_making(task.destination).get(task.part.index, 0)

    with telling(measure, tell):
        return write(task)


class Heard:
    """What workers say of parts that are being written, as long as somebody listens."""

    def __init__(self, client: Client, topic: str) -> None:
        self._client = client
        self._topic = topic
        self._bytes: dict[int, int] = {}

    def __enter__(self) -> Heard:
        self._client.subscribe_topic(self._topic, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.unsubscribe_topic(self._topic)

    def _hear(self, event: tuple[float, Sequence[Any]]) -> None:
        index, num_bytes = event[1]
        self._bytes[index] = num_bytes

    def bytes_of(self, tasks: Sequence[PartTask]) -> int:
        """Return how much of some parts is written."""
        return sum(self._bytes.get(task.part.index, 0) for task in tasks)
