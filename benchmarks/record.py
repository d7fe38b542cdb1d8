"""What a benchmark found, kept as JSON: its rows, and where, when and with what it ran."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks.table import Row
from engine.version import __version__

FOLDER = Path("build/bench")
PACKAGES = ("pyarrow", "duckdb", "polars", "pandas", "pyspark", "fastparquet")


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _machine() -> str:
    memory = psutil.virtual_memory().total / (1 << 30)
    return f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB of memory"


def _versions() -> str:
    tools = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"evensplit {__version__}, {tools}, Python {platform.python_version()}"


@dataclass
class Record:
    """One benchmark's result; ``load`` is how many processes wanted a core as it began."""

    name: str
    scale: float
    repeats: int
    rows: list[Row] = field(default_factory=list)
    day: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y-%m-%d}")
    load: float = field(default_factory=lambda: os.getloadavg()[0])
    machine: str = field(default_factory=_machine)
    versions: str = field(default_factory=_versions)

    @property
    def command(self) -> str:
        return f"python -m benchmarks {self.name} --scale {self.scale:g} --repeats {self.repeats}"

    def save(self) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / f"{self.name}.json").write_text(json.dumps(asdict(self), indent=1))


def load(name: str) -> Record:
    """Return the last record of a benchmark."""
    path = FOLDER / f"{name}.json"
    if not path.exists():
        sys.exit(f"{name} was not measured yet: python -m benchmarks {name}")
    return Record(**json.loads(path.read_text()))
