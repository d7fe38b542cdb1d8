"""The beginning of ``make fuzz``: a minute of it, counted in mutants."""

from pathlib import Path

import pytest

from tests.fuzz.run import Fuzz, run, scratch, write_corpus

MUTANTS = 1_000


@pytest.mark.slow
def test_damaged_files_are_refused_in_a_line_or_read_as_before():
    with scratch() as folder:
        goods = write_corpus(Path(folder) / "good")
        assert len(goods) >= 20
        found = run(Fuzz(goods, Path(folder), seed=1), most=MUTANTS, workers=2)
    print(found.line)
    assert not found.faults, "\n".join(f"{f['said']}: {f['again']}" for f in found.faults)
    assert sum(found.counts.values()) == MUTANTS
    # Not all are caught by the first check, nor are all harmless.
    assert found.counts["refused"] > MUTANTS / 5
    assert found.counts["equal"] > MUTANTS / 5
