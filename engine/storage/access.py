"""Which credential and transfer hold where a store is opened.

A call of the façade and each part's work enter :func:`using`; whoever opens a store meanwhile asks
:func:`current`. The value belongs to one thread, so splits side by side do not mix theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from engine.settings import Access

_DEFAULT = Access()
_current: ContextVar[Access] = ContextVar("access", default=_DEFAULT)


def current() -> Access:
    """Return what holds in this thread."""
    return _current.get()


@contextmanager
def using(access: Access) -> Iterator[None]:
    """Let ``access`` hold in this thread."""
    token = _current.set(access)
    try:
        yield
    finally:
        _current.reset(token)
