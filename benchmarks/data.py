"""Inputs: TPC-H lineitem in the layouts that matter, made once by tpchgen-cli."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LAYOUTS = {
    "many": [],  # the generator's default: row groups of about 5 MB
    "31": ["--row-group-bytes", "128MB"],
    "one": ["--row-group-bytes", "40GB"],  # a single row group
}


def lineitem(folder: Path, layout: str, scale: float) -> Path:
    """Return a lineitem file, making it if it is not there."""
    place = folder / f"lineitem-sf{scale:g}-{layout}"
    path = place / "lineitem.parquet"
    if not path.exists():
        print(f"making {path}", file=sys.stderr)
        tool = Path(sys.executable).with_name("tpchgen-cli")
        command = [str(tool), "parquet", "-s", f"{scale:g}", "-T", "lineitem", "-o", str(place)]
        subprocess.run([*command, *LAYOUTS[layout]], check=True, stdout=subprocess.DEVNULL)
    return path
