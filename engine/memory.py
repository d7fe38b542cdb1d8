"""Memory: what there is (budget), what a piece of work takes (formulas), what it took (PeakMeter).

The formulas are pure and are promises: tests measure that real work stays below them. The budget
is the only part that looks at the machine, through files under a root that tests can replace.
Sizes are bytes. Page cache is not counted as used: the kernel drops it before it kills anybody.

A verb says by :func:`keeping_to` that its budget holds; whatever is about to read something large,
or to make much of what it has read, asks :func:`ask` first.

Not covered: limits that a cluster's scheduler sets on its own workers (Dask's ``--memory-limit``,
a batch node's task slots); whoever starts those passes them as the user's limit.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from engine import system
from engine.errors import OverBudget, UnsupportedSystem
from engine.wording import memory_amount

KIB, MIB = 1 << 10, 1 << 20

Decoded = Literal["texts", "wide", "coded"]

# -- formulas ----------------------------------------------------------------------------------
# Constants are resident bytes measured with Python 3.11, pyarrow 26, dask 2026.8 on x86-64 Linux,
# rounded up by about a fifth.

# A process before it has anything to do: whether it decodes, and what it runs under.
_PROCESS_BYTES = {
    (False, "threads"): 57 * MIB,  # interpreter, engine.work, numpy, Dask: 47
    (True, "threads"): 112 * MIB,  # and pyarrow, after its first work: 100
    (False, "distributed"): 84 * MIB,  # 69, of which 7 are for keys
    (True, "distributed"): 160 * MIB,  # and pandas, after its first work: 155
}
_VERIFY_PROCESS_BYTES = 136 * MIB  # pyarrow without Dask, after its first work
KEY_PROCESS_BYTES = 185 * MIB  # pyarrow, pandas and Dask's threads, after their first work: 175
FURTHER_PROCESS_BYTES = 96 * MIB  # a worker process beside another, which shares its libraries: 80
_KEPT_OF_LOOKS_BYTES = 64 * MIB
TRIED_PAGES_BYTES = 20 * MIB  # what stays of pages that a plan has tried to make: 16
_COPY_STEP_BYTES = 8 * MIB  # one buffer of a copy that the kernel cannot do
_DECODED_PER_THRIFT_BYTE = 25  # a structure as Python objects, per byte on the wire: 24
_DECODED_PER_CHUNK_BYTES = 3584  # one column chunk as Python objects
_COPIES_PER_CUT_PAGE = 8  # as read, plain, its values, decoded, encoded, compressed
# Of values decoded from a dictionary; the last stay in one, but for each page's own.
_COPIES_DECODED = {"texts": _COPIES_PER_CUT_PAGE, "wide": 4, "coded": 2}
_BYTES_PER_CUT_VALUE = 36
_COPIES_PER_ARRAY_PAGE, _BYTES_PER_ARRAY_VALUE = 3.5, 20  # which needs no decoding: 2.8 in all
_COPIES_PER_DELTAS = 4  # as they are decoded, gathered, and given back
_GATHERED_BYTES, _GATHERED_VALUES = 16 * MIB, 8 * 20_000  # of small pages that are made one
_HASHING_BYTES = 48 * MIB  # pyarrow brings pandas for it, where that is installed: 35
_BYTES_PER_HASHED_VALUE = 44  # where all are distinct: 43
_COPIES_PER_RECOMPRESSED_PAGE = 2.5  # plain, compressed, and room that the codec asks for
_COPIES_PER_SEEN_PAGE = 4  # as read, plain, its values, decoded; stretches take little
_BYTES_PER_SEEN_VALUE = 60  # levels, where rows and values begin, and what is before each
_COPIES_PER_DICTIONARY = 4  # while it is read: as read, plain, in a file for Arrow, decoded
_KEPT_COPIES_PER_DICTIONARY = 2
_KEPT_COPIES_PER_TRIMMED_DICTIONARY = 3  # and its entries in use
_KEPT_OF_GROUPS_BYTES = 12 * MIB  # measured; of larger row groups no more stays
_COPIES_PER_READ_DICTIONARY = 4  # as read, plain, decoded, and what its buffer grew from
_BYTES_PER_LENGTH = 8  # a prefix and a length
_COPIES_PER_UNITED_DICTIONARY = 4  # one after another, hashed, merged: 2.6
_BYTES_PER_UNITED_ENTRY = 240  # in hash tables that double, and in maps from old to new
_KEPT_PER_CHUNK_BYTES = 8 * KIB
_COPIES_PER_SMALL_ROWS = 6  # as read, decoded, encoded, in the file that Arrow wrote
_SMALL_PER_CHUNK_BYTES = 12 * KIB  # what Arrow has of a column while it reads or writes it
_PROFILE_PROCESS_BYTES = 46 * MIB  # interpreter, engine.formats.parquet.profiler, numpy: 38
_COPIES_PER_PROFILED_FOOTER = 3
_COUNTED_BATCH_BYTES = 32 * MIB  # a batch's values as Python has them, and their hashes
_COPIES_PER_COUNTED_DICTIONARY = 3  # as a batch refers to it
_COPIES_PER_COUNTED_VALUE = 20  # of two sketches, together, hashed, left over, and as Python has it
_COPIES_PER_PROFILED_INDEX = 6
TABLED_BYTES = 600  # of a column chunk: a line of a table, and the bytes of its statistics
_PROFILED_PER_COLUMN_BYTES = 12 * KIB
_BYTES_PER_INDEXED_PAGE = 600  # place, counts and bounds as Python objects
SCHEMA_COLUMN_BYTES = 3 * KIB  # an element of the schema, as a column, and its first chunk: 2.7
LISTED_BYTES = 72  # an element of a list that is not looked into yet, and its place in it
_SPLIT_PER_FOOTER_BYTE = 3  # a footer, and its row groups split into undecoded columns: 2.85

VERIFY_BATCH_BYTES = 4 * MIB
VERIFY_BUFFER_BYTES = 1 * MIB  # what one stream reads of a file at once
MIN_BATCH_BYTES = 64 * KIB
# Arrow builds values and levels in growing buffers, then makes the array of them; its allocator
# keeps what it has freed.
_COPIES_PER_BATCH = 4
_COPIES_PER_LARGE_VALUE = 2  # as its buffer grows, and as it is given


def process_base_bytes(
    *, arrow: bool, under: Literal["threads", "distributed"] = "distributed"
) -> int:
    """Return what a worker process takes before it has anything to do.

    Args:
        arrow: whether it decodes (pyarrow); a splice alone does not.
        under: what it runs under: Dask's local scheduler or its distributed one.
    """
    return _PROCESS_BYTES[arrow, under]


def splice_bytes(
    *,
    index_bytes: int,
    largest_index_bytes: int,
    footer_bytes: int,
    num_columns: int,
    num_row_groups: int,
) -> int:
    """Return what splicing one part takes above the process.

    Args:
        index_bytes: page indexes of all row groups of the part, which are kept until its end.
        largest_index_bytes: largest offset index of one chunk, which is decoded to be moved.
        footer_bytes: the source's footer, which is held as bytes.
        num_columns: leaves of the schema.
        num_row_groups: row groups of the part, each kept decoded until its footer is written.
    """
    return (
        _COPY_STEP_BYTES
        + 2 * footer_bytes
        + 2 * index_bytes
        + _DECODED_PER_THRIFT_BYTE * largest_index_bytes
        + _DECODED_PER_CHUNK_BYTES * num_columns * num_row_groups
    )


def footer_bytes(num_bytes: int) -> int:
    """Return what reading one footer takes, the schema's columns not included."""
    return _SPLIT_PER_FOOTER_BYTE * num_bytes


