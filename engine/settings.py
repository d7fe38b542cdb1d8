"""All settings of a split, read once at the edge and frozen.

Text sizes ("100MB") become bytes here, by Dask's rules: MB is 10^6, MiB is 2^20. Where a value
comes from (flag, environment, file, default) is the command line's business, see
:mod:`engine.cli.config`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from string import ascii_lowercase
from typing import Any, Literal

from engine.errors import BadSetting
from engine.model import Recoding
from engine.part_names import DEFAULT_NAME, NameFields, part_name

Cut = Literal["row", "row-group"]
Header = Literal["auto", "yes", "no"]
SCHEMAS = ("strict", "relaxed")  # of Parquet
BadRows = Literal["fail", "skip", "file"]

CREDENTIALS = ("auto", "identity", "environment")
TRANSFERS = ("auto", "server", "client")
KEY_VAULT = "keyvault:"
# A bearer token is sent there, so the host must be a vault of a known cloud.
_VAULT = re.compile(
    r"https://[0-9a-zA-Z-]+\.vault\.(azure\.net|azure\.cn|usgovcloudapi\.net)"
    r"/secrets/[0-9a-zA-Z-]+(/[0-9a-f]+)?"
)

DEFAULT_TARGET_BYTES = 100_000_000
# BigQuery's "Loading Parquet data from Cloud Storage" asks for row groups of at least 16 MiB, as
# smaller ones cost more requests; the only floor that a vendor names.
ROW_GROUP_FLOOR_BYTES = 16 << 20

# Numbers of ``CompressionCodec`` in parquet.thrift; lz4 is LZ4_RAW, whose framing is defined. Below
# zero: what Parquet has not.
CODECS = {"none": 0, "snappy": 1, "gzip": 2, "brotli": 4, "zstd": 6, "lz4": 7, "bz2": -1, "xz": -2}
# kB is 10^3, kiB is 2^10; the B may be left out.
_UNITS = {"": 1, "b": 1} | {
    prefix + unit: base**power
    for power, prefix in enumerate("kmgtp", start=1)
    for base, units in ((1000, ("", "b")), (1024, ("i", "ib")))
    for unit in units
}
_LEVELS = {
    "gzip": (1, 9),
    "brotli": (0, 11),
    "zstd": (-7, 22),
    "lz4": (1, 12),
    "bz2": (1, 9),
    "xz": (0, 9),
}
CONVERSION_SETTINGS = ("encoding", "nulls", "decimal", "timestamp_format", "bad_rows")
LINE_SETTINGS = (
    *("header", "delimiter", "quote", "escape", "count_records", "to"),
    *CONVERSION_SETTINGS,
)
_NOT_SHAPING = (
    "memory_bytes",
    "num_workers",
    "scheduler",
    "durable",
    "include",
    "loader",
    "table",
    "exclude",
    "overwrite",
    "access",
)


@dataclass(frozen=True)
class Access:
    """How to reach stores: references and choices, never secrets, so it may travel to workers.

    Attributes:
        credential: ``auto`` takes a secret that the environment sets for the account, else the
            machine's or user's identity; ``identity`` and ``environment`` take only the one or the
            other; ``keyvault:https://VAULT/secrets/NAME`` reads the secret from a Key Vault.
        transfer: ``server`` has the store copy source ranges itself, ``client`` passes them
            through this machine, ``auto`` does the first wherever the store lets it.
        storage_options: of fsspec's file systems, as :func:`engine.store_options.parse` returns
            them: what may be secret is named, not held.
        rehydrate: ask for sources in Azure's archive tier to be brought back.
    """

    credential: str = "auto"
    transfer: str = "auto"
    storage_options: str = ""
    rehydrate: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be, without repeating it: it may be a secret, given by mistake."""
        if self.credential not in CREDENTIALS and not self.vault_url:
            raise BadSetting(
                "--credential is none of auto, identity, environment and "
                f"{KEY_VAULT}https://NAME.vault.azure.net/secrets/NAME; secrets themselves go "
                "into the environment (AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_SAS_TOKEN "
                "or AZURE_STORAGE_ACCOUNT_KEY)"
            )
        if self.transfer not in TRANSFERS:
            raise BadSetting(f"transfer is {self.transfer!r}; choose {', '.join(TRANSFERS)}")

    @property
    def vault_url(self) -> str:
        """The address of the Key Vault's secret, empty if none is named."""
        url = self.credential.removeprefix(KEY_VAULT)
        return url if url != self.credential and _VAULT.fullmatch(url) else ""


