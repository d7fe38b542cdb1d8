"""Arrow arrays whose floats are whole numbers of the same bits, and back. Pure.

So NaN equals itself, and -0.0 is not 0.0.
"""

from __future__ import annotations

from typing import Any


def bits_of(array: Any) -> Any:
    """Return an array with floats, also those in structs and lists, as integers."""
    return _viewed(array, _float_bits())


def floats_of(array: Any) -> Any:
    """Return an array with integers as the floats of the same bits."""
    return _viewed(array, {bits: kind for kind, bits in _float_bits().items()})


def _viewed(array: Any, changes: dict[Any, Any]) -> Any:
    kind = _retyped(array.type, changes)
    return array if kind == array.type else array.view(kind)


def _float_bits() -> dict[Any, Any]:
    import pyarrow

    return {pyarrow.float32(): pyarrow.int32(), pyarrow.float64(): pyarrow.int64()}


def _retyped(kind: Any, changes: dict[Any, Any]) -> Any:
    """Return a type of lists and structs with its leaves changed."""
    import pyarrow

    if pyarrow.types.is_list(kind):
        field = kind.value_field
        return pyarrow.list_(field.with_type(_retyped(field.type, changes)))
    if pyarrow.types.is_struct(kind):
        return pyarrow.struct([f.with_type(_retyped(f.type, changes)) for f in kind])
    return changes.get(kind, kind)
