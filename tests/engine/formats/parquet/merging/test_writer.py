"""The writer that a part names is trusted by no reader more than any of its sources' writers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.formats.parquet.merging.writer import _trust, writer_of_part

OLD = "parquet-mr version 1.6.0 (build 6aa21f8776625b5fa6b18059cfebe7549f2e00cb)"
SIGNED = "parquet-mr version 1.9.0"
ARROW = "parquet-cpp-arrow version 26.0.1"
NEW = "parquet-mr version 1.13.1 (build 0)"
NAMES = [
    OLD,
    SIGNED,
    NEW,
    "parquet-mr",
    "",
    "parquet-cpp version 1.2.0",
    "Polars",
    "parquet-rs version 55.0.0",
]


@given(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5))
def test_no_reader_trusts_more_than_before_unless_bounds_go(names):
    chosen, keeps_bounds = writer_of_part(names)
    assert chosen in names
    mine = _trust(chosen)
    for name in names:
        its = _trust(name)
        assert mine.reads_pages_alone <= its.reads_pages_alone
        assert not keeps_bounds or (mine.arrow <= its.arrow and mine.java <= its.java)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([NEW, OLD], (OLD, True)),
        ([OLD, NEW], (OLD, True)),
        (["Polars", NEW], ("Polars", True)),
        (["", SIGNED], (SIGNED, False)),
        (["", "Polars"], ("", True)),
        ([NEW], (NEW, True)),
        (["parquet-cpp version 1.5.1-SNAPSHOT", ARROW], (ARROW, True)),
        (["parquet-cpp version 1.2.0", ARROW], (ARROW, False)),
        (["parquet-cpp version 1.5.1-SNAPSHOT", OLD], (OLD, True)),
    ],
)
def test_the_least_trusted_writer_is_named(names, found):
    assert writer_of_part(names) == found