def footers_bytes(*, footer_bytes: int, num_chunks: int) -> int:
    """Return what the footers of all sources take while parts are planned and written.

    Args:
        footer_bytes: all of them, which are held as bytes.
        num_chunks: column chunks that are kept decoded.
    """
    return 2 * footer_bytes + _DECODED_PER_CHUNK_BYTES * num_chunks


def decode_bytes(
    *,
    page_bytes: int,
    dictionary_bytes: int,
    batch_bytes: int,
    stored_bytes: int | None = None,
    value_bytes: int = 0,
    num_lengths: int = 0,
) -> int:
    """Return what reading the values of one column takes above the process.

    Its largest page lies there compressed and plain, its dictionary decoded too, and a batch of
    values decoded.

    Args:
        page_bytes: largest page, before compression.
        dictionary_bytes: largest dictionary page, before compression.
        batch_bytes: decoded values at once.
        stored_bytes: largest page, as it lies in the file; None for no less than before.
        value_bytes: one value that may be much of a page, besides.
        num_lengths: of values in a page, which delta encodings of texts have in front of all.
    """
    return (
        page_bytes
        + (page_bytes if stored_bytes is None else stored_bytes)
        + _COPIES_PER_LARGE_VALUE * value_bytes
        + _BYTES_PER_LENGTH * num_lengths
        + _COPIES_PER_READ_DICTIONARY * dictionary_bytes
        + _COPIES_PER_BATCH * batch_bytes
        + 2 * VERIFY_BUFFER_BYTES
    )


