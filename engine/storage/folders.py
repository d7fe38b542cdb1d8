"""What a source stands for: which of the files that a store lists are taken, and what is said.

One decision for all stores, without input and output: a store only lists (:class:`Listing`).
Folders that are more than their files are told by their marks:

==========  =====================================  ============================================
kind        mark                                   as plain files
==========  =====================================  ============================================
Delta       ``_delta_log/``                        files that the log removed would come back
Iceberg     ``metadata/*.metadata.json``           the same
Hudi        ``.hoodie/``; in a partition           older versions of rows would come back
            ``.hoodie_partition_metadata``
Paimon      ``schema/schema-0``                    the same
Hive ACID   ``base_0000002/``,                     the same
            ``delta_0000003_0000003_0000/``
a stream    ``_spark_metadata/``                   files of batches that failed would come in
of Spark
hive        folders named ``column=value``         these columns would vanish
==========  =====================================  ============================================

Sources: the Delta transaction log protocol; the Iceberg table specification ("Table Metadata");
Hudi's technical specification ("Storage layout"); Paimon's ("File Layouts"); Hive's language manual
("Partitioned Tables"), AcidUtils of Hive; FileStreamSinkLog of Spark.
Of a Delta or Iceberg table the live files are taken, as its log has them
(:mod:`engine.storage.tables`, :mod:`engine.storage.iceberg`); other tables are refused. Of hive
folders it is told which files lie in which partition; a split keeps them apart. An Iceberg table's
folders say nothing: all values are in its files. Hard links are files of their own, as every reader
has it.

A folder's files have one format: Parquet, delimited text or NDJSON. Their names say which; ``.txt``
and ``.json`` beside Parquet are notes. Several formats are refused: nobody knows which is wanted.

Databricks leaves files that a later write removed, or of a write that did not end, beside the
others, with marks that say so: they are refused by name ("Transactional writes to cloud storage
with DBIO").

Told apart besides, and said: what Spark or Hadoop put out (``_SUCCESS``), the destination of an
earlier split (``_evensplit/``), and plain folders.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from engine.part_names import KINDS, PARQUET_SUFFIXES, is_vague, kind_of
from engine.partition_values import Kind
from engine.wording import counted, shown

PARQUET_MARKS = (b"PAR1", b"PARE")  # the second: an encrypted footer
_SMALLEST_FILE_BYTES = 12
_MAX_NAMED = 3
_FOR_EXAMPLE = (".parquet", ".csv", ".ndjson")

Reason = Literal[
    "mark",
    "hidden",
    "hidden folder",
    "other",
    "metadata",
    "removed",
    "twice",
    "linked folder",
    "not entered",
    "globs",
]

# Reason: how one, and how several are named.
_REASONS: Mapping[Reason, tuple[str, str]] = {
    "mark": ("_SUCCESS/.crc", "_SUCCESS/.crc"),
    "hidden": ("hidden (_ or . in front)", "hidden (_ or . in front)"),
    "hidden folder": ("hidden folder (_ or . in front)", "hidden folders (_ or . in front)"),
    "other": ("without {} in its name", "without {} in their names"),
    "metadata": ("of the table's metadata",) * 2,
    "removed": ("removed from the table",) * 2,
    "twice": ("reached twice (by a link or another source)",) * 2,
    "linked folder": ("link to a folder that was seen already",) * 2,
    "not entered": ("folder or link that is not entered", "folders or links that are not entered"),
    "globs": ("left out by --include or --exclude",) * 2,
}
_FOLDER_REASONS = {"hidden folder", "linked folder", "not entered"}
_JOBS_MARK = re.compile(r"_SUCCESS|_(started|committed)_.*")  # of Hadoop's committer, Databricks'
_COMMITTED = re.compile(r"_committed_\d+")
_WRITE = re.compile(r"-tid-(\d+)-")  # in names of its files
_WRITERS_MARK = re.compile(rf"{_JOBS_MARK.pattern}|_metadata|_common_metadata|\..*\.crc")
_PARTITION = re.compile(r"([^=/]+)=[^/]*")
_NAMELESS = re.compile(r"/=[^/]*/")
PLAIN = "plain folder"
SPLIT_FOLDER = "_evensplit"  # where a split keeps its record
_HUDI_PARTITION = re.compile(r"\.hoodie_partition_metadata(\..*)?")  # of one, without the table
_TABLE_FOLDERS = {"_delta_log": "Delta", ".hoodie": "Hudi", "_spark_metadata": "Spark streaming"}
READ_BY_LOG = ("Delta", "Iceberg")  # tables of which the live files are taken
_PAIMON_FOLDERS = {"schema", "snapshot", "manifest"}
_PAIMON_BUCKET = re.compile(r"bucket-\d+")
_WILDCARD = re.compile(r"[*?\[]")
METADATA_FOLDER = "metadata"
_ICEBERG_METADATA = re.compile(rf"{METADATA_FOLDER}/[^/]*\.metadata\.json(\.gz)?")
_PAIMON_SCHEMA = re.compile(r"schema/schema-\d+")
_HIVE_ACID = re.compile(r"(base_\d{7,}(_v\d+)?|(delete_)?delta_\d{7,}_\d{7,}(_\d+)?(_v\d+)?)/.*")


class Listed(NamedTuple):
    """A file that a store found; or a folder it did not enter, with a slash at the end.

    Attributes:
        path: the store's own path.
        name: the path below the listing's root, ``/`` between components; empty for the root.
        size_bytes: 0 for a folder.
        real: the same for all paths of one file: the path without links.
        is_seen: a link to a folder that was entered under its own name already.
    """

    path: str
    name: str
    size_bytes: int
    real: str
    is_seen: bool = False


class Listing(NamedTuple):
    """What a store finds for a file, folder (with subfolders) or glob.

    Attributes:
        root: the file, the folder, or the folder before a glob's first wildcard.
        kind: of the three.
        entries: for a glob only what matches, folders as well, which are not entered; empty if
            nothing is there.
        loops: paths of links to a folder that holds them; not entered.
    """

    root: str
    kind: Literal["file", "folder", "glob"]
    entries: tuple[Listed, ...] = ()
    loops: tuple[str, ...] = ()


class LiveFiles(NamedTuple):
    """What a table's log says.

    Attributes:
        kind: what the table is, in words.
        files: bytes of the live files by their names below the table's folder, in the order in
            which they are read.
        has_partition_folders: their folders hold values that they lack.
        kinds: types of these values, by column, where the log says them.
    """

    kind: str
    files: Mapping[str, int]
    has_partition_folders: bool
    kinds: Mapping[str, Kind] = MappingProxyType({})


@dataclass
class Choice:
    """What is decided about one listing.

    Attributes:
        taken: in the order of their names.
        unknown: may be Parquet, which their names do not say; see :meth:`decide`.
        named: all whose names say what they are, by that; empty where names do not matter.
        passed_over: how many, by reason.
        tables: kind of table by the folder that holds its mark ("" for the root); without one of
            which the live files are taken.
        table: what table that is, in words.
        has_partition_folders: folders ``column=value`` hold values that files lack, as far as the
            folders' names tell.
        kinds: types of these values, by column, where a table's log says them.
        table_problem: why its live files could not be taken.
        mixed: Parquet without its name beside files that have it: whose rows are wanted?
        formats: a file of each format, by its name, where there are several; none is taken then.
        datasets: what would be missing: folders that a glob matches and does not enter, and whose
            names say that they hold data, as ``x.parquet`` of Spark; links that are not followed.
        splits: folders that hold the record of a split ("" for the root).
        is_job_output: the root holds the mark that a job of Spark or Hadoop leaves.
    """

    listing: Listing
    taken: list[Listed] = field(default_factory=list)
    unknown: list[Listed] = field(default_factory=list)
    named: dict[str, list[Listed]] = field(default_factory=dict)
    passed_over: Counter[Reason] = field(default_factory=Counter)
    tables: dict[str, str] = field(default_factory=dict)
    table: str = ""
    has_partition_folders: bool = True
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    table_problem: str = ""
    mixed: list[Listed] = field(default_factory=list)
    formats: dict[str, Listed] = field(default_factory=dict)
    datasets: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    is_job_output: bool = False

    @property
    def kind(self) -> str:
        """What a folder is, in words; empty for what is no folder."""
        if self.listing.kind != "folder":
            return ""
        columns = dict.fromkeys(name for item in self.taken for name in self.columns_below(item))
        table = self.tables.get("")
        words = [
            self.table or (f"{table} table" if table else ""),
            "destination of an earlier split" if "" in self.splits else "",
            "output of Spark or Hadoop" if self.is_job_output else "",
            f"hive-partitioned by {', '.join(columns)}" if columns else "",
        ]
        return ", ".join(filter(None, words)) or PLAIN

    def columns_below(self, item: Listed) -> list[str]:
        """Return the columns of folders ``column=value`` between a source and a file."""
        return [*partition_folders(item.name)] if self.has_partition_folders else []

    def partition_of(self, item: Listed) -> list[str]:
        """Return the folders ``column=value`` that hold values of a file, outermost first.

        A column's are those below the source, or else those above it; several if it is there twice.
        """
        below = _partition_names(item.name) if self.has_partition_folders else []
        columns = set(map(_column_of, below))
        above = _partition_names(item.path.removesuffix(item.name))
        return [*(it for it in above if _column_of(it) not in columns), *below]

    def take_live(self, table: LiveFiles, is_chosen: Callable[[str], bool]) -> None:
        """Take the live files of a table alone, in its order.

        Args:
            table: what its log says.
            is_chosen: whether globs leave a file of a name in.
        """
        parquet = [*self.named.get("Parquet", ()), *self.taken]
        by_name = {item.name: item for item in parquet}
        lost = next((it for it in table.files if it not in by_name and is_chosen(it)), None)
        if lost is not None:
            self.table_problem = (
                f"{self.listing.root} is {_articled(table.kind)}, and its live file {lost} is "
                "missing, hidden (_ or . in front), behind a link or without .parquet in its name: "
                "restore it, or write the table out as plain files"
            )
            return
        live = [by_name[name] for name in table.files if name in by_name]
        other = next((it for it in live if it.size_bytes != table.files[it.name]), None)
        if other is not None:
            self.table_problem = (
                f"{self.listing.root} is {_articled(table.kind)}, and its live file {other.name} "
                f"has {other.size_bytes:,} bytes where the table says {table.files[other.name]:,}: "
                "restore it, or write the table out as plain files"
            )
            return
        num_removed = len(by_name) + len(self.unknown) - len(live)
        num_others = sum(map(len, self.named.values())) - len(self.named.get("Parquet", ()))
        self.passed_over += Counter[Reason]({"removed": num_removed, "other": num_others})
        self.named, self.taken = {"Parquet": live}, []
        self.unknown = []
        self.tables = {}
        self.table, self.has_partition_folders = table.kind, table.has_partition_folders
        self.kinds = table.kinds

    def decide(self, found: Iterable[bool]) -> None:
        """Decide about files in a folder; of unknown ones it was seen whether each is Parquet."""
        parquet = [item for item, is_it in zip(self.unknown, found, strict=True) if is_it]
        num_passed_over = len(self.unknown) - len(parquet)
        if parquet and "Parquet" in self.named:
            self.mixed = parquet
        elif parquet:
            self.named["Parquet"] = parquet
        if "Parquet" in self.named:
            for kind, items in list(self.named.items()):
                kept = [item for item in items if not is_vague(item.name)]
                num_passed_over += len(items) - len(kept)
                self.named[kind] = kept
        self.passed_over["other"] += num_passed_over
        self.passed_over += Counter()  # without zeros
        kinds = {kind: items for kind, items in self.named.items() if items}
        if len(kinds) > 1:
            self.formats = {kind: items[0] for kind, items in kinds.items()}
        for items in kinds.values() if len(kinds) == 1 else ():
            self.taken = items


def choose(listing: Listing, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Choice:
    """Sort a listing's entries: taken, passed over (and why), or unknown by name.

    Args:
        listing: what a store found.
        include: globs; only what one of them matches is taken, whatever its name ends in.
        exclude: globs; what one of them matches is not.
    """
    choice = Choice(listing)
    folders: set[str] = set()
    choice.tables = dict(_tables_by_files(listing))
    for item in sorted(listing.entries, key=lambda item: item.name):
        folder = hidden_folder(item.name)
        if folder is not None:
            folders.add(folder)
        elif item.is_seen:
            choice.passed_over["linked folder"] += 1
        elif item.name.endswith("/"):
            _choose_folder(choice, item, include, exclude)
        else:
            _choose_file(choice, item, include, exclude)
    choice.passed_over["hidden folder"] += len(folders)
    for folder in folders:
        place, _, name = folder.rpartition("/")
        if name in _TABLE_FOLDERS:
            choice.tables[place] = _TABLE_FOLDERS[name]
        if name == SPLIT_FOLDER:
            choice.splits.append(place)
    choice.passed_over += Counter()  # without zeros
    return choice


def _choose_folder(
    choice: Choice, item: Listed, include: Sequence[str], exclude: Sequence[str]
) -> None:
    """Decide about a folder that a glob matches, or a link that a store does not follow.

    What a shell would make of such a glob has the folder's files.
    """
    if any(other.name.startswith(item.name) and other != item for other in choice.listing.entries):
        return  # ** matches what is in it
    name = item.name.rstrip("/")
    is_left_out = not is_chosen(name, include, exclude)
    choice.passed_over["globs" if is_left_out else "not entered"] += 1
    if (kind_of(name) or choice.listing.kind == "folder") and not is_left_out:
        choice.datasets.append(name)


def _choose_file(
    choice: Choice, item: Listed, include: Sequence[str], exclude: Sequence[str]
) -> None:
    place, _, name = item.name.rpartition("/")
    if choice.listing.kind == "file":
        choice.taken.append(item)
    elif _is_metadata(choice, place):
        choice.passed_over["metadata"] += 1
    elif _WRITERS_MARK.fullmatch(name):
        choice.passed_over["mark"] += 1
        choice.is_job_output |= not place and _JOBS_MARK.fullmatch(name) is not None
    elif name.startswith(("_", ".")):
        choice.passed_over["hidden"] += 1
        if _HUDI_PARTITION.fullmatch(name):
            choice.tables[place] = "Hudi"
    elif not is_chosen(item.name, include, exclude):
        choice.passed_over["globs"] += 1
    elif include or choice.listing.kind == "glob":
        choice.taken.append(item)
    elif kind := kind_of(name):
        choice.named.setdefault(kind, []).append(item)
    elif item.size_bytes >= _SMALLEST_FILE_BYTES:
        choice.unknown.append(item)
    else:
        choice.passed_over["other"] += 1


def _tables_by_files(listing: Listing) -> Iterator[tuple[str, str]]:
    """Yield the folders of tables, and their kinds, as far as names of files below tell."""
    marks = ((_ICEBERG_METADATA, "Iceberg"), (_PAIMON_SCHEMA, "Paimon"), (_HIVE_ACID, "Hive ACID"))
    for item in listing.entries if listing.kind != "file" else ():
        place, _, name = item.name.rpartition("/")
        above, _, last = place.rpartition("/")
        for mark, kind in marks if last else ():
            if mark.fullmatch(f"{last}/{name}"):
                yield above, kind


def _is_metadata(choice: Choice, place: str) -> bool:
    above, _, last = place.rpartition("/")
    return last == METADATA_FOLDER and choice.tables.get(above) == "Iceberg"


def metadata_files(listing: Listing) -> list[str]:
    """Return the names of the files in the folder that holds an Iceberg table's metadata."""
    inside = f"{METADATA_FOLDER}/"
    names = (it.name for it in listing.entries if it.name.startswith(inside))
    return [name.removeprefix(inside) for name in names]


