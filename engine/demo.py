"""Write the sample that ``evensplit demo`` splits: one skewed Parquet file of a real shape.

Covers: a table of 26 columns of the types met in extracts, free text that grows towards the
end of the file, and row groups from one row to more than half of the file. The bytes depend on the
seed, the target size and the versions of numpy and pyarrow, and on nothing else.

Does not cover: reading, splitting or judging the file, nor odd files made to break a reader; those
live with the tests.

Memory: pyarrow cannot append to an open row group, so each is held decoded until it is written, and
the giant one sets the peak: about 1.3 bytes a target byte, over the 120 MB of the imports.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_BATCH_BYTES = 2_000_000
_MAX_BATCH_ROWS = 16_384
_EPOCH_DAYS = 19_723  # 2024-01-01, counted from 1970-01-01
_DAY_SECONDS = 86_400
_MIN_COMMENT_WORDS = 4
_MAX_COMMENT_WORDS = 420

_STEMS = (
    "account address amount balance box branch call care cargo claim client coast copy count crate "
    "credit customs date deal delay deposit desk dock driver early east engine express factor fast "
    "final fleet freight furnace goods grain green harbour heavy invoice iron item ledger letter "
    "level light line load locker main market meter mill month motor night north note offer office "
    "order outlet pack pallet paper part pay phone plan plant port post price proof quarter quick "
    "rail range rate receipt record regular rent request return road route sail sample season "
    "seller sheet ship shop signal silent south stack station steel stock store storm table tank "
    "ticket timber tools track trade train transit truck unit urgent vendor visit wagon warehouse "
    "water week west wheel window winter wire wood yard year"
).split()
_ENDINGS = ("", "s", "ed", "ing", "er", "ly", "-wise", ",", ".", "less")
_JOINTS = "the of and to a in for is on that by with as at from".split()
# What keeps real notes from shrinking to nothing; 7919 is prime, so that no two are alike.
_REFERENCES = [f"{_STEMS[n % len(_STEMS)][:2]}-{n * 7_919 % 1_000_003:06d}" for n in range(20_000)]
# Joints first, references last: a word is drawn the less often the later it stands.
_WORDS = pa.array([*_JOINTS, *(stem + end for end in _ENDINGS for stem in _STEMS), *_REFERENCES])
_COUNTRIES = pa.array("DE FR NL PL US IN BR JP GB ES IT SE KE ZA AU CA".split())
_STATUSES = pa.array(["open", "paid", "packed", "shipped", "delivered", "returned", "cancelled"])
_TAGS = pa.array("gift fragile bulk export cold oversize priority insured sample reorder".split())
_KEYS = pa.array("channel device campaign locale warehouse coupon".split())
_HEX_PAIRS = np.frombuffer(bytes(range(256)).hex().encode(), np.uint8).reshape(256, 2)


@dataclass(frozen=True)
class _Batch:
    """Where a run of rows lies: `position` is 0.0 at the file's first byte, 1.0 at its last."""

    rng: np.random.Generator
    first_row: int
    num_rows: int
    position: float


class _Group(NamedTuple):
    """One row group to write, sized by its share of the file's bytes or else by its rows."""

    share_of_bytes: float = 0.0
    num_rows: int = 0


# A lone row, then handfuls, and one giant: the shape that tools of whole row groups cannot cut.
_GROUPS = (
    _Group(num_rows=1),
    _Group(share_of_bytes=0.04),
    _Group(num_rows=7),
    _Group(share_of_bytes=0.55),
    _Group(share_of_bytes=0.005),
    _Group(share_of_bytes=0.12),
    _Group(num_rows=64),
    _Group(share_of_bytes=0.08),
    _Group(share_of_bytes=0.16),
    _Group(share_of_bytes=0.045),
    _Group(num_rows=3),
)


