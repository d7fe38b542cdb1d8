"""Fingerprints: alike for equal values in any layout, unlike for every difference that matters."""

import pyarrow as pa
import pytest

from tests.witness.canonical import BLOCK_ROWS, block_fingerprints, fingerprint, first_difference

NAN = float("nan")

EQUAL = [
    (pa.array(["a", None, "b"]), pa.array(["a", None, "b"], pa.string_view())),
    (pa.array(["a", None, "a"]), pa.array(["a", None, "a"]).dictionary_encode()),
    (pa.array([1, 2, 3]), pa.array([0, 1, 2, 3, 4]).slice(1, 3)),
    (pa.array([1, 2, 3]), pa.chunked_array([[1], [], [2, 3]])),
    (pa.array([NAN, 1.0]), pa.array([-NAN, 1.0])),
    (pa.array([[1], None, []]), pa.array([[9], [1], None, []]).slice(1)),
    (
        pa.array([{"a": 1}, None, {"a": None}]),
        pa.array([{"a": 7}, {"a": 1}, None, {"a": None}]).slice(1),
    ),
    (
        pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
        pa.array([[], [("k", 1)], None, []], pa.map_(pa.string(), pa.int64())).slice(1),
    ),
    (pa.array([True, None, False]), pa.array([None, True, None, False]).slice(1)),
]

DIFFERENT = [
    (pa.array([0.0]), pa.array([-0.0])),
    (pa.array([1, 2]), pa.array([2, 1])),
    (pa.array([1, None]), pa.array([1, 0])),
    (pa.array([1, None]), pa.array([None, 1])),
    (pa.array(["", "a"]), pa.array(["a", ""])),
    (pa.array(["ab", "c"]), pa.array(["a", "bc"])),
    (pa.array(["a"]), pa.array([b"a"])),
    (pa.array([None], pa.string()), pa.array([""])),
    (pa.array([[1], [2]]), pa.array([[1, 2], []])),
    (pa.array([None, [1]]), pa.array([[], [1]])),
    (pa.array([[None]], pa.list_(pa.int64())), pa.array([[]], pa.list_(pa.int64()))),
    (pa.array([{"a": None}], pa.struct({"a": pa.int64()})), pa.nulls(1, pa.struct({"a": "int64"}))),
    (pa.array([{"a": 1}]), pa.array([{"b": 1}])),
    (pa.array([1, 2, 3]), pa.array([1, 2])),
]


@pytest.mark.parametrize(("a", "b"), EQUAL)
def test_layout_does_not_matter(a: pa.Array, b: pa.Array) -> None:
    assert fingerprint(a) == fingerprint(b)


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_values_and_order_do(a: pa.Array, b: pa.Array) -> None:
    assert fingerprint(a) != fingerprint(b)


def test_first_difference_is_located() -> None:
    a = pa.array(range(10_000))
    b = pa.array([*range(7_777), -1, *range(7_778, 10_000)])
    assert (first_difference(a, b) or "").startswith("row 7777:")
    changed = [x != y for x, y in zip(block_fingerprints(a), block_fingerprints(b), strict=True)]
    assert changed.index(True) == 7_777 // BLOCK_ROWS
    assert sum(changed) == 1
    assert first_difference(a, a) is None
    assert "one side ends" in (first_difference(a, a.slice(0, 5)) or "")
