"""Parts that were damaged, lost or mixed up are found, and written anew on request."""

import re
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine.errors import Different, SourceChanged
from engine.formats.parquet.opened import OpenFile
from engine.storage import open_storage
from tests.engine.running import run

TABLE = pa.table({"id": range(6000), "text": [f"text {i % 97}" for i in range(6000)]})


@pytest.fixture
def parts(tmp_path):
    pq.write_table(TABLE, tmp_path / "source.parquet", row_group_size=1500)
    engine.split(str(tmp_path / "source.parquet"), str(tmp_path / "parts"), parts=3, fsync=False)
    return tmp_path / "parts"


def flip(place):
    def damage(parts):
        data = bytearray((parts / "part-00001.parquet").read_bytes())
        data[int(len(data) * place) if place < 1 else -place] ^= 255
        (parts / "part-00001.parquet").write_bytes(data)

    return damage


def cut_short(parts):
    data = (parts / "part-00001.parquet").read_bytes()
    (parts / "part-00001.parquet").write_bytes(data[:-100])


def mixed_up(parts):
    (parts / "part-00000.parquet").rename(parts / "x")
    (parts / "part-00001.parquet").rename(parts / "part-00000.parquet")
    (parts / "x").rename(parts / "part-00001.parquet")


def of_another(parts):
    pq.write_table(TABLE.slice(0, 7), parts / "part-00001.parquet")


DAMAGES = {
    "page header": flip(0.0005),
    "page": flip(0.4),
    "footer": flip(40),
    "footer length": flip(6),
    "missing": lambda parts: (parts / "part-00001.parquet").unlink(),
    "cut short": cut_short,
    "mixed up": mixed_up,
    "foreign": of_another,
}


def is_whole(parts):
    tables = [pq.read_table(part) for part in sorted(parts.glob("*.parquet"))]
    return pa.concat_tables(tables).equals(TABLE)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_found_and_mended(parts, damage):
    before = {part.name: part.read_bytes() for part in parts.glob("*.parquet")}
    damage(parts)
    with pytest.raises(Different, match=r"evensplit verify \S+ --repair writes it anew") as found:
        engine.verify(str(parts))
    assert found.value.part in before
    proof = engine.verify(str(parts), repair=True)
    assert set(proof.repaired) <= set(before)
    assert proof.repaired
    assert {part.name: part.read_bytes() for part in parts.glob("*.parquet")} == before
    assert not engine.verify(str(parts)).repaired


@pytest.mark.parametrize("name", ["footer", "footer length", "missing", "cut short", "foreign"])
def test_split_again_does_not_count_a_part_whose_footer_is_another(parts, name):
    DAMAGES[name](parts)
    source = str(parts.parent / "source.parquet")
    assert engine.split(source, str(parts), parts=3, fsync=False).num_resumed == 2
    assert is_whole(parts)
    assert engine.split(source, str(parts), parts=3, fsync=False).num_resumed == 3


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    """A part with page indexes and Bloom filters, and where its values end."""
    folder = tmp_path_factory.mktemp("indexed")
    blooms = {name: {"ndv": 100, "fpp": 0.1} for name in TABLE.column_names}
    pq.write_table(
        TABLE,
        folder / "s.parquet",
        row_group_size=3000,
        data_page_size=2000,
        write_page_index=True,
        bloom_filter_options=blooms,
    )
    result = engine.split(folder / "s.parquet", folder / "parts", rows_per_part=4000, fsync=False)
    part = folder / "parts" / "part-00001.parquet"
    store, path = open_storage(str(part))
    chunk = OpenFile(store.stat(path)).row_group(0).chunk(0).entry
    begin = result.manifest.parts[1].size_bytes - result.manifest.parts[1].end_bytes
    assert begin == chunk.bloom_filter_offset < chunk.column_index.offset
    return part, begin


@given(st.data())
def test_every_bit_behind_the_values_counts(indexed, data):
    """Readers skip values by it: what is false there loses rows."""
    part, begin = indexed
    whole = part.read_bytes()
    at = data.draw(st.integers(begin, len(whole) - 1))
    damaged = bytearray(whole)
    damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        part.write_bytes(damaged)
        with pytest.raises(Different) as found:
            engine.verify(part.parent)
        assert found.value.part == part.name
    finally:
        part.write_bytes(whole)


def test_all_that_was_written_anew_is_named(parts):
    names = sorted(part.name for part in parts.glob("*.parquet"))
    for name in names[1:]:
        (parts / name).unlink()
    assert engine.verify(parts, repair=True).repaired == tuple(names[1:])


def test_receipts_of_older_programs_tell_of_no_indexes(parts):
    path = parts / "_evensplit" / "manifest.json"
    path.write_text(re.sub(r',?\s*"end_(bytes|sha256)": "?\w+"?', "", path.read_text()))
    assert "end_" not in path.read_text()
    assert engine.verify(parts).num_parts == 3


def test_overwrite_writes_a_finished_split_anew(parts):
    DAMAGES["page"](parts)
    source = str(parts.parent / "source.parquet")
    assert engine.split(source, str(parts), parts=3, fsync=False).num_resumed == 3
    result = engine.split(source, str(parts), parts=3, fsync=False, overwrite=True)
    assert result.num_resumed == 0
    assert is_whole(parts)


def test_an_overwrite_that_was_killed_is_finished_by_the_same_command(parts):
    (parts / "_evensplit" / "manifest.json").unlink()  # the first that goes
    (parts / "_evensplit" / "receipts" / "00002.json").unlink()
    source = str(parts.parent / "source.parquet")
    result = engine.split(source, str(parts), parts=3, fsync=False, overwrite=True)
    assert result.num_resumed == 2


def test_repair_needs_the_source_as_it_was(parts):
    DAMAGES["missing"](parts)
    pq.write_table(TABLE.slice(1), parts.parent / "source.parquet")
    with pytest.raises(SourceChanged):
        engine.verify(str(parts), repair=True)


def test_split_and_verify_in_one_command(tmp_path):
    pq.write_table(TABLE, tmp_path / "source.parquet")
    result = engine.split(
        str(tmp_path / "source.parquet"), str(tmp_path / "a"), parts=2, fsync=False, verify=True
    )
    assert result.verification is not None
    assert result.verification.num_rows == 6000
    source = str(tmp_path / "source.parquet")
    done = run("split", source, str(tmp_path / "b"), "--parts", "2", "--verify", "--no-fsync")
    assert "equal: 2 parts hold all 6,000 rows" in done.out
    shutil.copy(tmp_path / "a" / "part-00000.parquet", tmp_path / "b" / "part-00001.parquet")
    done = run("verify", str(tmp_path / "b"), "--repair")
    assert "part-00001.parquet was missing or different, and is written anew" in done.out