def page_bytes(
    *,
    page_bytes: int,
    num_values: int,
    value_bytes: float = 0.0,
    delta_bytes: int = 0,
    is_array: bool = False,
    decoded: Decoded = "texts",
    gathers: bool = False,
    hashes: bool = False,
) -> int:
    """Return what rewriting one page takes above the process.

    Args:
        page_bytes: the page before compression.
        num_values: its level entries: levels and indices are numbers of 4 or 8 bytes meanwhile.
        value_bytes: of a decoded value, where the page holds indices into a dictionary and is not
            to hold them.
        delta_bytes: all decoded values, where the page holds differences.
        is_array: whether values lie there one after another, of one width, and without lists.
        decoded: what values of a dictionary become: of one width, or such that stay in one.
        gathers: whether it may be one of several, small ones, that are made one.
        hashes: whether its values are looked up in a new dictionary.
    """
    copies = _COPIES_DECODED[decoded]
    found = _COPIES_PER_CUT_PAGE * page_bytes + round(copies * value_bytes * num_values)
    found += _BYTES_PER_CUT_VALUE * num_values
    found += _COPIES_PER_DELTAS * delta_bytes
    if is_array:
        found = _array_page_bytes(page_bytes, num_values)
    gathered = min(found, round(_GATHERED_BYTES + _GATHERED_VALUES * value_bytes))
    hashed = _HASHING_BYTES + _BYTES_PER_HASHED_VALUE * num_values
    return found + 3 * gathered * gathers + hashed * hashes


def recompressed_bytes(*, page_bytes: int, stored_bytes: int) -> int:
    """Return what giving one page another codec takes above the process.

    Args:
        page_bytes: the page before compression.
        stored_bytes: as it lies in the source.
    """
    return stored_bytes + round(_COPIES_PER_RECOMPRESSED_PAGE * page_bytes)


def look_bytes(
    *,
    page_bytes: int,
    num_values: int,
    value_bytes: float = 0.0,
    delta_bytes: int = 0,
    is_array: bool = False,
) -> int:
    """Return what looking into a page takes above the process; parameters as :func:`page_bytes`."""
    decoded_bytes = round(value_bytes * num_values)
    if is_array:
        return _array_page_bytes(page_bytes, num_values)
    found = _COPIES_PER_SEEN_PAGE * (page_bytes + decoded_bytes)
    return found + _COPIES_PER_DELTAS * delta_bytes + _BYTES_PER_SEEN_VALUE * num_values


