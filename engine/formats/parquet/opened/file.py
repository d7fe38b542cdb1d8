"""An opened source: row groups, their column chunks, and the pages of these.

:class:`OpenRowGroup` and :class:`OpenChunk` only say which one is meant, and cost next to nothing.
What is read of a row group is kept with the file, for all who ask and for all threads, until the
row group is forgotten; decoded footer entries besides only up to a bound that all open files share.

Not covered: what values mean (:mod:`.writers.source_chunk`), and how sources fit together
(:mod:`.layout`). No pyarrow, and no numpy unless many columns are read.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

from engine import memory
from engine.at_once import answers
from engine.errors import BadStructure
from engine.formats.parquet.bytes.created_by import chains_pages
from engine.formats.parquet.bytes.footer import ColumnChunk, Leaf, RowGroup, Type
from engine.formats.parquet.bytes.page_index import ColumnIndex, OffsetIndex
from engine.formats.parquet.bytes.page_map import PageMap
from engine.formats.parquet.bytes.pages import PageHeader, counted_pages
from engine.formats.parquet.opened.adapted import adapted
from engine.formats.parquet.opened.footer import (
    bloom_filter_range,
    chosen_columns,
    read_footer,
    true_row_group,
)
from engine.formats.parquet.opened.headers import Headers, read_header, read_headers, read_page
from engine.formats.parquet.opened.made_bytes import AdaptedSource
from engine.formats.parquet.opened.positions import PageFinder, at_page
from engine.formats.parquet.opened.whole_pages import ChunkHeaders, Proof, WholePages
from engine.model import Range, SourceFile
from engine.storage import Source, open_storage
from engine.storage.base import naming

CACHED_CHUNKS = 20_000  # of all open files together
_LEAVING_GROUPS = 2  # the part behind may be another process's, and never ask for them
_MAX_KEPT_PAGE_BYTES = 1 << 20

T = TypeVar("T")


class _Kept:
    """What is kept of a row group, or of the whole file.

    Attributes:
        page_maps: of all columns.
        indexes: bytes of page indexes, by where they lie.
        others: what others have worked out, by its type and a key.
    """

    __slots__ = ("indexes", "others", "page_maps")

    def __init__(self) -> None:
        self.page_maps: list[PageMap] | None = None
        self.indexes: dict[Range, bytes] | None = None
        self.others: dict[tuple[type, Hashable], Any] = {}

    def get(self, kind: type[T], make: Callable[[], T], key: Hashable) -> T:
        """Return what is kept of a type under a key; it is made if nothing is."""
        found: T | None = self.others.get((kind, key))
        if found is None:
            found = self.others.setdefault((kind, key), make())
        return found


class OpenFile:
    """An opened source.

    Attributes:
        file: which one.
        source: reads it.
        footer: of the columns that are taken.
        footer_offset: where the footer begins, and data ends.
        nulls, lifted, renumbered, left_out: what is not as in the file, see
            :class:`.adapted.Adapted`.
    """

    def __init__(self, file: SourceFile) -> None:
        store, path = open_storage(file.path)
        self.file = file
        self.nulls: tuple[str, ...] = ()
        self.lifted: tuple[str, ...] = ()
        self.renumbered: tuple[str, ...] = ()
        self.left_out: tuple[bytes, ...] = ()
        self.source: Source = store.open(SourceFile(path, file.size_bytes, file.version))
        try:
            with naming(file.path):
                footer, self.footer_offset = read_footer(self.source)
                self.footer = chosen_columns(footer, file)
                if file.is_adapted:
                    self._adapt()
        except BaseException:
            self.source.close()
            raise
        self._kept = _Kept()
        self._kept_of: dict[int, _Kept] = {}
        self._entries: OrderedDict[int, RowGroup] = OrderedDict()
        self.index_bytes: dict[int, tuple[int, int]] = {}
        self._leaving: dict[int, None] = {}  # in the order of their coming
        self._leaving_lock = threading.Lock()
        self._users: Counter[int] = Counter()
        self._left_in_use: set[int] = set()
        self._users_lock = threading.Lock()

    def close(self) -> None:
        """Close the file; what :func:`open_file` returns is closed by :func:`files_held`."""
        self.source.close()

    def _adapt(self) -> None:
        made = adapted(self.source, self.footer, self.footer_offset, self.file)
        self.source, self.footer, self.footer_offset = made[:3]
        self.nulls, self.lifted, self.renumbered, self.left_out = made[3:]

    def pieces(self, where: Range) -> Iterable[bytes | Range]:
        """Return what bytes are: made, or some of the file itself (:attr:`stored`)."""
        return self.source.pieces(where) if isinstance(self.source, AdaptedSource) else (where,)

    @property
    def held_bytes(self) -> int:
        """What is held of the file for good: its footer, and bytes that are made."""
        made = self.source.held_bytes if isinstance(self.source, AdaptedSource) else 0
        return self.footer.size_bytes + made

    @property
    def stored(self) -> Source:
        """The file itself, without bytes that are made."""
        return self.source.source if isinstance(self.source, AdaptedSource) else self.source

    def row_group(self, number: int) -> OpenRowGroup:
        """Return a row group, of which nothing is read yet."""
        return OpenRowGroup(self, number)

    def row_groups(self) -> Iterator[OpenRowGroup]:
        """Yield all row groups."""
        return map(self.row_group, range(self.footer.num_row_groups))

    def kept(self, kind: type[T], make: Callable[[], T], key: Hashable = None) -> T:
        """Return what is kept of a type with the file; see :meth:`OpenRowGroup.kept`."""
        return self._kept.get(kind, make, key)

    def kept_of(self, number: int) -> _Kept:
        """Return what is kept of a row group."""
        found = self._kept_of.get(number)
        return self._kept_of.setdefault(number, _Kept()) if found is None else found

    def entry(self, number: int) -> RowGroup:
        """Return a decoded row group."""
        group = self._entries.get(number)
        if group is None:
            group = true_row_group(self.footer, number, self.source, self.footer_offset)
            self._entries[number] = group
            most_chunks = CACHED_CHUNKS // max(1, len(_open))
            if len(self._entries) > max(1, most_chunks // max(1, len(self.footer.leaves))):
                with suppress(KeyError):  # another thread has dropped them all
                    self._entries.popitem(last=False)
        return group

    def bloom_filter_range(self, chunk: ColumnChunk) -> Range | None:
        """Return where a chunk's Bloom filter lies; raises BadStructure if that is not here."""
        return bloom_filter_range(chunk, self.source, self.footer_offset)

    def keeps_cut_page(self, num_bytes: int) -> bool:
        """Whether a page that a cut passes through is kept for the other part, once read."""
        return self.source.is_remote and num_bytes <= _MAX_KEPT_PAGE_BYTES

    def forget_soon(self, number: int) -> None:
        """Keep what is kept of a row group until this process has left some more behind."""
        with self._leaving_lock:
            self._leaving.pop(number, None)
            self._leaving[number] = None
            if len(self._leaving) <= _LEAVING_GROUPS:
                return
            oldest = next(iter(self._leaving))
            self._leaving.pop(oldest)
        self.forget(oldest)

    def forget(self, number: int) -> None:
        """Drop what is kept of a row group, or once nobody uses it; it is read again if asked."""
        with self._users_lock:
            if self._users[number]:
                self._left_in_use.add(number)
                return
        self._entries.pop(number, None)
        self._kept_of.pop(number, None)

    @contextmanager
    def in_use(self, number: int) -> Iterator[None]:
        """Keep what is kept of a row group meanwhile, although another part is through with it."""
        with self._users_lock:
            self._users[number] += 1
        try:
            yield
        finally:
            with self._users_lock:
                self._users[number] -= 1
                is_left = not self._users[number] and number in self._left_in_use
                self._left_in_use -= {number} if is_left else set()
            if is_left:
                self.forget(number)