@dataclass(frozen=True)
class Settings:
    """What to do and with what; values were checked one by one in :mod:`engine.options`.

    Attributes that shape the parts, and so belong to a plan's identity:
        target_bytes: hard cap on a part's file size; None only with ``num_parts`` or
            ``rows_per_part``.
        num_parts: exactly so many parts.
        rows_per_part: every part but the last has so many rows.
        cut: ``row`` cuts anywhere, ``row-group`` only between row groups (nothing re-encoded).
        name: template of part names; its fields are :class:`engine.part_names.NameFields`.
        codec: compression of the parts, a name of :data:`CODECS`; None keeps the source's.
        codec_level: of ``codec``; None for its library's default.
        row_group_bytes: row groups of the parts are at most so large: larger ones are cut, smaller
            ones merged; None keeps them.
        row_group_rows: row groups of so many rows, instead.
        row_group_floor_bytes: neighbouring row groups that are smaller are merged until they are
            not, and all others are kept, instead.
        page_version: of data pages, 1 or 2; None keeps the source's.
        dictionary: whether values are dictionary-encoded; None keeps the source's encodings.
        columns: the only columns taken, by dotted path; None for all.
        schema: whether sources of Parquet must have one schema, ``strict``, or are read as what
            holds all, ``relaxed``; with ``to`` types of columns, or where they are, and ``strict``
            finds them.
        flatten: partitions become one sequence of rows, their values columns.
        partition_types: of some of these columns, with their names; None finds all.
        slots: the number of parts is a multiple of it, where no part gets smaller than
            ``least_part_bytes`` by that.
        least_part_bytes: see there.
        header: whether the first record of lines names the columns; ``auto`` looks at it.
        delimiter: between fields of lines; None finds it.
        quote: around fields of lines; empty for none, None for ``"``.
        escape: what makes the next character of lines plain; None for nothing.
        count_records: of lines also where line feeds alone tell where records end.
        to: the format of the parts of files of lines; None for the source's.
        encoding: of files of lines that become Parquet, by any of its names; None for UTF-8.
        nulls: what stands for null in delimited text, with commas between; None for empty fields.
        decimal: the mark before a fraction; None for a point.
        timestamp_format: how times are written, as strptime has it; None for ISO 8601.
        bad_rows: what is done with records that do not fit.

    Attributes that do not:
        memory_bytes: budget set by the user; None leaves it to the machine.
        num_workers: parts written at once; None chooses.
        scheduler: address of a running Dask scheduler.
        durable: wait for the disk before a part counts as committed.
        include, exclude: globs of the files of source folders that are taken, or not; the files
            found are in the plan's identity.
        loader: a system of :mod:`engine.loaders`, for which a manifest is written.
        table: into which that loads.
        overwrite: replace another plan's parts in the destination.
        access: how stores are reached.
    """

    target_bytes: int | None = None
    num_parts: int | None = None
    rows_per_part: int | None = None
    cut: Cut = "row"
    name: str = DEFAULT_NAME
    codec: str | None = None
    codec_level: int | None = None
    row_group_bytes: int | None = None
    row_group_rows: int | None = None
    row_group_floor_bytes: int | None = None
    page_version: int | None = None
    dictionary: bool | None = None
    columns: tuple[str, ...] | None = None
    schema: str = "strict"
    flatten: bool = False
    partition_types: str | None = None
    slots: int | None = None
    least_part_bytes: int | None = None
    header: Header = "auto"
    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    count_records: bool = False
    to: Literal["parquet"] | None = None
    encoding: str | None = None
    nulls: str | None = None
    decimal: str | None = None
    timestamp_format: str | None = None
    bad_rows: BadRows = "fail"
    memory_bytes: int | None = None
    num_workers: int | None = None
    scheduler: str | None = None
    durable: bool = True
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    loader: str | None = None
    table: str | None = None
    overwrite: bool = False
    access: Access = Access()

    def __post_init__(self) -> None:
        """Refuse what cannot be, and fill in the default target."""
        chosen = [
            name for name in ("num_parts", "rows_per_part") if getattr(self, name) is not None
        ]
        if len(chosen) > 1:
            raise BadSetting("--parts and --rows-per-part exclude each other; give one")
        if not chosen and self.target_bytes is None:
            object.__setattr__(self, "target_bytes", DEFAULT_TARGET_BYTES)
        if self.scheduler and (self.memory_bytes or self.num_workers):
            raise BadSetting(
                "--memory and --workers are for this machine; with --scheduler the cluster's "
                "workers say what they have: leave the two out"
            )
        if self.slots and (chosen or self.cut == "row-group"):
            raise BadSetting(
                "--slots chooses the number of parts by --target-size and --cut row; leave it, or "
                "--parts, --rows-per-part and --cut row-group, out"
            )
        if self.table is not None and self.loader is None:
            raise BadSetting("--table is the table of --manifest; give both, or neither")
        if self.partition_types is not None and not self.flatten:
            raise BadSetting("--partition-types is for --flatten; give both, or neither")
        if self.to is None and (given := self.given(CONVERSION_SETTINGS)):
            raise BadSetting(f"{given[0]} is for --to parquet; give both, or neither")
        if (self.to is None) != (self.schema in SCHEMAS) and self.given(("schema",)):
            raise BadSetting(
                f"--schema is {self.schema!r}; it is strict or relaxed for Parquet sources, and "
                "types of columns with --to parquet"
            )
        self._check_encoding()

    def given(self, names: Sequence[str]) -> list[str]:
        """Return the flags of those settings that are not at their default."""
        defaults = {each.name: each.default for each in fields(self)}
        return [
            f"--{name.replace('_', '-')}" for name in names if getattr(self, name) != defaults[name]
        ]

    def _check_encoding(self) -> None:
        if self.codec_level is not None:
            low, high = _LEVELS.get(self.codec or "", (0, -1))
            if not low <= self.codec_level <= high:
                kinds = ", ".join(f"{name} {a} to {b}" for name, (a, b) in _LEVELS.items())
                codec = f"--codec {self.codec}" if self.codec else "no --codec"
                raise BadSetting(
                    f"--codec-level is {self.codec_level} with {codec}; levels are for {kinds}"
                )
        if sum(size is not None for size in self._row_group_sizes) > 1:
            raise BadSetting("give the row-group size in bytes or in rows, not both")
        if self.columns is not None and not self.columns:
            raise BadSetting("no columns chosen; name one, or leave --columns out for all")
        if self.cut == "row-group" and self.regroups:
            raise BadSetting("--row-group-size makes new row groups, so it needs --cut row")
        quote = '"' if self.quote is None else self.quote
        marks = [mark for mark in (self.delimiter, quote, self.escape) if mark]
        if len(set(marks)) < len(marks):
            raise BadSetting(
                "two of --delimiter, --quote and --escape are the same character; a doubled quote "
                "needs no --escape"
            )

    @property
    def recoding(self) -> Recoding:
        """How pages are to be encoded, where not as in the source."""
        codec = None if self.codec is None else CODECS[self.codec]
        return Recoding(codec, self.codec_level, self.page_version, self.dictionary)

    @property
    def evens(self) -> bool:
        """Whether parts are cut where they become even."""
        return self.cut == "row" and self.rows_per_part is None

    @property
    def regroups(self) -> bool:
        """Whether the parts' row groups are others than the source's."""
        return any(size is not None for size in self._row_group_sizes)

    @property
    def _row_group_sizes(self) -> tuple[int | None, ...]:
        return self.row_group_bytes, self.row_group_rows, self.row_group_floor_bytes

    def part_name(self, fields: NameFields) -> str:
        """Return the file name of a part."""
        return part_name(self.name, fields)

    def shaping(self) -> dict[str, Any]:
        """Return the settings that belong to a plan's identity."""
        return {
            name: list(item) if isinstance(item, tuple) else item  # as JSON has it
            for name, item in vars(self).items()
            if name not in _NOT_SHAPING
        }


