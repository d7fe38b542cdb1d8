"""Fingerprints of Arrow values: equal values in equal order, and only those, hash alike.

Independent of chunking, offsets, dictionary or plain layout, string views, and what lies beneath
nulls. NaNs are all alike; -0.0 and 0.0 differ; null, empty and zero differ at every nesting level;
a string differs from the same bytes as binary. Integer width and time unit are not in the
fingerprint of the bytes but in the reading's type, which is compared beside it.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

BLOCK_ROWS = 4096


class _Hash(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...


def one_array(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """All chunks as one array, without extension types, dictionaries and 32-bit string offsets."""
    if isinstance(values, pa.ChunkedArray):
        chunks = [_simple(chunk) for chunk in values.chunks]
        return pa.concat_arrays(chunks) if chunks else _simple(pa.array([], values.type))
    return _simple(values)


def fingerprint(values: pa.Array | pa.ChunkedArray) -> str:
    digest = hashlib.blake2b(digest_size=16)
    _feed(digest, one_array(values))
    return digest.hexdigest()


def block_fingerprints(values: pa.Array | pa.ChunkedArray) -> tuple[str, ...]:
    """Of each ``BLOCK_ROWS`` rows, and of no rows where there are none."""
    array = one_array(values)
    starts = range(0, max(len(array), 1), BLOCK_ROWS)
    return tuple(fingerprint(array.slice(start, BLOCK_ROWS)) for start in starts)


def first_difference(a: pa.Array, b: pa.Array) -> str | None:
    """The first row where two columns differ, by bisection over fingerprints, with both values."""
    a, b = one_array(a), one_array(b)
    low, high = 0, min(len(a), len(b))
    if fingerprint(a.slice(0, high)) == fingerprint(b.slice(0, high)):
        return None if len(a) == len(b) else f"row {high}: one side ends, {len(a)} != {len(b)} rows"
    while high - low > 1:
        middle = (low + high) // 2
        rows = middle - low
        same = fingerprint(a.slice(low, rows)) == fingerprint(b.slice(low, rows))
        low, high = (middle, high) if same else (low, middle)
    return f"row {low}: {a[low]!r} != {b[low]!r}"


def _simple(array: pa.Array) -> pa.Array:
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _simple(array.storage)
    if pt.is_dictionary(kind):
        return _simple(array.dictionary_decode())
    if pt.is_run_end_encoded(kind):
        return _simple(pc.run_end_decode(array))
    if pt.is_string(kind) or pt.is_string_view(kind):
        return array.cast(pa.large_string())
    if pt.is_binary(kind) or pt.is_binary_view(kind):
        return array.cast(pa.large_binary())
    return array


def _feed(digest: _Hash, array: pa.Array) -> None:
    array = _simple(array)
    kind = array.type
    digest.update(f"[{_family(kind)}:{len(array)}]".encode())
    if pt.is_null(kind):
        return
    digest.update(np.packbits(_bools(array.is_valid())).tobytes())
    array = array.drop_null()
    if pt.is_struct(kind):
        for i in range(kind.num_fields):
            digest.update(f"({kind.field(i).name})".encode())
            _feed(digest, array.field(i) if array.offset == 0 else array.flatten()[i])
    elif pt.is_map(kind):
        _feed(digest, array.cast(pa.list_(pa.struct([kind.key_field, kind.item_field]))))
    elif _is_list(kind):
        digest.update(pc.list_value_length(array).cast(pa.int64()).to_numpy().tobytes())
        _feed(digest, array.flatten())
    elif pt.is_large_string(kind) or pt.is_large_binary(kind):
        _feed_bytes(digest, array)
    else:
        digest.update(_fixed_width(array).tobytes())


def _is_list(kind: pa.DataType) -> bool:
    return bool(pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind))


def _family(kind: pa.DataType) -> str:
    if pt.is_large_string(kind):
        return "string"
    if pt.is_large_binary(kind) or pt.is_fixed_size_binary(kind):
        return "binary"
    if pt.is_map(kind) or _is_list(kind):
        return "list"
    return "null" if pt.is_null(kind) else "struct" if pt.is_struct(kind) else "fixed"


def _bools(array: pa.Array) -> np.ndarray:
    return np.asarray(array.to_numpy(zero_copy_only=False), bool)


def _feed_bytes(digest: _Hash, array: pa.Array) -> None:
    _, offsets_buffer, data = array.buffers()
    if len(array) == 0:
        return
    offsets = np.frombuffer(offsets_buffer, np.int64)[array.offset : array.offset + len(array) + 1]
    digest.update(np.diff(offsets).tobytes())
    if data is not None:
        digest.update(memoryview(data)[offsets[0] : offsets[-1]])


def _fixed_width(array: pa.Array) -> np.ndarray:
    if pt.is_boolean(array.type):
        return _bools(array)
    width = array.type.bit_width // 8
    buffer = array.buffers()[1]
    if buffer is None or len(array) == 0:
        return np.empty(0, np.uint8)
    start = array.offset * width
    raw = np.frombuffer(buffer, np.uint8)[start : start + len(array) * width]
    if not pt.is_floating(array.type):
        return raw
    values = raw.view(f"f{width}").copy()
    values[np.isnan(values)] = np.nan
    return values
