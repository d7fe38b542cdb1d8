"""The thrift codec: any structure round-trips, real footers round-trip, garbage is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import BadStructure
from engine.formats.parquet.bytes import thrift as t
from engine.formats.parquet.bytes.footer import footer_range
from tests.sources import SOURCES

_INTS = {
    t.BYTE: st.integers(-(1 << 7), (1 << 7) - 1),
    t.I16: st.integers(-(1 << 15), (1 << 15) - 1),
    t.I32: st.integers(-(1 << 31), (1 << 31) - 1),
    t.I64: st.integers(-(1 << 63), (1 << 63) - 1),
}


def _values(kind: int, depth: int) -> st.SearchStrategy:
    if kind in _INTS:
        return _INTS[kind]
    if kind == t.BINARY:
        return st.binary(max_size=300)
    if kind in (t.DOUBLE, t.UUID):
        return st.binary(
            min_size=8 if kind == t.DOUBLE else 16, max_size=8 * (1 + (kind == t.UUID))
        )
    if kind == t.STRUCT:
        return _structs(depth - 1)
    if kind in (t.LIST, t.SET):
        return _kinds(depth - 1).flatmap(
            lambda element: st.builds(
                t.Sequence, st.just(element), st.lists(_items(element, depth - 1), max_size=20)
            )
        )
    return st.tuples(_kinds(depth - 1), _kinds(depth - 1)).flatmap(lambda pair: _maps(pair, depth))


def _maps(pair: tuple[int, int], depth: int) -> st.SearchStrategy:
    entries = st.tuples(_items(pair[0], depth - 1), _items(pair[1], depth - 1))
    return st.lists(entries, max_size=5).map(
        lambda items: t.Mapping(*pair, items) if items else t.Mapping(0, 0, [])
    )


def _items(kind: int, depth: int) -> st.SearchStrategy:
    return st.sampled_from([1, 2]) if kind in (t.TRUE, t.FALSE) else _values(kind, depth)


def _kinds(depth: int) -> st.SearchStrategy[int]:
    simple = [t.TRUE, t.BYTE, t.I16, t.I32, t.I64, t.DOUBLE, t.BINARY, t.UUID]
    return st.sampled_from(simple if depth <= 0 else [*simple, t.LIST, t.SET, t.MAP, t.STRUCT])


def _fields(depth: int) -> st.SearchStrategy:
    plain = _kinds(depth).filter(lambda kind: kind != t.TRUE)
    valued = plain.flatmap(lambda kind: st.tuples(st.just(kind), _values(kind, depth)))
    return st.one_of(valued, st.sampled_from([(t.TRUE, True), (t.FALSE, False)]))


def _structs(depth: int) -> st.SearchStrategy:
    ids = st.one_of(st.integers(1, 20), st.integers(-(1 << 15), (1 << 15) - 1))
    return st.dictionaries(ids, _fields(depth), max_size=6)


@given(_structs(3))
@settings(max_examples=300)
def test_any_structure_round_trips(struct):
    data = t.encode(struct)
    assert t.decode(data) == (struct, len(data))
    assert t.skip(data) == len(data)
    assert t.skip(b"xx" + data + b"yy", 2) == len(data) + 2


@given(_structs(3), st.integers(0, 3))
@settings(max_examples=200)
def test_bytes_survive_a_shallow_reading(struct, max_depth):
    data = t.encode(struct)
    assert t.encode(t.decode(data, max_depth=max_depth)[0]) == data


@given(_structs(2), st.data())
@settings(max_examples=200)
def test_a_cut_structure_is_refused(struct, data):
    whole = t.encode(struct)
    end = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(BadStructure):
        t.decode(whole[:end])


@given(st.binary(max_size=200))
@settings(max_examples=500)
def test_garbage_is_read_or_refused(data):
    for read in (t.decode, t.skip):
        try:
            read(data)
        except BadStructure:
            continue


PLAIN, QUICK = (t._usual_fields(many).match for many in (b"*", t._POSSESSIVE))


@settings(max_examples=300)
@given(_structs(3), st.data())
def test_fields_are_passed_over_by_one_pattern_in_every_python(struct, data):
    """Python up to 3.11.4 gets the plain one; the other is quicker, and must find the same end."""
    raw = bytearray(t.encode(struct))
    if data.draw(st.booleans()):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    for begin in range(min(len(raw), 20)):
        assert PLAIN(raw, begin).end() == QUICK(raw, begin).end()


@given(_structs(3), st.data())
@settings(max_examples=500)
def test_what_is_skipped_ends_where_what_is_decoded_does_and_is_refused_with_it(struct, data):
    damaged = bytearray(t.encode(struct) + bytes(8))
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    assert _end(t.skip, bytes(damaged)) == _end(lambda raw: t.decode(raw)[1], bytes(damaged))


def _end(read, data):
    try:
        return read(data)
    except BadStructure:
        return "refused"


def test_a_field_without_a_type_is_refused():
    """Thrift's own readers end the structure there, with another byte behind it."""
    for read in (t.decode, t.skip):
        with pytest.raises(BadStructure):
            read(b"\x15\x02\x80\x00\x00")


def test_deep_nesting_is_refused():
    with pytest.raises(BadStructure):
        t.skip(b"\x1c" * 100_000)


# One source of each writer is enough: a writer has one way to write footers.
@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "pyarrow-nested",
        "tpch-orders",
        "spark-nested",
        *sorted({case.writer: case.name for case in SOURCES.values() if not case.slow}.values()),
    ],
)
def test_footers_of_real_writers_round_trip_byte_for_byte(name, source_file):
    data = source_file(name).read_bytes()
    place = footer_range(data[-8:], len(data))
    footer = data[place.offset : place.end]
    struct, end = t.decode(footer)
    assert end == len(footer)
    assert t.encode(struct) == footer
    assert t.encode(t.decode(footer, max_depth=2)[0]) == footer


def test_a_binary_longer_than_any_file_is_refused():
    huge = b"\xff" * 9 + b"\x7f"
    for read in (t.decode, t.skip):
        with pytest.raises(BadStructure):
            read(b"\x18" + huge + b"\x00")
    with pytest.raises(BadStructure):
        t.decode(b"\x1c\x18" + huge + b"\x00\x00", max_depth=0)
