"""Paths and URLs as callers give them: text, or :class:`pathlib.Path`; one of them or several."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import PurePath

from engine.errors import BadSetting

Place = str | os.PathLike[str]
Sources = Place | Iterable[Place]


def patterns_of(src: Sources) -> list[str]:
    """Return one source or several as a list of texts."""
    if isinstance(src, str | bytes | os.PathLike) or not isinstance(src, Iterable):
        return [place_text(src)]
    return [place_text(item) for item in src]


def place_text(place: object) -> str:
    """Return a path or URL as text, whatever of :data:`Place` it is."""
    if isinstance(place, os.PathLike):
        text = os.fspath(place)
        if isinstance(place, PurePath) and re.match(r"[A-Za-z][\w+.-]+:/", str(text)):
            raise BadSetting(
                f"{text!r} looks like a URL that was made a path, which loses a slash; give URLs "
                "as text"
            )
        place = text
    if not isinstance(place, str):
        raise BadSetting(
            f"{place!r} is no path; give text, or a pathlib.Path (os.fsdecode turns bytes into "
            "text)"
        )
    return place
