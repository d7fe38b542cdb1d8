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
    CallError,
    EvensplitError,
    InternalError,
    NotASplit,
    SourceError,
    VerifyError,
)

NUM_ROWS = 240
NUM_MUTANTS = 40
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
    shutil.rmtree(dest)
