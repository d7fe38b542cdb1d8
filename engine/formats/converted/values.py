"""Fields of text become values of a type, or are told not to fit. Pure.

Where a type was found in samples, a field must be spelled as its type is: ``007`` would be another
text if it were written back, and so is no number. The patterns below are what inference goes by,
too; of a column that was given a type by name, all that Arrow reads as such is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.formats.converted.formatted import kind_of_format, times_of

_LEADING = r"-?(?:0|[1-9][0-9]*)"
_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
_WHOLE = r"(?:0|-?[1-9][0-9]{0,18})"
_FRACTION = rf"{_LEADING}(?:\.[0-9]+)?"
# An exponent needs a point or a sign: 1E5 may be the name of something.
_EXPONENT = r"-?[1-9](?:\.[0-9]+[eE][+-]?|[eE][+-])[0-9]{1,3}"
# Types that are looked for, the narrowest first: the first that all samples have is a column's.
PATTERNS = {
    "boolean": r"true|false|True|False|TRUE|FALSE",
    "bigint": _WHOLE,
    "double": rf"{_FRACTION}|{_EXPONENT}",
    "date": _DAY,
    "timestamp": rf"{_DAY}(?:{_CLOCK})?",
    "timestamptz": rf"{_DAY}{_CLOCK}(?:Z|\+00(?::?00)?)",
}
# Those whose pattern every value has, also of what no sample showed.
_SPELLED = ("boolean", "bigint", "double", "timestamptz")
# What any field has that Arrow reads as such; not all that have it are read.
_SHAPES: Sequence[tuple[Callable[[Any], bool], str]] = (
    (pa.types.is_boolean, "(?i:true|false|0|1)"),
    (pa.types.is_integer, "-?0*[0-9]{1,20}"),
    (pa.types.is_floating, "(?is:[-+]?(?:[0-9.][-+.0-9e]*|inf.*|nan.*))"),
    (pa.types.is_decimal, "(?i:[-+]?[0-9.][-+.0-9e]*)"),
    (pa.types.is_temporal, f"(?s:{_DAY}.*)"),
)
_INFINITY = "(?i)^[+-]?inf(inity)?$"
_SURE_LETTERS = 15  # a number of so many digits is a double and comes back from it
_LEAST = float(np.finfo(np.float64).smallest_normal)
_ZERO, _NINE, _MINUS, _POINT = b"09-."


class Unfit(Exception):
    """Some field does not fit its type."""


@dataclass(frozen=True)
class Spelling:
    """How fields are written.

    Attributes:
        nulls: what stands for null.
        decimal: the mark before a fraction.
        timestamp_format: of strptime, for timestamps; or for dates, if it has no time.
    """

    nulls: tuple[str, ...] = ("",)
    decimal: str = "."
    timestamp_format: str = ""

    @property
    def formatted(self) -> str:
        """The type that the format is for; empty if there is none."""
        return kind_of_format(self.timestamp_format)


def typed(texts: Any, word: str, kind: Any, spelling: Spelling, *, is_found: bool) -> Any:
    """Return fields as an array of a type.

    Args:
        texts: an Arrow array of strings, null where an unquoted field stands for null.
        word, kind: the type as a word, and Arrow's.
        spelling: how fields are written.
        is_found: whether the type was found in samples.

    Raises:
        Unfit: some field is no such value.
    """
    if pa.types.is_string(kind):
        return texts
    if _may_be_null(texts, spelling) and (quoted := _are_null(texts, spelling)).true_count:
        texts = pc.if_else(quoted, None, texts)
    try:
        made = _converted(texts, word, kind, spelling)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise Unfit from error
    if not _is_spelled(texts, made, word, spelling, is_found=is_found):
        raise Unfit
    return made


def _may_be_null(texts: Any, spelling: Spelling) -> bool:
    """Whether fields may stand for null, as far as their lengths tell."""
    lengths = {len(text.encode()) for text in (*spelling.nulls, "")}
    if lengths != {0}:
        return True
    if np.diff(_offsets(texts)).all():
        return False
    return bool(pc.min(pc.binary_length(texts)).as_py() == 0)


def _are_null(texts: Any, spelling: Spelling) -> Any:
    nulls = pa.array(dict.fromkeys((*spelling.nulls, "")), pa.string())
    return pc.is_in(texts, value_set=nulls)


def _converted(texts: Any, word: str, kind: Any, spelling: Spelling) -> Any:
    if spelling.formatted and word.split("(")[0] == spelling.formatted:
        found = times_of(texts, spelling.timestamp_format)
        if found.null_count != texts.null_count:
            raise Unfit
        return found.cast(kind)
    if spelling.decimal != "." and (pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        if pc.any(pc.match_substring(texts, ".")).as_py():
            raise Unfit
        texts = pc.replace_substring(texts, spelling.decimal, ".")
    return pc.cast(texts, kind)


def fitting(
    texts: Any,
    check: Callable[[Any], object],
    kind: Any,
    word: str,
    spelling: Spelling,
    *,
    is_found: bool,
) -> Any:
    """Return of each field whether it is a value of a type.

    Args:
        texts: as for :func:`typed`.
        check: fails for fields of which one is no such value.
        kind, word, spelling, is_found: as for :func:`typed`.
    """
    coded = texts.dictionary_encode()  # fields that are no values are often the same
    values = coded.dictionary
    likely = _are_likely(values, kind, word, spelling, is_found=is_found)
    fits = pa.array(passing(values, check, np.flatnonzero(likely)))
    return fits.take(coded.indices).fill_null(fill_value=True)


def passing(values: Any, check: Callable[[Any], object], candidates: Any) -> Any:
    """Return which of some values pass a check that fails for several if it does for one.

    Halves are looked at, down to single values: what fails often should be no candidate.
    """
    found = np.zeros(len(values), dtype=np.bool_)
    todo = [candidates]
    while todo:
        some = todo.pop()
        try:
            check(values.take(pa.array(some)))
        except MemoryError:
            raise
        except (pa.ArrowException, Unfit):
            if len(some) > 1:
                todo += np.array_split(some, 2)
        else:
            found[some] = True
    return found


def _are_likely(texts: Any, kind: Any, word: str, spelling: Spelling, *, is_found: bool) -> Any:
    """Return which fields may be values of a type, of which few are none."""
    is_null = _are_null(texts, spelling)
    if word.split("(")[0] == spelling.formatted:
        return pc.or_(times_of(texts, spelling.timestamp_format).is_valid(), is_null)
    pattern = next(shape for is_of, shape in _SHAPES if is_of(kind))
    if is_found and word in _SPELLED:
        pattern = PATTERNS[word]
    if spelling.decimal != "." and (pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        texts = pc.replace_substring(texts, ".", "x")
        texts = pc.replace_substring(texts, spelling.decimal, ".")
    return pc.or_(pc.match_substring_regex(texts, f"^(?:{pattern})$"), is_null)


def _is_spelled(texts: Any, made: Any, word: str, spelling: Spelling, *, is_found: bool) -> bool:
    """Whether fields, all of which Arrow has read, are values of their type and nothing else."""
    if pa.types.is_integer(made.type):  # Arrow reads 0x10
        return _are_whole(texts, is_found=is_found)
    if pa.types.is_floating(made.type):
        if is_found:
            return _are_fractions(texts, made, spelling)
        beyond = texts.filter(pc.is_inf(made))
        return bool(pc.all(pc.match_substring_regex(beyond, _INFINITY), min_count=0).as_py())
    if is_found and word in ("boolean", "timestamptz") and word != spelling.formatted:
        return _match(texts, PATTERNS[word])
    return True


def _match(texts: Any, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(texts, f"^(?:{pattern})$"), min_count=0).as_py())


def _offsets(texts: Any) -> Any:
    """Return where texts begin in their bytes, and where the last one ends."""
    offsets = np.frombuffer(texts.buffers()[1], dtype=np.int32)
    return offsets[texts.offset : texts.offset + len(texts) + 1]


def _begins(texts: Any) -> tuple[Any, Any, Any]:
    """Return the bytes of texts, and of those that have some where each begins, and how many."""
    offsets = _offsets(texts)
    data = texts.buffers()[2]
    every = np.frombuffer(data if data is not None else b"", dtype=np.uint8)
    begins, lengths = offsets[:-1] - offsets[0], np.diff(offsets)
    if not lengths.all():
        begins, lengths = begins[lengths > 0], lengths[lengths > 0]
    return every[offsets[0] : offsets[-1]], begins, lengths


def _are_whole(texts: Any, *, is_found: bool) -> bool:
    used, begins, lengths = _begins(texts)
    if used.tobytes().translate(None, b"0123456789-"):
        return False
    return not is_found or not _have_leading_zeros(used, begins, lengths, used.take(begins))


def _have_leading_zeros(used: Any, begins: Any, lengths: Any, firsts: Any) -> bool:
    """Whether a digit follows a zero at the begin of some number, or one is -0.

    ``firsts``: the byte that each begins with.
    """
    is_minus = firsts == _MINUS
    has_minus = is_minus.any()
    if has_minus:
        begins, lengths = begins + is_minus, lengths - is_minus
        firsts = used.take(begins, mode="clip")
    at = np.flatnonzero(firsts == _ZERO)  # of most columns few, or all
    if not len(at):
        return False
    if len(at) < len(begins):
        begins, lengths, is_minus = begins[at], lengths[at], is_minus[at]
    has_more = lengths > 1
    following = used.take(begins + 1, mode="clip")
    if (has_more & (following != _POINT)).any():
        return True
    return bool(has_minus and (is_minus & ~has_more).any())


def _are_fractions(texts: Any, made: Any, spelling: Spelling) -> bool:
    """Whether numbers come back from doubles as the numbers that they were."""
    if spelling.decimal != ".":
        texts = pc.replace_substring(texts, spelling.decimal, ".")
    used, begins, lengths = _begins(texts)
    if not len(used):
        return True
    # Arrow has read them, and of what it reads as numbers only these lie between the two.
    is_plain = used.min() >= _MINUS and used.max() <= _NINE
    if is_plain:
        firsts, lasts = used.take(begins), used.take(begins + (lengths - 1))
        is_plain = not (
            (firsts == _POINT).any()
            or (lasts == _POINT).any()
            or _have_leading_zeros(used, begins, lengths, firsts)
        )
    is_short = lengths.max() <= _SURE_LETTERS
    if is_plain and is_short:
        return True
    if not is_plain and not _match(texts, PATTERNS["double"]):
        return False
    if pc.any(pc.is_inf(made)).as_py():
        return False
    is_unsure = pc.greater(pc.binary_length(texts), _SURE_LETTERS)
    if not is_plain:  # of so small a number a double has few digits, or none
        is_tiny = pc.less(pc.abs(made), _LEAST)
        is_unsure = pc.or_(
            is_unsure, pc.and_(is_tiny, pc.match_substring(texts, "e-", ignore_case=True))
        )
    if not pc.any(is_unsure).as_py():
        return True
    others = pc.and_(pc.not_equal(pc.cast(made, pa.string()), texts), is_unsure)
    pairs = zip(texts.filter(others).to_pylist(), made.filter(others).to_pylist(), strict=True)
    return all(Decimal(text) == Decimal(repr(number)) for text, number in pairs if text is not None)


def found_type(samples: Sequence[Any], spelling: Spelling, arrow: Callable[[str], Any]) -> str:
    """Return the narrowest type that all fields of some arrays of texts have; empty for none.

    Fields that are null or empty say nothing.
    """
    if not any(pc.any(pc.greater(pc.binary_length(texts), 0)).as_py() for texts in samples):
        return ""
    for word, pattern in PATTERNS.items():
        # Those that are spelled so are looked at as they are read.
        is_sure = word == spelling.formatted or word in _SPELLED
        try:
            for texts in samples:
                made = typed(texts, word, arrow(word), spelling, is_found=True)
                if not is_sure and not _match(texts.filter(made.is_valid()), pattern):
                    raise Unfit
        except Unfit:
            continue
        return word
    return ""