def _array_page_bytes(page_bytes: int, num_values: int) -> int:
    return round(_COPIES_PER_ARRAY_PAGE * page_bytes) + _BYTES_PER_ARRAY_VALUE * num_values


def kept_look_bytes(look_bytes: int, part_bytes: int) -> int:
    """Return what the largest look takes beside parts, which come after it.

    Large arrays are given back to the system at once, so a large look's room serves parts again.
    """
    return max(min(look_bytes, _KEPT_OF_LOOKS_BYTES), look_bytes - part_bytes)


def kept_group_bytes(group_bytes: int) -> int:
    """Return what allocators keep of a cut row group whose pages were open, with another's open."""
    return min(group_bytes, _KEPT_OF_GROUPS_BYTES)


def kept_chunk_bytes(*, dictionary_bytes: int, num_pages: int, is_trimmed: bool = False) -> int:
    """Return what stays in memory of a chunk whose pages are opened.

    Args:
        dictionary_bytes: the dictionary page before compression, 0 if it is not decoded.
        num_pages: data pages.
        is_trimmed: whether parts get the entries that they use.
    """
    copies = _KEPT_COPIES_PER_TRIMMED_DICTIONARY if is_trimmed else _KEPT_COPIES_PER_DICTIONARY
    return _KEPT_PER_CHUNK_BYTES + copies * dictionary_bytes + _BYTES_PER_INDEXED_PAGE * num_pages


def dictionary_bytes(dictionary_bytes: int) -> int:
    """Return what reading a dictionary of so many bytes before compression takes meanwhile."""
    return _COPIES_PER_DICTIONARY * dictionary_bytes


def merged_bytes(*, dictionary_bytes: int, num_entries: int) -> int:
    """Return what one of the dictionaries that are merged takes besides, until their chunk ends."""
    return _COPIES_PER_UNITED_DICTIONARY * dictionary_bytes + _BYTES_PER_UNITED_ENTRY * num_entries


def small_rows_bytes(*, plain_bytes: int, num_columns: int, num_row_groups: int) -> int:
    """Return what reading the rows of small chunks and writing them takes, all columns at once.

    Args:
        plain_bytes: all chunks before compression; they are held as read, decoded, and written.
        num_columns: leaves of the schema.
        num_row_groups: row groups that the rows are of.
    """
    chunks_bytes = _SMALL_PER_CHUNK_BYTES * num_columns * (num_row_groups + 1)
    return _COPIES_PER_SMALL_ROWS * plain_bytes + chunks_bytes


def profile_bytes(*, footer_bytes: int, num_chunks: int, num_columns: int, index_bytes: int) -> int:
    """Return what profiling one file takes, the process included.

    Args:
        footer_bytes: its footer.
        num_chunks: column chunks.
        num_columns: leaves of the schema.
        index_bytes: both page indexes of the row group that has most of them.
    """
    return (
        _PROFILE_PROCESS_BYTES
        + _COPIES_PER_PROFILED_FOOTER * footer_bytes
        + TABLED_BYTES * num_chunks
        + _PROFILED_PER_COLUMN_BYTES * num_columns
        + _COPIES_PER_PROFILED_INDEX * index_bytes
    )


def key_bytes(
    *, decoding_bytes: int, dictionary_bytes: int, value_bytes: float, footer_bytes: int
) -> int:
    """Return what counting the values of a row group takes above the process.

    Args:
        decoding_bytes: what decoding its column takes.
        dictionary_bytes: largest dictionary page, before compression.
        value_bytes: of the values that are kept, together.
        footer_bytes: the file's footer, which is read anew.
    """
    return (
        decoding_bytes
        + _COPIES_PER_COUNTED_DICTIONARY * dictionary_bytes
        + _COUNTED_BATCH_BYTES
        + round(_COPIES_PER_COUNTED_VALUE * value_bytes)
        + _COPIES_PER_PROFILED_FOOTER * footer_bytes
    )


