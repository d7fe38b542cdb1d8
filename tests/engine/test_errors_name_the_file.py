"""Every word about a damaged source names the file, whoever came upon the damage."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine.errors import (
    BadSetting,
    CallError,
    EvensplitError,
    InternalError,
    NotASplit,
    SourceError,
    VerifyError,
)
from engine.formats.parquet.bytes import spec, thrift
from engine.formats.parquet.bytes.footer import seal

NUM_ROWS = 240
NUM_MUTANTS = 15
ODD_NAME = "damaged[1]\n.parquet"
WAYS: dict[str, dict[str, object]] = {
    "rows": {"rows_per_part": 70},
    "row groups": {"parts": 2, "cut": "row-group"},
    "put together": {"parts": 1, "row_group_size": "500rows"},
    "another codec": {"parts": 2, "codec": "zstd"},
    "no dictionary": {"parts": 2, "dictionary": False},
    "columns": {"parts": 2, "columns": "l,s"},
}


def written(**options: object) -> bytes:
    numbers = range(NUM_ROWS)
    table = pa.table(
        {
            "n": pa.array(numbers, pa.int64()),
            "s": [f"text {n % 17}" for n in numbers],
            "l": [[n, None] if n % 3 else [] for n in numbers],
            "g": [{"x": n / 7, "y": [str(n)]} for n in numbers],
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(
        table, sink, row_group_size=120, data_page_size=200, write_batch_size=20, **options
    )
    return sink.getvalue().to_pybytes()


def mutants(good: bytes, random: Random) -> Iterator[bytes]:
    """Files with some bytes changed: in the footer, in page headers and indexes, anywhere."""
    footer_bytes = int.from_bytes(good[-8:-4], "little")
    places = [
        range(len(good) - 8 - footer_bytes, len(good) - 8),
        range(4, len(good) - 8 - footer_bytes),
    ]
    while True:
        data = bytearray(good)
        for _ in range(random.choice((1, 1, 2, 5))):
            place = random.choice(random.choice(places))
            data[place] = random.choice((data[place] ^ 1 << random.randrange(8), 0, 255, 0x15))
        yield bytes(data)


@pytest.mark.ways(6)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "options",
    [{"write_page_index": True}, {"data_page_version": "2.0", "compression": "none"}],
    ids=["indexed", "v2"],
)
def test_errors_about_a_source_name_it(
    tmp_path: Path, way: str, options: dict[str, object]
) -> None:
    path = tmp_path / ODD_NAME
    kinds: Counter[str] = Counter()
    nameless = []
    files = mutants(written(**options), Random(f"{way} {options}"))
    for _, data in zip(range(NUM_MUTANTS), files, strict=False):
        path.write_bytes(data)
        for error in errors(path, Path(tempfile.mkdtemp(dir=tmp_path)), **WAYS[way]):
            kinds[error.kind] += 1
            if ODD_NAME not in str(error):
                nameless.append(f"{error.kind}: {error}")
    assert not nameless
    assert kinds["source.damaged"] + kinds["source.damaged-page"] > NUM_MUTANTS // 6


def errors(path: Path, dest: Path, **settings: object) -> Iterator[EvensplitError]:
    """Profile, split and verify; yield what is refused."""
    for call in (
        lambda: engine.profile(path),
        lambda: engine.split(path, dest, fsync=False, **settings),
        lambda: engine.verify(dest),
    ):
        try:
            call()
        except NotASplit:
            pass  # it was refused before
        except (SourceError, CallError) as error:
            yield error
        except (InternalError, VerifyError):
            pass  # other tests' business
    shutil.rmtree(dest, ignore_errors=True)


def test_one_of_several_sources(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "b", "c"):
        (folder / f"{name}.parquet").write_bytes(written())
    damaged = bytearray(written())
    damaged[4:40] = bytes(36)  # the header of the first page
    (folder / "b.parquet").write_bytes(damaged)
    for settings in ({"rows_per_part": 70}, {"parts": 2, "row_group_size": "700rows"}):
        found = list(errors(folder, tmp_path / "parts", **settings))
        assert found
        assert not [error for error in found if str(folder / "b.parquet") not in str(error)]


def test_a_file_that_lacks_a_column_is_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        pq.write_table(pa.table({"n": [1], name: [1]}), tmp_path / f"{name}.parquet")
    for call in (
        lambda: engine.plan(tmp_path, columns="n,a"),
        lambda: engine.profile_key(tmp_path, "a"),
    ):
        with pytest.raises(BadSetting, match=r"/b\.parquet: no column 'a'; there are n, b"):
            call()


def test_damaged_metadata_is_told_of_its_file(tmp_path: Path) -> None:
    good = written()
    names = spec.FileMetaData
    start = len(good) - 8 - int.from_bytes(good[-8:-4], "little")
    pair = {spec.KeyValue.KEY: (thrift.I32, 7)}
    path = tmp_path / ODD_NAME
    for field, entry in (
        (names.KEY_VALUE_METADATA, (thrift.LIST, thrift.Sequence(thrift.STRUCT, [pair]))),
        (names.KEY_VALUE_METADATA, (thrift.LIST, thrift.Sequence(thrift.STRUCT, [{}]))),
        (names.SCHEMA, (thrift.LIST, thrift.Sequence(thrift.STRUCT, [{}, {}]))),
        (names.CREATED_BY, (thrift.I32, 7)),
    ):
        struct = thrift.decode(good[start:-8], max_depth=0)[0] | {field: entry}
        path.write_bytes(good[:start] + seal(thrift.encode(dict(sorted(struct.items())))))
        for settings in WAYS.values():
            found = list(errors(path, tmp_path / "parts", **settings))
            assert {error.kind for error in found} == {"source.damaged"}
            assert not [error for error in found if ODD_NAME not in str(error)]
