"""Page indexes that lie, of several writers: the rows are those that the pages hold, in every way.

Pages stay as their writer made them, so every reader that ignores indexes reads the file, and no
split may refuse it. Witness: pyarrow, which reads all rows without an index. Sources and parts are
on a disk here; of stores less is proved.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import engine
from engine import memory, splitter
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.footer import value
from tests.engine.running import one_by_one, parts_of
from tests.fuzz.corpus import write_corpus

TRIES = 6  # of each change
WAYS: dict[str, dict[str, Any]] = {
    "rows": {"rows_per_part": 17},
    "groups": {"parts": 1, "cut": "row-group"},
    "codec": {"parts": 3, "codec": "gzip"},
    "together": {"parts": 1, "row_group_size": "40rows"},
    "version": {"parts": 2, "data_page_version": 2},
    "dictionary": {"parts": 2, "dictionary": False},
}
_OFFSET = spec.PageLocation.OFFSET
_SIZE = spec.PageLocation.COMPRESSED_PAGE_SIZE
_ROW = spec.PageLocation.FIRST_ROW_INDEX
_PLACES = (spec.ColumnChunk.OFFSET_INDEX_OFFSET, spec.ColumnChunk.OFFSET_INDEX_LENGTH)
_BOUNDS = (spec.ColumnChunk.COLUMN_INDEX_OFFSET, spec.ColumnChunk.COLUMN_INDEX_LENGTH)
_LISTS = (
    spec.ColumnIndex.NULL_PAGES,
    spec.ColumnIndex.MIN_VALUES,
    spec.ColumnIndex.MAX_VALUES,
    spec.ColumnIndex.NULL_COUNTS,
)


class Indexed:
    """A file whose indexes can be replaced; new ones are put behind all that is there."""

    def __init__(self, data: bytes) -> None:
        size = int.from_bytes(data[-8:-4], "little")
        self.data = bytearray(data[: len(data) - 8 - size])
        self.footer, _ = thrift.decode(data, len(self.data))
        self.chunks = [
            chunk
            for group in value(self.footer, spec.FileMetaData.ROW_GROUPS).items
            for chunk in value(group, spec.RowGroup.COLUMNS).items
        ]

    def some(self, chance: random.Random, place: tuple[Any, Any]) -> list[thrift.Struct]:
        having = [chunk for chunk in self.chunks if value(chunk, place[0])]
        return chance.sample(having, chance.choice((1, len(having))))

    def index(self, chunk: thrift.Struct, place: tuple[Any, Any]) -> thrift.Struct:
        return thrift.decode(bytes(self.data), value(chunk, place[0]))[0]

    def put(self, chunk: thrift.Struct, place: tuple[Any, Any], index: thrift.Struct) -> None:
        data = thrift.encode(index)
        move(chunk, place, len(self.data), len(data))
        self.data += data

    def bytes(self) -> bytes:
        footer = thrift.encode(self.footer)
        return bytes(self.data) + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def move(chunk: thrift.Struct, place: tuple[Any, Any], at: int, length: int) -> None:
    chunk[place[0]] = spec.entry(place[0], at)
    chunk[place[1]] = spec.entry(place[1], length)


# -- lies of an offset index: pages, what chance has it, and the file ------------------------------

Pages = list[thrift.Struct]
Lie = Callable[[Pages, random.Random, Indexed], None]


def _change(pages: Pages, field: spec.Field, change: Callable[[int], int]) -> None:
    for page in pages:
        page[field] = (page[field][0], change(page[field][1]))


def _lacks_some(pages: Pages, chance: random.Random, file: Indexed) -> None:
    del pages[chance.choice((0, -1, chance.randrange(len(pages))))]


def _lacks_end(pages: Pages, chance: random.Random, file: Indexed) -> None:
    del pages[-chance.randrange(1, len(pages) + 1) :]


def _twice(pages: Pages, chance: random.Random, file: Indexed) -> None:
    number = chance.randrange(len(pages))
    pages.insert(number, dict(pages[number]))


def _merged(pages: Pages, chance: random.Random, file: Indexed) -> None:
    """One entry for two pages: it tiles, and rows ascend."""
    if len(pages) > 1:
        number = chance.randrange(len(pages) - 1)
        gone = pages.pop(number + 1)
        _change([pages[number]], _SIZE, gone[_SIZE][1].__add__)


def _shuffled(pages: Pages, chance: random.Random, file: Indexed) -> None:
    chance.shuffle(pages)


def _reversed_rows(pages: Pages, chance: random.Random, file: Indexed) -> None:
    rows = [page[_ROW] for page in pages]
    for page, row in zip(pages, reversed(rows), strict=True):
        page[_ROW] = row


def _shifted_rows(pages: Pages, chance: random.Random, file: Indexed) -> None:
    """Rows of all but the first are off, in order still where they can be."""
    by = chance.choice((-3, -1, 1, 2, 5))
    _change(pages[1:], _ROW, lambda row: max(0, row + by))


def _one_row_off(pages: Pages, chance: random.Random, file: Indexed) -> None:
    _change([chance.choice(pages)], _ROW, chance.choice((-1, 1)).__add__)


def _no_rows(pages: Pages, chance: random.Random, file: Indexed) -> None:
    _change(pages, _ROW, lambda row: 0)


def _without_headers(pages: Pages, chance: random.Random, file: Indexed) -> None:
    for page in pages:
        at = page[_OFFSET][1]
        length = thrift.decode(bytes(file.data), at)[1] - at
        _change([page], _SIZE, (-length).__add__)


def _numbers_off(pages: Pages, chance: random.Random, file: Indexed) -> None:
    chosen = chance.choice((pages, [chance.choice(pages)]))
    by = chance.choice((-1, 1, 7, -40, 1 << 20))
    _change(chosen, chance.choice((_OFFSET, _SIZE)), by.__add__)


def _border_moved(pages: Pages, chance: random.Random, file: Indexed) -> None:
    """The border between two pages lies elsewhere: it tiles all the same."""
    if len(pages) > 1:
        number, by = chance.randrange(len(pages) - 1), chance.choice((-2, 1, 9))
        _change([pages[number]], _SIZE, by.__add__)
        _change([pages[number + 1]], _SIZE, (-by).__add__)
        _change([pages[number + 1]], _OFFSET, by.__add__)


def _relative(pages: Pages, chance: random.Random, file: Indexed) -> None:
    _change(pages, _OFFSET, (-pages[0][_OFFSET][1]).__add__)


def _empty(pages: Pages, chance: random.Random, file: Indexed) -> None:
    pages.clear()


def _huge(pages: Pages, chance: random.Random, file: Indexed) -> None:
    number = chance.choice(((1 << 63) - 1, -(1 << 63), 1 << 70, -(1 << 90)))
    _change([chance.choice(pages)], chance.choice((_OFFSET, _SIZE, _ROW)), lambda _: number)


def _dictionary_listed(pages: Pages, chance: random.Random, file: Indexed) -> None:
    """The dictionary stands in the first page's entry."""
    for chunk in file.chunks:
        meta = value(chunk, spec.ColumnChunk.META_DATA)
        first = value(meta, spec.ColumnMetaData.DICTIONARY_PAGE_OFFSET)
        begin = value(meta, spec.ColumnMetaData.DATA_PAGE_OFFSET)
        if first and begin == pages[0][_OFFSET][1]:
            _change(pages[:1], _OFFSET, (first - begin).__add__)
            _change(pages[:1], _SIZE, (begin - first).__add__)


