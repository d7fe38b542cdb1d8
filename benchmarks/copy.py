"""Splitting against copying: the same file, ``cp`` and evensplit in turn."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from benchmarks.data import lineitem
from benchmarks.measure import medians

CASES = (  # layout, options of split
    ("many", ["--cut", "row-group"]),
    ("many", ["--cut", "row"]),
    ("31", ["--cut", "row"]),
    ("one", ["--cut", "row"]),
)


def main(folder: Path, scale: float, repeats: int) -> None:
    """Print wall time and peak memory of each case, and the ratio to ``cp``."""
    out = folder / "out"
    out.mkdir(exist_ok=True)
    tool = str(Path(sys.executable).with_name("evensplit"))
    print("| lineitem, row groups | cut | | wall | ratio | peak memory | parts, MB | re-encoded |")
    print("|---|---|---|---|---|---|---|---|")
    for layout, options in CASES:
        source = str(lineitem(folder, layout, scale))
        copied, parts = str(out / "copy.parquet"), str(out / "parts")

        def clean() -> None:
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()

        split = [tool, "split", source, parts, "--target-size", "100MB", "--json", *options]
        found = medians(
            {
                "cp": ["cp", source, copied],
                "split --no-fsync": [*split, "--no-fsync"],
                "cp and sync": ["sh", "-c", f"cp {source} {copied} && sync {copied}"],
                "split": split,
            },
            repeats=repeats,
            before_each=clean,
        )
        manifest = json.loads((out / "parts/_evensplit/manifest.json").read_text())
        sizes = [part["size_bytes"] for part in manifest["parts"]]
        encoded = sum(part["reencoded_bytes"] for part in manifest["parts"]) / sum(sizes)
        for name, median in found.items():
            base = found["cp" if "fsync" in name or name == "cp" else "cp and sync"]
            is_split = name.startswith("split")
            print(
                f"| {layout} | {options[-1]} | {name} | {median.wall_seconds:.2f} s "
                f"| {median.wall_seconds / base.wall_seconds:.2f} "
                f"| {median.peak_bytes / 1e6:.0f} MB "
                + (
                    f"| {len(sizes)}: {min(sizes) / 1e6:.1f} to {max(sizes) / 1e6:.1f} "
                    f"| {encoded:.2%} |"
                    if is_split
                    else "| | |"
                ),
                flush=True,
            )
