"""Templates of part names: what they give are names of files, or they are refused in a sentence."""

from __future__ import annotations

from string import Formatter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.part_names import (
    DEFAULT_NAME,
    MAX_NAME_BYTES,
    PARQUET_SUFFIXES,
    NameFields,
    is_named_by,
    names_problem,
    part_name,
    stem_of,
    template_problem,
)

GOOD = [
    "{stem}-{index}of{total}.parquet",
    "{first_row:012d}+{num_rows}.pq",
    DEFAULT_NAME,
    "{index}.pq",
    "a {index:>5}.parq",
    "{{x}}-{index:x}.parquet",
    "列{index}.pq",
]
REFUSED = {
    "x{idx}.parquet": "unknown field {idx}",
    "{}.parquet": "unknown field {}",
    "{index.real}.parquet": "unknown field {index.real}",
    "x.parquet": "every part one name",
    "{{index}}.parquet": "every part one name",
    "{stem}-{total}-{num_rows}.parquet": "every part one name",
    "{index}-{stem:d}.parquet": "a format that its field cannot have",
    "{index}.{stem}": "ending",
    "": "every part one name",
    "{index!s:.1}.parquet": "several parts one name",
    "{index:g}.parquet": "several parts one name",
    "{index:zz}.parquet": "a format that its field cannot have",
    "{index:{width}}.parquet": "a format that its field cannot have",
    "{index:999999999}.parquet": "more than 999 digits",
    "{index.parquet": "without its other half",
    "a/{index}.parquet": "slash",
    "a\\{index}.parquet": "slash",
    "_{index}.parquet": "begins with _ or .",
    ".{index}.parquet": "begins with _ or .",
    "{index}": "ending",
    "{index}.csv": "ending",
    "a\n{index}.parquet": "cannot be printed",
    "{index:c}.parquet": "cannot be printed",
    "x" * 229 + "{index}.parquet": "241 bytes",
}


@pytest.mark.parametrize("template", GOOD)
def test_a_template_is_taken(template: str):
    assert not template_problem(template)


@pytest.mark.parametrize(("template", "words"), REFUSED.items())
def test_a_template_is_refused(template: str, words: str):
    assert words in template_problem(template)


def test_a_name_says_what_a_part_is():
    fields = NameFields(3, 12, stem_of("s3://b/x/big.data.parquet"), 500, 20)
    assert part_name("{stem}-{index:02d}of{total}@{first_row}+{num_rows}.pq", fields) == (
        "big.data-03of12@500+20.pq"
    )


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a.pq", "b.pq", "a.pq"], "several parts one name, a.pq"),
        (["_a.pq"], "begins with _ or ."),
        (["a\\b.pq"], "holds a slash"),
        (["\x1b.pq"], "cannot be printed"),
        (["x" * 250], "over 241 bytes"),
        (["a.pq", "b.pq"], ""),
    ],
)
def test_names_of_a_plan_are_looked_at_again(names: list[str], words: str):
    assert words in names_problem(names)
    assert bool(words) == bool(names_problem(names))


PIECES = [
    "{stem}",
    "{total}",
    "{first_row}",
    "{index}",
    "{index:05d}",
    "{index:x}",
    "{",
    "}",
    "{{",
    "a",
    "列",
    "/",
    ".",
]
pieces = st.sampled_from(PIECES)
endings = st.sampled_from(["", ".parquet", ".pq"])


@given(st.lists(pieces | st.text(max_size=80), max_size=6).map("".join), endings)
def test_what_is_taken_gives_names_that_differ(stem: str, ending: str):
    template = stem + ending
    if template_problem(template):
        return
    names = [part_name(template, NameFields(i, 2000, "x", i)) for i in range(2000)]
    assert len(set(names)) == 2000
    assert {field for _, field, _, _ in Formatter().parse(template)} & {"index", "first_row"}
    for name in names:
        assert name.endswith(PARQUET_SUFFIXES)
        assert name.isprintable()
        assert "/" not in name
        assert len(name.encode()) <= MAX_NAME_BYTES


@given(
    st.sampled_from([*GOOD, "{index:_}.pq", "{index:,}-x.pq", "{index:o}{index:b}.pq"]),
    st.integers(0, 10**7),
)
def test_a_name_is_known_by_its_template(template: str, index: int):
    name = part_name(template, NameFields(index=index, first_row=3 * index, stem="a.b [x]"))
    assert is_named_by(template, name)
    for other in (f"{name}x", name.replace(".p", "..q"), "notes.txt", ""):
        assert not is_named_by(template, other)
    if not template.startswith("{"):
        assert not is_named_by(template, f"y{name}")
    assert is_named_by(DEFAULT_NAME, f"part-{index:06d}.parquet")
