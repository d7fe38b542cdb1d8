"""Page headers of parts: what Arrow passes over in them, and others fail on, is found."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine.errors import Different
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.footer import value
from engine.formats.parquet.verifier.headers import check_headers
from engine.storage import open_storage

ROWS = 60
TABLE = pa.table(
    {
        "i": pa.array([None if row % 7 == 0 else row for row in range(ROWS)], pa.int64()),
        "s": [f"x{row % 9}" for row in range(ROWS)],
        "l": [[*range(row % 3)] or None for row in range(ROWS)],
    }
)
V1, V2 = spec.DataPageHeader, spec.DataPageHeaderV2
# Fields that others go by, by the structure of the header that has them.
FIELDS = {
    spec.PageHeader.DATA_PAGE_HEADER: (
        V1.NUM_VALUES,
        V1.DEFINITION_LEVEL_ENCODING,
        V1.REPETITION_LEVEL_ENCODING,
    ),
    spec.PageHeader.DATA_PAGE_HEADER_V2: (V2.NUM_VALUES, V2.NUM_NULLS),
}
UNKNOWN_ENCODING = 19


def written(path, version):
    pq.write_table(
        TABLE, path, max_rows_per_page=10, write_batch_size=10, data_page_version=version
    )
    return path


def header_starts(path):
    """Return where the page headers of a file begin."""
    data, metadata = path.read_bytes(), pq.ParquetFile(path).metadata
    for group in range(metadata.num_row_groups):
        for column in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(column)
            start = min(filter(None, (chunk.dictionary_page_offset, chunk.data_page_offset)))
            end = start + chunk.total_compressed_size
            while start < end:
                yield start
                header, stop = thrift.decode(data, start)
                start = stop + value(header, spec.PageHeader.COMPRESSED_PAGE_SIZE)


def spoiled(data, start):
    """Yield a file with each field of a header that others go by made another, and its name.

    Headers keep their lengths.
    """
    header, stop = thrift.decode(data, start)
    size = spec.PageHeader.UNCOMPRESSED_PAGE_SIZE
    changes = [(header, size, value(header, size) ^ 1)]
    for kind, fields in FIELDS.items():
        inner = value(header, kind, {})
        for field in fields if inner else ():
            is_level = (
                field
                in (
                    V1.DEFINITION_LEVEL_ENCODING,
                    V1.REPETITION_LEVEL_ENCODING,
                )
                and kind == spec.PageHeader.DATA_PAGE_HEADER
            )
            new = UNKNOWN_ENCODING if is_level else value(inner, field) ^ 1
            changes.append((inner, field, new))
    for struct, field, new in changes:
        kept = struct[field]
        struct[field] = (kept[0], new)
        changed = thrift.encode(header)
        struct[field] = kept
        if len(changed) == stop - start:
            yield field.name, data[:start] + changed + data[stop:]


def described(path):
    store, place = open_storage(str(path))
    return store.stat(place)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_headers_that_others_go_by_are_compared(tmp_path, version):
    source = written(tmp_path / "in.parquet", version)
    engine.split(str(source), str(tmp_path / "parts"), parts=2, fsync=False)
    part = min((tmp_path / "parts").glob("*.parquet"))
    data, names = part.read_bytes(), set()
    check_headers([described(source)], [described(part)])
    for start in header_starts(part):
        for name, changed in spoiled(data, start):
            names.add(name)
            part.write_bytes(changed)
            with pytest.raises(Different, match=r"part-00000\.parquet: column .*, row group 0: "):
                check_headers([described(source)], [described(part)])
            part.write_bytes(data)
    assert names == {
        field.name
        for kind, fields in FIELDS.items()
        for field in (*fields, spec.PageHeader.UNCOMPRESSED_PAGE_SIZE)
        if kind == getattr(spec.PageHeader, f"DATA_PAGE_HEADER{'_V2' * (version == '2.0')}")
    }


def test_verify_asks_for_headers(tmp_path):
    source = written(tmp_path / "in.parquet", "1.0")
    engine.split(str(source), str(tmp_path / "parts"), parts=2, fsync=False)
    part = min((tmp_path / "parts").glob("*.parquet"))
    *_, last = header_starts(part)
    *_, (_, changed) = spoiled(part.read_bytes(), last)
    part.write_bytes(changed)
    with pytest.raises(Different, match="levels have an encoding that there is not"):
        engine.verify(str(tmp_path / "parts"))


def test_what_a_source_says_as_well_is_no_difference(tmp_path):
    source = written(tmp_path / "in.parquet", "1.0")
    for start in [*header_starts(source)][1:3]:
        *_, (name, changed) = spoiled(source.read_bytes(), start)
        assert name == V1.REPETITION_LEVEL_ENCODING.name
        source.write_bytes(changed)
    for way in ({"parts": 2}, {"parts": 1}):
        engine.split(str(source), str(tmp_path / "parts"), fsync=False, overwrite=True, **way)
        engine.verify(str(tmp_path / "parts"))
