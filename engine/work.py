"""Write one part: the function that a worker runs, on this machine or another.

Everything it needs comes in one picklable :class:`PartTask`; everything it did goes into the
receipt, which it writes itself once the part is committed, so that no part is done twice whoever
dies in between. Running it again for a part that is already committed writes the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from typing import Literal, NamedTuple

from engine import memory
from engine.errors import (
    BadStructure,
    ClusterMismatch,
    InternalError,
    NoSource,
    OverTarget,
    SourceChanged,
    SourceError,
)
from engine.formats.parquet.bytes.one_column import group_rows
from engine.formats.parquet.bytes.page_map import PageMap
from engine.formats.parquet.bytes.pages import PageType
from engine.formats.parquet.layout import OpenFile, named, open_file, read_footer_bytes
from engine.formats.parquet.merging import United, united
from engine.formats.parquet.merging.keys import KeyValues
from engine.formats.parquet.page_maps import keeps_cut_page, page_maps, read_each_header
from engine.formats.parquet.small_chunks import are_small, small_facts
from engine.formats.parquet.writers.chunk import ChunkMaker, NewChunk, Piece
from engine.formats.parquet.writers.key_values import part_key_values
from engine.formats.parquet.writers.splice import Assembled, PartWriter
from engine.ledger.manifest import Ledger, receipt_path
from engine.model import PartPlan, Range, Receipt, Recoding, RowGroupSlice, SourceFile, Verb
from engine.settings import Access
from engine.storage import PartSink, Storage, open_storage
from engine.storage.access import using
from engine.storage.base import naming, redacted
from engine.version import __version__


@dataclass(frozen=True)
class PartTask:
    """One part to write.

    Attributes:
        part: the plan of the part.
        claim: the plan's file; a part is published only while that plan holds the destination.
        num_parts: of the whole plan.
        sources: the files that the part's slices index.
        destination: folder of the parts, path or URL.
        target_bytes: a finished part over it is thrown away; None for no cap.
        recoding: how pages are encoded, where not as in the source.
        durable: wait for the disk.
        access: how stores are reached.
        version: evensplit's own, for the part's metadata.
    """

    part: PartPlan
    claim: SourceFile
    num_parts: int
    sources: tuple[SourceFile, ...]
    destination: str
    target_bytes: int | None
    durable: bool
    access: Access
    version: str
    recoding: Recoding = field(default_factory=Recoding)

    @property
    def verb(self) -> Verb:
        """The most that is done to its pages; row groups put together are built anew."""
        if not self.recoding.is_nothing or any(piece.joins for piece in self.part.slices):
            return "re-encode"
        return "splice" if self.part.is_spliced else "page-cut"


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
    store, folder = open_storage(task.destination)
    path = store.join(folder, task.part.name)
    numbers = {0, *(piece.file for piece in task.part.slices)}  # the first lends its schema
    files = {number: open_file(task.sources[number]) for number in numbers}
    sink = store.create(path, durable=task.durable)
    try:
        row_groups = task.part.row_groups
        writer = PartWriter(
            sink,
            _maker(task),
            has_many_groups=len(row_groups) > 1,
            keeps_chunks=task.recoding.is_nothing,
        )
        for slices in row_groups:
            pieces = [
                Piece(files[piece.file], piece.row_group, piece.start_row, piece.stop_row)
                for piece in slices
            ]
            with naming(*(piece.file.file.path for piece in pieces)):
                writer.add(pieces)
            _forget_ended(files, slices)
        taken = [files[piece.file] for piece in task.part.slices] or [files[0]]
        carried = united([named(file) for file in dict.fromkeys(taken)])
        with naming(*(file.file.path for file in taken)):
            assembled = writer.finish(files[0].footer, carried, _key_values(task, files, carried))
        _check(task, assembled, sink.size_bytes)
        _check_unchanged(task, files)
        Ledger(store, folder).check_claim(task.claim)
        sink.commit()
    except (BadStructure, InternalError):
        _check_unchanged(task, files)  # what looks like damage may be a file written anew
        raise
    finally:
        sink.abort()
    return _acknowledge(task, store, folder, assembled, sink)


def _check_unchanged(task: PartTask, files: Mapping[int, OpenFile]) -> None:
    for number in {piece.file for piece in task.part.slices}:
        files[number].source.check_unchanged()


def part_memory_bytes(part: PartPlan, files: Sequence[OpenFile], recoding: Recoding) -> int:
    """Return the projected peak memory of :func:`write_part`, without the process itself."""
    with naming(*(files[piece.file].file.path for piece in part.slices)):
        return _part_memory_bytes(part, files, recoding)


def _part_memory_bytes(part: PartPlan, files: Sequence[OpenFile], recoding: Recoding) -> int:
    numbers = sorted({piece.file for piece in part.slices})
    indexes = [files[piece.file].index_bytes(piece.row_group) for piece in part.slices]
    row_groups = part.row_groups
    return memory.splice_bytes(
        index_bytes=sum(every for every, _ in indexes),
        largest_index_bytes=max((largest for _, largest in indexes), default=0),
        footer_bytes=sum(files[number].footer.size_bytes for number in numbers),
        num_columns=len(files[0].footer.leaves),
        num_row_groups=len(row_groups),
    ) + _made_bytes(row_groups, files, recoding)


def _made_bytes(
    row_groups: Sequence[Sequence[RowGroupSlice]], files: Sequence[OpenFile], recoding: Recoding
) -> int:
    """Return what making the most demanding row group takes.

    Those of small chunks are made by Arrow, as a whole and one at a time.
    """
    small, others = _told_apart(row_groups, files, recoding)
    small_bytes = max((_small_bytes(files, slices) for slices in small), default=0)
    return max(small_bytes, _opened_bytes(others, files, recoding))


def _told_apart(
    row_groups: Sequence[Sequence[RowGroupSlice]], files: Sequence[OpenFile], recoding: Recoding
) -> tuple[list[Sequence[RowGroupSlice]], list[Sequence[RowGroupSlice]]]:
    """Return row groups that Arrow makes as a whole, and those whose pages are opened."""
    small: list[Sequence[RowGroupSlice]] = []
    others: list[Sequence[RowGroupSlice]] = []
    for slices in row_groups:
        is_whole = len(slices) == 1 and slices[0].is_whole
        if is_whole and recoding.is_nothing:
            continue
        groups = [(files[piece.file], piece.row_group) for piece in slices]
        (small if are_small(groups, recoding) else others).append(slices)
    return small, others


def _small_bytes(files: Sequence[OpenFile], slices: Sequence[RowGroupSlice]) -> int:
    return memory.small_rows_bytes(
        plain_bytes=sum(
            small_facts(files[piece.file], piece.row_group).plain_bytes for piece in slices
        ),
        num_columns=len(files[0].footer.leaves),
        num_row_groups=len(slices),
    )


def _opened_bytes(
    row_groups: Sequence[Sequence[RowGroupSlice]], files: Sequence[OpenFile], recoding: Recoding
) -> int:
    """Return what making the most demanding row group takes whose pages are opened.

    Cut row groups are all looked at, and stay in memory until the part is done with them; of those
    that are encoded anew, or put together, the largest stands for all.
    """
    made = [
        slices
        for slices in row_groups
        if not recoding.is_nothing or len(slices) > 1  # else it is cut
    ]
    largest = max(
        made, key=lambda slices: sum(_plain_bytes(files, piece) for piece in slices), default=()
    )
    is_built = len(largest) > 1 or recoding.dictionary is not None
    kind: _Kind = "gather" if recoding.dictionary else "build" if is_built else "recode"
    cut: dict[tuple[int, int], int] = {}  # pieces of one row group open the same chunks
    for piece in chain.from_iterable(row_groups):
        if not piece.is_whole and piece not in largest:
            group = piece.file, piece.row_group
            cut[group] = max(cut.get(group, 0), _group_bytes(files, [piece], "cut"))
    cut_bytes = cut.values()
    made_bytes = _group_bytes(files, largest, kind) if largest else 0
    # Of row groups that are made one is open at a time; what is cut at the end stays for the next.
    return max(made_bytes, *cut_bytes) if made and cut_bytes else made_bytes + sum(cut_bytes)


def _plain_bytes(files: Sequence[OpenFile], piece: RowGroupSlice) -> int:
    columns = files[piece.file].row_group(piece.row_group).columns
    share = piece.num_rows / piece.num_rows_in_group
    return round(share * sum(chunk.uncompressed_bytes for chunk in columns))


_Kind = Literal["cut", "recode", "build", "gather"]


def _group_bytes(files: Sequence[OpenFile], slices: Sequence[RowGroupSlice], kind: _Kind) -> int:
    """Return what making one row group takes, column after column.

    What is kept of a chunk is dropped with its column, but for cut pieces: the next part has a use
    for them.
    """
    num_columns = len(files[0].footer.leaves)
    most, kept = [0] * num_columns, [0] * num_columns
    stays = 0
    for piece in slices:
        for column, found in enumerate(_column_bytes(files[piece.file], piece, kind)):
            most[column] = max(most[column], found.most_bytes)
            kept[column] += found.united_bytes if kind in ("build", "gather") else 0
            if piece.is_whole:
                kept[column] += found.kept_bytes
            else:
                stays += found.kept_bytes
    return stays + max(map(sum, zip(most, kept, strict=True)))


class _ColumnBytes(NamedTuple):
    """What opening pages of a column takes at once, what stays of it, what uniting it takes."""

    most_bytes: int
    kept_bytes: int
    united_bytes: int


def _column_bytes(file: OpenFile, piece: RowGroupSlice, kind: _Kind) -> Iterator[_ColumnBytes]:
    """Yield, for each column, what opening its pages takes at once, and what stays of it."""
    columns = file.row_group(piece.row_group).columns
    maps = page_maps(file, piece.row_group)
    opened = [_opened_pages(pages, piece, kind) for pages in maps]
    headers = iter(read_each_header(file, list(chain.from_iterable(opened))))
    for chunk, pages, places in zip(columns, maps, opened, strict=True):
        ratio = max(1.0, chunk.uncompressed_bytes / chunk.compressed_bytes)
        dictionary_bytes, num_entries, value_bytes = 0, 0, 0.0
        most = 0
        for header in islice(headers, len(places)):
            if header.type is PageType.DICTIONARY:
                dictionary_bytes = round(ratio * (header.header_bytes + header.compressed_bytes))
                num_entries = header.num_values
                value_bytes = dictionary_bytes / max(1, num_entries)
                continue
            page_bytes = memory.page_bytes(
                page_bytes=header.uncompressed_bytes + header.header_bytes,
                num_values=header.num_values,
                value_bytes=value_bytes,
                is_built=kind == "gather" or (kind == "build" and pages.dictionary is not None),
            )
            most = max(most, page_bytes)
        most += memory.dictionary_bytes(dictionary_bytes)
        kept = memory.kept_chunk_bytes(dictionary_bytes=dictionary_bytes, num_pages=pages.num_pages)
        if not piece.is_whole:
            cut = {pages.page_of_row(row) for row in (piece.start_row, piece.stop_row)}
            sizes = [pages.sizes[number] for number in cut if pages.num_pages]
            kept += sum(size for size in sizes if keeps_cut_page(file, size))
        united = memory.united_bytes(dictionary_bytes=dictionary_bytes, num_entries=num_entries)
        yield _ColumnBytes(most, kept, united)


def _opened_pages(pages: PageMap, piece: RowGroupSlice, kind: _Kind) -> list[Range]:
    """Return the pages of a chunk that stand for all that are opened, the dictionary first."""
    numbers = {pages.page_of_row(row) for row in (piece.start_row, piece.stop_row)}
    if kind != "cut" and pages.num_pages:
        numbers.add(max(range(pages.num_pages), key=lambda page: pages.sizes[page]))
    dictionary = [] if pages.dictionary is None or kind == "recode" else [pages.dictionary]
    return [*dictionary, *(pages.page(number) for number in sorted(numbers))]


def _forget_ended(files: Mapping[int, OpenFile], slices: Sequence[RowGroupSlice]) -> None:
    """Drop what is kept of row groups that no later part needs, at once or a little later."""
    for piece in slices:
        if piece.stop_row == piece.num_rows_in_group:
            files[piece.file].forget(piece.row_group)
        else:
            files[piece.file].forget_soon(piece.row_group)


def _maker(task: PartTask) -> ChunkMaker:
    """Return what makes column chunks; only a part that needs it imports pyarrow."""
    if task.recoding.is_nothing and task.part.is_spliced:
        return _no_chunk
    from engine.formats.parquet.writers.make import make_chunk

    return partial(make_chunk, recoding=task.recoding)


def _no_chunk(*_: object, **__: object) -> NewChunk:
    raise InternalError("a part of whole row groups asked for a new chunk")


def _key_values(task: PartTask, files: Mapping[int, OpenFile], carried: United) -> KeyValues:
    names = [redacted(source.path).rstrip("/").rpartition("/")[2] for source in task.sources]
    part = task.part
    provenance = {
        "evensplit.source": names[0] if len(names) == 1 else json.dumps(names),
        "evensplit.part": f"{part.index + 1}/{task.num_parts}",
        "evensplit.rows": f"{part.first_row}-{part.first_row + part.num_rows}",
        "evensplit.version": task.version,
    }

    def first_row() -> int:
        if not part.slices:
            return 0
        first = part.slices[0]
        footer = files[first.file].footer
        return sum(group_rows(footer)[: first.row_group]) + first.start_row

    return part_key_values(carried.key_values, first_row, part.num_rows, provenance)


def _check(task: PartTask, assembled: Assembled, size_bytes: int) -> None:
    part = task.part
    if task.target_bytes is not None and size_bytes > task.target_bytes:
        raise OverTarget(
            f"{part.name} came out at {size_bytes} bytes ({part.predicted_bytes} were expected), "
            f"over the target of {task.target_bytes}; it was not published",
            index=part.index,
            size_bytes=size_bytes,
        )
    if assembled.num_rows != part.num_rows:
        raise InternalError(
            f"{part.name} holds {assembled.num_rows} rows instead of {part.num_rows}"
        )


def is_intact(destination: str, receipt: Receipt) -> bool:
    """Whether a committed part still has the footer that its receipt tells of."""
    store, folder = open_storage(destination)
    try:
        part = store.open(store.stat(store.join(folder, receipt.name)))
    except (NoSource, SourceChanged):
        return False
    try:
        footer, _ = read_footer_bytes(part)
    except SourceError:
        return False
    finally:
        part.close()
    return hashlib.sha256(footer).hexdigest() == receipt.footer_sha256


def _acknowledge(
    task: PartTask, store: Storage, folder: str, assembled: Assembled, sink: PartSink
) -> Receipt:
    part = task.part
    receipt = Receipt(
        index=part.index,
        name=part.name,
        num_rows=part.num_rows,
        first_row=part.first_row,
        size_bytes=sink.size_bytes,
        spliced_bytes=assembled.spliced_bytes,
        reencoded_bytes=assembled.reencoded_bytes,
        footer_sha256=hashlib.sha256(assembled.footer).hexdigest(),
        store_notes=sink.notes,
    )
    text = json.dumps(receipt.as_dict(), indent=1).encode()
    store.put(receipt_path(store, folder, part.index), text, durable=task.durable)
    return receipt
