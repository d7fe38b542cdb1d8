"""What packages on top of the engine need of it, besides the façade: :mod:`batchjobs` does.

Not for users: these may change with any version, together with their callers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from engine.conf import PACKAGE as PACKAGE
from engine.conf import conf_file as conf_file
from engine.conf import conf_folders as conf_folders
from engine.endings import unwound as unwound
from engine.errors import EvensplitError, register
from engine.memory import of_machine as of_machine
from engine.places import Place, place_text
from engine.system import num_cores as num_cores
from engine.system import try_lock as try_lock
from engine.wording import amount as amount
from engine.wording import counted as counted
from engine.wording import memory_amount as memory_amount
from engine.wording import shown as shown
from engine.wording import sum_or_none as sum_or_none

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.model import SourceFile, SplitPlan
    from engine.options import SourceOptions, SplitOptions


def make_error(kind: str, message: str) -> EvensplitError:
    """Return an error that another process told as :meth:`EvensplitError.as_dict`.

    Of a kind that this version does not know, it is of the kind's group.
    """
    known = register()
    return known.get(kind, known.get(kind.partition(".")[0], EvensplitError))(message)


def put_file(url: Place, data: bytes, *, credential: str = "auto") -> bool:
    """Create a small file, whole and durable; False if there is one already.

    Args:
        url: a path or URL of any store that :func:`engine.split` can write to.
        data: its content.
        credential: as for :func:`engine.make_settings`.
    """
    from engine.settings import Access
    from engine.storage import open_storage
    from engine.storage.access import using

    with using(Access(credential)):
        store, path = open_storage(place_text(url))
        return store.put_if_absent(path, data)


def find_each(
    src: Sequence[Place], **options: Unpack[SourceOptions]
) -> list[tuple[SourceFile, str]]:
    """Return files that are split each for itself, and the path of each below its source.

    Args:
        src: files, folders, globs or URLs.
        **options: as for :func:`engine.find_sources`.
    """
    from engine.options import source_settings_from
    from engine.sources import find_each as find
    from engine.storage.access import using

    made = source_settings_from(options)
    with using(made.access):
        return find([place_text(place) for place in src], made.include, made.exclude)


def run_memory_bytes(plan: SplitPlan, dest: Place, **options: Unpack[SplitOptions]) -> int:
    """Return the least memory that a split by a plan takes, one part at a time, all included.

    Args:
        plan: what :func:`engine.plan` returned for the same settings.
        dest: folder or URL prefix of the parts.
        **options: as for :func:`engine.make_settings`.
    """
    from engine.executors.choosing import least_run_bytes
    from engine.options import settings_from

    return least_run_bytes(plan, place_text(dest), settings_from(options))
