"""Lines that are compressed: read anywhere, split, compressed again, refused if damaged."""

from __future__ import annotations

import gzip
import io
import lzma
import random
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import lz4.frame
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pytest
from backports import zstd
from distributed import Client, LocalCluster
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import engine
from engine.errors import (
    BadSetting,
    BadStructure,
    Different,
    EvensplitError,
    OverBudget,
    SchemaMismatch,
    Unsupported,
)
from engine.formats.lines import compressed as module
from engine.formats.lines import measures
from engine.formats.lines.codecs import CODECS, Decoder
from engine.formats.lines.compressed import CompressedSource
from engine.formats.lines.reading import opened
from engine.formats.lines.sampling import Sampler
from engine.model import Dialect
from engine.part_names import CODEC_SUFFIXES
from engine.splitter import Progress
from engine.storage import open_storage

HEADER = b"id,note\n"
TABLE = HEADER + b"".join(b'%d,"x,\n%d"\n' % (number, number * 7919) for number in range(3_000))
SKIPPED = b"\x5a\x2a\x4d\x18\x03\x00\x00\x00abc"  # a frame of other data, of zstd and lz4
PADDING = {"gzip": 7, "xz": 8}  # zeros that may lie behind
SPREADS = {"gzip": 0.02, "zstd": 0.03, "lz4": 0.08, "bz2": 0.05, "xz": 0.03}
LEVELS = {"gzip": 9, "zstd": 19, "lz4": 9, "bz2": 9, "xz": 6}

frames = st.lists(st.tuples(st.integers(0, 9_000), st.integers(1, 9)), min_size=1, max_size=5)
by_codec = pytest.mark.parametrize("codec", CODECS)
quietly = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def one_frame(codec: str, text: bytes, level: int | None = None) -> bytes:
    made = CODECS[codec].compressor(CODECS[codec].level(level))
    return made.compress(text) + made.flush()


def compressed(
    codec: str, text: bytes, sizes: list[tuple[int, int]], between: bytes = b""
) -> bytes:
    """Frames of some sizes and levels, and one of what is left."""
    made, at = [], 0
    for num_bytes, level in sizes:
        made.append(one_frame(codec, text[at : at + num_bytes], level))
        at += num_bytes
    return between.join([*made, one_frame(codec, text[at:])])


def decompressed(codec: str, data: bytes) -> bytes:
    """The text, by another reader than ours."""
    if codec == "xz":
        return lzma.decompress(data)
    if codec == "gzip":
        return gzip.decompress(data)
    with pa.CompressedInputStream(io.BytesIO(data), codec) as stream:
        return stream.read()


def written(folder: Path, codec: str, data: bytes, name: str = "a.csv") -> Path:
    path = folder / (name + CODEC_SUFFIXES[codec])
    path.write_bytes(data)
    return path


def texts_of(dest: Path, codec: str) -> list[bytes]:
    """The parts as another reader decompresses them, the headers left out."""
    found = sorted(dest.glob("part-*.csv" + CODEC_SUFFIXES[codec]))
    texts = [decompressed(codec, path.read_bytes()) for path in found]
    assert all(text.startswith(HEADER) for text in texts)
    return [text.removeprefix(HEADER) for text in texts]


def random_rows(num_rows: int) -> bytes:
    """A table that compresses to about half."""
    made = random.Random(7)
    return HEADER + b"".join(b"%d,%d\n" % (n, made.randrange(10**12)) for n in range(num_rows))


