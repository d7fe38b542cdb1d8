"""Names of columns: every column can be named, no name means another one, the rest is refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import BadSetting
from engine.formats.parquet.bytes.column_names import resolve, spelled, split_names
from engine.formats.parquet.bytes.schema_tree import Node, path_of
from tests.engine.formats.parquet.bytes.schemas import Tree, elements, footer_of, trees

ODD = st.text(st.sampled_from("ab.,\"'\\ \n\t\x1b\u202e\x9b[]/{é\U000e0001"), max_size=4)
FEW = st.sampled_from(["a", "b", "a.b", "b.a", ".", "", "a,b", '"a"', "a.b.a"])


def nodes_of(trees: list[Tree]) -> list[Node]:
    return footer_of(elements(trees)).nodes


def every_path(nodes: list[Node]) -> list[tuple[str, ...]]:
    return [path_of(nodes, node) for node in nodes[1:]]


@settings(deadline=None)
@given(st.lists(st.lists(ODD, min_size=1, max_size=3), min_size=1, max_size=4))
def test_spellings_are_one_line_and_are_split_again(paths: list[list[str]]) -> None:
    names = [spelled(path) for path in paths]
    assert all(name.isprintable() for name in names)
    assert list(split_names(" , ".join(names))) == names
    assert len(set(names)) == len(set(map(tuple, paths)))


@settings(deadline=None)
@given(trees(ODD | FEW))
def test_every_column_can_be_named_or_the_name_is_refused(trees: list[Tree]) -> None:
    nodes = nodes_of(trees)
    for path in every_path(nodes):
        try:
            found = resolve(nodes, spelled(path))
        except BadSetting as error:  # another column bears it, too
            assert "may mean" in str(error)  # noqa: PT017 - either is right
            fully = ".".join('"' + spelled([f"{name},"])[1:-2] + '"' for name in path)
            assert fully in str(error)  # noqa: PT017
            continue
        assert path_of(nodes, found) == path


@settings(deadline=None)
@given(trees(FEW), ODD | FEW)
def test_a_bare_name_means_what_reads_so_and_nothing_else(trees: list[Tree], name: str) -> None:
    nodes = nodes_of(trees)
    bare = name.strip()
    if '"' in bare:
        return
    wanted = [path for path in every_path(nodes) if ".".join(path) == bare or path == (name,)]
    if len(wanted) == 1:
        assert path_of(nodes, resolve(nodes, name)) == wanted[0]
    else:
        with pytest.raises(BadSetting, match="may mean" if wanted else "no column"):
            resolve(nodes, name)


@settings(deadline=None)
@given(trees(ODD | FEW))
def test_a_name_with_a_letter_too_many_is_told_with_one_that_is_there(trees: list[Tree]) -> None:
    nodes = nodes_of(trees)
    written = {spelled(path) for path in every_path(nodes)}
    for name in written:
        if '"' in name or len(name) < 3:
            continue
        longer = f"{name}_".upper()
        if longer in written:
            continue
        with pytest.raises(BadSetting) as refusal:
            resolve(nodes, longer)
        near = re.search(r"; did you mean (.*)\?$", str(refusal.value), re.DOTALL)
        assert near
        assert near[1] in written


@settings(deadline=None)
@given(trees(ODD | FEW))
def test_a_list_of_a_files_own_names_is_taken_or_refused(trees: list[Tree]) -> None:
    nodes = nodes_of(trees)
    for name, _ in trees:
        try:
            found = resolve(nodes, name)
        except BadSetting as error:
            assert "may mean" in str(error)  # noqa: PT017
            continue
        assert path_of(nodes, found) == (name,)


def test_ambiguity_is_refused_with_spellings_that_end_it() -> None:
    nodes = nodes_of([("a.b", None), ("a", [("b", None)])])
    with pytest.raises(BadSetting, match=r'write "a"\."b" or "a\.b"'):
        resolve(nodes, "a.b")
    assert path_of(nodes, resolve(nodes, '"a"."b"')) == ("a", "b")
    assert path_of(nodes, resolve(nodes, '"a.b"')) == ("a.b",)
    assert path_of(nodes, resolve(nodes, 'a."b"')) == ("a", "b")


def test_a_name_that_occurs_twice_is_refused() -> None:
    nodes = nodes_of([("a", None), ("b", None), ("a", None)])
    with pytest.raises(BadSetting, match="2 columns are called a"):
        resolve(nodes, "a")
    assert resolve(nodes, "b").position == 2


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a", ["a"]),
        (" a , b.c ", ["a", "b.c"]),
        ('"a,b",c', ['"a,b"', "c"]),
        ('"say ""hi"", you",x', ['"say ""hi"", you"', "x"]),
        ('"",""', ['""', '""']),
        ('say "hi, you', ['say "hi', "you"]),
        ("St. Louis,b", ["St. Louis", "b"]),
    ],
)
def test_texts_with_commas(text: str, names: list[str]) -> None:
    assert list(split_names(text)) == names


@pytest.mark.parametrize(
    "text", ["", ",", "a,,b", "a,", '"a', '"a"b', '"\\d"', '"a" "b"', '"""', "a, ,b"]
)
def test_texts_that_are_no_names(text: str) -> None:
    with pytest.raises(BadSetting) as told:
        split_names(text)
    assert str(told.value).isprintable()


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ('"a\\nb"', "a\nb"),
        ('"\\u202e"', "\u202e"),
        ('"""a"""', '"a"'),
        ('"a\\"b"', 'a"b'),
        ('"\\\\"', "\\"),
        ("\\", "\\"),
        ('a"b', 'a"b'),
        ("St. Louis", "St. Louis"),
        ('" a "', " a "),
        ('""', ""),
    ],
)
def test_escapes(written: str, name: str) -> None:
    nodes = nodes_of([(name, None), ("other", None)])
    assert resolve(nodes, written).position == 1
    assert path_of(nodes, resolve(nodes, spelled([name]))) == (name,)
