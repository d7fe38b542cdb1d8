"""Files of layouts that no known writer makes: their parts are read as they are."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import EvensplitError
from tests.layouts.judge import CALLS, judge
from tests.layouts.make import random_file

# Files by which something was found, and how they were split: DataFusion counted nulls right in the
# source, and wrong in parts of some of its row groups; pages without entries, which Arrow misreads;
# NaN that bounds of pages leave out.
FOUND = {
    "2:61": {"parts": 3, "with": "itself"},
    "2:115": {"rows_per_part": 7},
    "2:1059": {"parts": 1},
    "2:43": {"parts": 3, "dictionary": False},
    "2:58": {"parts": 1, "row_group_size": "7rows"},
    "2:94": {"parts": 3, "with": "itself"},
    "31:96": {"rows_per_part": 7},
}


@pytest.mark.parametrize("seed", FOUND)
def test_what_was_found_once(seed, tmp_path):
    outcome = judge(random_file(seed), seed, tmp_path / "files", FOUND[seed])
    assert outcome.word == "equal", outcome.said


@pytest.mark.ways(25)
@pytest.mark.parametrize("number", range(1000))
def test_parts_are_read_as_the_file_is(number, tmp_path):
    call = CALLS[number % len(CALLS)]
    outcome = judge(random_file(number), number, tmp_path / "files", call)
    assert outcome.word != "fault", outcome.said


def test_most_files_are_read_by_arrow_as_they_were_made():
    """Else nothing would be compared."""
    equal = 0
    for number in range(60):
        made = random_file(number)
        try:
            table = pq.ParquetFile(io.BytesIO(made.data)).read(use_threads=False)
            shown = {name: table[name].to_pylist() for name in table.column_names}
        except (OSError, pa.ArrowException, EvensplitError):
            continue
        equal += repr(shown) == repr(made.rows)
    assert equal >= 54
