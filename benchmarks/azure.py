"""Splitting a blob within Azurite: what passes through this machine, memory, and time.

The server path runs behind a counting proxy, for row groups of 5 MB and of 65 MB: what passes are
the pages at each cut and what is too small to be worth a request. DuckDB, not we, compares the
parts with the source. The client path and adlfs (``get`` the blob to disk, ``put`` it back) take
turns without a proxy. Azurite shares this machine's cores with what is measured,
so the ratio says more than the seconds.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from benchmarks.data import lineitem
from benchmarks.measure import in_turn, run
from benchmarks.table import Row
from tests.azurite import Azurite, running
from tests.azurite.proxy import Proxy, Seen, before

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient

CONTAINER = "bench"
TARGET = "100MB"
LAYOUTS = ("many", "31")  # row groups of 5 MB, and of 65 MB
_ADLFS = """
import os, sys, fsspec
source, target, local = sys.argv[1:]
secret = os.environ["AZURE_STORAGE_CONNECTION_STRING"]
fs = fsspec.filesystem("abfs", connection_string=secret)
fs.get(source, local)
fs.put(local, target)
"""


def figures(folder: Path, scale: float, repeats: int) -> Iterator[Row]:
    """Print the server path's requests and bytes; yield client path and adlfs side by side."""
    os.environ["AZURE_TOKEN_CREDENTIALS"] = "EnvironmentCredential"
    with running() as azurite:
        azurite.client().create_container(CONTAINER)
        for layout in LAYOUTS:
            source = lineitem(folder, layout, scale)
            size = source.stat().st_size
            with source.open("rb") as file:
                _source(azurite).upload_blob(file, max_concurrency=4, overwrite=True)
            print(f"lineitem {layout!r} of {size / 1e6:.0f} MB, parts of at most {TARGET}")
            with before(azurite.port) as proxy:
                _use(azurite.through(proxy.port))
                _server_path(azurite, proxy, size)
            _use(azurite)
            print(_comparison(azurite, source, folder / "out"), flush=True)
            _clean(azurite)
        yield from _client_path(azurite, folder, repeats)


def _source(azurite: Azurite) -> BlobClient:
    return azurite.client().get_blob_client(CONTAINER, "source.parquet")


def _use(azurite: Azurite) -> None:
    os.environ["AZURE_STORAGE_CONNECTION_STRING"] = azurite.connection_string


def _split(transfer: str) -> list[str]:
    tool = str(Path(sys.executable).with_name("evensplit"))
    places = [f"abfs://{CONTAINER}/source.parquet", f"abfs://{CONTAINER}/parts"]
    return [tool, "split", *places, "--target-size", TARGET, "--transfer", transfer]


def _server_path(azurite: Azurite, proxy: Proxy, size: int) -> None:
    done = run(_split("server"))
    print(done.output if done.returncode else "", end="")
    ours = proxy.ours()
    num_parts = len(list(_parts(azurite)))
    print(
        f"server path: {done.wall_seconds:.1f} s, peak {done.peak_bytes / 1e6:.0f} MB, {num_parts} "
        f"parts, {proxy.client_bytes() / 1e6:.1f} MB through this machine "
        f"({proxy.client_bytes() / size:.2%} of the source), largest body "
        f"{max(seen.sent_bytes + seen.received_bytes for seen in ours) / 1e6:.1f} MB, "
        f"{len(ours)} requests ({len(ours) / num_parts:.0f} a part)"
    )
    for kind, number in Counter(map(_kind, ours)).most_common():
        print(f"  {number:6} {kind}")


def _comparison(azurite: Azurite, source: Path, out: Path) -> str:
    """Say whether DuckDB finds the same rows in the same order in the source and in the parts."""
    out.mkdir(exist_ok=True)
    names = sorted(_parts(azurite))
    for name in names:
        part = azurite.client().get_blob_client(CONTAINER, name)
        with (out / Path(name).name).open("wb") as file:
            part.download_blob(max_concurrency=4).readinto(file)
    parts = [str(out / Path(name).name) for name in names]
    found = [_digest([str(source)]), _digest(parts)]
    return f"rows and digest of source and parts by DuckDB: {found}, equal: {found[0] == found[1]}"


def _digest(paths: list[str]) -> tuple[int, int]:
    numbered = "(SELECT *, row_number() OVER () AS row FROM read_parquet(?))"
    query = f"SELECT count(*), bit_xor(hash(numbered)) FROM {numbered} AS numbered"
    found = duckdb.execute(query, [paths]).fetchone()
    assert found is not None
    return found[0], found[1]


def _kind(seen: Seen) -> str:
    query = seen.path.partition("?")[2]
    if "comp=blocklist" in query:
        return f"{seen.method} block list"
    if "comp=block" in query:
        return "copy a block" if "x-ms-copy-source" in seen.headers else "stage a block"
    return f"{seen.method} {'list' if 'comp=list' in query else 'blob'}"


def _client_path(azurite: Azurite, folder: Path, repeats: int) -> Iterator[Row]:
    out = folder / "out"
    blobs = [f"abfs://{CONTAINER}/source.parquet", f"abfs://{CONTAINER}/parts/copy.parquet"]
    adlfs = [sys.executable, "-c", _ADLFS, *blobs, str(out / "copy.parquet")]
    found = in_turn(
        {"adlfs get + put": adlfs, "client path": _split("client")},
        out,
        repeats=repeats,
        before_each=lambda: _clean(azurite),
    )
    for name, measured in found.items():
        yield {"": name, **measured.cells(), **measured.ratio_cells(found["adlfs get + put"])}


def _parts(azurite: Azurite) -> list[str]:
    container = azurite.client().get_container_client(CONTAINER)
    return [item.name for item in container.list_blobs("parts/part-")]


def _clean(azurite: Azurite) -> None:
    container = azurite.client().get_container_client(CONTAINER)
    for item in container.list_blobs("parts/"):
        container.delete_blob(item.name)
