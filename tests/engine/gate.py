"""A scheduler for runs in this process: each is stopped at one of its calls of a store.

A run is a thread that calls :func:`engine.split`, with its parts written in that thread. It is
stopped before the n-th thing it asks of a store, stays so while others work, and then goes on or
dies. What is inside one call, and one request, is not taken apart, but for the steps of a commit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import engine
from engine import splitter
from engine.errors import EvensplitError
from engine.model import Manifest
from engine.storage import remote_sinks
from engine.storage.azure.sink import AzureSink
from engine.storage.azure.store import AzureStorage
from engine.storage.local import LocalSink, LocalStorage
from engine.storage.remote import FsspecStorage
from engine.storage.remote_sinks import RenameSink, UploadSink
from tests.engine.running import HANG_SECONDS, one_by_one

_STORES = (LocalStorage, FsspecStorage, AzureStorage)
_SINKS = (LocalSink, UploadSink, RenameSink, AzureSink)
CHANGES = ("put", "put_if_absent", "replace", "remove", "fence", "create")
LOOKS = ("get", "stat", "files")
_ONE_STEP = {"put", "put_if_absent", "replace", "remove"}  # a lock of the process is held inside


class Died(BaseException):
    """The process died here: nothing behind it happens."""


class Run(threading.Thread):
    """A split that is stopped before its n-th call; ``stops_at`` None for never."""

    def __init__(self, source: Path, dest: str, stops_at: int | None, **settings: Any) -> None:
        super().__init__(daemon=True)
        self._arguments = (str(source), dest)
        self.dest = dest
        self.settings = settings
        self.overwrites = bool(settings.get("overwrite"))
        self.stops_at = stops_at
        self._waits, self._goes = threading.Event(), threading.Event()
        self._dies = False
        self.calls: list[str] = []
        self.inside: list[str] = []
        self.done: Manifest | None = None
        self.error: EvensplitError | None = None
        self.defect: BaseException | None = None

    def run(self) -> None:
        try:
            self.done = engine.split(*self._arguments, **self.settings).manifest
        except EvensplitError as error:
            self.error = error
        except Died:
            pass
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            self.defect = error
        finally:
            self._waits.set()

    def call(self, name: str) -> None:
        """Come to a call: this is where the run is stopped."""
        self.calls.append(name)
        if self.stops_at is not None and len(self.calls) > self.stops_at:
            if not self._goes.is_set():
                self._waits.set()
                assert self._goes.wait(HANG_SECONDS)
            if self._dies:
                raise Died

    def until_stopped(self) -> bool:
        """Begin, and return whether it was stopped before it was done."""
        self.start()
        assert self._waits.wait(HANG_SECONDS)
        return self.is_alive() and len(self.calls) > (self.stops_at or 0)

    def go_on(self, *, dies: bool = False) -> None:
        """Let it run to its end, or die where it stands."""
        self._dies = dies
        self._goes.set()
        self.join(HANG_SECONDS)
        assert not self.is_alive()
        if self.defect is not None:
            raise self.defect


def install(monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]) -> None:
    """Have every run stop at these calls of stores, and at the steps of a commit."""
    monkeypatch.setattr(splitter, "run_parts", one_by_one)
    steps = [(store, name) for store in _STORES for name in names]
    steps += [(sink, name) for sink in _SINKS for name in ("seal", "commit")]
    steps.append((remote_sinks, "_completed"))
    for owner, name in steps:
        if hasattr(owner, name):
            monkeypatch.setattr(owner, name, _stopping(name, getattr(owner, name)))


def _stopping(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    def stopping(*arguments: Any, **options: Any) -> Any:
        run = threading.current_thread()
        if not isinstance(run, Run):
            return method(*arguments, **options)
        is_step = name not in ("seal", *LOOKS) or not run.inside
        if is_step and not _ONE_STEP.intersection(run.inside):
            run.call(name)
        run.inside.append(name)
        try:
            return method(*arguments, **options)
        finally:
            run.inside.pop()

    return stopping