LIES: tuple[Lie, ...] = (
    _lacks_some,
    _lacks_end,
    _twice,
    _merged,
    _shuffled,
    _reversed_rows,
    _shifted_rows,
    _one_row_off,
    _no_rows,
    _without_headers,
    _numbers_off,
    _border_moved,
    _relative,
    _empty,
    _huge,
    _dictionary_listed,
)


# -- changes of a file -----------------------------------------------------------------------------


def _lying(lie: Lie) -> Callable[[Indexed, random.Random], None]:
    def change(file: Indexed, chance: random.Random) -> None:
        for chunk in file.some(chance, _PLACES):
            index = file.index(chunk, _PLACES)
            lie(value(index, spec.OffsetIndex.PAGE_LOCATIONS).items, chance, file)
            file.put(chunk, _PLACES, index)

    return change


def _of_another(file: Indexed, chance: random.Random) -> None:
    """Indexes of other chunks."""
    for place in (_PLACES, _BOUNDS):
        found = [(value(chunk, place[0]), value(chunk, place[1])) for chunk in file.chunks]
        for chunk in file.some(chance, place):
            move(chunk, place, *chance.choice([where for where in found if where[0]]))


def _elsewhere(file: Indexed, chance: random.Random) -> None:
    """Indexes outside the file, over its data, at its beginning, of no or a negative length."""
    size = len(file.data)
    places = [(0, 40), (4, 60), (size + 9000, 80), (size - 3, 4000), (-5, 20), (size, -20)]
    places += [(1 << 62, 1 << 30), (4, size), (40, 0), (value(file.chunks[0], _PLACES[0]), 3)]
    every = (_PLACES, _BOUNDS)
    for place in chance.choice((every, every[:1], every[1:])):
        for chunk in file.some(chance, place):
            move(chunk, place, *chance.choice(places))


