"""Progress in a notebook: a widget where ipywidgets is installed, else a line of text; by tqdm.

Shown where a split or a proof is called in a notebook and no ``progress`` is given; nothing where
tqdm is missing (``pip install 'evensplit[notebooks]'`` brings it). A terminal's progress is the
command line's own.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from engine.model import Receipt, SplitPlan
from engine.splitter import Progress
from engine.wording import counted, shown


@contextmanager
def splitting() -> Iterator[Progress | None]:
    """Yield what shows a split; None where there is no notebook."""
    kind = _bar_kind()
    if kind is None:
        yield None
        return
    progress = _Bar(kind)
    try:
        yield progress
    finally:
        progress.close()


@contextmanager
def verifying() -> Iterator[Callable[[int], None] | None]:
    """Yield what shows how many values have been compared; None where there is no notebook."""
    kind = _bar_kind()
    if kind is None:
        yield None
        return
    with _bar_of_values(kind) as bar:
        yield bar.update


def _bar_of_values(kind: Any) -> Any:
    return kind(desc="comparing", unit=" values", unit_scale=True, file=sys.stdout)


def _bar_kind() -> Any:
    """Return tqdm's bar for this notebook; None where this is none, or tqdm is missing."""
    # Who has not imported IPython is in no notebook; a terminal's IPython has no kernel.
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if getattr(shell, "kernel", None) is None:
        return None
    try:
        with warnings.catch_warnings():  # without ipywidgets it tells so, and takes text
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm
    except ModuleNotFoundError:
        return None
    return tqdm


class _Bar(Progress):
    """A bar of bytes, with parts before it; another where it is planned again, or proved."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._bar: Any = None
        self._is_proved = False

    def planned(self, plan: SplitPlan, num_resumed: int) -> None:
        self.close()
        self._num_parts, self._num_done = len(plan.parts), num_resumed
        self._bar = self._kind(
            total=plan.predicted_bytes,
            desc=self._text(),
            unit="B",
            unit_scale=True,
            file=sys.stdout,
        )

    def planned_again(self, reason: str) -> None:
        self._say(f"{reason}: planned again, with more room")

    def dashboard(self, link: str) -> None:
        self._say(f"Dask dashboard: {link}")

    def committed(self, receipt: Receipt) -> None:
        self._num_done += 1
        self._bar.set_description(self._text(), refresh=False)
        self._bar.update(receipt.size_bytes)
        if self._num_done == self._num_parts:
            self._bar.total = self._bar.n  # predicted bytes were nearly these
            self._bar.refresh()

    def compared(self, num_values: int) -> None:
        if not self._is_proved:
            self.close()
            self._bar, self._is_proved = _bar_of_values(self._kind), True
        self._bar.update(num_values)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _say(self, text: str) -> None:
        self._kind.write(shown(text), file=sys.stdout)

    def _text(self) -> str:
        return f"{self._num_done:,}/{counted(self._num_parts, 'part')}"
