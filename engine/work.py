"""Write one part: the function that a worker runs, on this machine or another.

Everything it needs comes in one picklable :class:`PartTask`; everything it did goes into the
receipt, which it writes itself once the part is committed, so that no part is done twice whoever
dies in between. Running it again for a part that is already committed writes the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from engine import system
from engine.errors import (
    ClusterMismatch,
    Conflict,
    InternalError,
    NoSource,
    OtherPlan,
    OverTarget,
    SourceChanged,
    SourceError,
)
from engine.formats import PARQUET, WrittenPart, load_format
from engine.ledger.manifest import Claim, Ledger, receipt_path, record
from engine.model import PartPlan, Receipt, Recoding, SourceFile, Verb
from engine.settings import Access
from engine.storage import PartSink, Storage, open_storage
from engine.storage.access import using
from engine.storage.base import redacted
from engine.version import __version__

_TRIES = 3
_sinks: dict[tuple[str, int], PartSink] = {}  # of parts that this process is writing


@dataclass(frozen=True)
class PartTask:
    """One part to write.

    Attributes:
        part: the plan of the part.
        claim: of the plan; a part is published only while that holds the destination.
        num_parts: of the whole plan.
        sources: the files that the part's slices index.
        destination: folder of the parts, path or URL.
        target_bytes: a finished part over it is thrown away; None for no cap.
        durable: wait for the disk.
        access: how stores are reached.
        version: evensplit's own, for the part's metadata.
        recoding: how pages are encoded, where not as in the source.
        format: of the sources, by name; see :func:`engine.formats.load_format`.
    """

    part: PartPlan
    claim: Claim
    num_parts: int
    sources: tuple[SourceFile, ...]
    destination: str
    target_bytes: int | None
    durable: bool
    access: Access
    version: str
    recoding: Recoding = field(default_factory=Recoding)
    format: str = PARQUET

    @property
    def verb(self) -> Verb:
        """The most that is done to its pages; row groups that are merged are built."""
        if not self.recoding.is_nothing or any(piece.joins for piece in self.part.slices):
            return "re-encode"
        return "splice" if self.part.is_spliced else "page-cut"


def in_the_making(destination: str) -> dict[int, int]:
    """Return the bytes of each part, by its index, that this process is writing to a folder."""
    return {
        index: sink.size_bytes
        for (place, index), sink in list(_sinks.items())
        if place == destination
    }


def write_part(task: PartTask) -> Receipt:
    """Write, check, commit, and acknowledge one part.

    Raises:
        ClusterMismatch: this process has another version than the one that planned.
        SourceChanged: a source is no longer what was planned.
        OtherPlan: another plan holds the destination now; nothing was published.
        OverTarget: the part came out larger than the target; nothing was published.
        EvensplitError: as reading and writing do; nothing was published.
    """
    if task.version != __version__:  # a worker that joined the cluster after it was looked at
        raise ClusterMismatch(
            f"a worker has evensplit {__version__}, this is {task.version}; install the same one"
        )
    with using(task.access):
        return _write_part(task)


def _write_part(task: PartTask) -> Receipt:
    """Write a part, once more where another run has written or removed one of its name."""
    for _ in range(_TRIES - 1):
        with suppress(Conflict):
            return _write_once(task)
    return _write_once(task)


def _write_once(task: PartTask) -> Receipt:
    store, folder = open_storage(task.destination)
    ledger = Ledger(store, folder)
    look = partial(ledger.check_claim, task.claim)
    path = store.join(folder, task.part.name)
    sink = store.create(path, durable=task.durable)
    place = (task.destination, task.part.index)
    _sinks[place] = sink
    try:
        written = load_format(task.format).write(
            task.part,
            task.sources,
            sink,
            recoding=task.recoding,
            provenance=_provenance(task),
        )
        _check(task, written, sink.size_bytes)
        receipt = _receipt(task, written, sink)
        sink.seal()
        look()
        version = _commit(task, receipt, sink, look)
        try:
            look()  # it may have been lost between that look and the commit
        except OtherPlan:
            if version is not None and not ledger.is_begun_anew(task.claim):
                store.remove(path, version)
            raise
        receipt = replace(receipt, store_notes=sink.notes)
    finally:
        _sinks.pop(place, None)
        sink.abort()
    _acknowledge(task, store, folder, receipt)
    return receipt


def _commit(
    task: PartTask, receipt: Receipt, sink: PartSink, look: Callable[[], None]
) -> str | None:
    """Publish a part and return its version; None if a run of the same plan was first."""
    try:
        return sink.commit()
    except Conflict:
        look()
        if not is_intact(task.destination, task.format, receipt):
            raise
        return None


def _provenance(task: PartTask) -> dict[str, str]:
    """Return where a part comes from, in words of its metadata."""
    names = [redacted(source.path).rstrip("/").rpartition("/")[2] for source in task.sources]
    part = task.part
    rows = {}
    if part.first_row is not None and part.num_rows is not None:
        rows = {"evensplit.rows": f"{part.first_row}-{part.first_row + part.num_rows}"}
    return {
        "evensplit.source": names[0] if len(names) == 1 else json.dumps(names),
        "evensplit.part": f"{part.index + 1}/{task.num_parts}",
        **rows,
        "evensplit.version": task.version,
    }


def _check(task: PartTask, written: WrittenPart, size_bytes: int) -> None:
    part = task.part
    if task.target_bytes is not None and size_bytes > task.target_bytes:
        raise OverTarget(
            f"{part.name} came out at {size_bytes} bytes ({part.predicted_bytes} were expected), "
            f"over the target of {task.target_bytes}; it was not published",
            index=part.index,
            size_bytes=size_bytes,
        )
    if written.num_rows != part.num_rows:
        raise InternalError(f"{part.name} holds {written.num_rows} rows instead of {part.num_rows}")


def is_intact(destination: str, format_name: str, receipt: Receipt) -> bool:
    """Whether a committed part still has the end that its receipt tells of."""
    store, folder = open_storage(destination)
    try:
        part = store.open(store.stat(store.join(folder, receipt.name)))
    except (NoSource, SourceChanged):
        return False
    if part.file.size_bytes != receipt.size_bytes:
        part.close()
        return False
    try:
        tail = load_format(format_name).read_tail(part)
    except SourceError:
        return False
    finally:
        part.close()
    return hashlib.sha256(tail).hexdigest() == receipt.footer_sha256


def _receipt(task: PartTask, written: WrittenPart, sink: PartSink) -> Receipt:
    part = task.part
    return Receipt(
        index=part.index,
        name=part.name,
        num_rows=part.num_rows,
        first_row=part.first_row,
        size_bytes=sink.size_bytes,
        spliced_bytes=written.spliced_bytes,
        reencoded_bytes=written.reencoded_bytes,
        footer_sha256=hashlib.sha256(written.tail).hexdigest(),
        end_bytes=written.end_bytes,
        end_sha256=written.end_sha256,
    )


def _acknowledge(task: PartTask, store: Storage, folder: str, receipt: Receipt) -> None:
    of_plan = {"plan_id": task.claim.plan_id, "revision": task.claim.revision}
    boot = {} if task.durable or not store.has_locks else {"boot_id": system.boot_id()}
    text = record({**of_plan, **boot, **receipt.as_dict()})
    store.put(receipt_path(store, folder, task.part.index), text, durable=task.durable)
