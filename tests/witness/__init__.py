"""Independent witnesses: six foreign Parquet readers that say whether parts equal their source.

>>> verdict = judge([str(source)], [str(part) for part in parts])
>>> assert not verdict.differences, "\\n".join(verdict.differences)

``judge`` for the whole, ``Witness.digest`` and ``compare`` for one reader, ``wrong_statistics`` for
one file. What a reader cannot read of the *source* is in ``Verdict.not_compared``; what it can read
of the source and not of the parts is a difference.
"""

from tests.witness.judge import Verdict, all_witnesses, judge, probe, probe_pages, source_reading
from tests.witness.model import (
    Aggregates,
    CannotRead,
    ColumnReading,
    Probe,
    Reading,
    Witness,
    compare,
    not_compared,
)
from tests.witness.statistics import wrong_statistics

__all__ = [
    "Aggregates",
    "CannotRead",
    "ColumnReading",
    "Probe",
    "Reading",
    "Verdict",
    "Witness",
    "all_witnesses",
    "compare",
    "judge",
    "not_compared",
    "probe",
    "probe_pages",
    "source_reading",
    "wrong_statistics",
]