def make_sample(
    path: str,
    *,
    target_bytes: int = 300_000_000,
    seed: int = 7,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write a skewed sample of about `target_bytes` (within 10% from 5 MB up) to a local `path`.

    The file appears at `path` only when it is complete. `progress` is given the estimated bytes
    made so far, out of `target_bytes`: it never falls and ends there, whatever the file's size.
    """
    report = progress or _ignore
    scratch = f"{path}.incomplete"
    try:
        with _open_writer(scratch, seed) as writer:
            for table in _row_groups(target_bytes, seed, report):
                writer.write_table(table, row_group_size=table.num_rows)
        os.replace(scratch, path)
    except BaseException:
        _remove_if_there(scratch)
        raise
    report(target_bytes)


def _ignore(_num_bytes: int) -> None:
    return None


def _remove_if_there(path: str) -> None:
    if os.path.exists(path):
        os.remove(path)


def _open_writer(sink: Any, seed: int) -> pq.ParquetWriter:
    schema = _SCHEMA.with_metadata({"origin": "evensplit demo", "seed": str(seed)})
    return pq.ParquetWriter(
        sink,
        schema,
        compression="snappy",
        write_page_index=True,
        sorting_columns=[pq.SortingColumn(0)],
    )


def _row_groups(target_bytes: int, seed: int, report: Callable[[int], None]) -> Iterator[pa.Table]:
    """Yield one table a row group, in file order."""
    rng = np.random.default_rng(seed)
    width = _Width.measured(target_bytes)
    first_row, made_bytes = 0, 0.0
    for group in _GROUPS:
        batches = []
        end_bytes = made_bytes + group.share_of_bytes * target_bytes
        rows_left = group.num_rows
        while rows_left > 0 or made_bytes < end_bytes:
            position = min(made_bytes / target_bytes, 1.0)
            row_bytes = width.row_bytes(position)
            num_rows = rows_left or _rows_of_a_batch(end_bytes - made_bytes, row_bytes)
            batches.append(_make_batch(_Batch(rng, first_row, num_rows, position)))
            rows_left = 0
            first_row += num_rows
            made_bytes += num_rows * row_bytes
            report(min(int(made_bytes), target_bytes))
        yield pa.Table.from_batches(batches)


def _rows_of_a_batch(wanted_bytes: float, row_bytes: float) -> int:
    num_rows = round(min(wanted_bytes, _BATCH_BYTES) / row_bytes)
    return max(1, min(num_rows, _MAX_BATCH_ROWS))


@dataclass(frozen=True)
class _Width:
    """Compressed bytes of a row at either end of the file, from which the rest is interpolated."""

    first_row_bytes: float
    last_row_bytes: float

    @classmethod
    def measured(cls, target_bytes: int) -> _Width:
        """Encode a batch of either end in memory: codecs and encoders differ between versions."""
        # As many narrow rows as the giant row group gets, or nearly: short chunks are dearer a row.
        num_narrow_rows = min(max(target_bytes // 300, 4_096), 65_536)
        return cls(_measured_row_bytes(num_narrow_rows, 0.0), _measured_row_bytes(2_048, 1.0))

    def row_bytes(self, position: float) -> float:
        widened = _widening(position) * (self.last_row_bytes - self.first_row_bytes)
        return self.first_row_bytes + widened


def _measured_row_bytes(num_rows: int, position: float) -> float:
    """Return what a row of a row group of `num_rows` takes, without its share of the footer."""
    rng = np.random.default_rng(0)
    batches = [
        _make_batch(_Batch(rng, first, min(_MAX_BATCH_ROWS, num_rows - first), position))
        for first in range(0, num_rows, _MAX_BATCH_ROWS)
    ]
    sink = pa.BufferOutputStream()
    with _open_writer(sink, seed=0) as writer:
        writer.write_table(pa.Table.from_batches(batches), row_group_size=num_rows)
    group = pq.read_metadata(pa.BufferReader(sink.getvalue())).row_group(0)
    columns = (group.column(number) for number in range(group.num_columns))
    return float(sum(column.total_compressed_size for column in columns) / num_rows)


def _widening(position: float) -> float:
    """Share of the free text's growth that is reached at `position`: late and steep."""
    return position**3


def _make_batch(batch: _Batch) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([column.make(batch) for column in _COLUMNS], schema=_SCHEMA)


def _absent(batch: _Batch, share: float) -> npt.NDArray[np.bool_]:
    """Which rows are null."""
    return batch.rng.random(batch.num_rows) < share


def _with_nulls(batch: _Batch, values: pa.Array, share: float) -> pa.Array:
    absent = pa.array(_absent(batch, share))
    return pc.if_else(absent, pa.scalar(None, values.type), values)


def _integers(batch: _Batch, low: int, high: int) -> npt.NDArray[np.int64]:
    return batch.rng.integers(low, high, batch.num_rows)


def _skewed(batch: _Batch, high: int, power: int) -> npt.NDArray[np.int64]:
    """Integers under `high` of which the small ones are common."""
    return (batch.rng.random(batch.num_rows) ** power * high).astype(np.int64)


def _row_numbers(batch: _Batch) -> npt.NDArray[np.int64]:
    return np.arange(batch.first_row, batch.first_row + batch.num_rows, dtype=np.int64)


def _order_id(batch: _Batch) -> pa.Array:
    return pa.array(1_000_000 + _row_numbers(batch) * 4 + _integers(batch, 0, 4))


def _customer_id(batch: _Batch) -> pa.Array:
    return pa.array(_skewed(batch, 2_000_000, 3))


def _line_number(batch: _Batch) -> pa.Array:
    return pa.array((_row_numbers(batch) % 7 + 1).astype(np.int32))


def _quantity(batch: _Batch) -> pa.Array:
    return pa.array(_skewed(batch, 500, 4).astype(np.int32), mask=_absent(batch, 0.02))


def _priority(batch: _Batch) -> pa.Array:
    return pa.array(_skewed(batch, 5, 2).astype(np.int8), mask=_absent(batch, 0.01))


def _order_days(batch: _Batch) -> npt.NDArray[np.int64]:
    return _EPOCH_DAYS + _row_numbers(batch) // 2_000


def _order_date(batch: _Batch) -> pa.Array:
    return pa.array(_order_days(batch).astype(np.int32)).cast(pa.date32())


def _ship_date(batch: _Batch) -> pa.Array:
    days = _order_days(batch) + _skewed(batch, 90, 3)
    return pa.array(days.astype(np.int32), mask=_absent(batch, 0.15)).cast(pa.date32())


def _created_at(batch: _Batch) -> pa.Array:
    micros = _order_days(batch) * _DAY_SECONDS * 10**6 + _integers(batch, 0, _DAY_SECONDS * 10**6)
    return pa.array(micros).cast(pa.timestamp("us", "UTC"))


def _scanned_at(batch: _Batch) -> pa.Array:
    nanos = _order_days(batch) * _DAY_SECONDS * 10**9 + _integers(batch, 0, _DAY_SECONDS * 10**9)
    return pa.array(nanos, mask=_absent(batch, 0.08)).cast(pa.timestamp("ns", "Europe/Amsterdam"))


def _local_time(batch: _Batch) -> pa.Array:
    millis = _order_days(batch) * _DAY_SECONDS * 1_000 + _integers(batch, 0, 96) * 900_000
    return pa.array(millis, mask=_absent(batch, 0.05)).cast(pa.timestamp("ms"))


def _price(batch: _Batch) -> pa.Array:
    return _with_nulls(batch, _decimal(_skewed(batch, 10**7, 3), pa.decimal128(15, 2)), 0.03)


def _discount(batch: _Batch) -> pa.Array:
    return _decimal(_integers(batch, -5, 31), pa.decimal128(4, 2))


def _decimal(unscaled: npt.NDArray[np.int64], type_: pa.Decimal128Type) -> pa.Array:
    """Build decimals from their unscaled values without one Python object a value."""
    words = np.stack([unscaled, unscaled >> 63], axis=1)
    return pa.Array.from_buffers(type_, len(unscaled), [None, pa.py_buffer(words)])


def _weight_kg(batch: _Batch) -> pa.Array:
    weights = np.round(batch.rng.lognormal(1.0, 1.2, batch.num_rows), 3)
    weights[_absent(batch, 0.01)] = np.nan
    return pa.array(weights, mask=_absent(batch, 0.06), from_pandas=False)


def _score(batch: _Batch) -> pa.Array:
    return pa.array(batch.rng.random(batch.num_rows, dtype=np.float32))


def _is_gift(batch: _Batch) -> pa.Array:
    return pa.array(batch.rng.random(batch.num_rows) < 0.04, mask=_absent(batch, 0.02))


def _status(batch: _Batch) -> pa.Array:
    return _STATUSES.take(pa.array(_skewed(batch, len(_STATUSES), 2)))


def _country(batch: _Batch) -> pa.Array:
    return _with_nulls(batch, _COUNTRIES.take(pa.array(_skewed(batch, len(_COUNTRIES), 2))), 0.01)


def _email(batch: _Batch) -> pa.Array:
    word = _STEM_NAMES.take(pa.array(_integers(batch, 0, len(_STEM_NAMES))))
    number = pa.array(_integers(batch, 0, 1_000_000)).cast(pa.string())
    return _with_nulls(batch, pc.binary_join_element_wise(word, number, "@example.com", ""), 0.04)


def _session_key(batch: _Batch) -> pa.Array:
    digits = np.ascontiguousarray(_HEX_PAIRS[_random_bytes(batch, 8)].reshape(-1, 16))
    offsets = np.arange(batch.num_rows + 1, dtype=np.int32) * 16
    return pa.StringArray.from_buffers(batch.num_rows, pa.py_buffer(offsets), pa.py_buffer(digits))


def _request_id(batch: _Batch) -> pa.Array:
    octets = _random_bytes(batch, 16)
    octets[:, 6] = octets[:, 6] & 0x0F | 0x40  # the version and variant bits of a random UUID
    octets[:, 8] = octets[:, 8] & 0x3F | 0x80
    buffers = [None, pa.py_buffer(octets)]
    values = pa.Array.from_buffers(pa.binary(16), batch.num_rows, buffers)
    return _with_nulls(batch, values, 0.02)


def _random_bytes(batch: _Batch, num_bytes: int) -> npt.NDArray[np.uint8]:
    return batch.rng.integers(0, 256, (batch.num_rows, num_bytes), dtype=np.uint8)


def _checksum(batch: _Batch) -> pa.Array:
    lengths = _integers(batch, 0, 9)
    offsets = _offsets(lengths)
    octets = batch.rng.integers(0, 256, int(offsets[-1]), dtype=np.uint8)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(octets)]
    return _with_nulls(batch, pa.Array.from_buffers(pa.binary(), batch.num_rows, buffers), 0.5)


