"""All errors that evensplit raises on purpose, as a tree by what the caller does next.

Every leaf has a stable ``kind`` (for machines) and every group an exit code (for shells); both
are registered here and nowhere else. A message says what was found, what was needed and what to
change, in one line. Whoever raises must keep secrets out: no URL with a query, no account key.

============================  =========  ==================================================
group                         exit code  what the caller does next
============================  =========  ==================================================
:class:`CallError`            2          fix the call: an option, the destination, the plan
:class:`SourceError`          3          fix or replace the source file
:class:`SpaceError`           4          free memory or disk space, then run again
:class:`RetryError`           5          run the same command again: it resumes
:class:`VerifyError`          6          do not use the folder: it is not the source alone
``JobError`` of batchjobs      7          look at the tasks that failed, one by one
:class:`InternalError`        70         report a defect of evensplit
============================  =========  ==================================================

Other packages add leaves (:mod:`batchjobs.errors`), and register them by making them; groups and
exit codes are all in this table.

130 and 143 are a shell's own codes for Ctrl-C and SIGTERM; a run that was stopped is resumable.
"""

from __future__ import annotations

from typing import ClassVar


class EvensplitError(Exception):
    """Base of the tree; ``kind`` names the leaf, ``exit_code`` the group."""

    kind: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 70

    def as_dict(self) -> dict[str, object]:
        """Return the error for ``--json``: kind, exit code and message."""
        return {"kind": self.kind, "exit_code": self.exit_code, "message": str(self)}


class CallError(EvensplitError):
    """The call cannot be carried out as it was made."""

    kind, exit_code = "call", 2


class BadSetting(CallError):
    """A setting has an impossible value, or two settings exclude each other."""

    kind = "call.setting"


class NoSource(CallError):
    """No file matches the source, or it does not exist."""

    kind = "call.no-source"


class NotPlainFolder(CallError):
    """A folder is more than its files: partitioned, a table, in a loop, or of mixed names."""

    kind = "call.folder"


class TargetTooSmall(CallError):
    """The target size cannot hold one row (or, by row groups, one row group)."""

    kind = "call.target-too-small"


class DestinationInUse(CallError):
    """The destination holds files that are not ours."""

    kind = "call.destination-in-use"


class OtherPlan(CallError):
    """The destination holds the parts of another plan."""

    kind = "call.other-plan"


class DestinationInSource(CallError):
    """The destination lies inside the source folder, or is a source file."""

    kind = "call.destination-in-source"


class NotASplit(CallError):
    """The folder holds no (finished) split; or a record that ``is_damaged``, of no newer format."""

    kind = "call.not-a-split"
    is_damaged = False


class NoPermission(CallError):
    """The operating system or the store denies access."""

    kind = "call.no-permission"


class Immutable(CallError):
    """A policy or a legal hold of the store keeps a file as it is."""

    kind = "call.immutable"


class ClusterMismatch(CallError):
    """The Dask cluster cannot run this: other engine version, or storage out of its reach."""

    kind = "call.cluster"


class UnsupportedSystem(CallError):
    """This operating system is not one that evensplit runs on."""

    kind = "call.system"


class SourceError(EvensplitError):
    """The source is not a file that can be split without loss."""

    kind, exit_code = "source", 3


class NotParquet(SourceError):
    """The file is not Parquet."""

    kind = "source.not-parquet"


class NotLines(SourceError):
    """The file has the name of a line format, and is not of lines."""

    kind = "source.not-lines"


class BadRow(SourceError):
    """A record of lines does not fit the columns that it is to be converted to."""

    kind = "source.bad-row"


class BadStructure(SourceError):
    """A footer, page header or index is damaged or contradicts itself; or quotes in text do."""

    kind = "source.damaged"


class BadPage(BadStructure):
    """A page at a cut cannot be read; the message names column, row group and page."""

    kind = "source.damaged-page"


class Encrypted(SourceError):
    """The file is encrypted: pages are bound to their position, or the key is not the store's."""

    kind = "source.encrypted"


class Unsupported(SourceError):
    """The file uses something that cannot be split without loss."""

    kind = "source.unsupported"


class Archived(SourceError):
    """The file is in a tier of the store that cannot be read; see ``--rehydrate``."""

    kind = "source.archived"


class SchemaMismatch(SourceError):
    """Several sources do not have one schema."""

    kind = "source.schemas-differ"


class SourceChanged(SourceError):
    """The source is not the file that was planned (size, time or ETag differ)."""

    kind = "source.changed"


class SpaceError(EvensplitError):
    """Something is too small for the work."""

    kind, exit_code = "space", 4


class OverBudget(SpaceError):
    """A part needs more memory than the budget has."""

    kind = "space.memory"


class NoDiskSpace(SpaceError):
    """The destination's disk is full."""

    kind = "space.disk"


class RetryError(EvensplitError):
    """Something passing went wrong; what is finished stays finished."""

    kind, exit_code = "retry", 5


class Locked(RetryError):
    """Another run is at work in the destination."""

    kind = "retry.locked"


class StorageFailed(RetryError):
    """The file system or store failed in a way that may pass."""

    kind = "retry.storage"


class Conflict(RetryError):
    """Somebody else wrote the same file meanwhile."""

    kind = "retry.conflict"


class Rehydrating(RetryError):
    """An archived file is being brought back, which takes hours: run again later."""

    kind = "retry.rehydrating"


class WorkersLost(RetryError):
    """The Dask scheduler or too many workers were lost."""

    kind = "retry.workers-lost"


class VerifyError(EvensplitError):
    """The parts are not the source."""

    kind, exit_code = "verify", 6


class Different(VerifyError):
    """A value, a row count, the schema or the metadata of the parts differs.

    ``part`` names the part that is to blame, where one is.
    """

    kind = "verify.different"
    part: str | None = None


class OtherFiles(VerifyError):
    """The folder of the parts holds files that are no part, and that readers would take."""

    kind = "verify.other-files"


class InternalError(EvensplitError):
    """A promise of evensplit itself would have been broken; nothing was published."""

    kind, exit_code = "internal", 70


class OverTarget(InternalError):
    """A finished part is larger than the target size and was thrown away.

    A split that meets it plans again, so it ends nothing by itself. ``index`` is the part's,
    ``size_bytes`` what it had.
    """

    kind = "internal.over-target"

    def __init__(self, message: str, *, index: int = 0, size_bytes: int = 0) -> None:
        super().__init__(message)
        self.index = index
        self.size_bytes = size_bytes


def register() -> dict[str, type[EvensplitError]]:
    """Return every error of the tree by its kind."""
    found: dict[str, type[EvensplitError]] = {}
    todo: list[type[EvensplitError]] = [EvensplitError]
    while todo:
        error = todo.pop()
        found[error.kind] = error
        todo.extend(error.__subclasses__())
    return found
