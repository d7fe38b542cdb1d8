"""What tests of whole runs share: small sources, the command line in and out of this process."""

from __future__ import annotations

import io
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine import work
from engine.cli.main import main
from engine.formats.parquet.opened import files_held

REPOSITORY = Path(__file__).parents[2]
OPTIONS: dict[str, Any] = {
    "compression": "zstd",
    "data_page_size": 8 << 10,
    "dictionary_pagesize_limit": 8 << 10,
    "write_page_index": True,
}


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def make_table(num_rows: int, seed: int = 1) -> pa.Table:
    rng = np.random.default_rng(seed)
    text = [f"text {value}" if value % 9 else None for value in rng.integers(0, 10**7, num_rows)]
    return pa.table(
        {
            "id": pa.array(np.arange(num_rows)),
            "random": pa.array(rng.integers(0, 1 << 60, num_rows)),
            "float": pa.array(rng.random(num_rows)),
            "text": pa.array(text),
            "few": pa.array(np.array(["red", "green", "blue"])[rng.integers(0, 3, num_rows)]),
        }
    )


def write_source(
    path: Path,
    num_rows: int = 20_000,
    *,
    seed: int = 1,
    row_group_size: int = 7_000,
    **options: Any,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = make_table(num_rows, seed)
    pq.write_table(table, path, row_group_size=row_group_size, **OPTIONS | options)
    return path


def write_trap(
    path: Path, *, num_honest: int = 0, num_rows: int = 500, value_bytes: int = 100
) -> Path:
    """Write 40 row groups of noise, but where a plan of another codec looks at first: zeros there.

    So parts come out larger than that plan expects, but for those of the first ``num_honest``.
    Pages of ten rows are so many that not all are looked at.
    """
    rng = np.random.default_rng(3)
    looked_at = {int((i + 0.5) / 7 * 40) for i in range(7)}
    schema = pa.schema([("noise", pa.binary())])
    options = {"compression": "none", "use_dictionary": False, "max_rows_per_page": 10}
    with pq.ParquetWriter(path, schema, write_batch_size=10, **options) as writer:
        for group in range(40):
            some_bytes = rng.bytes if group < num_honest or group not in looked_at else bytes
            values = [some_bytes(value_bytes) for _ in range(num_rows)]
            writer.write_table(pa.table([values], schema))
    return path


def run(*words: str | Path) -> Ended:
    """Run the command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = None
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main([str(word) for word in words])
        except SystemExit as error:
            code = error.code
    assert isinstance(code, int)
    return Ended(code, out.getvalue(), err.getvalue())


def start(
    *words: str | Path, first: str = "", prefix: tuple[str, ...] = (), **options: Any
) -> subprocess.Popen[str]:
    """Start the command line in a process of its own; ``first`` is Python that it runs before.

    ``prefix`` is what the command begins with.
    """
    program = f"{first}\nfrom engine.cli.start import main; main()"
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", program, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        **options,
    )


# Nothing is expected to take so long: what does, hangs. It is under a test's own limit (600 s, in
# pyproject.toml), and more than anything takes where eight other processes want the same cores.
HANG_SECONDS = 240.0


def end(process: subprocess.Popen[str], timeout: float = HANG_SECONDS) -> Ended:
    out, err = process.communicate(timeout=timeout)
    return Ended(process.returncode, out, err)


def one_by_one(tasks: Sequence[Any], resources: Any, *, on_receipt: Any, **_: Any) -> None:
    """In place of ``splitter.run_parts``: in this thread, in order, of tasks as they are sent."""
    for task in tasks:
        on_receipt(work.write_part(pickle.loads(pickle.dumps(task))))


def three_parts(tasks: Sequence[Any], resources: Any, **options: Any) -> None:
    """In place of ``splitter.run_parts``: a run that is stopped behind its third part."""
    one_by_one(tasks[:3], resources, **options)
    raise KeyboardInterrupt


def parts_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


def part_paths(folder: Path) -> list[str]:
    """The same as text, which some readers want."""
    return [str(path) for path in parts_of(folder)]


_CLAIM = re.compile(rb',\s*"claim": "[0-9a-f]+"')


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but locks and what tells the time, with its bytes.

    A claim's token, which is another each time that a plan is replaced, is left out.
    """
    return {
        str(path.relative_to(folder)): _CLAIM.sub(b"", path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (".lock", "run.json")
    }


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder, with its time and its bytes."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def parts_contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in parts_of(folder)}


def read_parts(folder: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in parts_of(folder)])


def leftovers(folder: Path) -> list[str]:
    """Files that a finished split must not leave behind."""
    return [str(path) for path in folder.rglob(".*") if path.name != ".lock"]


def close_files() -> None:
    """Close what was opened outside of any call."""
    with files_held():
        pass