def _tags(batch: _Batch) -> pa.Array:
    absent = _absent(batch, 0.1)
    offsets = _offsets(np.where(absent, 0, _skewed(batch, 5, 2)))
    choices = batch.rng.integers(0, len(_TAGS), int(offsets[-1]))
    # The element itself may be null too: a list of nulls is not a null list.
    elements = _TAGS.take(pa.array(choices, mask=batch.rng.random(len(choices)) < 0.02))
    return pa.ListArray.from_arrays(pa.array(offsets), elements, mask=pa.array(absent))


def _location(batch: _Batch) -> pa.Array:
    degrees = np.round(batch.rng.normal((51.0, 9.0), (3.0, 6.0), (batch.num_rows, 2)), 5)
    absent = pa.array(_absent(batch, 0.12))
    children = [pa.array(degrees[:, 0]), pa.array(degrees[:, 1], mask=_absent(batch, 0.01))]
    return pa.StructArray.from_arrays(children, fields=list(_LOCATION), mask=absent)


def _attributes(batch: _Batch) -> pa.Array:
    absent = _absent(batch, 0.4)
    counts = np.where(absent, 0, _skewed(batch, len(_KEYS), 2))
    offsets = _offsets(counts)
    # A map has no key twice: the keys of a row are a run of the list, from its first on.
    ranks = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
    values = _words(batch.rng, int(offsets[-1]))
    keys = _KEYS.take(pa.array(ranks))
    return pa.MapArray.from_arrays(pa.array(offsets), keys, values, mask=pa.array(absent))


