"""All settings of a split, read once at the edge and frozen.

Text sizes ("100MB") become bytes here, by :func:`dask.utils.parse_bytes`'s rules: MB is 10^6, MiB
is 2^20. Where a value comes from (flag, environment, file, default) is the command line's
business, see :mod:`engine.cli.config`.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Literal

from engine.errors import BadSetting

Cut = Literal["row", "row-group"]

DEFAULT_TARGET_BYTES = 100_000_000
DEFAULT_NAME = "part-{index:05d}.parquet"


@dataclass(frozen=True)
class Settings:
    """What to do and with what.

    Attributes that shape the parts, and so belong to a plan's identity:
        target_bytes: hard cap on a part's file size; None only with ``num_parts`` or
            ``rows_per_part``.
        num_parts: exactly so many parts.
        rows_per_part: every part but the last has so many rows.
        cut: ``row`` cuts anywhere, ``row-group`` only between row groups (nothing re-encoded).
        name: template of part names, with ``{index}``.

    Attributes that do not:
        memory_bytes: budget set by the user; None leaves it to the machine.
        num_workers: parts written at once; None chooses.
        scheduler: address of a running Dask scheduler.
        durable: wait for the disk before a part counts as committed.
        overwrite: replace another plan's parts in the destination.
    """

    target_bytes: int | None = None
    num_parts: int | None = None
    rows_per_part: int | None = None
    cut: Cut = "row"
    name: str = DEFAULT_NAME
    memory_bytes: int | None = None
    num_workers: int | None = None
    scheduler: str | None = None
    durable: bool = True
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be, and fill in the default target."""
        chosen = [
            name for name in ("num_parts", "rows_per_part") if getattr(self, name) is not None
        ]
        if len(chosen) > 1:
            raise BadSetting("--parts and --rows-per-part exclude each other; give one")
        if not chosen and self.target_bytes is None:
            object.__setattr__(self, "target_bytes", DEFAULT_TARGET_BYTES)
        for name in (
            "target_bytes",
            "num_parts",
            "rows_per_part",
            "memory_bytes",
            "num_workers",
        ):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise BadSetting(f"{name} is {number}; it must be at least 1")
        if self.cut not in ("row", "row-group"):
            raise BadSetting(f"cut is {self.cut!r}; choose row or row-group")
        self._check_name()

    def _check_name(self) -> None:
        try:
            names = [self.name.format(index=index) for index in (0, 1, 99_999)]
        except (KeyError, IndexError, ValueError) as error:
            raise BadSetting(f"part name {self.name!r} is no template with {{index}}") from error
        if len(set(names)) < 3:
            raise BadSetting(f"part name {self.name!r} gives every part one name; use {{index}}")
        if any(re.search(r"[/\\\x00]", name) or name.startswith(("_", ".")) for name in names):
            raise BadSetting(
                f"part name {self.name!r} must not hold a slash nor begin with _ or . "
                "(readers ignore such files)"
            )

    def part_name(self, index: int) -> str:
        """Return the file name of a part."""
        return self.name.format(index=index)

    def shaping(self) -> dict[str, Any]:
        """Return the settings that belong to a plan's identity."""
        fields = ("target_bytes", "num_parts", "rows_per_part", "cut", "name")
        everything = asdict(self)
        return {field: everything[field] for field in fields}


def parse_size(text: str | int) -> int:
    """Return the bytes that a size like ``100MB``, ``1GiB`` or ``5000000`` stands for.

    Raises:
        BadSetting: the text is no size, or none above zero.
    """
    from dask.utils import parse_bytes

    try:
        size = parse_bytes(text)
    except (ValueError, TypeError) as error:
        raise BadSetting(f"{text!r} is no size; write for example 100MB or 1GiB") from error
    if size < 1:
        raise BadSetting(f"{text!r} is no size above zero")
    return int(size)
