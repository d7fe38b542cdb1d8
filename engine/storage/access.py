"""Which credential and transfer hold where a store is opened.

A call of the façade and each part's work enter :func:`using`; whoever opens a store meanwhile asks
:func:`current`. The value belongs to one thread, so splits side by side do not mix theirs.
"""

from __future__ import annotations

import os
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


def told_by(*prefixes: str) -> tuple[tuple[str, str], ...]:
    """Return variables of the environment by the beginnings of their names.

    What is opened once a process, a store or an identity, is another one where these are others: a
    notebook goes on after it has set them.
    """
    return tuple(sorted(item for item in os.environ.items() if item[0].startswith(prefixes)))
