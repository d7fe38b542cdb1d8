"""Split every file of a folder: ``split_folder.py lake/ parts/``."""

import sys
from pathlib import Path

import evensplit


def split_folder(source: Path, destination: Path, target_size: str = "100MB") -> int:
    num_parts = 0
    for path in sorted(source.glob("*.parquet")):
        # Run again after an interruption, each split goes on where it stopped.
        result = evensplit.split(path, destination / path.stem, target_size=target_size)
        num_parts += len(result.manifest.parts)
    return num_parts


if __name__ == "__main__":
    print(split_folder(Path(sys.argv[1]), Path(sys.argv[2])), "parts")
