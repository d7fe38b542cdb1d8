"""Lines that are compressed by gzip: read anywhere, split, compressed again, refused if damaged."""

from __future__ import annotations

import gzip
import random
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from distributed import Client, LocalCluster
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import engine
from engine.errors import BadSetting, Different, EvensplitError, SchemaMismatch
from engine.formats.lines import gzipped, measures
from engine.formats.lines.gzipped import GzipSource
from engine.formats.lines.reading import opened
from engine.model import Dialect
from engine.splitter import Progress
from engine.storage import open_storage

HEADER = b"id,note\n"
TABLE = HEADER + b"".join(b'%d,"x,\n%d"\n' % (number, number * 7919) for number in range(3_000))
members = st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 9)), min_size=1, max_size=5)


def compressed(text: bytes, sizes: list[tuple[int, int]]) -> bytes:
    """Members of some sizes and levels, and one of what is left."""
    made, at = [], 0
    for num_bytes, level in sizes:
        made.append(gzip.compress(text[at : at + num_bytes], level))
        at += num_bytes
    return b"".join([*made, gzip.compress(text[at:])])


def texts_of(dest: Path) -> list[bytes]:
    """The parts as another reader decompresses them, the headers left out."""
    texts = [gzip.decompress(path.read_bytes()) for path in sorted(dest.glob("part-*.csv.gz"))]
    assert all(text.startswith(HEADER) for text in texts)
    return [text.removeprefix(HEADER) for text in texts]


def random_rows(num_rows: int) -> bytes:
    """A table that compresses to about half."""
    made = random.Random(7)
    return HEADER + b"".join(b"%d,%d\n" % (n, made.randrange(10**12)) for n in range(num_rows))


