"""Files beside the parts that would be read with them are found by a proof; hidden ones pass."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import engine
from engine.errors import Different, OtherFiles
from engine.storage import open_storage
from tests.engine.running import run
from tests.engine.storage.conftest import azurite, blobs, no_identity

__all__ = ["azurite", "blobs", "no_identity"]

TABLE = pa.table({"id": range(3_000)})
READ = ["part-00099.parquet", "copy of part.parquet", "a/b/part-00000.parquet", "rows", "x=1/y.pq"]
HIDDEN = ["_SUCCESS", ".part.crc", "_old/part-00000.parquet", ".x/y.parquet", "a/_b/c.parquet"]


@pytest.fixture(params=["local", "memory", "azure"])
def dest(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A finished split in each kind of store."""
    dest = {"local": str(tmp_path / "parts"), "memory": f"memory://{tmp_path.name}/parts"}.get(
        request.param
    ) or request.getfixturevalue("blobs") + "/parts"
    pq.write_table(TABLE, tmp_path / "source.parquet", row_group_size=500)
    engine.split(tmp_path / "source.parquet", dest, parts=3)
    return dest


def put(dest: str, name: str) -> None:
    store, folder = open_storage(dest)
    data = pa.BufferOutputStream()
    pq.write_table(TABLE.slice(0, 7), data)
    store.put(store.join(folder, *name.split("/")), data.getvalue().to_pybytes())


@pytest.mark.parametrize("name", READ)
def test_a_file_that_readers_take_is_reported(dest: str, name: str):
    put(dest, name)
    with pytest.raises(OtherFiles, match=f"1 file beside the split's 3 parts.*{name}"):
        engine.verify(dest)
    assert engine.verify(dest, allow_other_files=True).num_rows == 3_000


@pytest.mark.parametrize("name", HIDDEN)
def test_a_file_that_is_hidden_is_none_of_them(dest: str, name: str):
    put(dest, name)
    assert engine.verify(dest).num_rows == 3_000


def test_readers_take_what_is_reported_and_nothing_that_is_hidden(tmp_path: Path):
    pq.write_table(TABLE, tmp_path / "source.parquet")
    engine.split(tmp_path / "source.parquet", tmp_path / "parts", parts=2)
    for name in HIDDEN:
        put(str(tmp_path / "parts"), name)
    assert ds.dataset(tmp_path / "parts").count_rows() == 3_000
    for number, name in enumerate(READ, 1):
        put(str(tmp_path / "parts"), name)
        assert ds.dataset(tmp_path / "parts").count_rows() == 3_000 + 7 * number


def test_the_command_says_what_and_how_to_go_on(tmp_path: Path):
    pq.write_table(TABLE, tmp_path / "source.parquet")
    dest = tmp_path / "parts"
    engine.split(tmp_path / "source.parquet", dest, parts=2)
    for number in range(90, 95):
        put(str(dest), f"part-000{number}.parquet")
    ended = run("verify", dest)
    assert ended.code == 6
    assert ended.err.startswith("evensplit: verify.other-files: ")
    assert "5 files" in ended.err
    assert "part-00092.parquet, ..." in ended.err
    assert run("verify", dest, "--allow-other-files").code == 0
    (dest / "part-00000.parquet").unlink()
    with pytest.raises(Different):
        engine.verify(dest, allow_other_files=True)
