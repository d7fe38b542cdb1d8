"""The one table that all Python-side sources are made of: many types, many awkward values.

Three families of columns. ``flat``: what every writer and nearly every reader knows. ``exotic``:
types that some readers refuse (unsigned, FLOAT16, TIME, nanoseconds, UUID, dictionary, duration).
``nested``: lists, structs and maps with nulls and empties at each level. Same arguments, same
table.
"""

from __future__ import annotations

import decimal
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

FAMILIES = ("flat", "exotic", "nested")
_WORDS = ["", "a", "Ångström", "naïve café", "日本語", "🦀🐍", "zzz", "a\x00b", "'\"\\", " ", "%"]
_FLOATS = [float("nan"), 0.0, -0.0, float("inf"), float("-inf"), 5e-324, 1.7e308, -1.5]


def make_table(num_rows: int, seed: int = 0, families: Sequence[str] = FAMILIES) -> pa.Table:
    """A table of ``num_rows`` rows. ``id`` is 0, 1, 2, … and not nullable: it shows the order."""
    random = np.random.default_rng(seed)
    ident = pa.field("id", pa.int64(), nullable=False)
    fields, arrays = [ident], [pa.array(np.arange(num_rows), pa.int64())]
    for family in FAMILIES:
        columns = _MAKERS[family](num_rows, random)
        if family in families:
            fields += [pa.field(name, array.type) for name, array in columns.items()]
            arrays += columns.values()
    return pa.table(arrays, schema=pa.schema(fields))


