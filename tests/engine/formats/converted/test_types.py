"""Schemas in words, in JSON, and of Parquet files mean the same, or are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import BadSetting
from engine.formats.converted.types import arrow_schema, checked, read_schema, word_of

WORDS = {
    "id": "bigint",
    "price": "decimal(12,2)",
    "day": "date",
    'a "b", c': "varchar",
    "at": "timestamptz",
    "x": "double",
}


def test_words_json_and_parquet_say_the_same(tmp_path: Path):
    text = (
        'id INT64, price Numeric( 12 , 2 ),day date, "a ""b"", c" varchar(20), '
        "at timestamp with time zone, x double precision"
    )
    assert read_schema(text) == WORDS
    (tmp_path / "s.json").write_text(json.dumps(WORDS))
    assert read_schema(str(tmp_path / "s.json")) == WORDS
    pq.write_table(arrow_schema(WORDS).empty_table(), tmp_path / "s.parquet")
    assert read_schema(str(tmp_path / "s.parquet")) == WORDS


def test_types_within_types_are_json():
    words = {"a": ["bigint"], "b": {"c": ["varchar"], "d": "date"}}
    assert read_schema(json.dumps(words)) == words
    kind = arrow_schema(words).field("b").type
    assert kind == pa.struct([("c", pa.list_(pa.string())), ("d", pa.date32())])
    assert word_of(kind, "b") == words["b"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id bigit", "did you mean bigint"),
        ("id float", "write real .* or double"),
        ("id", "not understood at id"),
        ("id bigint price double", "type"),
        ("id bigint, id double", "twice"),
        ("", "empty"),
        ("id decimal(40,2)", "type"),
        ('{"a": {}}', "without keys"),
        ('{"a": "bigint", "a": "date"}', "twice"),
        ("{", "no JSON"),
        ("missing.json", "not there"),
        ("missing.parquet", "missing.parquet"),
    ],
)
def test_what_is_no_schema_is_refused(text: str, told: str):
    with pytest.raises(BadSetting, match=told):
        read_schema(text)


def test_a_parquet_file_may_have_types_that_lines_have_not(tmp_path: Path):
    pq.write_table(
        pa.table({"m": pa.array([], pa.map_(pa.string(), pa.int64()))}), tmp_path / "m.pq"
    )
    with pytest.raises(BadSetting, match="m is map"):
        read_schema(str(tmp_path / "m.pq"))
    (tmp_path / "n.pq").write_bytes(b"none")
    with pytest.raises(BadSetting, match="no Parquet file"):
        read_schema(str(tmp_path / "n.pq"))


def test_every_word_means_itself():
    for word in ("boolean", "tinyint", "ubigint", "real", "timestamp(9)", "decimal(38,0)"):
        kind = arrow_schema({"a": word}).field("a").type
        assert word_of(kind, "a") == checked(word, "a") == word
