"""Sizes as text: Dask's rules, without Dask."""

from __future__ import annotations

import pytest
from dask.utils import parse_bytes

from engine.errors import BadSetting
from engine.settings import parse_size


@pytest.mark.parametrize(
    "text",
    ["100", "7b", "100 MB", "100M", ".5GB", "5.4 kB", "1e6", "1E3 kiB", "2 Ti", "1_000", "3pb", 9],
)
def test_a_size_is_read_as_dask_reads_it(text: str | int):
    assert parse_size(text) == parse_bytes(text)


@pytest.mark.parametrize("text", ["", "MB", "5 foos", "1e", "-3", "0", "inf", "nan", "½MB"])
def test_what_is_no_size_is_refused(text: str):
    with pytest.raises(BadSetting, match="is no size"):
        parse_size(text)