def parse_row_group_size(text: str | int) -> tuple[int | None, int | None, int | None]:
    """Return bytes for a size like ``128MB``, or rows for ``1000000rows``, or a floor for ``auto``.

    They are the first, second and third of what is returned; the others are None.

    Raises:
        BadSetting: it is neither.
    """
    if str(text).strip().lower() == "auto":
        return None, None, ROW_GROUP_FLOOR_BYTES
    found = re.fullmatch(r"([\d_,]+)\s*rows?", str(text).strip())
    if found is None:
        return parse_size(text), None, None
    num_rows = int(re.sub(r"[_,]", "", found[1]) or 0)
    if num_rows < 1:
        raise BadSetting(f"{text!r} is no number of rows above zero")
    return None, num_rows, None


def parse_size(text: str | int) -> int:
    """Return the bytes that a size like ``100MB``, ``1GiB`` or ``5000000`` stands for.

    Raises:
        BadSetting: the text is no size, or none above zero.
    """
    words = str(text).replace(" ", "").lower()
    number = words.rstrip(ascii_lowercase)
    try:
        size = int(float(number) * _UNITS[words[len(number) :]])
    except (ValueError, KeyError, OverflowError) as error:
        raise BadSetting(f"{text!r} is no size; write for example 100MB or 1GiB") from error
    if size < 1:
        raise BadSetting(f"{text!r} is no size above zero")
    return size
