"""Encodings of text beside UTF-8: which there are, and how their bytes become UTF-8 and come back.

Marks (delimiters, quotes, line feeds) are ASCII. So records are found without decoding: single-byte
encodings have these bytes as they are, and UTF-16 is seen as one byte a code unit
(:class:`WideSource`), in which whatever is no ASCII is an x. Positions are bytes there, code units
here; only what becomes values is decoded. Bytes that an encoding lacks become bytes that are no
UTF-8 either, so that who reads the text finds the record to blame. Not covered: encodings of
several bytes a character but UTF-16, and EBCDIC.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engine.errors import BadSetting, BadStructure
from engine.model import Dialect, Range
from engine.storage import Source
from engine.storage.base import RangeFile, steps

# Names of Python's codecs; each has others, as latin-1, windows-1252.
_SINGLE = frozenset(
    [
        *(f"iso8859-{number}" for number in (*range(1, 12), *range(13, 17))),
        *(f"cp{number}" for number in (437, 850, 852, 855, 857, 858, 866, *range(1250, 1259))),
        *("koi8-r", "koi8-u", "mac-roman", "mac-latin2", "mac-cyrillic"),
    ]
)
_WIDE = ("utf-16-le", "utf-16-be")
_BY_MARK = "utf-16"
_PLAIN = ("utf-8", "ascii")
UTF_8_MARK = b"\xef\xbb\xbf"
_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be", UTF_8_MARK: "utf-8"}
MARK_BYTES = 3  # of a begin, that are looked at
_SWAPPED_FEED = "\u0a00".encode()
_STAND_IN = ord("x")
_STEP_UNITS = 1 << 20


@dataclass(frozen=True)
class Encoding:
    """How text is encoded; ``name`` is Python's, empty for UTF-8."""

    name: str

    @property
    def unit_bytes(self) -> int:
        """Bytes of a code unit."""
        return 2 if self.name in _WIDE else 1

    @property
    def grows(self) -> int:
        """How many bytes of UTF-8 a code unit of usual text takes at most."""
        return 1 if not self.name else 1 + self.unit_bytes

    def utf8(self, data: bytes) -> bytes:
        """Return text as UTF-8; what the encoding lacks as something that is none."""
        if not self.name:
            return data
        return data.decode(self.name, self._lacking).encode("utf-8", "surrogatepass")

    def back(self, text: bytes) -> bytes:
        """Return the bytes of which :meth:`utf8` made a text."""
        if not self.name:
            return text
        return text.decode("utf-8", "surrogatepass").encode(self.name, self._lacking)

    def num_units(self, text: bytes) -> int:
        """Return how many code units a text in UTF-8 has in this encoding."""
        return len(self.back(text)) // self.unit_bytes

    def is_swapped(self, text: bytes) -> bool:
        """Whether a text has line feeds only if the bytes of its code units change places."""
        return self.unit_bytes > 1 and b"\n" not in text and _SWAPPED_FEED in text

    def reason(self, text: bytes, position: int) -> str:
        """Return what is wrong with a text that is no UTF-8 from a position on."""
        unit = "character" if self.unit_bytes > 1 else "byte"
        place = self.num_units(text[:position]) + 1
        return f"its {unit} {place:,} is no {self.name or 'UTF-8'}"

    @property
    def _lacking(self) -> str:
        return "surrogatepass" if self.name in _WIDE else "surrogateescape"


def encoding_named(name: str | None) -> str:
    """Return the name by which an encoding is kept, of any that it goes by; empty for UTF-8.

    None is UTF-8 as well.

    Raises:
        BadSetting: it is none of those that are read.
    """
    if name is None:
        return ""
    try:
        found = codecs.lookup(name.strip()).name
    except (LookupError, ValueError):
        found = ""
    if found in _PLAIN:
        return ""
    if found not in (*_SINGLE, *_WIDE, _BY_MARK):
        raise BadSetting(
            f"--encoding is {name!r}, which is not read: say utf-8, latin-1, cp1252 or another of "
            "a byte a character, utf-16, utf-16-le or utf-16-be, or write the file as UTF-8 (iconv)"
        )
    return found


def encoding_at(head: bytes, wanted: str) -> Encoding:
    """Return the encoding of a file that begins so.

    Args:
        head: some bytes.
        wanted: what the user says, by :func:`encoding_named`.

    Raises:
        BadSetting: its byte order mark says another, or lacks where it has to say which.
    """
    marked = next((name for mark, name in _MARKS.items() if head.startswith(mark)), "")
    if wanted and marked and marked not in (wanted, wanted + "-le", wanted + "-be"):
        cure = "leave --encoding out" if marked == "utf-8" else f"say --encoding {marked}"
        raise BadSetting(f"it begins with the byte order mark of {marked}, not {wanted}: {cure}")
    if wanted == _BY_MARK and not marked and head:
        raise BadSetting(
            "it has no byte order mark, which tells the two kinds of UTF-16 apart: say --encoding "
            "utf-16-le (as Windows writes it) or utf-16-be"
        )
    return Encoding(marked if wanted == _BY_MARK else wanted)


def encoding_of(dialect: Dialect) -> Encoding:
    """Return the encoding of a file's text."""
    return Encoding(dialect.encoding)


def is_utf8(text: bytes) -> bool:
    """Whether bytes are text in UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def text_of(source: Source, dialect: Dialect, offset: int, length: int) -> bytes:
    """Return a range of a file's text, as UTF-8."""
    return encoding_of(dialect).utf8(verbatim(source, offset, length))


def verbatim(source: Source, offset: int, length: int) -> bytes:
    """Return a range of a file as its bytes are."""
    read = source.units if isinstance(source, WideSource) else source.read
    return read(offset, length)


class WideSource:
    """A file of UTF-16 as one byte a code unit; positions and sizes are code units.

    Args:
        raw: the file.
        encoding: of its text.

    Raises:
        BadStructure: it ends in the middle of a code unit.
    """

    def __init__(self, raw: Source, encoding: Encoding) -> None:
        self._raw = raw
        self._unit_bytes = encoding.unit_bytes
        self._kind = np.dtype("<u2" if encoding.name.endswith("le") else ">u2")
        self.is_remote = raw.is_remote
        size = raw.file.size_bytes
        if size % self._unit_bytes:
            raise BadStructure(
                f"it has {size:,} bytes, and {encoding.name} has two a character: the last one is "
                "cut off, or it is in another encoding"
            )
        self.file = replace(raw.file, size_bytes=size // self._unit_bytes)

    def units(self, offset: int, length: int) -> bytes:
        """Return code units as their bytes are."""
        return self._raw.read(offset * self._unit_bytes, length * self._unit_bytes)

    def read(self, offset: int, length: int) -> bytes:
        """Return ASCII as it is, and an x for every other code unit."""
        units = np.frombuffer(self.units(offset, length), dtype=self._kind)
        return np.where(units < 128, units, _STAND_IN).astype(np.uint8).tobytes()

    def read_many(self, ranges: Iterable[Range], *, sparse: bool = False) -> list[bytes]:
        """Return several ranges as :meth:`read` does."""
        return [self.read(wanted.offset, wanted.length) for wanted in ranges]

    def chunks(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield a long range in pieces, in order."""
        return (self.read(*step) for step in steps(offset, length, _STEP_UNITS))

    def arrow_file(self) -> Any:
        """Return what :meth:`read` returns as a file."""
        return RangeFile(self)

    def check_unchanged(self) -> None:
        """Raise SourceChanged if the file is no longer the one that was described."""
        self._raw.check_unchanged()

    def close(self) -> None:
        """Release the file."""
        self._raw.close()