def _comment(batch: _Batch) -> pa.Array:
    longest = _MAX_COMMENT_WORDS - _MIN_COMMENT_WORDS
    mean_words = _MIN_COMMENT_WORDS + longest * _widening(batch.position)
    lengths = batch.rng.poisson(mean_words * batch.rng.gamma(4.0, 0.25, batch.num_rows))
    return _sentences(batch, lengths, 0.05)


def _remark(batch: _Batch) -> pa.Array:
    return _sentences(batch, _integers(batch, 2, 12), 0.9)


def _sentences(batch: _Batch, num_words: npt.NDArray[np.int64], null_share: float) -> pa.Array:
    absent = _absent(batch, null_share)
    # Text under a null would be kept in memory, though never written.
    offsets = _offsets(np.where(absent, 0, num_words))
    words = _words(batch.rng, int(offsets[-1]))
    lists = pa.ListArray.from_arrays(pa.array(offsets), words, mask=pa.array(absent))
    return pc.binary_join(lists, " ")


def _words(rng: np.random.Generator, num_words: int) -> pa.Array:
    ranks = len(_WORDS) ** rng.random(num_words) - 1.0
    return _WORDS.take(pa.array(ranks.astype(np.int32)))


def _offsets(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Arrow's offsets: where each of the runs of `lengths` begins, and where the last ends."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)


class _Column(NamedTuple):
    """One column of the sample: its name, type and maker, and whether it may be null."""

    name: str
    type: pa.DataType
    make: Callable[[_Batch], pa.Array]
    nullable: bool = True


_STEM_NAMES = pa.array(_STEMS)
_LOCATION = pa.struct([("lat", pa.float64()), ("lon", pa.float64())])
_COLUMNS = (
    _Column("order_id", pa.int64(), _order_id, nullable=False),
    _Column("line_number", pa.int32(), _line_number, nullable=False),
    _Column("customer_id", pa.int64(), _customer_id),
    _Column("quantity", pa.int32(), _quantity),
    _Column("priority", pa.int8(), _priority),
    _Column("order_date", pa.date32(), _order_date),
    _Column("ship_date", pa.date32(), _ship_date),
    _Column("created_at", pa.timestamp("us", "UTC"), _created_at),
    _Column("scanned_at", pa.timestamp("ns", "Europe/Amsterdam"), _scanned_at),
    _Column("local_time", pa.timestamp("ms"), _local_time),
    _Column("price", pa.decimal128(15, 2), _price),
    _Column("discount", pa.decimal128(4, 2), _discount),
    _Column("weight_kg", pa.float64(), _weight_kg),
    _Column("score", pa.float32(), _score),
    _Column("is_gift", pa.bool_(), _is_gift),
    _Column("status", pa.string(), _status),
    _Column("country", pa.string(), _country),
    _Column("email", pa.string(), _email),
    _Column("session_key", pa.string(), _session_key),
    # Neither the logical type UUID nor a TIME: for one such column Spark refuses the whole file.
    _Column("request_id", pa.binary(16), _request_id),
    _Column("checksum", pa.binary(), _checksum),
    _Column("tags", pa.list_(pa.string()), _tags),
    _Column("location", _LOCATION, _location),
    _Column("attributes", pa.map_(pa.string(), pa.string()), _attributes),
    _Column("remark", pa.string(), _remark),
    _Column("comment", pa.string(), _comment),
)


def _field(number: int, column: _Column) -> pa.Field:
    # A catalogue such as Iceberg's finds columns by these ids, so losing one is a loss of data.
    ids = {"PARQUET:field_id": str(number)}
    return pa.field(column.name, column.type, nullable=column.nullable, metadata=ids)


_SCHEMA = pa.schema(list(itertools.starmap(_field, enumerate(_COLUMNS, start=1))))
