"""Files of lines whose records are not counted: against ``cp``, and within Azurite.

Delimited text without quotes is split on the disk and copied by ``cp`` in turn, without sync. JSON
lines of 1 GB are split by Azurite behind a proxy, which counts what passes through this machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.azure import CONTAINER
from benchmarks.data import made
from benchmarks.measure import in_turn, run
from benchmarks.table import Row
from tests.azurite import running
from tests.azurite.proxy import before

_BIN = Path(sys.executable).parent
_RECORDS, _NUM_BLOCKS = 50_000, 340


def figures(folder: Path, scale: float, repeats: int) -> Iterator[Row]:
    """Yield ``cp`` and splits of lineitem as text; print what Azurite was asked for."""
    source, out = _lineitem(folder, scale), folder / "out"
    split = _split(str(source), str(out / "parts"), "--quote", "none", "--no-fsync")
    commands = {
        "cp": ["cp", str(source), str(out / "copy.csv")],
        "split": split,
        "split, counted": [*split, "--count-records"],
    }
    found = in_turn(commands, out, repeats=repeats)
    for name, measured in found.items():
        yield {"": name, **measured.cells(), **measured.ratio_cells(found["cp"])}
    print(_within_azurite())


def _split(*words: str) -> list[str]:
    return [str(_BIN / "evensplit"), "split", *words, "--target-size", "100MB"]


def _lineitem(folder: Path, scale: float) -> Path:
    """Return lineitem as delimited text."""

    def make(path: Path) -> None:
        words = ["csv", "-s", f"{scale:g}", "-T", "lineitem", "-o", str(path.parent)]
        command = [str(_BIN / "tpchgen-cli"), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (path.parent / "lineitem.csv").rename(path)

    return made(folder / f"lineitem-sf{scale:g}-text" / "rows.csv", make)


def _within_azurite() -> str:
    """Split JSON lines within Azurite; return what passed through this machine."""
    line = '{"id": 1%06d, "text": "some text, as long as a line is"}\n'
    block = "".join(line % number for number in range(_RECORDS)).encode()
    os.environ["AZURE_TOKEN_CREDENTIALS"] = "EnvironmentCredential"
    with running() as azurite:
        container = azurite.client().create_container(CONTAINER)
        blob = container.get_blob_client("in.ndjson")
        names = [f"{number:05d}" for number in range(_NUM_BLOCKS)]
        for name in names:
            blob.stage_block(name, block)
        blob.commit_block_list(names)
        with before(azurite.port) as proxy:
            there = azurite.through(proxy.port).connection_string
            os.environ["AZURE_STORAGE_CONNECTION_STRING"] = there
            places = [f"abfs://{CONTAINER}/{name}" for name in ("in.ndjson", "parts")]
            done = run(_split(*places, "--transfer", "server"))
    size, passed = len(block) * _NUM_BLOCKS, proxy.client_bytes()
    return (
        f"{done.output}{size / 1e6:,.0f} MB of NDJSON: {passed / 1e3:,.0f} kB through this machine "
        f"({passed / size:.4%}), {len(proxy.ours())} requests, {done.cpu_seconds:.1f} s of CPU"
    )