@pytest.fixture
def close_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let places to go on from lie so near that short texts have many."""
    for name, num_bytes in {
        "_DECODED_BYTES": 700,
        "_FED_BYTES": 300,
        "_READ_BYTES": 1_000,
        "_WINDOW_BYTES": 2_000,
        "_BEGIN_BYTES": 500,
        "_FIRST_SPACING_BYTES": 1_500,
        "_MAX_STATES": 9,
    }.items():
        monkeypatch.setattr(module, name, num_bytes)


@by_codec
@pytest.mark.usefixtures("close_places")
@quietly
@given(sizes=frames, has_more=st.booleans(), seed=st.integers(0, 99))
def test_any_range_is_read(
    tmp_path: Path, codec: str, sizes: list[tuple[int, int]], has_more: bool, seed: int
) -> None:
    module.forget_all()
    between = SKIPPED if CODECS[codec].skips and has_more else b""
    padding = bytes(PADDING.get(codec, 0) * has_more)
    path = written(tmp_path, codec, between + compressed(codec, TABLE, sizes, between) + padding)
    store, name = open_storage(str(path))
    chosen = random.Random(seed)
    starts = [chosen.randrange(len(TABLE)) for _ in range(20)]
    file = replace(store.stat(name), dialect=Dialect("csv", codec=codec))  # type: ignore[arg-type]
    with opened(file) as source, ThreadPoolExecutor(4) as pool:
        assert isinstance(source, CompressedSource)
        for start, data in zip(
            starts, pool.map(lambda start: source.read(start, 900), starts), strict=True
        ):
            assert data == TABLE[start : start + 900]
        assert source.measure() == len(TABLE)
        assert b"".join(source.chunks(0, len(TABLE))) == TABLE
        assert 1 <= len(source.known.states) <= 9
        with opened(file) as again:  # goes on from where this one was
            assert isinstance(again, CompressedSource)
            assert again.known is source.known
        assert abs(source.known.at(len(TABLE)) - path.stat().st_size) <= len(padding) + 300


@by_codec
@quietly
@given(sizes=frames, parts=st.integers(1, 5), end=st.sampled_from([b"", b"9,last"]))
def test_any_frames_are_split(
    tmp_path_factory: pytest.TempPathFactory,
    codec: str,
    sizes: list[tuple[int, int]],
    parts: int,
    end: bytes,
) -> None:
    place = tmp_path_factory.mktemp("split")
    source = written(place, codec, compressed(codec, TABLE + end, sizes))
    found = engine.split(source, place / "out", parts=parts, verify=True, fsync=False)
    assert HEADER + b"".join(texts_of(place / "out", codec)) == TABLE + end
    assert found.manifest.num_rows == 3_000 + bool(end)
    engine.split(source, place / "plain", parts=parts, codec="none", verify=True, fsync=False)
    texts = [path.read_bytes() for path in sorted((place / "plain").glob("part-*.csv"))]
    assert HEADER + b"".join(text.removeprefix(HEADER) for text in texts) == TABLE + end


@by_codec
@pytest.mark.parametrize("of", ["", "gzip", "zstd"])
def test_parts_have_any_codec(tmp_path: Path, codec: str, of: str) -> None:
    (tmp_path / "a.csv").write_bytes(TABLE)
    source = written(tmp_path, of, one_frame(of, TABLE)) if of else tmp_path / "a.csv"
    engine.split(
        source, tmp_path / "out", parts=3, codec=codec, codec_level=LEVELS[codec], verify=True
    )
    assert HEADER + b"".join(texts_of(tmp_path / "out", codec)) == TABLE
    assert engine.verify(tmp_path / "out").num_bytes >= len(TABLE)


def test_plain_parts_of_plain_text_are_copied(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(TABLE)
    engine.split(tmp_path / "a.csv", tmp_path / "out", parts=2, codec="none", verify=True)
    texts = [path.read_bytes() for path in sorted((tmp_path / "out").glob("part-*.csv"))]
    assert HEADER + b"".join(text.removeprefix(HEADER) for text in texts) == TABLE


@pytest.mark.ways(5)
@by_codec
@pytest.mark.parametrize("is_plain", [True, False])
def test_compressed_parts_keep_the_target_and_are_equal(
    tmp_path: Path, codec: str, is_plain: bool
) -> None:
    table = random_rows(200_000)
    (tmp_path / "a.csv").write_bytes(table)
    source = tmp_path / "a.csv"
    if not is_plain:
        source = written(tmp_path, codec, one_frame(codec, table))
    engine.split(source, tmp_path / "out", target_size=300_000, codec=codec, verify=True)
    sizes = [path.stat().st_size for path in (tmp_path / "out").glob("part-*")]
    assert len(sizes) > 2
    assert max(sizes) <= 300_000
    # Blocks, of which a decoder gives the text at once, are large beside such parts.
    assert max(sizes) - min(sizes) <= SPREADS[codec] * sum(sizes) / len(sizes)


@by_codec
def test_frames_of_two_writers_keep_the_target(tmp_path: Path, codec: str) -> None:
    """What one takes of a row is not what the other does."""
    table = random_rows(100_000)
    half = len(table) // 2
    source = written(tmp_path, codec, compressed(codec, table, [(half, 1), (half, LEVELS[codec])]))
    engine.split(source, tmp_path / "out", target_size=200_000, verify=True)
    assert max(path.stat().st_size for path in (tmp_path / "out").glob("part-*")) <= 200_000


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_a_part_over_the_target_is_planned_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    source = written(tmp_path, codec, one_frame(codec, random_rows(200_000)))
    told = Sampler.sizes

    def too_small(self, *args):  # type: ignore[no-untyped-def]
        return [0.6 * size for size in told(self, *args)]

    monkeypatch.setattr(measures.Sampler, "sizes", too_small)
    again: list[str] = []

    class Told(Progress):
        def planned_again(self, reason: str) -> None:
            again.append(reason)

    engine.split(source, tmp_path / "out", target_size=300_000, progress=Told(), verify=True)
    assert again
    assert max(path.stat().st_size for path in (tmp_path / "out").glob("part-*")) <= 300_000


@by_codec
@pytest.mark.parametrize("is_cut", [True, False])
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damage_is_refused_or_harmless(
    tmp_path: Path, codec: str, is_cut: bool, data: st.DataObject
) -> None:
    text = TABLE[:9_000].rpartition(b"\n")[0] + b'"\n'
    first = one_frame(codec, text[:4_000])
    whole = first + one_frame(codec, text[4_000:])
    place = data.draw(st.integers(16 if is_cut else 0, len(whole) - 1))  # behind what names it
    damaged = whole[:place]
    if not is_cut:
        damaged += bytes([whole[place] ^ (1 << data.draw(st.integers(0, 7)))]) + whole[place + 1 :]
    source = written(tmp_path, codec, damaged)
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    refused = None
    try:
        engine.split(source, tmp_path / "out", header="yes", quote="none", fsync=False)
    except EvensplitError as error:
        refused = error
    if refused:
        assert refused.exit_code in (2, 3, 4), refused
        assert not (tmp_path / "out").exists()
        assert not (is_cut and place == len(first))
    else:
        (found,) = texts_of(tmp_path / "out", codec)
        assert HEADER + found == (text[:4_000] if is_cut else text)


@by_codec
def test_what_lies_behind_is_told(tmp_path: Path, codec: str) -> None:
    frame = one_frame(codec, TABLE)
    source = written(tmp_path, codec, frame + b"more")
    with pytest.raises(BadStructure, match=f"byte {len(frame):,}, behind .* is no {codec}"):
        engine.plan(source)
    written(tmp_path, codec, frame + bytes(3))
    if codec == "gzip":
        assert engine.plan(source).num_rows == 3_000
    else:
        with pytest.raises(BadStructure, match=f"is no {codec}"):
            engine.plan(source)
    written(tmp_path, codec, frame[:-1])
    with pytest.raises(BadStructure, match="ends early, at byte"):
        engine.plan(source)


def with_dictionary() -> bytes:
    trained = zstd.train_dict([b"%d,abcdefgh\n" % n * 30 for n in range(500)], 4_000)
    return zstd.compress(TABLE, zstd_dict=trained)


@pytest.mark.parametrize(
    ("name", "data", "error", "told"),
    [
        ("a.csv.zst", with_dictionary(), Unsupported, "needs the dictionary [0-9]+: .* -D FILE"),
        ("a.csv.zst", b"\x26\xb5\x2f\xfd" + TABLE, Unsupported, "before its version 0.8"),
        ("a.csv.zst", SKIPPED + b"\x50\x2a\x4d\x18\xff\xff", BadStructure, "passed over|no zstd"),
        ("a.csv.lz4", b"\x02\x21\x4c\x18" + TABLE, Unsupported, "legacy format of lz4"),
        (
            "a.csv.lz4",
            lz4.frame.compress(TABLE)[:4] + b"\x65" + lz4.frame.compress(TABLE)[5:],
            Unsupported,
            "needs a dictionary",
        ),
        ("a.csv.xz", lzma.compress(lzma.compress(TABLE)), Unsupported, "compressed by xz"),
        ("a.csv.zst", zstd.compress(gzip.compress(TABLE)), Unsupported, "compressed by gzip"),
    ],
)
def test_what_cannot_be_read_is_told(
    tmp_path: Path, name: str, data: bytes, error: type[EvensplitError], told: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(error, match=f"{name}: .*({told})"):
        engine.plan(tmp_path / name)


def wide_window(log: int) -> bytes:
    options: dict[int, int] = {zstd.CompressionParameter.window_log: log}
    made = zstd.ZstdCompressor(options=options)
    return made.compress(TABLE) + made.flush()


def wide_dictionary(num_bytes: int) -> bytes:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": num_bytes, "preset": 0}]
    return lzma.compress(TABLE, filters=filters)


@pytest.mark.parametrize(
    ("codec", "data", "needed_mib"),
    [("zstd", wide_window(30), 1024), ("xz", wide_dictionary(256 << 20), 256)],
)
def test_a_large_window_is_asked_for(
    tmp_path: Path, codec: str, data: bytes, needed_mib: int
) -> None:
    source = written(tmp_path, codec, data)
    with pytest.raises(OverBudget, match=rf"a\.csv\.\w+: decompressing it by {codec} .* smaller"):
        engine.plan(source, memory="200MiB")
    plan = engine.plan(source, parts=2)
    assert all(part.memory_bytes > needed_mib << 20 for part in plan.parts)


@by_codec
def test_who_goes_on_in_order_begins_nothing_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    """One frame, many parts: as many decoders as there are passes, not one a part."""
    begun: list[int] = []
    real = CODECS[codec]

    def counted(head: bytes) -> Decoder:
        begun.append(1)
        return real.decoder(head)

    monkeypatch.setattr(module, "_WINDOW_BYTES", 600_000)  # two blocks, much less than the text
    monkeypatch.setattr(module, "_BEGIN_BYTES", 10_000)
    source = written(tmp_path, codec, one_frame(codec, random_rows(100_000)))
    monkeypatch.setitem(CODECS, codec, real._replace(decoder=counted))
    engine.split(source, tmp_path / "out", parts=20, workers=1, fsync=False)
    assert len(begun) <= 3  # a look at the begin, the count, the parts
    begun.clear()
    engine.verify(tmp_path / "out", workers=1)
    assert len(begun) <= 20 * 2 + 3  # each part is measured and compared


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(TABLE))
    (tmp_path / "b.csv").write_bytes(TABLE)
    for name in ("a.csv.gz", "b.csv"):
        with pytest.raises(BadSetting, match="say gzip, zstd, lz4, bz2, xz or none"):
            engine.plan(tmp_path / name, codec="brotli")
    with pytest.raises(BadSetting, match=r"end it in \.csv\.gz"):
        engine.plan(tmp_path / "a.csv.gz", name="{index}.csv")
    with pytest.raises(BadSetting, match=r"end it in \.csv\.zst"):
        engine.plan(tmp_path / "b.csv", name="{index}.csv", codec="zstd")
    with pytest.raises(SchemaMismatch, match="different compressions"):
        engine.plan(tmp_path)


@by_codec
def test_several_files_are_one_and_empty_ones_are_parts(tmp_path: Path, codec: str) -> None:
    end = CODEC_SUFFIXES[codec]
    for number, row in enumerate([b"1,a", b"2,b\n", b"3,c"]):
        written(tmp_path, codec, one_frame(codec, HEADER + row), f"{number}.csv")
    engine.split(tmp_path / f"*{end}", tmp_path / "out", parts=2, name="{stem}-{index}.csv" + end)
    engine.verify(tmp_path / "out")
    paths = sorted((tmp_path / "out").glob(f"*{end}"))
    assert [path.name for path in paths] == [f"0-0.csv{end}", f"1-1.csv{end}"]
    found = [decompressed(codec, path.read_bytes()) for path in paths]
    assert b"".join(text.removeprefix(HEADER) for text in found) == b"1,a\n2,b\n3,c"
    source = written(tmp_path, codec, one_frame(codec, b""), "none.csv")
    engine.split(source, tmp_path / "none", verify=True)
    part = tmp_path / "none" / f"part-00000.csv{end}"
    assert decompressed(codec, part.read_bytes()) == b""


@by_codec
def test_folders_hold_compressed_files(tmp_path: Path, codec: str) -> None:
    (tmp_path / "in").mkdir()
    for number in range(2):
        written(tmp_path / "in", codec, one_frame(codec, TABLE), f"{number}.csv")
    (tmp_path / "in" / "notes.md").write_text("no data")
    found = engine.split(tmp_path / "in", tmp_path / "out", parts=3, verify=True)
    assert found.manifest.num_rows == 6_000


@by_codec
def test_a_damaged_part_is_found_and_repaired(tmp_path: Path, codec: str) -> None:
    source = written(tmp_path, codec, one_frame(codec, TABLE))
    engine.split(source, tmp_path / "out", parts=3)
    part = tmp_path / "out" / f"part-00001.csv{CODEC_SUFFIXES[codec]}"
    whole = part.read_bytes()
    text = bytearray(decompressed(codec, whole))
    text[-4] ^= 1
    middle = len(whole) // 2
    turned = bytes(255 - byte for byte in whole[middle : middle + 9])
    for damaged in (whole[:middle] + turned + whole[middle + 9 :], one_frame(codec, bytes(text))):
        part.write_bytes(damaged)
        with pytest.raises(Different, match=r"part-00001\.csv"):
            engine.verify(tmp_path / "out")
    engine.verify(tmp_path / "out", repair=True)
    assert part.read_bytes() == whole


@by_codec
@quietly
@given(data=st.data())
def test_any_damage_of_a_part_is_found(
    tmp_path_factory: pytest.TempPathFactory, codec: str, data: st.DataObject
) -> None:
    place = tmp_path_factory.mktemp("proof")
    engine.split(written(place, codec, one_frame(codec, TABLE)), place / "out", parts=2)
    part = place / "out" / f"part-0000{data.draw(st.integers(0, 1))}.csv{CODEC_SUFFIXES[codec]}"
    whole = part.read_bytes()
    at = data.draw(st.one_of(st.integers(0, 20), st.integers(0, len(whole) - 1)))
    turned = bytes([whole[at] ^ (1 << data.draw(st.integers(0, 7)))])
    part.write_bytes(whole[:at] + turned + whole[at + 1 :])
    refused = None
    try:
        engine.verify(place / "out")
    except Different as error:
        refused = error
    if not refused:  # a bit that means nothing
        assert part.read_bytes() != whole
        assert HEADER + b"".join(texts_of(place / "out", codec)) == TABLE


@pytest.mark.ways(1)
@pytest.mark.parametrize("codec", ["gzip", "zstd", "xz"])
def test_workers_of_a_cluster_write_the_same_parts(tmp_path: Path, codec: str) -> None:
    source = written(tmp_path, codec, one_frame(codec, random_rows(50_000)))
    engine.split(source, tmp_path / "here", parts=4)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        engine.split(source, tmp_path / "there", parts=4, client=client)
    here, there = (
        [path.read_bytes() for path in sorted((tmp_path / name).glob("part-*"))]
        for name in ("here", "there")
    )
    assert len(here) == 4
    assert here == there


@by_codec
def test_a_store_is_read_and_written(codec: str) -> None:
    import fsspec

    fs, end = fsspec.filesystem("memory"), CODEC_SUFFIXES[codec]
    fs.pipe_file(f"/{codec}/a.csv{end}", one_frame(codec, TABLE))
    engine.split(f"memory://{codec}/a.csv{end}", f"memory://{codec}/out", parts=2, verify=True)
    parts = [fs.cat_file(f"/{codec}/out/part-0000{n}.csv{end}") for n in range(2)]
    texts = [decompressed(codec, part).removeprefix(HEADER) for part in parts]
    assert HEADER + b"".join(texts) == TABLE


@by_codec
def test_profiles_are_those_of_the_text(tmp_path: Path, codec: str) -> None:
    (tmp_path / "a.csv").write_bytes(TABLE)
    source = written(tmp_path, codec, one_frame(codec, TABLE), "b.csv")
    (plain,) = engine.profile_lines(tmp_path / "a.csv", exact=True)
    (found,) = engine.profile_lines(source, exact=True)
    assert (found.num_records, found.columns) == (plain.num_records, plain.columns)
    assert found.stretches == plain.stretches
    assert f"{codec} of {len(TABLE) / 1000:.1f} kB" in found.sentences[0]


# -- other writers and readers ---------------------------------------------------------------------


def by_program(*words: str) -> Callable[[Path, Path], None]:
    """Write by a program of the system; the test is skipped where it is missing."""

    def write(plain: Path, to: Path) -> None:
        if shutil.which(words[0]) is None:
            pytest.skip(f"no {words[0]} here")
        made = subprocess.run([*words, "-c", str(plain)], check=True, capture_output=True)
        to.write_bytes(made.stdout)

    return write


def by_pandas(plain: Path, to: Path) -> None:
    pd.read_csv(plain).to_csv(to, index=False, compression="infer")


def by_arrow(plain: Path, to: Path) -> None:
    codec = next(name for name, end in CODEC_SUFFIXES.items() if end == to.suffix)
    with pa.CompressedOutputStream(str(to), codec) as out:
        pyarrow.csv.write_csv(pyarrow.csv.read_csv(plain), out)


def by_duckdb(plain: Path, to: Path) -> None:
    duckdb.sql(f"copy (from read_csv('{plain}')) to '{to}' (header, compression zstd)")


def by_polars(plain: Path, to: Path) -> None:
    pl.read_csv(plain).lazy().sink_csv(to, compression="zstd", check_extension=False)


WRITERS: dict[str, tuple[str, Callable[[Path, Path], None]]] = {
    "zstd": (".zst", by_program("zstd", "-q")),
    "zstd threads": (".zst", by_program("zstd", "-q", "-T2", "-B512K")),
    "zstd wide": (".zst", by_program("zstd", "-q", "--long=24", "--no-check")),
    "lz4": (".lz4", by_program("lz4", "-q")),
    "lz4 small": (".lz4", by_program("lz4", "-q", "-B4", "-BD", "--content-size")),
    "bzip2": (".bz2", by_program("bzip2", "-1")),
    "xz": (".xz", by_program("xz")),
    "xz blocks": (".xz", by_program("xz", "-1", "--block-size=100000", "-T2")),
    "xz without check": (".xz", by_program("xz", "-0", "--check=none")),
    "gzip": (".gz", by_program("gzip", "-1")),
    "pandas zstd": (".zst", by_pandas),
    "pandas xz": (".xz", by_pandas),
    "arrow zstd": (".zst", by_arrow),
    "arrow lz4": (".lz4", by_arrow),
    "arrow bz2": (".bz2", by_arrow),
    "duckdb": (".zst", by_duckdb),
    "polars": (".zst", by_polars),
}
PROGRAMS = {"zstd": "zstd", "lz4": "lz4", "bz2": "bzip2", "xz": "xz", "gzip": "gzip"}


@pytest.mark.parametrize("writer", WRITERS)
def test_files_of_any_writer_are_split(tmp_path: Path, writer: str) -> None:
    end, write = WRITERS[writer]
    plain, source = tmp_path / "plain", tmp_path / f"a.csv{end}"
    rows = [(number, number * 7919 % 1000) for number in range(60_000)]
    plain.write_text("id,n\n" + "".join(f"{one},{two}\n" for one, two in rows))
    write(plain, source)
    engine.split(source, tmp_path / "out", parts=3, verify=True)
    parts = sorted((tmp_path / "out").glob(f"part-*.csv{end}"))
    assert len(parts) == 3
    codec = next(name for name, suffix in CODEC_SUFFIXES.items() if suffix == end)
    texts = [io.BytesIO(decompressed(codec, part.read_bytes())) for part in parts]
    frames = [pd.read_csv(text) for text in texts]
    assert [row for frame in frames for row in frame.itertuples(index=False, name=None)] == rows
    if program := shutil.which(PROGRAMS[codec]):
        for part in parts:
            subprocess.run([program, "-q", "-t", str(part)], check=True)


def kwargs_of(codec: str) -> dict[str, Any]:
    return {"codec": codec, "codec_level": LEVELS[codec]}


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_duckdb_and_polars_read_parts(tmp_path: Path, codec: str) -> None:
    (tmp_path / "a.csv").write_bytes(random_rows(1_000))
    engine.split(tmp_path / "a.csv", tmp_path / "out", parts=2, **kwargs_of(codec))
    parts = sorted(str(path) for path in (tmp_path / "out").glob("part-*"))
    by_duck = duckdb.sql(f"select id from read_csv({parts!r})").fetchall()
    assert sorted(by_duck) == [(number,) for number in range(1_000)]
    by_polars = pl.concat([pl.read_csv(part) for part in parts])
    assert by_polars["id"].to_list() == list(range(1_000))