class OpenRowGroup(NamedTuple):
    """A row group of an opened source, by its number in the footer."""

    file: OpenFile
    number: int

    @property
    def entry(self) -> RowGroup:
        """What the footer says of it."""
        return self.file.entry(self.number)

    @property
    def index_bytes(self) -> tuple[int, int]:
        """The bytes of its page indexes, and of the largest one; kept for good."""
        found = self.file.index_bytes.get(self.number)
        if found is None:
            sizes = [place.length for place in _index_places(self.entry)]
            found = self.file.index_bytes[self.number] = sum(sizes), max(sizes, default=0)
        return found

    @property
    def page_maps(self) -> list[PageMap]:
        """Where the pages of every column lie.

        Raises:
            BadPage: a page header is damaged; the message names column and row group.
            Unsupported: a column cannot be cut inside this row group.
        """
        kept = self.file.kept_of(self.number)
        if kept.page_maps is None:
            kept.page_maps = self.finder.page_maps()
        return kept.page_maps

    def chunk(self, column: int) -> OpenChunk:
        """Return the chunk of a column, of which nothing is read yet."""
        return OpenChunk(self, column)

    def chunks(self) -> Iterator[OpenChunk]:
        """Yield the chunks of all columns."""
        return map(self.chunk, range(len(self.file.footer.leaves)))

    def kept(self, kind: type[T], make: Callable[[], T], key: Hashable = None) -> T:
        """Return what is kept of a type until the row group is forgotten; made if nothing is.

        Several threads may make it at once; what comes first is kept for all.

        Args:
            kind: a type of its own for each use.
            make: makes it.
            key: tells several of one type apart.
        """
        return self.file.kept_of(self.number).get(kind, make, key)

    def drop(self, kind: type, key: Hashable = None) -> None:
        """Keep no longer what :meth:`kept` has returned."""
        self.file.kept_of(self.number).others.pop((kind, key), None)

    def read_index(self, where: Range) -> bytes:
        """Return a page index, read with all others of the row group: they lie side by side."""
        kept = self.file.kept_of(self.number)
        if kept.indexes is None:
            places = _index_places(self.entry)
            num_bytes = self.index_bytes[0]
            memory.ask(num_bytes, f"to read page indexes of {num_bytes:,} bytes")
            try:
                # Those of one kind lie side by side; between the kinds lie all other row groups'.
                read = self.file.source.read_many(places, sparse=True)
                kept.indexes = dict(zip(places, read, strict=True))
            except BadStructure:  # one of them lies behind the file's end
                kept.indexes = {}
        found = kept.indexes.get(where)
        return self.file.source.read(where.offset, where.length) if found is None else found

    def forget(self) -> None:
        """Drop what is kept of it; it is read again if it is asked for again."""
        self.file.forget(self.number)

    @property
    def finder(self) -> PageFinder:
        """Finds its pages; what it finds is not kept."""
        file, leaves = self.file, self.file.footer.leaves
        path, end = file.file.path, file.footer_offset
        return PageFinder(path, self.number, file.source, end, leaves, self.entry)


