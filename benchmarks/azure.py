"""Splitting a blob within Azurite: what passes through this machine, memory, and time.

The server path runs behind a counting proxy. The client path and adlfs (``get`` the blob to disk,
``put`` it back) take turns without one. Azurite shares this machine's cores with what is measured,
so the ratio says more than the seconds.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

from benchmarks.data import lineitem
from benchmarks.measure import medians, run
from tests.azurite import Azurite, running
from tests.azurite.proxy import Proxy, Seen, before

CONTAINER = "bench"
TARGET = "100MB"
LAYOUT = "many"
_ADLFS = """
import os, sys, fsspec
source, target, local = sys.argv[1:]
secret = os.environ["AZURE_STORAGE_CONNECTION_STRING"]
fs = fsspec.filesystem("abfs", connection_string=secret)
fs.get(source, local)
fs.put(local, target)
"""


def main(folder: Path, scale: float, repeats: int) -> None:
    """Print the server path's requests and bytes, then client path and adlfs side by side."""
    source = lineitem(folder, LAYOUT, scale)
    size = source.stat().st_size
    os.environ["AZURE_TOKEN_CREDENTIALS"] = "EnvironmentCredential"
    with running() as azurite:
        azurite.client().create_container(CONTAINER)
        blob = azurite.client().get_blob_client(CONTAINER, "source.parquet")
        with source.open("rb") as file:
            blob.upload_blob(file, max_concurrency=4)
        print(f"lineitem of {size / 1e6:.0f} MB, parts of at most {TARGET}")
        with before(azurite.port) as proxy:
            _use(azurite.through(proxy.port))
            _server_path(azurite, proxy, size)
        _use(azurite)
        _client_path(azurite, folder, repeats)


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
    verified = run([_split("server")[0], "verify", f"abfs://{CONTAINER}/parts"])
    print(verified.output)
    _clean(azurite)


def _kind(seen: Seen) -> str:
    query = seen.path.partition("?")[2]
    if "comp=blocklist" in query:
        return f"{seen.method} block list"
    if "comp=block" in query:
        return "copy a block" if "x-ms-copy-source" in seen.headers else "stage a block"
    return f"{seen.method} {'list' if 'comp=list' in query else 'blob'}"


def _client_path(azurite: Azurite, folder: Path, repeats: int) -> None:
    local = folder / "out" / "copy.parquet"
    local.parent.mkdir(exist_ok=True)
    blobs = [f"abfs://{CONTAINER}/source.parquet", f"abfs://{CONTAINER}/parts/copy.parquet"]
    adlfs = [sys.executable, "-c", _ADLFS, *blobs, str(local)]
    found = medians(
        {"client path": _split("client"), "adlfs get + put": adlfs},
        repeats=repeats,
        before_each=lambda: _clean(azurite),
    )
    for name, median in found.items():
        peak = median.peak_bytes / 1e6
        print(f"{name}: {median.wall_seconds:.1f} s, peak memory {peak:.0f} MB")
    ratio = found["adlfs get + put"].wall_seconds / found["client path"].wall_seconds
    print(f"throughput of the client path: {ratio:.2f} of adlfs")


def _parts(azurite: Azurite) -> list[str]:
    container = azurite.client().get_container_client(CONTAINER)
    return [item.name for item in container.list_blobs("parts/part-")]


def _clean(azurite: Azurite) -> None:
    container = azurite.client().get_container_client(CONTAINER)
    for item in container.list_blobs("parts/"):
        container.delete_blob(item.name)
