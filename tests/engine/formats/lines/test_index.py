"""The index: whatever the stretches are, its blocks hold every record once, from its first byte."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import BadStructure
from engine.formats.lines import index
from engine.formats.lines.index import knots, looks_bytes, read_blocks, record_offset
from engine.formats.lines.reading import opened
from engine.formats.lines.scan import FRESH, TextBehindQuote, marks_of, plain, record_ends
from engine.model import Dialect
from engine.storage import open_storage


def described(path: Path):
    store, place = open_storage(str(path))
    return store.stat(place)


def starts_of(data: bytes, dialect: Dialect) -> list[int] | None:
    """Where records begin, and the end; None if quotes do not pair up."""
    marks = marks_of(dialect)
    start = dialect.header_bytes
    if start == len(data):
        return [start]
    try:
        found = record_ends(plain(data[start:], b"", marks), FRESH, b"", marks)
    except TextBehindQuote:
        return None
    ends = (found.ends + start).tolist()
    whole = [start, *ends] if ends[-1:] == [len(data)] else [start, *ends, len(data)]
    return None if marks.is_open(found.state) else whole


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
    max_examples=150,
)
@given(
    text=st.text(alphabet='ab",\n\\', max_size=120),
    look_bytes=st.integers(1, 40),
    block_bytes=st.integers(1, 60),
    quote=st.sampled_from(['"', ""]),
    escape=st.sampled_from(["\\", ""]),
    header_bytes=st.integers(0, 5),
)
def test_blocks_hold_every_record_once(
    tmp_path_factory, monkeypatch, text, look_bytes, block_bytes, quote, escape, header_bytes
):
    monkeypatch.setattr(index, "_LOOK_BYTES", look_bytes)
    monkeypatch.setattr(index, "_BLOCK_BYTES", block_bytes)
    path = tmp_path_factory.mktemp("index") / "in.csv"
    data = text.encode()
    path.write_bytes(data)
    dialect = Dialect("csv", ",", quote, escape, 0, min(header_bytes, len(data)))
    # What is escaped before the first record would make it no first one.
    header = data[: dialect.header_bytes].replace(b"\\", b"x")
    path.write_bytes(data := header + data[dialect.header_bytes :])
    starts = starts_of(data, dialect)
    with opened(described(path)) as source:
        if starts is None:
            with pytest.raises(BadStructure, match=r"line \d"):
                read_blocks(source, dialect)
            return
        blocks = read_blocks(source, dialect)
        assert sum(block.num_records for block in blocks) == len(starts) - 1
        marks, first = marks_of(dialect), 0
        for block in blocks:
            own = starts[first : first + block.num_records + 1]
            assert (block.offset, block.offset + block.num_bytes) == (own[0], own[-1])
            rows, sums = knots(source, block, marks)
            assert list(rows) == list(range(block.num_records + 1))
            assert list(sums) == [start - own[0] for start in own]
            numbers = range(block.num_records + 1)
            assert [record_offset(source, own[0], n, marks) for n in numbers] == own
            first += block.num_records


def test_knots_of_very_many_records_are_some_of_them(tmp_path: Path):
    (tmp_path / "in.csv").write_bytes(b"\n" * 100_000)
    dialect = Dialect("csv", ",", '"')
    with opened(described(tmp_path / "in.csv")) as source:
        (block,) = read_blocks(source, dialect)
        rows, sums = knots(source, block, marks_of(dialect))
    assert (rows[0], rows[-1]) == (0, 100_000)
    assert len(rows) < 5_000
    assert list(rows) == list(sums)
    assert (np.diff(rows) > 0).all()


@pytest.mark.parametrize("text", [b"\n" * 4, b'"\n"\n'])
def test_memory_is_what_is_projected(tmp_path: Path, text: bytes):
    """Where every byte is a mark; of the threads' stretches, whatever the file's size."""
    (tmp_path / "in.csv").write_bytes(text * (2 << 20))
    file = described(tmp_path / "in.csv")
    with opened(file) as source:
        read_blocks(source, Dialect("csv", ",", '"'))  # modules, and what they keep
        tracemalloc.start()
        try:
            read_blocks(source, Dialect("csv", ",", '"'))
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak_bytes < looks_bytes([file])