def _index_places(group: RowGroup) -> list[Range]:
    return [
        place
        for chunk in group.columns
        for place in (chunk.column_index, chunk.offset_index)
        if place is not None
    ]


class OpenChunk:
    """A column chunk of an opened source, by its row group and the column's number.

    It holds on to its entry and its pages once they were asked for, also if the row group is
    forgotten. A page's number counts data pages; None stands for the dictionary page.
    """

    __slots__ = ("_entry", "_pages", "column", "file", "group", "leaf")

    def __init__(self, group: OpenRowGroup, column: int) -> None:
        self.group = group
        self.column = column
        self.file: OpenFile = group.file
        self.leaf: Leaf = group.file.footer.leaves[column]
        self._entry: ColumnChunk | None = None
        self._pages: PageMap | None = None

    @property
    def entry(self) -> ColumnChunk:
        """What the footer says of it."""
        if self._entry is None:
            self._entry = self.group.entry.columns[self.column]
        return self._entry

    @property
    def pages(self) -> PageMap:
        """Where its pages lie; raises as :attr:`OpenRowGroup.page_maps`."""
        if self._pages is None:
            self._pages = self.group.page_maps[self.column]
        return self._pages

    @property
    def is_chained(self) -> bool:
        """Whether pages continue the page before, see :func:`.created_by.chains_pages`."""
        return chains_pages(self.file.footer.created_by, self.entry)

    @property
    def dictionary_pages(self) -> int:
        """How many data pages at the chunk's beginning may use its dictionary.

        Writers begin with the dictionary and give it up for good once it grows too large. Where the
        footer counts pages by encoding that settles it; else the headers are read.
        """
        pages = self.pages
        if pages.dictionary is None or not pages.num_pages:
            return 0
        counted = counted_pages(self.entry)
        if counted.total() == pages.num_pages:
            return sum(count for (_, encoding), count in counted.items() if encoding in (2, 8))
        encodings = self.headers(range(pages.num_pages)).encodings
        return max((i + 1 for i, encoding in enumerate(encodings) if encoding in (2, 8)), default=0)

    @property
    def begins_with_indices(self) -> bool:
        """Whether the pages that use the dictionary are the first ones, as writers have them.

        The format allows them in any order, and footers may count wrongly: headers tell. Of stores,
        where each is a request, only those are read that are said to be of such pages, if not all.
        """
        number, num_pages = self.dictionary_pages, self.pages.num_pages
        if not number:
            return False
        read = num_pages
        if self.file.source.is_remote:
            read = 0 if counted_pages(self.entry).total() and number == num_pages else number
        found = [encoding in (2, 8) for encoding in self.headers(range(read)).encodings]
        return found == [page < number for page in range(read)]

    def at_page(self, number: int | None = None) -> AbstractContextManager[None]:
        """Name file, column, row group and page in errors about what is in them."""
        return at_page(self.file.file.path, self.group.number, self.leaf, number)

    def place(self, number: int | None) -> Range:
        """Return where a page lies; raises BadPage where there is no dictionary."""
        if number is not None:
            return self.pages.page(number)
        if self.pages.dictionary is None:
            with self.at_page():
                raise BadStructure("a page uses a dictionary, and there is none")
        return self.pages.dictionary

    def read(self, number: int | None) -> memoryview:
        """Return a page as it lies in the file."""
        where = self.place(number)
        return memoryview(self.file.source.read(where.offset, where.length))

    def page(self, number: int | None) -> tuple[PageHeader, bytes]:
        """Read a page: its header, and its body as it lies in the file."""
        return read_page(self.file.source, self.place(number))

    def header(self, number: int | None) -> PageHeader:
        """Read the whole header of a page, nothing of its body."""
        return read_header(self.file.source, self.place(number))

    def headers(self, numbers: Sequence[int]) -> Headers:
        """Read what the headers of some data pages say; raises BadPage if one is none."""
        return read_headers(self.file.source, self.pages, numbers)

    def whole_pages(self, start: int, stop: int) -> WholePages:
        """Return what the headers of data pages ``[start, stop)`` say together.

        Raises:
            BadPage: a page is not the data page that it should be.
        """
        is_dear = self.file.source.is_remote
        headers = self.kept(ChunkHeaders, self._headers) if is_dear else self._headers()
        return headers.whole_pages(start, stop)

    def _headers(self) -> ChunkHeaders:
        proof = self.file.kept(Proof, Proof, self.column)
        return ChunkHeaders(self.file.source, self.entry, self.pages, proof)

    def column_index(self) -> ColumnIndex | None:
        """Return the column index; None if there is none, or it is not one of these pages."""
        entry, num_pages = self.entry, self.pages.num_pages
        if entry.column_index is None:
            return None
        try:
            index = ColumnIndex.decode(self.group.read_index(entry.column_index))
            index.check_fits(self.leaf, num_pages, entry.null_count)
        except BadStructure:
            return None  # it proves nothing; the part goes without
        return index

    def value_bytes(self) -> tuple[int, ...] | None:
        """Return ``unencoded_byte_array_data_bytes`` of every page, where known."""
        where, num_pages = self.entry.offset_index, self.pages.num_pages
        if where is None or self.leaf.physical is not Type.BYTE_ARRAY:
            return None
        try:
            index = OffsetIndex.decode(self.group.read_index(where))
        except BadStructure:
            return None
        return index.unencoded_bytes if len(index.locations) == num_pages else None

    def by_headers(self) -> PageMap:
        """Return its pages as far as headers alone tell them, whatever is kept of it.

        Raises:
            BadPage: a header is damaged, or the pages do not add up.
        """
        return self.group.finder.by_headers(self.leaf)

    def distrust_index(self) -> None:
        """Find its pages by themselves, and drop what was read by an index that nobody proved."""
        self.drop(ChunkHeaders)
        self._pages = self.group.page_maps[self.column] = self.group.finder.by_pages(self.leaf)

    def kept(self, kind: type[T], make: Callable[[], T]) -> T:
        """Return what is kept of a type with the chunk; see :meth:`OpenRowGroup.kept`."""
        return self.group.kept(kind, make, self.column)

    def drop(self, kind: type) -> None:
        """Keep no longer what :meth:`kept` has returned."""
        self.group.drop(kind, self.column)


