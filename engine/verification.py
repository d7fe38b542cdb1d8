"""Prove that a finished split equals its source, whatever its format.

Here: what the ledger tells, which part is at fault, and how it is mended. How values are compared
is the format's business.
"""

from __future__ import annotations

import hashlib
import shlex
import time
from collections.abc import Callable, Sequence

from engine import events
from engine.errors import Different, NoSource, OtherFiles
from engine.formats import Compared, format_of, load_format
from engine.ledger.manifest import Ledger
from engine.memory import budget, keeping_to
from engine.model import (
    Manifest,
    Receipt,
    SourceFile,
    Verification,
    by_partition,
    folder_of,
)
from engine.storage import Storage, check_unchanged, open_storage
from engine.storage.base import readable, redacted
from engine.storage.folders import is_read
from engine.system import num_cores
from engine.wording import counted

_MAX_NAMED = 3
_HASHED_BYTES = 8 << 20  # at once
_REMOTE_COLUMNS_PER_CORE = 4


def verify_memory_bytes(
    destination: str, *, workers: int | None = None, memory_bytes: int | None = None
) -> int:
    """Return the projected peak memory of :func:`verify_split`, the process included."""
    store, folder = open_storage(destination)
    manifest = Ledger(store, folder).manifest()
    chosen = load_format(format_of(manifest.sources))
    with chosen.holding_sources():
        return chosen.verify_memory_bytes(
            manifest.sources,
            [_part_file(store, folder, receipt) for receipt in manifest.parts],
            workers=workers or _default_workers(destination, manifest.sources),
            memory_bytes=budget(memory_bytes).bytes,
        )


def _default_workers(destination: str, sources: Sequence[SourceFile]) -> int:
    """Return how many columns to compare at once: those of stores are mostly waited for."""
    is_remote = any("://" in path for path in (destination, *(file.path for file in sources)))
    return num_cores() * (_REMOTE_COLUMNS_PER_CORE if is_remote else 1)


def verify_split(
    destination: str,
    *,
    memory_bytes: int | None,
    workers: int | None,
    progress: Callable[[int], None] | None,
    allow_other_files: bool = False,
) -> Verification:
    """Prove that a finished split equals its source; see :func:`engine.verify`.

    Raises:
        NotASplit: the folder holds no finished split.
        OtherFiles: it holds more than the split, unless ``allow_other_files``.
        Different: a part is missing, has another size, or differs from the source; ``part`` names
            it, and the message says how to mend it.
        SourceChanged: the source is no longer what was split.
        OverBudget: it would need more memory than there is.
    """
    started = time.monotonic()
    store, folder = open_storage(destination)
    manifest = Ledger(store, folder).manifest()
    if not allow_other_files:
        _check_alone(store, folder, manifest)
    place = redacted(folder)
    number = counted(len(manifest.parts), "part")
    events.say("verify.begun", f"comparing {number} in {place} with the source")
    check_unchanged(manifest.sources)
    workers = workers or _default_workers(destination, manifest.sources)
    compared = Compared(0, 0)
    for sources, parts in by_partition(manifest.sources, manifest.parts):
        try:
            files = [_part_file(store, folder, receipt) for receipt in parts]
            chosen = load_format(format_of(sources))
            with chosen.holding_sources(), keeping_to(memory_bytes) as allowed:
                one = chosen.verify(
                    sources,
                    files,
                    memory_bytes=allowed.bytes,
                    workers=workers,
                    expected_rows=[receipt.num_rows for receipt in parts],
                    settings=manifest.settings,
                    progress=progress,
                )
            for receipt in parts:
                _check_end(store, folder, receipt)
        except Different as error:
            raise _blamed(error, parts, destination) from error
        compared = compared.and_of(one)
    num_rows = compared.num_rows if manifest.num_rows is None else manifest.num_rows
    about = {"num_values": compared.num_values, "num_rows": num_rows}
    events.say("verify.complete", f"{number} in {place} equal the source", **about)
    return Verification(
        destination=folder,
        num_parts=len(manifest.parts),
        num_rows=num_rows,
        num_columns=compared.num_columns,
        num_values=compared.num_values,
        num_bytes=compared.num_bytes,
        elapsed_seconds=time.monotonic() - started,
    )


def _check_alone(store: Storage, folder: str, manifest: Manifest) -> None:
    """Raise OtherFiles if a reader of the folder would read what is no part of the split."""
    names = {receipt.name for receipt in manifest.parts}
    listed = sorted(item.name for item in store.expand(folder).entries)
    others = [readable(name) for name in listed if is_read(name) and name not in names]
    if others:
        shown = ", ".join(others[:_MAX_NAMED]) + (", ..." if len(others) > _MAX_NAMED else "")
        raise OtherFiles(
            f"{redacted(folder)} holds {counted(len(others), 'file')} beside the split's "
            f"{counted(len(names), 'part')}, which readers of the folder would take as well "
            f"({shown}): move what is not wanted away, or verify with --allow-other-files"
        )


def _blamed(error: Different, parts: Sequence[Receipt], destination: str) -> Different:
    """Return the error with the part that it is about, of one partition, and with what mends it."""
    names = {receipt.name.rpartition("/")[2]: receipt.name for receipt in parts}
    names |= {name: name for name in names.values()}
    part = next((names[it] for it in names if str(error).startswith(it)), None)
    where = f"{folder_of(part)}/" if part and folder_of(part) else ""
    place = shlex.quote(redacted(destination))
    cure = f"evensplit verify {place} --repair writes it anew"
    if part is None:
        cure = "split --overwrite writes all parts anew"
    told = Different(f"{where}{str(error).removeprefix(where)}; {cure}")
    told.part = part
    return told


def _check_end(store: Storage, folder: str, receipt: Receipt) -> None:
    """Raise Different if what a part says of its values is not what was committed."""
    if not receipt.end_sha256:
        return
    found, size_bytes = hashlib.sha256(), receipt.size_bytes
    source = store.open(_part_file(store, folder, receipt))
    try:
        for at in range(size_bytes - receipt.end_bytes, size_bytes, _HASHED_BYTES):
            found.update(source.read(at, min(_HASHED_BYTES, size_bytes - at)))
    finally:
        source.close()
    if found.hexdigest() != receipt.end_sha256:
        raise Different(
            f"{receipt.name} holds all values, but what it says of them to readers (footer, page "
            "indexes, Bloom filters) is not as it was written"
        )


def _part_file(store: Storage, folder: str, receipt: Receipt) -> SourceFile:
    try:
        found = store.stat(store.join(folder, receipt.name))
    except NoSource as error:
        raise Different(f"{receipt.name} is missing") from error
    if found.size_bytes != receipt.size_bytes:
        raise Different(
            f"{receipt.name} has {found.size_bytes:,} bytes, its receipt says "
            f"{receipt.size_bytes:,}"
        )
    return found
