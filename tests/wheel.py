"""``make wheel``: build the wheel, check it, and use it where there is no checkout.

The commands are those of the README that need no Azure, in a new environment and an empty folder.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "wheel"
_POOL = (
    "--image microsoft-dsvm:ubuntu-hpc:2404:1.2.3 --agent 'batch.node.ubuntu 24.04' "
    "--container example/evensplit:1 "
    "--vm-size standard_d4ds_v5 --slots 4 --formula spot --spot 20 --dedicated 5"
)
COMMANDS = (
    "evensplit demo lake --size 60MB --target-size 15MB",
    "evensplit profile lake/sample.parquet",
    "evensplit plan lake/sample.parquet --parts 3 --codec ZSTD",
    "evensplit split lake/sample.parquet parts --parts 3 --verify",
    "evensplit verify parts",
    "evensplit batch submit --local lake/sample.parquet --dest out --parts 2",
    "evensplit batch simulate --files 1000 --median 5GB --slots 4 --spot 200 --formula spot",
    f"evensplit batch pool create nodes --dry-run {_POOL}",
    "python -m evensplit --version",
    "python -m engine --version",
)


def build() -> Path:
    """Return the wheel, checked as PyPI and its contents' checker do."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", FOLDER, ROOT], check=True)
    (wheel,) = FOLDER.glob("*.whl")
    tools = Path(sys.executable).parent
    subprocess.run([tools / "check-wheel-contents", wheel], check=True, cwd=ROOT)
    subprocess.run([tools / "twine", "check", "--strict", wheel], check=True)
    return wheel


def use(wheel: Path, folder: Path) -> None:
    """Install a wheel into an environment of its own, and run the commands there."""
    subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True)
    tools = folder / "env" / "bin"
    # Isolated: with the checkout on its path, pip would find evensplit there already.
    pip = [tools / "python", "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    constraints = ROOT / "conf" / "constraints.txt"
    subprocess.run([*pip, "-c", constraints, f"{wheel}[report]"], check=True)
    place = {"PATH": f"{tools}:/usr/bin:/bin", "HOME": str(folder), "COLUMNS": "80"}
    work = folder / "work"
    work.mkdir()
    for command in COMMANDS:
        print(f"$ {command}", flush=True)
        subprocess.run(command, shell=True, check=True, cwd=work, env=place)


if __name__ == "__main__":
    made = build()
    with tempfile.TemporaryDirectory() as name:
        use(made, Path(name))
