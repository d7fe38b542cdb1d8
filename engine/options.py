"""Every option of a split, once: name, values, default, help, and which setting it becomes.

From :data:`OPTIONS` come the options of the command line and of ``batch submit``, the
``EVENSPLIT_*`` variables, and the keys of TOML files and of ``activity.json``. The keywords of the
façade (:class:`SplitOptions`) are written out for type checkers, and a test compares them. Who adds
an option adds a row here, a field of :class:`SplitOptions`, and its use.

Here each value is checked by itself; what excludes what is :class:`engine.settings.Settings`'
business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from engine import store_options
from engine.errors import BadSetting
from engine.formats import BY_ENDING
from engine.formats.parquet.bytes.column_names import split_names
from engine.loaders import LOADERS
from engine.part_names import DEFAULT_NAME, template_problem
from engine.presets import read_preset
from engine.settings import (
    CODECS,
    CREDENTIALS,
    TRANSFERS,
    Access,
    Settings,
    parse_row_group_size,
    parse_size,
)
from engine.wording import choice_hint

Command = Literal["plan", "split", "report", "batch"]
Kind = Literal[
    "size",
    "count",
    "number",
    "text",
    "template",
    "switch",
    "names",
    "globs",
    "row-group-size",
    "pairs",
    "character",
]
_SHAPES: tuple[Command, ...] = ("plan", "split", "report", "batch")
_ONE_SPLIT: tuple[Command, ...] = ("plan", "split", "report")
_RUNS: tuple[Command, ...] = ("split",)
_RUNS_ANYWHERE: tuple[Command, ...] = ("split", "batch")
_CHARACTERS = {"tab": "\t", "\\t": "\t", "none": ""}
_ENDS = ("\n", "\r", "\0")
_TRUTHS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}


class SourceOptions(TypedDict, total=False):
    """Keywords of whatever reads sources: which files these are, and how stores are reached."""

    credential: str
    storage_options: Mapping[str, Any] | Sequence[str] | str | None
    rehydrate: bool
    include: Sequence[str] | str | None
    exclude: Sequence[str] | str | None


class SplitOptions(SourceOptions, total=False):
    """Keywords of :func:`engine.split` and :func:`engine.plan`; :data:`OPTIONS` says what each is.

    Sizes are bytes as a number, or text as users write it: ``"100MB"``, ``"128MiB"``.
    """

    target_size: str | int | None
    parts: int | None
    rows_per_part: int | None
    cut: Literal["row", "row-group"]
    name: str | None
    codec: str | None
    codec_level: int | None
    row_group_size: str | int | None
    columns: Sequence[str] | str | None
    flatten: bool
    partition_types: str | None
    preset: str | None
    load_slots: int | None
    data_page_version: int | str | None
    dictionary: bool | None
    header: Literal["auto", "yes", "no"]
    delimiter: str | None
    quote: str | None
    escape: str | None
    count_records: bool
    to: Literal["parquet"] | None
    schema: str
    encoding: str | None
    nulls: str | None
    decimal: str | None
    timestamp_format: str | None
    bad_rows: Literal["fail", "skip", "file"]
    memory: str | int | None
    workers: int | None
    scheduler: str | None
    fsync: bool
    manifest: str | None
    table: str | None
    overwrite: bool
    transfer: str


@dataclass(frozen=True)
class Option:
    """One option of a split.

    Attributes:
        name: as a keyword and as a key in files; on the command line with dashes.
        kind: what its values are. ``size`` is bytes, ``count`` a number above zero.
        help: a sentence for ``--help``.
        commands: that have it; ``batch`` are the commands on many files.
        default: if nobody says anything; None leaves it to the source or the machine.
        choices: the only values, where these are few.
        metavar: stands for the value in ``--help``.
        word: its name on the command line, where that is a word of Python's own.
    """

    name: str
    kind: Kind
    help: str
    commands: tuple[Command, ...] = _SHAPES
    default: Any = None
    choices: tuple[str, ...] = ()
    metavar: str | None = None
    word: str = ""

    @property
    def flag(self) -> str:
        """Its name on the command line; pairs are given one by one."""
        name = self.name.removesuffix("s") if self.kind == "pairs" else self.word or self.name
        return "--" + name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment's variable that sets it."""
        return f"EVENSPLIT_{self.name.upper()}"

    def parse(self, value: Any) -> Any:
        """Return a value as the settings hold it.

        Raises:
            BadSetting: it is not one of this option's.
        """
        if value is None:
            return self.default
        if self.choices:
            return self._chosen(value)
        return _PARSERS[self.kind](self, value)

    def plain(self, value: Any) -> str | int | bool:
        """Return a value that is checked, as JSON keeps it and :meth:`parse` takes it.

        Raises:
            BadSetting: as :meth:`parse`.
        """
        parsed = self.parse(value)
        if self.kind in ("count", "number", "switch"):
            return bool(parsed) if self.kind == "switch" else int(parsed)
        if self.choices:
            return str(parsed)
        if self.kind == "pairs":
            return str(parsed)
        return str(value) if self.kind in ("size", "row-group-size") else self._text(value)

    def words(self, value: Any) -> list[str]:
        """Return the words of a command line that give a value."""
        if self.kind != "switch":
            return [self.flag, str(value)]
        return [self.flag if self.parse(value) else f"--no-{self.flag.removeprefix('--')}"]

    def _chosen(self, value: Any) -> str:
        text = str(value).lower()
        if text not in self.choices:
            raise BadSetting(f"{self.flag} is {value!r}; {choice_hint(text, self.choices)}")
        return text

    def _number(self, value: Any) -> int:
        try:
            if isinstance(value, bool) or (isinstance(value, float) and value != int(value)):
                raise ValueError
            return int(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise BadSetting(f"{self.flag} is {value!r}; give a whole number") from error

    def _count(self, value: Any) -> int:
        number = self._number(value)
        if number < 1:
            raise BadSetting(f"{self.flag} is {number}; it must be at least 1")
        return number

    def _switch(self, value: Any) -> bool:
        found = value if isinstance(value, bool) else _TRUTHS.get(str(value).lower())
        if found is None:
            raise BadSetting(f"{self.flag} is {value!r}; give true or false")
        return found

    def _text(self, value: Any) -> str:
        if not isinstance(value, str):
            raise BadSetting(f"{self.flag} is {value!r}; give text")
        return value

    def _template(self, value: Any) -> str:
        text = self._text(value)
        if problem := template_problem(text, BY_ENDING):
            raise BadSetting(f"{self.flag} {text!r} {problem}")
        return text

    def _size(self, value: Any) -> int:
        try:
            return parse_size(value)
        except BadSetting as error:
            raise BadSetting(f"{self.flag}: {error}") from error

    def _row_group_size(self, value: Any) -> tuple[int | None, int | None, int | None]:
        try:
            return parse_row_group_size(value)
        except BadSetting as error:
            raise BadSetting(f"{self.flag}: {error}") from error

    def _names(self, value: Any) -> tuple[str, ...]:
        if isinstance(value, str):
            return tuple(split_names(value))
        if not isinstance(value, Sequence) or not all(isinstance(name, str) for name in value):
            raise BadSetting(f"{self.flag} is {value!r}; give names, or text with commas between")
        return tuple(value)

    def _globs(self, value: Any) -> tuple[str, ...]:
        globs = value.split(",") if isinstance(value, str) else value
        if not isinstance(globs, Sequence) or not all(isinstance(glob, str) for glob in globs):
            raise BadSetting(f"{self.flag} is {value!r}; give globs, or text with commas between")
        found = tuple(glob.strip().removeprefix("./") for glob in globs)
        if not all(found) or any(glob.startswith("/") or "://" in glob for glob in found):
            raise BadSetting(
                f"{self.flag} is {value!r}; give globs of names below SRC, with commas between, "
                "as *.snappy or 2024/**"
            )
        return found

    def _character(self, value: Any) -> str:
        text = _CHARACTERS.get(str(value).lower(), value)
        is_mark = isinstance(text, str) and len(text) < 2 and text.isascii() and text not in _ENDS
        if not is_mark or not value or (not text and self.name != "quote"):
            raise BadSetting(
                f"{self.flag} is {value!r}; give one ASCII character, or tab"
                + (", or none" if self.name == "quote" else "")
            )
        return str(text)

    def _pairs(self, value: Any) -> str:
        return store_options.parse(value)


_PARSERS: Mapping[str, Callable[[Option, Any], Any]] = {
    "size": Option._size,
    "count": Option._count,
    "number": Option._number,
    "text": Option._text,
    "template": Option._template,
    "switch": Option._switch,
    "names": Option._names,
    "globs": Option._globs,
    "row-group-size": Option._row_group_size,
    "pairs": Option._pairs,
    "character": Option._character,
}

_ROWS = (
    Option(
        "target_size",
        "size",
        "Hard cap on a part's file size: 100MB (10^8 bytes), 128MiB, ... [default: 100MB]",
        metavar="SIZE",
    ),
    Option(
        "preset",
        "text",
        "Choose sizes as the documents of a warehouse ask: synapse, fabric, snowflake, redshift, "
        "bigquery, databricks, generic, or a file of yours in conf/presets. Other options win.",
        commands=_ONE_SPLIT,
        metavar="NAME",
        word="for",
    ),
    Option(
        "load_slots",
        "count",
        "Make the number of parts a multiple of N, the files that are loaded at once; see --for.",
        commands=_ONE_SPLIT,
        metavar="N",
        word="slots",
    ),
    Option("parts", "count", "Exactly N parts, equal by bytes, instead of a size.", metavar="N"),
    Option(
        "rows_per_part",
        "count",
        "N rows in every part but the last, instead of a size.",
        metavar="N",
    ),
    Option(
        "cut",
        "text",
        "Cut at any row (equal parts), or only between row groups (pure copy).",
        default="row",
        choices=("row", "row-group"),
    ),
    Option(
        "name",
        "template",
        "Names of the parts, of {index} from 0 on, {total}, {stem} of the source file that a part "
        "begins in, {first_row}, {num_rows} and {partition}.",
        default=DEFAULT_NAME,
        metavar="TEMPLATE",
    ),
    Option(
        "codec",
        "text",
        "Compress the parts so; values stay encoded. snappy and brotli are for Parquet alone, "
        "bz2 and xz for lines. [default: as in SRC]",
        choices=("zstd", "snappy", "gzip", "lz4", "brotli", "bz2", "xz", "none"),
    ),
    Option("codec_level", "number", "Level of --codec. [default: the library's]", metavar="N"),
    Option(
        "row_group_size",
        "row-group-size",
        "Row groups of the parts are at most so large: 128MB, or 1000000rows; or auto, which only "
        "merges neighbours that are below 16 MiB. [default: as in SRC]",
        metavar="SIZE",
    ),
    Option(
        "columns",
        "names",
        "Take only these columns, with commas between; nested.x is x in the group nested, and "
        'names that hold dots or commas go into double quotes: \'id,"user.id","a,b"\'. '
        "[default: all]",
        metavar="NAMES",
    ),
    Option(
        "schema",
        "text",
        "Whether Parquet sources must have one schema (strict), or may have columns in another "
        "order, nulls allowed or not, and lack columns, which come as nulls (relaxed). With --to: "
        "types of columns, as 'id bigint, price decimal(12,2)', or a .json, .sql or .parquet file "
        "that has them; where nothing is said they are found in samples of SRC.",
        default="strict",
        metavar="strict|relaxed|TYPES",
    ),
    Option(
        "flatten",
        "switch",
        "Of hive folders (year=2024/...) make one sequence of parts, in which the folders' values "
        "are columns behind all others; of CSV and NDJSON with --to parquet.",
        commands=_ONE_SPLIT,
        default=False,
    ),
    Option(
        "partition_types",
        "text",
        "With --flatten: types of the folders' columns (integer, bigint, date, varchar), as "
        "'month integer, day date'. [default: those that give every folder's text back]",
        commands=_ONE_SPLIT,
        metavar="TYPES",
    ),
    Option(
        "data_page_version",
        "number",
        "Version of data pages. [default: as in SRC]",
        choices=("1", "2"),
    ),
    Option(
        "dictionary",
        "switch",
        "Encode values by dictionaries, or not. [default: as in SRC]",
    ),
    Option(
        "include",
        "globs",
        "Of folders take only files that one of these globs matches, whatever their names end in; "
        "a glob without a slash is of files at any depth, one with is of paths below SRC.",
        metavar="GLOBS",
    ),
    Option(
        "exclude",
        "globs",
        "Of folders take no file that one of these globs matches.",
        metavar="GLOBS",
    ),
    Option(
        "header",
        "text",
        "CSV: whether the first record names the columns, and is to be in every part.",
        default="auto",
        choices=("auto", "yes", "no"),
    ),
    Option(
        "delimiter",
        "character",
        "CSV: between fields; tab for a tab. [default: found in SRC]",
        metavar="C",
    ),
    Option(
        "quote",
        "character",
        'CSV: around fields that hold delimiters or line ends; none if no field does. [default: "]',
        metavar="C",
    ),
    Option(
        "escape",
        "character",
        "CSV: makes the next character plain. [default: none, quotes are doubled]",
        metavar="C",
    ),
    Option(
        "count_records",
        "switch",
        "NDJSON, CSV without quotes: read all to count records, for plan and manifest.",
        default=False,
    ),
    Option(
        "to",
        "text",
        "CSV and NDJSON: the format of the parts. [default: as SRC]",
        choices=("parquet",),
    ),
    Option(
        "encoding",
        "text",
        "With --to: encoding of SRC, as latin-1, cp1252 or utf-16. [default: utf-8]",
        metavar="NAME",
    ),
    Option(
        "nulls",
        "text",
        "With --to, of CSV: what stands for null, with commas between: ',NULL' is an empty field "
        "or NULL. [default: an empty field]",
        metavar="TEXTS",
    ),
    Option(
        "decimal",
        "character",
        "With --to, of CSV: the mark before a fraction. [default: .]",
        metavar="C",
    ),
    Option(
        "timestamp_format",
        "text",
        "With --to, of CSV: how times are written, as '%d.%m.%Y %H:%M'. [default: ISO 8601]",
        metavar="FORMAT",
    ),
    Option(
        "bad_rows",
        "text",
        "With --to: end at a record that does not fit (fail), leave it out (skip), or leave it "
        "out and keep it in DEST/_evensplit/bad-rows.csv (file).",
        default="fail",
        choices=("fail", "skip", "file"),
    ),
    Option(
        "memory",
        "size",
        "Memory budget for this machine. [default: what psutil and the cgroup leave]",
        metavar="SIZE",
    ),
    Option(
        "credential",
        "text",
        "For Azure storage: identity, environment (AZURE_STORAGE_*), keyvault:URL of a secret, or "
        "auto: the environment's secret for the account, else the identity. Never a secret itself.",
        default=CREDENTIALS[0],
        metavar="NAME",
    ),
    Option(
        "storage_options",
        "pairs",
        "For s3://, gs://, http://, sftp:// and the like: options of fsspec's file system, as "
        "anon=true, endpoint_url=URL, profile=NAME, or a JSON object; may be repeated. What may be "
        "secret is named, not given: secret=env:NAME is the environment's variable NAME.",
        default="",
        metavar="KEY=VALUE",
    ),
    Option(
        "workers",
        "count",
        "Parts written at once on this machine. [default: by cores and memory]",
        commands=_RUNS_ANYWHERE,
        metavar="N",
    ),
    Option(
        "scheduler",
        "text",
        "Write the parts on a running Dask cluster (tcp://host:8786) that shares the storage.",
        commands=_RUNS,
        metavar="ADDRESS",
    ),
    Option(
        "fsync",
        "switch",
        "Wait for the disk before a part counts as committed; --no-fsync for scratch disks.",
        commands=_RUNS,
        default=True,
    ),
    Option(
        "transfer",
        "text",
        "Within Azure storage: have the store copy bytes (server), pass them through this machine "
        "(client), or the first wherever the store lets it (auto).",
        commands=_RUNS_ANYWHERE,
        default=TRANSFERS[0],
        choices=TRANSFERS,
    ),
    Option(
        "manifest",
        "text",
        "Write a file or statement beside the split's manifest that loads exactly these parts.",
        commands=_RUNS,
        choices=tuple(LOADERS),
    ),
    Option(
        "table",
        "text",
        "Table that --manifest loads into, as schema.table. [default: the last folder of DEST]",
        commands=_RUNS,
        metavar="NAME",
    ),
    Option(
        "overwrite",
        "switch",
        "Replace a finished split in DEST, or another plan's parts.",
        commands=_RUNS_ANYWHERE,
        default=False,
    ),
    Option(
        "rehydrate",
        "switch",
        "Ask for sources in Azure's archive tier to be brought back to Hot (charged), and end with "
        "exit code 5: run again in some hours.",
        commands=("plan", "split", "batch"),
        default=False,
    ),
)
OPTIONS: Mapping[str, Option] = {option.name: option for option in _ROWS}
assert set(OPTIONS["codec"].choices) == set(CODECS)


def options_of(command: Command) -> list[Option]:
    """Return the options that a command has, in the order of ``--help``."""
    return [option for option in _ROWS if command in option.commands]


def option_named(name: str) -> Option:
    """Return an option.

    Raises:
        BadSetting: there is none of that name; the message has the nearest.
    """
    if name not in OPTIONS:
        raise BadSetting(f"a split has no option {name}; {choice_hint(name, OPTIONS)}")
    return OPTIONS[name]


def settings_from(given: Mapping[str, Any]) -> Settings:
    """Return frozen settings from options as users write them.

    Raises:
        BadSetting: an option is unknown, a value is impossible, or two exclude each other.
    """
    for name in given:
        option_named(name)
    given, least_part_size = _with_preset(given)
    found = {name: option.parse(given.get(name)) for name, option in OPTIONS.items()}
    row_group_bytes, row_group_rows, floor_bytes = found["row_group_size"] or (None, None, None)
    version = found["data_page_version"]
    return Settings(
        target_bytes=found["target_size"],
        num_parts=found["parts"],
        rows_per_part=found["rows_per_part"],
        cut=found["cut"],
        name=found["name"],
        codec=found["codec"],
        codec_level=found["codec_level"],
        row_group_bytes=row_group_bytes,
        row_group_rows=row_group_rows,
        row_group_floor_bytes=floor_bytes,
        page_version=None if version is None else int(version),
        dictionary=found["dictionary"],
        columns=found["columns"],
        schema=found["schema"],
        flatten=found["flatten"],
        partition_types=found["partition_types"],
        slots=found["load_slots"],
        least_part_bytes=least_part_size and OPTIONS["target_size"].parse(least_part_size),
        header=found["header"],
        delimiter=found["delimiter"],
        quote=found["quote"],
        escape=found["escape"],
        count_records=found["count_records"],
        to=found["to"],
        encoding=found["encoding"],
        nulls=found["nulls"],
        decimal=found["decimal"],
        timestamp_format=found["timestamp_format"],
        bad_rows=found["bad_rows"],
        memory_bytes=found["memory"],
        num_workers=found["workers"],
        scheduler=found["scheduler"],
        durable=found["fsync"],
        include=found["include"] or (),
        exclude=found["exclude"] or (),
        loader=found["manifest"],
        table=found["table"],
        overwrite=found["overwrite"],
        access=Access(
            found["credential"], found["transfer"], found["storage_options"], found["rehydrate"]
        ),
    )


def _with_preset(given: Mapping[str, Any]) -> tuple[Mapping[str, Any], Any]:
    """Return options with those of a preset that are not given; and its least size of a part."""
    name = OPTIONS["preset"].parse(given.get("preset"))
    if name is None:
        return given, None
    wanted = read_preset(name, _check_of_preset)
    least_part_size = wanted.pop("least_part_size", None)
    said = {key: value for key, value in given.items() if value is not None}
    if said.keys() & {"parts", "rows_per_part"}:
        wanted.pop("target_size", None)
    made_anew = said.get("to") is not None and wanted.get("row_group_size") == "auto"
    if said.get("cut") == "row-group" or made_anew:  # there are none to merge
        wanted.pop("row_group_size", None)
    return wanted | said, least_part_size


def _check_of_preset(key: str, value: Any) -> None:
    OPTIONS["target_size" if key == "least_part_size" else key].parse(value)


def source_settings_from(given: Mapping[str, Any]) -> Settings:
    """Return settings of which only sources and stores matter.

    Raises:
        BadSetting: as :func:`settings_from`; or an option is none of :class:`SourceOptions`.
    """
    names = SourceOptions.__annotations__
    other = next((name for name in given if name not in names), None)
    if other is not None:
        raise BadSetting(f"what reads sources has no option {other}; {choice_hint(other, names)}")
    return settings_from(given)
