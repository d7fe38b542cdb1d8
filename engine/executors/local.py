"""Worker processes of this machine alone, which leave nothing behind.

They talk by TLS with a key of this run, which only memory holds: whoever else is on the machine may
reach the loopback interface, and a scheduler runs what it is told to. What Dask keeps on disk is in
a new folder that only this user may enter, not in the one that all users share.
"""

from __future__ import annotations

import gc
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from engine import endings, memory
from engine.executors.interrupts import interrupts_held
from engine.executors.resources import RESOURCE, Resources

if TYPE_CHECKING:
    from distributed import SpecCluster

_STARTED_WITH = "distributed.nanny.pre-spawn-environ"
_OF_NANNIES = ("PYTHONHASHSEED", "__DASK_PARENT_PID")  # that they set besides
_OF_OUR_WORKERS = {
    # Dask has its workers give every 64 KiB back at once. Ours free and take megabytes with each
    # page, and the system clears what it gives: a third of the time of a change of codec. They are
    # projected to hold their peak as long as they live: nothing is gained by giving any of it back.
    f"{_STARTED_WITH}.MALLOC_MMAP_THRESHOLD_": 8 * memory.MIB,
    f"{_STARTED_WITH}.MALLOC_TRIM_THRESHOLD_": 16 * memory.MIB,
    "distributed.worker.profile.enabled": False,  # its pages, which show it, are not loaded
}


@contextmanager
def local_processes(resources: Resources) -> Iterator[SpecCluster]:
    """Give worker processes of this machine, each for a part at a time; end them at last."""
    from multiprocessing import resource_tracker

    import dask
    import distributed  # noqa: F401 (its defaults come with it, and must be there before)

    # Its start unblocks the signals of whichever thread needs it first.
    resource_tracker.ensure_running()
    with _script_not_run_again(), _environment_kept(), _scratch_folder() as scratch:
        with interrupts_held(), dask.config.set(_OF_OUR_WORKERS):
            cluster = _local_cluster(resources, scratch)
        try:
            yield cluster
        finally:
            cluster.close()
            del cluster
            _forget_servers()


def _local_cluster(resources: Resources, scratch: str) -> SpecCluster:
    """Start a scheduler and worker processes of this machine alone.

    Dask's ``LocalCluster`` always opens web servers at addresses of its own choice; here all of
    them are on the loopback interface, and the pages of the dashboard are not loaded.
    """
    from distributed import Nanny, Scheduler, Security, SpecCluster

    security = Security.temporary()
    place = {
        "protocol": "tls",
        "security": security,
        "host": "127.0.0.1",
        "dashboard": False,
        "dashboard_address": "127.0.0.1:0",
        "local_directory": scratch,
    }
    options = {
        **place,
        "nthreads": 1,
        "resources": {RESOURCE: resources.memory_bytes // resources.num_workers},
        # The budget is kept by resources; Dask's own limit would pause or kill a worker on memory
        # that belongs to the rest of this process.
        "memory_limit": None,
        "silence_logs": logging.CRITICAL,
        "preload": ["engine.executors.ending", *resources.preload],
    }
    worker = {"cls": Nanny, "options": options}
    return SpecCluster(
        workers=dict.fromkeys(range(resources.num_workers), worker),
        scheduler={"cls": Scheduler, "options": {**place, "port": 0}},
        security=security,
        silence_logs=logging.CRITICAL,
    )


@contextmanager
def _environment_kept() -> Iterator[None]:
    """Leave this process's environment as it is: Dask writes into it what workers start with.

    What another cluster of Dask has left there would come before ours: it is taken out meanwhile.
    """
    import dask

    defaults = dask.config.get(_STARTED_WITH)
    ours = [name.rpartition(".")[2] for name in _OF_OUR_WORKERS if name.startswith(_STARTED_WITH)]
    before = {name: os.environ.get(name) for name in (*_OF_NANNIES, *defaults, *ours)}
    for name, content in defaults.items():
        if before[name] == str(content):
            del os.environ[name]
    try:
        yield
    finally:
        for name, content in before.items():
            os.environ.pop(name, None)
            if content is not None:
                os.environ[name] = content


@contextmanager
def _scratch_folder() -> Iterator[str]:
    """Give a new folder of this user's alone, and remove it with what is in it."""
    folder = tempfile.mkdtemp(prefix="evensplit-")
    remove = partial(shutil.rmtree, folder, ignore_errors=True)
    with endings.put_right(remove):
        try:
            yield folder
        finally:
            remove()


def _forget_servers() -> None:
    """Have Dask's closed servers freed, which it keeps as long as the process lives.

    ``distributed.core`` remembers of each handler whether it takes a comm, and with a handler,
    which is a method, its scheduler and all that this knew.
    """
    from distributed import core

    remembered: Any = getattr(core, "_expects_comm", None)
    if remembered is not None:
        remembered.cache_clear()
    # Now: Dask's hook for collections complains of one that is under way as it is put in place.
    gc.collect()


@contextmanager
def _script_not_run_again() -> Iterator[None]:
    """Keep worker processes from importing the caller's script, which nothing here needs.

    A new process imports it by its file or module name; one without ``if __name__ == "__main__"``
    would split again, in each worker.
    """
    names: dict[str, Any] = vars(sys.modules["__main__"])
    kept: dict[str, Any] = {name: names[name] for name in ("__file__", "__spec__") if name in names}
    names.update(dict.fromkeys(kept))
    try:
        yield
    finally:
        names.update(kept)