def _flat(n: int, random: np.random.Generator) -> dict[str, pa.Array]:
    micros = random.integers(-(10**15), 2 * 10**15, n)
    text = [f"row {i} {w:016x}" for i, w in enumerate(random.integers(0, 2**62, n).tolist())]
    days = pa.array(random.integers(-30000, 60000, n), pa.int32())
    fixed = random.integers(0, 256, n * 8, dtype=np.uint8).tobytes()
    return {
        "tiny": _holes(pa.array(random.integers(-128, 128, n), pa.int8()), random, 0.05),
        "short": pa.array(random.integers(-(2**15), 2**15, n), pa.int16()),
        "code": _holes(pa.array(random.integers(0, 40, n), pa.int32()), random, 0.1),
        "steps": pa.array(np.cumsum(random.integers(0, 9, n)), pa.int64()),
        "wide": _holes(pa.array(random.integers(-(2**62), 2**62, n), pa.int64()), random, 0.3),
        "single": pa.array(_narrow(n, random, np.float32), pa.float32()),
        "double": _holes(pa.array(_floats(n, random), pa.float64()), random, 0.1),
        "price": pa.array(random.integers(0, 10**6, n) / 100.0, pa.float64()),
        "flag": _holes(pa.array(random.random(n) < 0.3, pa.bool_()), random, 0.1),
        "word": _words(n, random),
        "text": pa.array(text, pa.string()),
        "runs": pa.array([f"run {i // 777:06}" for i in range(n)], pa.string()),
        "blob": _holes(pa.array([t[-9:].encode() + b"\xff" for t in text]), random, 0.1),
        "fixed": _fixed(fixed, 8, n),
        "day": _holes(days.cast(pa.date32()), random, 0.1),
        "at_us": _holes(pa.array(micros, pa.timestamp("us")), random, 0.1),
        "at_utc": pa.array(micros[::-1].copy(), pa.timestamp("us", "UTC")),
        "at_ms": pa.array(micros // 1000, pa.timestamp("ms")),
        "dec9": _decimals(random.integers(-(10**8), 10**8, n), pa.decimal128(9, 2), random),
        "dec18": _decimals(random.integers(-(10**17), 10**17, n), pa.decimal128(18, 4), random),
        "dec38": _decimals(random.integers(-(10**18), 10**18, n), pa.decimal128(38, 10), random),
        "nothing": pa.nulls(n, pa.int32()),
        "rare": _holes(pa.array(random.integers(0, 9, n), pa.int64()), random, 0.999),
    }


def _exotic(n: int, random: np.random.Generator) -> dict[str, pa.Array]:
    day = 86_400
    uuid = _fixed(random.integers(0, 256, n * 16, dtype=np.uint8).tobytes(), 16, n)
    nanos = pa.array(random.integers(-(2**61), 2**61, n), pa.timestamp("ns"))
    return {
        "u8": pa.array(random.integers(0, 2**8, n), pa.uint8()),
        "u16": pa.array(random.integers(0, 2**16, n), pa.uint16()),
        "u32": _holes(pa.array(random.integers(0, 2**32, n), pa.uint32()), random, 0.1),
        "u64": pa.array(random.integers(0, 2**64 - 1, n, dtype=np.uint64), pa.uint64()),
        "half": _holes(pa.array(_narrow(n, random, np.float16), pa.float16()), random, 0.1),
        "time_ms": pa.array(random.integers(0, day * 10**3, n), pa.int32()).cast(pa.time32("ms")),
        "time_us": pa.array(random.integers(0, day * 10**6, n), pa.time64("us")),
        "time_ns": pa.array(random.integers(0, day * 10**9, n), pa.time64("ns")),
        "at_ns": _holes(nanos, random, 0.1),
        "uuid": pa.ExtensionArray.from_storage(pa.uuid(), uuid),
        "big_text": _holes(_chosen(_WORDS, pa.large_string(), n, random), random, 0.1),
        "category": _words(n, random).dictionary_encode(),
        "lasted": pa.array(random.integers(0, 10**12, n), pa.duration("us")),
    }


def _nested(n: int, random: np.random.Generator) -> dict[str, pa.Array]:
    numbers = _lists(n, random, lambda m: _holes(pa.array(random.integers(0, 9, m)), random, 0.1))
    words = _lists(n, random, lambda m: _words(m, random))
    grid = _lists(n, random, lambda m: _lists(m, random, lambda k: pa.array(random.random(k))))
    point = pa.StructArray.from_arrays(
        [pa.array(_floats(n, random)), _chosen(_WORDS, pa.string(), n, random)],
        names=["x", "label"],
        mask=pa.array(random.random(n) < 0.1),
    )
    deep = pa.StructArray.from_arrays(
        [point, _lists(n, random, lambda m: pa.array(random.integers(0, 99, m), pa.int32()))],
        names=["point", "counts"],
        mask=pa.array(random.random(n) < 0.1),
    )
    return {
        "numbers": numbers,
        "words": words,
        "point": point,
        "deep": deep,
        "points": _lists(n, random, lambda m: _pairs(m, random)),
        "grid": grid,
        "attributes": _maps(n, random),
    }


_MAKERS = {"flat": _flat, "exotic": _exotic, "nested": _nested}


def _holes(array: pa.Array, random: np.random.Generator, share: float) -> pa.Array:
    mask = pa.array(random.random(len(array)) < share)
    return pc.if_else(mask, pa.scalar(None, array.type), array)


def _floats(n: int, random: np.random.Generator) -> np.ndarray:
    values = random.normal(0, 1000, n)
    odd = random.random(n) < 0.02
    values[odd] = random.choice(_FLOATS, odd.sum())
    return values


def _narrow(n: int, random: np.random.Generator, kind: type) -> np.ndarray:
    with np.errstate(over="ignore"):
        return _floats(n, random).astype(kind)


def _chosen(words: list[str], kind: pa.DataType, n: int, random: np.random.Generator) -> pa.Array:
    return pa.array(words, kind).take(pa.array(random.integers(0, len(words), n)))


def _words(n: int, random: np.random.Generator) -> pa.Array:
    return _holes(_chosen(_WORDS, pa.string(), n, random), random, 0.1)


def _fixed(data: bytes, width: int, n: int) -> pa.Array:
    return pa.Array.from_buffers(pa.binary(width), n, [None, pa.py_buffer(data)])


def _decimals(
    unscaled: np.ndarray, kind: pa.Decimal128Type, random: np.random.Generator
) -> pa.Array:
    low = unscaled.astype("<i8")
    words = np.stack([low, low >> 63], axis=1)
    array = pa.Array.from_buffers(kind, len(low), [None, pa.py_buffer(words.tobytes())])
    assert len(low) == 0 or array[0].as_py() == decimal.Decimal(int(low[0])).scaleb(-kind.scale)
    return _holes(array, random, 0.1)


def _lists(n: int, random: np.random.Generator, child: object) -> pa.Array:
    lengths = np.where(random.random(n) < 0.2, 0, random.integers(0, 5, n))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    mask = pa.array(random.random(n) < 0.1)
    values = child(int(offsets[-1]))  # type: ignore[operator]
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=mask)


def _pairs(m: int, random: np.random.Generator) -> pa.Array:
    key = _holes(pa.array(random.integers(0, 9, m), pa.int64()), random, 0.1)
    value = _chosen(_WORDS, pa.string(), m, random)
    mask = pa.array(random.random(m) < 0.1)
    return pa.StructArray.from_arrays([key, value], names=["k", "v"], mask=mask)


def _maps(n: int, random: np.random.Generator) -> pa.Array:
    lengths = np.where(random.random(n) < 0.3, 0, random.integers(0, 4, n))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    total = int(offsets[-1])
    within = np.arange(total) - np.repeat(offsets[:-1], lengths)
    keys = pa.array([f"key{i}" for i in within.tolist()], pa.string())
    items = _holes(pa.array(random.integers(0, 99, total), pa.int64()), random, 0.2)
    mask = pa.array(random.random(n) < 0.1)
    return pa.MapArray.from_arrays(pa.array(offsets), keys, items, mask=mask)
