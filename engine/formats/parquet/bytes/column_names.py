r"""Names of columns: how people write them, what of a schema they mean, how they are written back.

One grammar, wherever a column is named (``--columns``, ``--key``, the same in Python)::

    names     = name ("," name)*              spaces around a name do not count
    name      = component ("." component)*    nested.x is x in the group nested
    component = bare | quoted
    bare      = anything without a dot or comma that does not begin with a double quote
    quoted    = '"' ... '"'                   exactly one component; "" is a quote in it, a
                                              backslash escapes as in JSON: \" \\ \n \t \u202e

Dots between bare components may belong to a name: ``user.id`` is the flat column of that name, or
``id`` in the group ``user``, whichever there is. If there are both, the name is refused together
with the spellings that tell them apart: ``"user.id"`` and ``"user"."id"``. A group stands for all
in it; beginnings of names stand for nothing. A top-level column may also be given exactly as it is
called, so a list of a file's own column names always works.

Not covered: what is done with the columns (:mod:`.bytes.projection`,
:mod:`.profiler.keys`). Pure.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from engine.errors import BadSetting
from engine.formats.parquet.bytes.schema_tree import Node, path_of

QUOTING = (
    'a name that holds a dot, a comma or a quote goes into double quotes: "a,b", "user.id"; '
    '"" is a quote in it, \\n a new line'
)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.|"")*)"(?!")', re.DOTALL)
_NEEDS_QUOTES = re.compile(r'[.,]|^"|^\s|\s$|^$')
_MAX_NAMES = 20


class _Component(NamedTuple):
    text: str
    is_quoted: bool


def split_names(text: str) -> tuple[str, ...]:
    """Return the names in a text with commas between, each still as it was written.

    Raises:
        BadSetting: a quote is not closed, an escape is unknown, or there is no name between commas.
    """
    names = []
    start = 0
    while True:
        _, end = _read(text, start, stops=",")
        written = text[start:end].strip()
        if not written:
            raise BadSetting(
                f'{text!r} has no name between commas; a column without a name is written ""'
            )
        names.append(written)
        if end == len(text):
            return tuple(names)
        start = end + 1


def spelled(path: Sequence[str]) -> str:
    """Return the shortest spelling of a path: one line, and read back as these components."""
    return ".".join(
        _quoted(name) if _NEEDS_QUOTES.search(name) or not name.isprintable() else name
        for name in path
    )


def some_of(names: Sequence[str]) -> str:
    """Return names as a sentence has them: a long list is cut short."""
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(dict.fromkeys(names[:_MAX_NAMES])) + more


def resolve(nodes: Sequence[Node], name: str) -> Node:
    """Return the one column or group that a name means.

    Args:
        nodes: of the schema, see :attr:`.bytes.footer.Footer.nodes`.
        name: as the user wrote it.

    Raises:
        BadSetting: it means nothing, or more than one column.
    """
    return resolve_all(nodes, [name])[0]


def resolve_all(nodes: Sequence[Node], names: Iterable[str]) -> list[Node]:
    """Return the column or group that each name means; see :func:`resolve`."""
    children: dict[tuple[int, str], list[Node]] = {}
    for node in nodes[1:]:
        children.setdefault((node.parent, node.name), []).append(node)
    return [_only(nodes, _meant(children, name), name) for name in names]


def _read(text: str, start: int, stops: str) -> tuple[list[_Component], int]:
    """Read the name that begins at ``start``; return its components and where it ends."""
    components = []
    at = _behind_spaces(text, start)
    while True:
        begin = at
        is_quoted = text.startswith('"', at)
        if is_quoted:
            found = _QUOTED.match(text, at)
            if found is None:
                raise BadSetting(f"the quote in {text[begin:]!r} is not closed; {QUOTING}")
            components.append(_Component(_unquoted(found[1]), is_quoted=True))
            at = found.end()
            at = at if text.startswith(".", at) else _behind_spaces(text, at)
            if at < len(text) and text[at] not in "." + stops:
                raise BadSetting(f"more behind the closing quote in {text[begin:]!r}; {QUOTING}")
        else:
            while at < len(text) and text[at] not in "." + stops:
                at += 1
            components.append(_Component(text[begin:at], is_quoted=False))
        if at == len(text) or text[at] != ".":
            if not is_quoted:
                components[-1] = _Component(text[begin:at].rstrip(), is_quoted=False)
            return components, at
        at += 1


def _behind_spaces(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _quoted(name: str) -> str:
    inner = json.dumps(name, ensure_ascii=False)[1:-1]
    return (
        '"'
        + "".join(
            letter
            if letter.isprintable()
            else json.dumps(letter)[1:-1]  # as \\u escapes, in pairs of surrogates where needed
            for letter in inner
        )
        + '"'
    )


def _unquoted(inner: str) -> str:
    escaped = re.sub(
        r'\\.|""', lambda found: '\\"' if found[0] == '""' else found[0], inner, flags=re.DOTALL
    )
    try:
        return str(json.loads(f'"{escaped}"', strict=False))
    except ValueError as error:
        raise BadSetting(
            f"{inner!r}: a backslash in quotes escapes as in JSON (\\\\ is a backslash)"
        ) from error


def _meant(children: dict[tuple[int, str], list[Node]], name: str) -> list[Node]:
    found = {node.position: node for node in children.get((0, name), ())}
    try:
        components, _ = _read(name, 0, stops="")
    except BadSetting:
        if not found:
            raise
        return list(found.values())
    todo = [(0, 0)]
    while todo:
        parent, first = todo.pop()
        for last in range(first + 1, len(components) + 1):
            these = components[first:last]
            if len(these) > 1 and any(component.is_quoted for component in these):
                break
            for node in children.get((parent, ".".join(item.text for item in these)), ()):
                if last == len(components):
                    found[node.position] = node
                else:
                    todo.append((node.position, last))
    return list(found.values())


def _nearest(name: str, known: Sequence[str]) -> str:
    """Return the name that is most like another, in any case of letters; empty if none is."""
    written = {each.lower(): each for each in reversed(known)}
    near = difflib.get_close_matches(name.lower(), written, 1)
    return written[near[0]] if near else ""


def _only(nodes: Sequence[Node], found: list[Node], name: str) -> Node:
    if not found:
        near = _nearest(name, [spelled(path_of(nodes, node)) for node in nodes[1:]])
        if near:
            raise BadSetting(f"no column {name!r}; did you mean {near}?")
        tops = [spelled([node.name]) for node in nodes[1:] if node.parent == 0]
        raise BadSetting(f"no column {name!r}; there are {some_of(tops)}")
    paths = [path_of(nodes, node) for node in found]
    if len(found) > 1 and len(set(paths)) == len(paths):
        ways = " or ".join(".".join(map(_quoted, path)) for path in sorted(paths))
        raise BadSetting(f"column {name!r} may mean {len(found)} columns: write {ways}")
    if len(found) > 1:
        raise BadSetting(
            f"{len(found)} columns are called {spelled(paths[0])}; a name cannot tell them apart"
        )
    return found[0]