def verify_bytes(
    *,
    sides_bytes: Sequence[int],
    footer_bytes: int,
    largest_index_bytes: int,
) -> int:
    """Return what verifying takes, the process included.

    Args:
        sides_bytes: :func:`decode_bytes` of both sides of the columns that are compared at once.
        footer_bytes: footers of all sources and parts together.
        largest_index_bytes: largest page index of one chunk.
    """
    return (
        _VERIFY_PROCESS_BYTES
        + _SPLIT_PER_FOOTER_BYTE * footer_bytes
        + _DECODED_PER_THRIFT_BYTE * largest_index_bytes
        + sum(sides_bytes)
    )


def verify_batch_bytes(left_bytes: int, *, workers: int) -> int:
    """Return how much of a column to decode at once.

    A quarter of what is left over goes to batches, within bounds between which the speed hardly
    changes.

    Args:
        left_bytes: what :func:`verify_bytes` of the smallest batches leaves of a budget.
        workers: columns compared at once, as threads of one process.
    """
    share = left_bytes // 4 // (2 * workers * _COPIES_PER_BATCH)
    return max(MIN_BATCH_BYTES, min(VERIFY_BATCH_BYTES, share))


# -- budget ------------------------------------------------------------------------------------

MARGIN = 0.8  # of a measured limit: others use memory too, and the formulas are estimates
_GIVEN = "as given"
_UNLIMITED_BYTES = 1 << 60  # cgroup v1 writes "no limit" as the largest multiple of a page


@dataclass(frozen=True)
class Candidate:
    """One thing that limits memory; ``bytes`` is after the margin."""

    bytes: int
    source: str


@dataclass(frozen=True)
class Budget:
    """How much memory to use, what says so, and everything that was considered.

    Attributes:
        bytes: the least of all candidates.
        source: what set it, as text.
        candidates: all of them, the least first.
    """

    bytes: int
    source: str
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class Cgroup:
    """One memory controller group, as its files say; see :func:`cgroups`."""

    version: int
    path: str
    limit_bytes: int
    used_bytes: int

    @property
    def remaining_bytes(self) -> int:
        """Bytes below the limit; reclaimable page cache counts as free."""
        return max(0, self.limit_bytes - self.used_bytes)


def budget(
    limit_bytes: int | None = None,
    *,
    root: Path = Path("/"),
    available_bytes: int | None = None,
) -> Budget:
    """Return the memory that a run may use, what this process already takes not included.

    The user's own limit is taken as it is; what is measured is multiplied by :data:`MARGIN`.

    Args:
        limit_bytes: the user's limit, if any.
        root: where ``proc`` and ``sys`` are found; for tests.
        available_bytes: instead of asking psutil; for tests.
    """
    return least_of(limit_bytes, _available_bytes(available_bytes), list(cgroups(root)))


def least_of(limit_bytes: int | None, available_bytes: int, groups: list[Cgroup]) -> Budget:
    """Return the budget that a limit, available memory and control groups leave (pure)."""
    candidates = [
        Candidate(int(available_bytes * MARGIN), f"available memory {_text(available_bytes)}")
    ]
    if limit_bytes is not None:
        candidates.append(Candidate(limit_bytes, _GIVEN))
    for group in groups:
        text = f"cgroup v{group.version} limit {_text(group.limit_bytes)}"
        if group.used_bytes:
            text += f", {_text(group.used_bytes)} of it used"
        candidates.append(Candidate(int(group.remaining_bytes * MARGIN), text))
    candidates.sort(key=lambda candidate: candidate.bytes)
    return Budget(candidates[0].bytes, candidates[0].source, tuple(candidates))


def _available_bytes(given: int | None) -> int:
    return int(of_machine().available) if given is None else given


