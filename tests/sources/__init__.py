"""Test sources by six real writers: ``SOURCES[name].write(directory)``, or ``written`` to cache.

>>> path = written(SOURCES["pyarrow-nested-v2"], cache_dir)

In tests take the ``source_file`` fixture (``tests.sources.fixtures``). Not here: files of over
2 GiB, encrypted files, broken files, and files of old writers (parquet-testing).
"""

from tests.sources import write_engines, write_pyarrow, write_spark, write_tpch
from tests.sources.case import SourceCase, written
from tests.sources.table import make_table

_MODULES = (write_pyarrow, write_tpch, write_engines, write_spark)
SOURCES: dict[str, SourceCase] = {c.name: c for m in _MODULES for c in m.CASES}

__all__ = ["SOURCES", "SourceCase", "make_table", "written"]