@pytest.fixture
def close_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let states lie so near that short texts have many."""
    for name, num_bytes in {
        "_INFLATED_BYTES": 700,
        "_FED_BYTES": 300,
        "_READ_BYTES": 1_000,
        "_WINDOW_BYTES": 2_000,
        "_FIRST_SPACING_BYTES": 1_500,
        "_MAX_STATES": 9,
    }.items():
        monkeypatch.setattr(gzipped, name, num_bytes)


@pytest.mark.usefixtures("close_states")
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sizes=members, padding=st.integers(0, 600), seed=st.integers(0, 99))
def test_any_range_is_read(
    tmp_path: Path, sizes: list[tuple[int, int]], padding: int, seed: int
) -> None:
    gzipped.forget_all()
    (tmp_path / "a.gz").write_bytes(compressed(TABLE, sizes) + bytes(padding))
    store, path = open_storage(str(tmp_path / "a.gz"))
    chosen = random.Random(seed)
    starts = [chosen.randrange(len(TABLE)) for _ in range(20)]
    file = replace(store.stat(path), dialect=Dialect("csv", codec="gzip"))
    with opened(file) as source, ThreadPoolExecutor(4) as pool:
        assert isinstance(source, GzipSource)
        for start, data in zip(
            starts, pool.map(lambda start: source.read(start, 900), starts), strict=True
        ):
            assert data == TABLE[start : start + 900]
        assert source.measure() == len(TABLE)
        assert b"".join(source.chunks(0, len(TABLE))) == TABLE
        assert 1 < len(source.known.states) <= 9
        with opened(file) as again:  # goes on from where this one was
            assert isinstance(again, GzipSource)
            assert again.known is source.known
        assert abs(source.known.at(len(TABLE)) - (tmp_path / "a.gz").stat().st_size) <= padding + 64


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sizes=members, parts=st.integers(1, 5), end=st.sampled_from([b"", b"9,last"]))
def test_any_members_are_split(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[tuple[int, int]], parts: int, end: bytes
) -> None:
    place = tmp_path_factory.mktemp("split")
    (place / "a.csv.gz").write_bytes(compressed(TABLE + end, sizes))
    found = engine.split(place / "a.csv.gz", place / "out", parts=parts, verify=True)
    assert HEADER + b"".join(texts_of(place / "out")) == TABLE + end
    assert found.manifest.num_rows == 3_000 + bool(end)
    engine.split(place / "a.csv.gz", place / "plain", parts=parts, codec="none", verify=True)
    texts = [path.read_bytes() for path in sorted((place / "plain").glob("part-*.csv"))]
    assert HEADER + b"".join(text.removeprefix(HEADER) for text in texts) == TABLE + end


def test_compressed_parts_keep_the_target_and_are_equal(tmp_path: Path) -> None:
    table = random_rows(400_000)
    half = len(table) // 2
    # Two writers: what one takes of a row is not what the other does.
    data = compressed(table, [(half, 1), (half, 9)])
    (tmp_path / "a.csv.gz").write_bytes(data)
    engine.split(tmp_path / "a.csv.gz", tmp_path / "out", target_size=400_000, verify=True)
    sizes = [path.stat().st_size for path in (tmp_path / "out").glob("part-*")]
    assert len(sizes) > 5
    assert max(sizes) <= 400_000
    assert max(sizes) - min(sizes) <= 0.02 * sum(sizes) / len(sizes)


def test_a_part_over_the_target_is_planned_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(random_rows(200_000)))
    told = measures._ratios

    def too_small(*args):  # type: ignore[no-untyped-def]
        places, ratios = told(*args)
        return places, [0.6 * ratio for ratio in ratios]

    monkeypatch.setattr(measures, "_ratios", too_small)
    again: list[str] = []

    class Told(Progress):
        def planned_again(self, reason: str) -> None:
            again.append(reason)

    engine.split(
        tmp_path / "a.csv.gz", tmp_path / "out", target_size=300_000, progress=Told(), verify=True
    )
    assert again
    assert max(path.stat().st_size for path in (tmp_path / "out").glob("part-*")) <= 300_000


@pytest.mark.parametrize("is_cut", [True, False])
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damage_is_refused_or_harmless(tmp_path: Path, is_cut: bool, data: st.DataObject) -> None:
    whole = compressed(TABLE[:9_000].rpartition(b"\n")[0] + b'"\n', [(4_000, 6)])
    place = data.draw(st.integers(2, len(whole) - 1))
    damaged = whole[:place]
    if not is_cut:
        damaged += bytes([whole[place] ^ (1 << data.draw(st.integers(0, 7)))]) + whole[place + 1 :]
    (tmp_path / "a.csv.gz").write_bytes(damaged)
    try:
        expected = gzip.decompress(damaged)
    except (EOFError, OSError, zlib.error):
        with pytest.raises(EvensplitError) as caught:
            engine.split(tmp_path / "a.csv.gz", tmp_path / "out", header="yes")
        assert caught.value.exit_code == 3
        assert not (tmp_path / "out").exists()
        return
    plan = engine.plan(tmp_path / "a.csv.gz", header="yes")
    assert plan.sources[0].dialect is not None
    assert plan.sources[0].dialect.num_bytes == len(expected)


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(TABLE))
    (tmp_path / "b.csv").write_bytes(TABLE)
    with pytest.raises(BadSetting, match="say gzip or none"):
        engine.plan(tmp_path / "a.csv.gz", codec="zstd")
    with pytest.raises(BadSetting, match="leave it out"):
        engine.plan(tmp_path / "b.csv", codec="gzip")
    with pytest.raises(BadSetting, match=r"end it in \.csv\.gz"):
        engine.plan(tmp_path / "a.csv.gz", name="{index}.csv")
    with pytest.raises(SchemaMismatch, match="different compressions"):
        engine.plan(tmp_path)


def test_several_files_are_one_and_empty_ones_are_parts(tmp_path: Path) -> None:
    rows = [b"1,a", b"2,b\n", b"3,c"]
    for number, row in enumerate(rows):
        (tmp_path / f"{number}.csv.gz").write_bytes(gzip.compress(HEADER + row))
    engine.split(tmp_path / "*.gz", tmp_path / "out", parts=2, name="{stem}-{index}.csv.gz")
    engine.verify(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").glob("*.gz")} == {"0-0.csv.gz", "1-1.csv.gz"}
    found = [gzip.decompress(path.read_bytes()) for path in sorted((tmp_path / "out").glob("*.gz"))]
    assert b"".join(text.removeprefix(HEADER) for text in found) == b"1,a\n2,b\n3,c"
    (tmp_path / "none.csv.gz").write_bytes(gzip.compress(b""))
    engine.split(tmp_path / "none.csv.gz", tmp_path / "none", verify=True)
    assert gzip.decompress((tmp_path / "none" / "part-00000.csv.gz").read_bytes()) == b""


def test_a_damaged_part_is_found_and_repaired(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(TABLE))
    engine.split(tmp_path / "a.csv.gz", tmp_path / "out", parts=3)
    part = tmp_path / "out" / "part-00001.csv.gz"
    whole = part.read_bytes()
    text = bytearray(gzip.decompress(whole))
    text[-4] ^= 1
    for damaged in (whole[:500] + bytes(9) + whole[509:], gzip.compress(text)):
        part.write_bytes(damaged)
        with pytest.raises(Different, match=r"part-00001\.csv\.gz"):
            engine.verify(tmp_path / "out")
    engine.verify(tmp_path / "out", repair=True)
    assert part.read_bytes() == whole


def test_workers_of_a_cluster_write_the_same_parts(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(random_rows(50_000)))
    engine.split(tmp_path / "a.csv.gz", tmp_path / "here", parts=4)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        engine.split(tmp_path / "a.csv.gz", tmp_path / "there", parts=4, client=client)
    here, there = (
        [path.read_bytes() for path in sorted((tmp_path / name).glob("part-*"))]
        for name in ("here", "there")
    )
    assert len(here) == 4
    assert here == there


def test_a_store_is_read_and_written() -> None:
    import fsspec

    fs = fsspec.filesystem("memory")
    fs.pipe_file("/gz/a.csv.gz", gzip.compress(TABLE))
    engine.split("memory://gz/a.csv.gz", "memory://gz/out", parts=2, verify=True)
    texts = [gzip.decompress(fs.cat_file(f"/gz/out/part-0000{n}.csv.gz")) for n in range(2)]
    assert HEADER + b"".join(text.removeprefix(HEADER) for text in texts) == TABLE


def test_profiles_are_those_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(TABLE)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(TABLE))
    (plain,) = engine.profile_lines(tmp_path / "a.csv", exact=True)
    (found,) = engine.profile_lines(tmp_path / "b.csv.gz", exact=True)
    assert (found.num_records, found.columns) == (plain.num_records, plain.columns)
    assert found.stretches == plain.stretches
    assert f"gzip of {len(TABLE) / 1000:.1f} kB" in found.sentences[0]