def of_machine() -> Any:
    """Return what psutil says of this machine's memory.

    Raises:
        UnsupportedSystem: nothing tells it, as without ``/proc``.
    """
    import psutil

    try:
        return psutil.virtual_memory()
    except OSError as error:
        raise UnsupportedSystem(
            f"how much memory is free is not told here ({error.filename}: {error.strerror}); mount "
            "/proc, as containers have it"
        ) from error


def _text(size_bytes: int) -> str:
    if size_bytes >= 10 << 30:
        return f"{size_bytes / (1 << 30):.0f} GiB"
    return f"{size_bytes / MIB:.0f} MiB"


_kept_to: ContextVar[Budget | None] = ContextVar("kept_to", default=None)
_ASKED_BYTES = 1 * MIB  # less is never much beside a process


@contextmanager
def keeping_to(limit_bytes: int | None) -> Iterator[Budget]:
    """Hold what is asked for meanwhile to the memory that there is now.

    Inside another one that one's budget holds on: what the process has taken since is its own.
    Worker processes and Dask's threads have none: what they read, the plan has asked for.

    Args:
        limit_bytes: the user's limit, if any.
    """
    found = _kept_to.get() or budget(limit_bytes)
    token = _kept_to.set(found)
    try:
        yield found
    finally:
        _kept_to.reset(token)


def ask(num_bytes: int, purpose: str, *, arrow: bool = False, cure: str = "") -> None:
    """See that something fits the budget before it is read.

    Args:
        num_bytes: what it takes above the process.
        purpose: what it is for; begins the message.
        arrow: whether the process decodes (pyarrow).
        cure: what else helps; see :func:`check`.

    Raises:
        OverBudget: it does not fit.
    """
    found = _kept_to.get() if num_bytes >= _ASKED_BYTES else None
    if found is not None:
        check(process_base_bytes(arrow=arrow, under="threads") + num_bytes, found, purpose, cure)


def kept_to() -> Budget | None:
    """Return the budget that holds now, if a verb has begun."""
    return _kept_to.get()


def check(needed_bytes: int, allowed: Budget, purpose: str, cure: str = "") -> None:
    """Raise OverBudget where something needs more memory, the process included, than allowed."""
    if needed_bytes > allowed.bytes:
        cures = "raise --memory" if allowed.source == _GIVEN else "free memory"
        cures += f", or {cure}" if cure else ""
        raise OverBudget(
            f"{purpose} needs about {memory_amount(needed_bytes)} of memory, the budget is "
            f"{memory_amount(allowed.bytes)} ({allowed.source}); {cures}"
        )


def cgroups(root: Path = Path("/")) -> Iterator[Cgroup]:
    """Yield the limited memory groups that this process is in: its own and all above it.

    A container may be limited by its pod, or a service by its slice, so parents count. Source: the
    kernel's ``admin-guide/cgroup-v1/memory`` and ``admin-guide/cgroup-v2``; ``man 7 cgroups``.
    """
    memberships = _memberships(root)
    for version, mount_root, mount_point in _mounts(root):
        name = memberships.get(version)
        if name is None:
            continue
        base = root / mount_point.lstrip("/")
        for path in _upwards(base, _below(mount_root, name)):
            group = _read_group(version, path)
            if group is not None:
                yield group


def _memberships(root: Path) -> dict[int, str]:
    """Return this process's group by cgroup version, from ``/proc/self/cgroup``."""
    found = {}
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if "memory" in controllers.split(","):
            found[1] = name
        elif number == "0" and not controllers:
            found[2] = name
    return found


def _mounts(root: Path) -> Iterator[tuple[int, str, str]]:
    """Yield (version, the group that is mounted, where) from ``/proc/self/mountinfo``."""
    for line in _lines(root / "proc/self/mountinfo"):
        left, _, right = line.partition(" - ")
        fields, kinds = left.split(), right.split()
        if len(fields) < 5 or len(kinds) < 3:
            continue
        place = _unescaped(fields[3]), _unescaped(fields[4])
        if kinds[0] == "cgroup2":
            yield 2, *place
        elif kinds[0] == "cgroup" and "memory" in kinds[2].split(","):
            yield 1, *place


