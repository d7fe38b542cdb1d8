"""Columns whose values are ever new get no dictionary where that takes less."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import engine
from engine.formats.converted.writing import plain_columns
from engine.model import Recoding

NUM_ROWS = 20_000


def records() -> list[dict[str, Any]]:
    rng = random.Random(1)
    words = [f"word {number}" for number in range(50)]
    return [
        {
            "id": number // 4,
            "price": rng.randrange(1 << 40) / 100,
            "a.b": rng.choice(words),
            "in": {"day": rng.randrange(300), "text": f"{rng.random()} {rng.random()}"},
            "list": [{"x": rng.random(), "y": rng.choice(words)}],
        }
        for number in range(NUM_ROWS)
    ]


def with_dictionary(path: Path) -> set[str]:
    group = pq.read_metadata(path).row_group(0)
    columns = [group.column(at) for at in range(group.num_columns)]
    return {each.path_in_schema for each in columns if each.has_dictionary_page}


@pytest.mark.ways(1)
@pytest.mark.parametrize("dictionary", [None, True, False])
def test_values_that_are_ever_new_get_no_dictionary(tmp_path: Path, dictionary: bool | None):
    lines = [json.dumps(record) for record in records()]
    (tmp_path / "in.ndjson").write_text("\n".join(lines))
    out = tmp_path / "out"
    engine.split(
        tmp_path / "in.ndjson", out, to="parquet", parts=2, dictionary=dictionary, verify=True
    )
    few = {"a.b", "in.day", "list.list.element.y"}
    every = few | {"id", "price", "in.text", "list.list.element.x"}
    wanted = {None: few, True: every, False: set()}[dictionary]
    assert [with_dictionary(path) for path in sorted(out.glob("*.parquet"))] == [wanted] * 2


def test_a_dictionary_stays_where_values_come_again_or_nothing_is_known():
    ever = pa.array(range(NUM_ROWS))
    again = pa.array([number % 3_000 for number in range(NUM_ROWS)])
    table = pa.table({"ever": ever, "again": again})
    assert plain_columns(table, Recoding(codec=None)) == ("ever",)
    few = table.slice(0, 100)
    assert plain_columns(few, Recoding(codec=None)) == ()
    assert plain_columns(table, Recoding(dictionary=True)) == ()
