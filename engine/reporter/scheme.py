"""Colours of figures and page, one set for light surroundings and one for dark.

Both have the same entries in the same order, so that a page can turn one into the other by
replacing colours. Series keep their order: neighbours differ for readers who cannot tell red from
green too.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scheme:
    """Colours by what they are for."""

    surface: str
    ink: str
    muted: str
    grid: str
    other: str
    series: tuple[str, ...]

    @property
    def colours(self) -> tuple[str, ...]:
        """All colours, in one order for every scheme."""
        return (self.surface, self.ink, self.muted, self.grid, self.other, *self.series)


LIGHT = Scheme(
    surface="#fcfcfb",
    ink="#0b0b0b",
    muted="#52514e",
    grid="#e1e0d9",
    other="#a3a29b",
    series=("#2a78d6", "#1baf7a", "#eda100", "#4a3aa7", "#e34948", "#e87ba4", "#eb6834"),
)
DARK = Scheme(
    surface="#1a1a19",
    ink="#fffffe",
    muted="#c3c2b7",
    grid="#2c2c2a",
    other="#7a7972",
    series=("#3987e5", "#199e70", "#c98500", "#9085e9", "#e66767", "#d55181", "#d95926"),
)