def _flipped(file: Indexed, chance: random.Random) -> None:
    """A single bit of an index."""
    place = chance.choice((_PLACES, _BOUNDS))
    chunk = chance.choice([chunk for chunk in file.chunks if value(chunk, place[0])])
    at = value(chunk, place[0]) + chance.randrange(value(chunk, place[1]))
    file.data[at] ^= 1 << chance.randrange(8)


def _other_pages(file: Indexed, chance: random.Random) -> None:
    """A column index of more or fewer pages, in all of its lists or in one."""
    for chunk in file.some(chance, _BOUNDS):
        index = file.index(chunk, _BOUNDS)
        lists = [field for field in _LISTS if field in index]
        is_more = chance.random() < 0.5
        for field in chance.choice((lists, chance.sample(lists, 1))):
            items = value(index, field).items
            if is_more or len(items) == 1:
                items.append(items[-1])
            else:
                items.pop()
        file.put(chunk, _BOUNDS, index)


def _gone(file: Indexed, chance: random.Random) -> None:
    """One kind of index is missing, of some chunks."""
    place = chance.choice((_PLACES, _BOUNDS))
    for chunk in file.some(chance, place):
        for field in place:
            chunk.pop(field)


CHANGES: dict[str, Callable[[Indexed, random.Random], None]] = {
    **{lie.__name__.strip("_"): _lying(lie) for lie in LIES},
    "of another": _of_another,
    "elsewhere": _elsewhere,
    "flipped": _flipped,
    "other pages": _other_pages,
    "gone": _gone,
}


@pytest.fixture(scope="module")
def goods(tmp_path_factory):
    """Files with indexes, of several writers."""
    found = []
    for path in write_corpus(tmp_path_factory.mktemp("good")):
        data = path.read_bytes()
        if any(value(chunk, _BOUNDS[0]) for chunk in Indexed(data).chunks):
            found.append((path.stem, data))
    assert {name.split("-")[0] for name, _ in found} >= {"arrow", "polars", "datafusion"}
    return found


@pytest.mark.ways(11)
@pytest.mark.parametrize("change", CHANGES)
def test_rows_are_those_of_the_pages(goods, tmp_path, monkeypatch, change):
    monkeypatch.setattr(splitter, "run_parts", one_by_one)
    # However much the machine has: no lie makes a small file look like a large one.
    monkeypatch.setattr(memory, "_available_bytes", lambda given: given or 1 << 30)
    chance = random.Random(change)
    faults = []
    for _ in range(TRIES):
        name, data = chance.choice(goods)
        way = chance.choice(list(WAYS))
        file = Indexed(data)
        CHANGES[change](file, chance)
        fault = _fault(tmp_path, file.bytes(), WAYS[way])
        if fault:
            faults.append(f"{name}, {way}: {fault}")
    assert not faults, "\n".join(faults)


def _fault(folder: Path, data: bytes, way: dict[str, Any]) -> str:
    source, dest = folder / "lying.parquet", folder / "parts"
    source.write_bytes(data)
    try:
        engine.split(str(source), str(dest), fsync=False, workers=1, overwrite=True, **way)
        parts = [pq.ParquetFile(path).read() for path in parts_of(dest)]
        rows = [row for part in parts for row in part.to_pylist()]
        if repr(rows) != repr(pq.ParquetFile(source).read().to_pylist()):
            return "other rows"
        engine.verify(str(dest), workers=1)
        engine.profile(str(source))
    except Exception as error:  # noqa: BLE001 - told with what was tried
        return f"{type(error).__name__}: {error}"
    return ""