def _unescaped(text: str) -> str:
    """Undo mountinfo's octal escapes of blanks and backslashes."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _below(mount_root: str, name: str) -> list[str]:
    """Return the group's path below the mount, empty where a container hides it."""
    root = [part for part in mount_root.split("/") if part]
    path = [part for part in name.split("/") if part]
    if ".." in path or path[: len(root)] != root:
        return []
    return path[len(root) :]


def _upwards(base: Path, parts: list[str]) -> Iterator[Path]:
    for depth in range(len(parts), -1, -1):
        yield base.joinpath(*parts[:depth])


def _read_group(version: int, path: Path) -> Cgroup | None:
    """Return a group if it sets a limit."""
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }[version]
    limit, usage = (_number(path / name) for name in names[:2])
    if limit is None or limit >= _UNLIMITED_BYTES:
        return None
    used = max(0, (usage or 0) - _reclaimable(path / "memory.stat", names[2]))
    return Cgroup(version, str(path), limit, used)


def _reclaimable(stat: Path, key: str) -> int:
    for line in _lines(stat):
        name, _, number = line.partition(" ")
        if name == key and number.isdigit():
            return int(number)
    return 0


def _number(path: Path) -> int | None:
    """Return the number in a file; None for none, and for ``max``."""
    lines = _lines(path)
    return int(lines[0]) if lines and lines[0].isdigit() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:  # not Linux, or not for us to read: no limit is known from it
        return []


# -- measurement -------------------------------------------------------------------------------


class PeakMeter:
    """Measures the peak memory of this process and all its children while it is entered.

    It samples from a thread, so a peak shorter than the interval may be missed. What is summed is
    the proportional set size: a page shared by n processes (libraries, memory that a forked child
    has not changed) counts 1/n in each, hence once, which is how a control group is charged;
    resident set sizes would count pyarrow's code once more for every worker. Where the
    kernel gives no PSS (not Linux, or another user's process), resident size stands in.

    >>> with PeakMeter() as meter:
    ...     data = bytes(1000)
    >>> meter.peak_bytes > 0
    True
    """

    def __init__(self, interval_seconds: float = 0.05) -> None:
        self.peak_bytes = 0
        self._interval_seconds = interval_seconds
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="peak-meter", daemon=True)

    def __enter__(self) -> PeakMeter:
        self.sample()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()
        self.sample()

    def _run(self) -> None:
        while not self._done.wait(self._interval_seconds):
            self.sample()

    def sample(self) -> int:
        """Measure now; return the bytes."""
        now_bytes = family_bytes()
        self.peak_bytes = max(self.peak_bytes, now_bytes)
        return now_bytes


def forget_own_peak() -> None:
    """Let :func:`own_peak_bytes` begin anew, where the kernel can (``/proc/PID/clear_refs``)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def own_peak_bytes() -> int:
    """Return the largest resident set that this process had, as the kernel counted it.

    Of its whole life, or since :func:`forget_own_peak`.
    Exact and free, unlike sampling; children are not in it. What a parent had before it became this
    program is not either, unlike in ``ru_maxrss``.
    """
    for line in _lines(Path("/proc/self/status")):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * KIB
    return system.peak_resident_bytes()


def family_bytes() -> int:
    """Return the memory of this process and all its children now, shared pages counted once."""
    import psutil

    this = psutil.Process()
    return sum(_process_bytes(process) for process in (this, *this.children(recursive=True)))


def _process_bytes(process: object) -> int:
    import psutil

    assert isinstance(process, psutil.Process)
    for line in _lines(Path(f"/proc/{process.pid}/smaps_rollup")):
        if line.startswith("Pss:"):
            return int(line.split()[1]) * KIB
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it ended meanwhile
        return 0