_open: dict[SourceFile, OpenFile] = {}
_calls: set[object] = set()  # that hold files, and are under way
_users: defaultdict[SourceFile, set[object]] = defaultdict(set)  # calls that may have asked for it
_open_lock = threading.Lock()


def open_file(file: SourceFile) -> OpenFile:
    """Return the opened file, shared by all parts that this process writes."""
    with _open_lock:
        found = _open.get(file)
        _users[file] |= _calls
    if found is not None:
        return found
    made = OpenFile(file)
    with _open_lock:
        found = _open.setdefault(file, made)
    if found is not made:  # by another thread meanwhile
        made.close()
    return found


@contextmanager
def files_held() -> Iterator[None]:
    """Hold what :func:`open_file` opens meanwhile, in any thread; what nobody else holds is closed.

    Calls side by side may share a file, and parts are written by other threads than the call's. So
    a file is closed with the last of the calls that were under way when it was asked for.
    """
    call = object()
    with _open_lock:
        _calls.add(call)
    try:
        yield
    finally:
        with _open_lock:
            _calls.discard(call)
            for users in _users.values():
                users.discard(call)
            ended = [file for file, users in _users.items() if not users]
            for file in ended:
                del _users[file]
            closing = [_open.pop(file) for file in ended if file in _open]
        for opened in closing:
            opened.close()


def open_ahead(files: Sequence[SourceFile]) -> None:
    """Open remote files that :func:`open_file` will be asked for, some at once.

    Errors are those of :func:`open_file`, of the first file, in order, that has one.
    """
    remote = [file for file in dict.fromkeys(files) if "://" in file.path]
    for _ in answers(open_file, remote, is_remote=True):
        pass
