"""Whether a file's column has the value of its folder in all rows: never told falsely."""

from __future__ import annotations

import datetime
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.formats.parquet.folder_values import agreements
from engine.formats.parquet.opened import OpenFile
from engine.storage import open_storage

DAY = datetime.date(2024, 1, 2)
LONG = "long " * 40
# Of each type some values, with the texts that folders have for them.
KINDS: dict[pa.DataType, dict[Any, str]] = {
    pa.int8(): {1: "1", -1: "-1"},
    pa.int64(): {1: "01", 2: "2", -(2**63): str(-(2**63))},
    pa.uint32(): {0: "0", 2**32 - 1: str(2**32 - 1)},
    pa.uint64(): {7: "+7", 2**64 - 1: str(2**64 - 1)},
    pa.bool_(): {True: "true", False: "False"},
    pa.date32(): {DAY: "2024-01-02", datetime.date(1969, 12, 31): "1969-12-31"},
    pa.string(): {"a": "a", "": "", "é/1": "é/1", LONG: LONG, LONG + "x": LONG + "x"},
    pa.binary(): {b"a": "a", b"\xff": "z"},
}
UNKNOWN = {
    pa.float64(): (1.5, "1.5"),
    pa.timestamp("us"): (datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC), "2024-01-02 00:00:00"),
    pa.decimal128(5, 2): (Decimal("1.50"), "1.50"),
}


def told(column: pa.Array, text: str | None, **options: Any) -> bool | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.parquet"
        pq.write_table(pa.table({"k": column}), path, row_group_size=2, **options)
        store, place = open_storage(str(path))
        opened = OpenFile(store.stat(place))
        try:
            return agreements(opened, {"k": text})["k"]
        finally:
            opened.source.close()


@given(st.data())
def test_what_is_told_is_so(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(KINDS)))
    texts = KINDS[kind]
    values = data.draw(st.lists(st.sampled_from([None, *texts]), max_size=5))
    text = data.draw(st.sampled_from([None, "x", "3", *texts.values()]))
    is_so = all((None if it is None else texts[it]) == text for it in values)
    found = told(pa.array(values, kind), text)
    assert found is None or found == is_so
    assert found is not None or kind in (pa.binary(), pa.bool_(), pa.date32(), pa.string())
    if is_so and kind != pa.binary():
        assert found is True


@pytest.mark.parametrize("kind", UNKNOWN)
def test_types_of_several_texts_are_not_judged(kind: pa.DataType) -> None:
    value, text = UNKNOWN[kind]
    assert told(pa.array([value], kind), text) is None
    assert told(pa.array([value], kind), "other") is None


def test_without_statistics_nothing_is_known() -> None:
    assert told(pa.array([1, 1]), "1", write_statistics=False) is None
    assert told(pa.array([1, None]), "2", write_statistics=["other"]) is None


def test_a_column_that_is_not_there_or_is_a_group_is_not_known() -> None:
    assert told(pa.array([{"x": 1}]), "1") is None