def without_metadata(source: str) -> tuple[str, str]:
    """Return a source; of a metadata file of an Iceberg table its folder, and the file's name."""
    name = source.rpartition("/")[2]
    above = source.removesuffix(f"{METADATA_FOLDER}/{name}")
    is_it = above != source and _ICEBERG_METADATA.fullmatch(f"{METADATA_FOLDER}/{name}")
    return (above or ".", name) if is_it and not _WILDCARD.search(source) else (source, "")


def is_chosen(name: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether globs leave a file in, by its name below a source."""
    return not _is_among(name, exclude) and (not include or _is_among(name, include))


def _is_among(name: str, globs: Sequence[str]) -> bool:
    """Whether a glob matches a name below a source; one without a slash is of files anywhere."""
    last = name.rpartition("/")[2]
    return any(glob_matches(glob, name if "/" in glob else last) for glob in globs)


def glob_matches(glob: str, path: str) -> bool:
    """Whether a glob, in which ``**`` stands for any number of folders, matches a path."""

    def match(wanted: Sequence[str], names: Sequence[str]) -> bool:
        if not wanted:
            return not names
        if wanted[0] == "**":
            return any(match(wanted[1:], names[i:]) for i in range(len(names) + 1))
        return bool(names) and fnmatchcase(names[0], wanted[0]) and match(wanted[1:], names[1:])

    return match(glob.split("/"), path.split("/"))


def hidden_folder(name: str) -> str | None:
    """Return the outermost folder of a name that holds no data, as Spark and Hadoop have it."""
    parts = name.split("/")
    for number, part in enumerate(parts[:-1], start=1):
        if part.startswith(("_", ".")):
            return "/".join(parts[:number])
    return None


def folders_above(name: str, prefix: str) -> Iterator[str]:
    """Yield the folders that a file lies in, below a prefix that ends with a slash, if not empty.

    Not those that hold no data by their names, nor what is in these.
    """
    for end, letter in enumerate(name[len(prefix) :], len(prefix)):
        if letter == "/" and hidden_folder(f"{name[len(prefix) : end]}/") is None:
            yield name[:end]


def is_read(name: str) -> bool:
    """Whether readers of a folder take a file of this name in it: all but what is hidden."""
    return hidden_folder(name) is None and not name.rpartition("/")[2].startswith(("_", "."))


def table_kind(folders: Iterable[str], metadata_files: Iterable[str] = ()) -> str | None:
    """Return what table a folder holds, by the names of folders and files of ``metadata`` in it."""
    every = set(folders)
    for name in _TABLE_FOLDERS.keys() & every:
        return _TABLE_FOLDERS[name]
    if every >= _PAIMON_FOLDERS:
        return "Paimon"
    if any(_ICEBERG_METADATA.fullmatch(f"metadata/{name}") for name in metadata_files):
        return "Iceberg"
    return None


def is_inside_table(name: str) -> bool:
    """Whether a folder of this name is one that tables have inside: a table may lie above."""
    is_known = name in ("data", METADATA_FOLDER, *_TABLE_FOLDERS)
    return is_known or is_partition(name) or _PAIMON_BUCKET.fullmatch(name) is not None


def is_metadata_file(path: str) -> bool:
    """Whether a file lies where an Iceberg table has its metadata, and is called as that is."""
    return _ICEBERG_METADATA.fullmatch("/".join(path.split("/")[-2:])) is not None


def is_partition(name: str) -> bool:
    """Whether a folder's name is one of hive's, ``column=value``."""
    return _PARTITION.fullmatch(name) is not None


def partition_columns(choices: Sequence[Choice]) -> tuple[str, ...]:
    """Return the columns that only paths of taken files hold, and that parts would be without.

    Those of folders below a root; and, above it, those of which the files have different values.
    """
    found: dict[str, None] = {}
    values: list[dict[str, list[str]]] = []
    for choice in choices:
        for item in choice.taken:
            if choice.listing.kind != "file":
                found.update(dict.fromkeys(choice.columns_below(item)))
            values.append(_by_column(choice.partition_of(item)))
    names = dict.fromkeys(name for each in values for name in each)
    differing = [name for name in names if len({tuple(each.get(name, ())) for each in values}) > 1]
    return tuple(dict.fromkeys([*found, *differing]))


def partition_kinds(choices: Sequence[Choice]) -> Mapping[str, Kind]:
    """Return types of columns of folders, by column, where all sources say the same ones."""
    first = choices[0].kinds
    return first if all(choice.kinds == first for choice in choices) else {}


def partition_paths(choices: Sequence[Choice], columns: Sequence[str]) -> list[str]:
    """Return of each taken file its folders of some columns, as ``year=2024/month=01``."""
    wanted = set(columns)
    return [
        "/".join(part for part in choice.partition_of(item) if _column_of(part) in wanted)
        for choice in choices
        for item in choice.taken
    ]


def partitions_problem(partitions: Mapping[str, str]) -> str:
    """Return why files are not of one table of partitions, by a file of each; empty if they are."""
    for folders, path in partitions.items():
        for name, every in _by_column(folders.split("/")).items():
            if len(every) > 1:
                return (
                    f"{path} lies in two folders of the column {name}, {' and '.join(every)}, of "
                    "which one value would be lost: rename one, or name the inner folders apart"
                )
    first, *others = [(path, tuple(partition_folders(f"{it}/"))) for it, path in partitions.items()]
    for path, columns in others:
        if columns != first[1]:
            found = [", ".join(names) or "none" for names in (first[1], columns)]
            return (
                f"{first[0]} lies in folders of the columns {found[0]}, {path} of {found[1]}: "
                "partitions of one split have the same columns in the same order; split them apart"
            )
    odd = next((it for it in partitions if "\\" in it or not it.isprintable()), None)
    if odd is not None:
        return f"the folder {odd!r} holds a backslash or what cannot be printed; rename it"
    return ""


def partition_folders(path: str) -> dict[str, str]:
    """Return the folders ``column=value`` that a file lies in, by column."""
    return {_column_of(part): part for part in _partition_names(path)}


def _partition_names(path: str) -> list[str]:
    return [part for part in path.split("/")[:-1] if is_partition(part)]


def _column_of(folder: str) -> str:
    return folder.partition("=")[0]


def _by_column(folders: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for folder in folders:
        found.setdefault(_column_of(folder), []).append(folder)
    return found


def without_twice(choices: Sequence[Choice]) -> list[str]:
    """Take each file once, in the order of the sources; return sentences about the exceptions.

    A file that is named itself, twice, is taken twice: nothing else can be meant.
    """
    named: Counter[str] = Counter()
    seen: set[str] = set()
    for choice in choices:
        kept = []
        for item in sorted(choice.taken, key=lambda item: (_is_link(item), item.name)):
            is_named = choice.listing.kind == "file"
            if item.real in seen and not (is_named and named[item.real]):
                choice.passed_over["twice"] += 1
                continue
            named[item.real] += is_named
            seen.add(item.real)
            kept.append(item)
        names = {item.name for item in kept}
        choice.taken = [item for item in choice.taken if item.name in names]
    return [
        f"{path} is named {number:,} times, and taken as often"
        for path, number in named.items()
        if number > 1
    ]


def _is_link(item: Listed) -> bool:
    return item.real != item.path


def said(source: str, choice: Choice) -> str:
    """Return the sentence about what a source is, and what of it was passed over.

    Empty if there is nothing to say: it is a plain folder, and all of it is taken.
    """
    passed_over = _counted(choice) if choice.passed_over else ""
    kind = choice.kind if passed_over or choice.kind != PLAIN else ""
    words = ", ".join(filter(None, (kind, passed_over)))
    return f"{source}: {words}" if words else ""


def _counted(choice: Choice) -> str:
    passed_over = choice.passed_over
    total = sum(passed_over.values())
    kind = kind_of(choice.taken[0].name) if choice.taken else ""
    ending = KINDS[kind or "Parquet"][0]
    every = [
        f"{number:,} {_REASONS[reason][number > 1].format(ending)}"
        for reason, number in sorted(passed_over.items(), key=lambda item: -item[1])
    ]
    noun = counted(total, "file")
    if _FOLDER_REASONS & passed_over.keys():
        noun = f"{total:,} files and folders" if total > 1 else "1 folder"
    return f"{noun} passed over: {', '.join(every)}"


def nothing_taken(source: str, choice: Choice) -> str:
    """Return why a source stands for no file, and what to name instead."""
    root, kind, entries, _ = choice.listing
    # A store has no folder without files, and no wildcard is left behind the whole of a path.
    is_missing = kind != "file" and "://" in source and source.endswith(root) and not entries
    if kind == "file" or (is_missing and kind_of(root)):
        return f"there is no file or folder {source}"
    if choice.table:
        passed_over = f" ({_counted(choice)})" if choice.passed_over else ""
        return f"{source} is {_articled(choice.table)}, and none of its files is taken{passed_over}"
    ways = f"name a file, a folder that holds {'/'.join(_FOR_EXAMPLE)} files, or a glob"
    if choice.passed_over:
        return f"no file of data in {source}: {_counted(choice)}; {ways}"
    return f"no file of data in {source}, nor any other; {ways}"


def refusal(source: str, choice: Choice) -> str | None:
    """Return why a source is refused, what to do included; None if it is not."""
    if choice.listing.loops:
        return (
            f"{choice.listing.loops[0]} is a link to a folder that holds it, a loop: remove the "
            "link, or name the files or a glob that leaves it out"
        )
    if choice.table_problem:
        return choice.table_problem
    for folder, kind in sorted(choice.tables.items()):
        root = choice.listing.root
        place = f"{root}/{folder}" if folder else root
        return table_refusal(place, kind)
    if choice.datasets:
        return (
            f"{source}: {choice.datasets[0]} is a folder that the glob does not enter, or a link "
            "that is not followed there, and its rows would be missing: name it itself, or leave "
            "it out by --exclude"
        )
    nameless = next((it.name for it in choice.taken if _NAMELESS.search(f"/{it.name}")), None)
    if nameless is not None:
        return (
            f"{source}: {nameless} lies in a folder whose name has a value and no column before "
            "the =, of which some readers make a column without a name and others none: rename "
            "the folder, or name it itself"
        )
    if choice.formats:
        found = ", ".join(f"{kind} ({item.name})" for kind, item in choice.formats.items())
        globs = sorted({f"'*{PurePosixPath(it.name).suffix}'" for it in choice.formats.values()})
        return (
            f"{source} holds files of several formats, {found}: name those of one, as by "
            f"--include {' or --include '.join(globs)}, or by a glob"
        )
    if choice.mixed:
        names = ", ".join(item.name for item in choice.mixed[:_MAX_NAMED])
        more = ", ..." if len(choice.mixed) > _MAX_NAMED else ""
        return (
            f"{source}: {counted(len(choice.mixed), 'Parquet file')} without the ending "
            f"{'/'.join(PARQUET_SUFFIXES)} beside others that have it ({names}{more}): say by "
            "--include or --exclude whether they belong to it, or name the files"
        )
    return None


def table_refusal(place: str, kind: str) -> str:
    """Return why a folder is refused that is a table."""
    way = "name its live files themselves, as its own reader lists them"
    if kind in READ_BY_LOG:
        way = "name its own folder, of which the live files are taken"
    return (
        f"{place} is {_articled(kind)} table, and rows that it removed would come back from its "
        f"files: {way}, or write the table out as plain files"
    )


def committed_marks(choice: Choice) -> list[Listed]:
    """Return the files by which writes to a folder by Databricks say what they removed."""
    every = choice.listing.entries if choice.listing.kind == "folder" else ()
    return [it for it in every if _COMMITTED.fullmatch(it.name.rpartition("/")[2])]


def removed_problem(choice: Choice, marks: Sequence[bytes | None]) -> str:
    """Return why a folder is refused that has files of writes that were undone; empty if none.

    Args:
        choice: of the folder.
        marks: what the files of :func:`committed_marks` hold.
    """
    gone: set[str] = set()
    done: set[str] = set()
    for item, text in zip(committed_marks(choice), marks, strict=True):
        place, _, name = item.name.rpartition("/")
        done.add(f"{place}/{name.rpartition('_')[2]}")
        removed = _object(text).get("removed")
        gone.update(f"{place}/{it}" for it in (removed if isinstance(removed, list) else ()))
    begun = {
        f"{place}/{name.removeprefix('_started_')}"
        for place, _, name in (it.name.rpartition("/") for it in choice.listing.entries)
        if name.startswith("_started_")
    }
    for item in choice.taken:
        place, _, name = item.name.rpartition("/")
        write = _WRITE.search(name)
        is_open = write is not None and f"{place}/{write[1]}" in begun - done
        if is_open or f"{place}/{name}" in gone:
            what = "of a write that did not end" if is_open else "that a later write removed"
            return (
                f"{item.path} is a file {what}, by Databricks' marks beside it (_started_, "
                "_committed_), and its rows would come in: remove it, or leave it out by --exclude"
            )
    return ""


def _articled(kind: str) -> str:
    return f"a{'n' * (kind[0] in 'AEIOU')} {kind}"


def split_problem(
    place: str,
    plan: bytes | None,
    manifest: bytes | None,
    is_lost: Callable[[str], bool],
    is_taken: Callable[[str], bool],
) -> str:
    """Return why a folder that holds the record of a split is refused; empty if it is whole.

    Args:
        place: the folder, for people.
        plan, manifest: the record's texts, None for what is not there.
        is_lost: whether a part of a name is wanted and not there.
        is_taken: whether a source of the split, by its path, is among the sources as well.
    """
    if plan is None and manifest is None:
        return ""
    begun, done = _object(plan), _object(manifest)
    parts = done.get("parts")
    is_done = isinstance(parts, list) and not begun.get("replaces")  # else it was begun anew
    if not is_done or begun.get("plan_id", done.get("plan_id")) != done.get("plan_id"):
        return (
            f"{place} holds a split that is not finished, so that rows may be missing: run the "
            "same split again, which goes on, or name the files themselves"
        )
    lost = next(filter(is_lost, _texts_of(parts, "name")), None)
    if lost is not None:
        return (
            f"{place} holds a split whose {shown(lost)} is missing, so that rows are: verify "
            "--repair writes it anew; or name the files themselves"
        )
    twice = next(filter(is_taken, _texts_of(done.get("sources"), "path")), None)
    if twice is None:
        return ""
    return (
        f"{place} holds a split of {shown(twice)}, which is taken as well, so that its rows would "
        "come twice: leave one of the two out by --exclude, or name the other itself"
    )


def _texts_of(objects: object, key: str) -> list[str]:
    """Return a text of each object in a list, as far as they are ones."""
    every = objects if isinstance(objects, list) else []
    return [str(it.get(key)) for it in every if isinstance(it, dict)]


def _object(text: bytes | None) -> dict[str, Any]:
    """Return the object that a text of JSON is; empty where it is none."""
    try:
        found = json.loads(text or b"")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def partitions_refusal(path: str, columns: Sequence[str]) -> str:
    """Return why sources are refused that lie in several partitions, ``path`` in one of them."""
    return (
        f"{path} lies in a hive-partitioned folder: the column{'s' if len(columns) > 1 else ''} "
        f"{', '.join(columns)} {'are' if len(columns) > 1 else 'is'} in the names of folders "
        f"({columns[0]}=...) and not in the files: name the folder of one partition "
        f"({columns[0]}=.../)"
    )
