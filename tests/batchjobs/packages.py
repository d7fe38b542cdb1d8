"""Packages as `make package` makes them, of wheels that install in no time."""

from __future__ import annotations

import ensurepip
import sysconfig
import zipfile
from pathlib import Path

START = Path(__file__).parents[2] / "conf/batch/start.sh"


def make_package(folder, program):
    """Make a package in a folder, whose command ``evensplit`` runs a line of Python."""
    # Debian's Python, and others, have the wheel of pip elsewhere, and say where.
    elsewhere = sysconfig.get_config_var("WHEEL_PKG_DIR")
    where = Path(elsewhere) if elsewhere else Path(ensurepip.__file__).parent / "_bundled"
    bundled = next(where.glob("pip-*.whl"))
    (folder / bundled.name).write_bytes(bundled.read_bytes())
    (folder / "start.sh").write_bytes(START.read_bytes())
    (folder / "constraints.txt").write_text("needed==9\n")
    _make_wheel(folder, "evensplit", program, "Requires-Dist: needed\n")
    _make_wheel(folder, "needed", "pass")
    return folder


def delegating(command):
    """A program that becomes another one; only the start task need be quick."""
    return f"import os, sys; os.execv({str(command)!r}, [{str(command)!r}, *sys.argv[1:]])"


def _make_wheel(folder, name, program, needs=""):
    info = f"{name}-9.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 9\n{needs}"
    with zipfile.ZipFile(folder / f"{name}-9-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}_9.py", f"def main():\n    {program}\n")
        wheel.writestr(f"{info}/METADATA", metadata)
        about = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{info}/WHEEL", about)
        entry = f"[console_scripts]\n{name} = {name}_9:main\n"
        wheel.writestr(f"{info}/entry_points.txt", entry)
        wheel.writestr(f"{info}/RECORD", "")
