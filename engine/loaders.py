"""How other systems load the parts of a split: a file or statement that names exactly these parts.

One row of :data:`LOADERS` a system: which addresses it can read and how it writes them, what it
takes for a wildcard, and the text. Texts hold addresses and sizes, never a credential: roles,
integrations and identities are the system's own. What parts are made of is told as well, in full:
defaults for CSV differ between systems, and change values (:mod:`engine.loader_forms`). Pure.

Parts of hive partitions are read by DuckDB and Spark, which take columns from the names of folders,
also where files hold them as well, which is refused; the others would load tables without these,
and are refused.

Not covered: keys of NDJSON that folders name and that come late; tables are not made, but by
DuckDB; types are the system's own choice, but that DuckDB and Spark read fields of CSV as texts,
and DuckDB values of folders by types that lose none.

Sources: Amazon Redshift, "Using a manifest to specify data files" (``meta.content_length`` is
needed for Parquet); Snowflake, ``COPY INTO <table>`` (at most 1,000 names in ``FILES``);
Transact-SQL, ``COPY INTO`` (one container a statement); BigQuery, ``LOAD DATA`` (10,000 URIs a
job, as others quote it); DuckDB, ``read_parquet``; Spark, ``DataFrameReader.parquet``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from engine.errors import BadSetting, NotPlainFolder
from engine.loader_forms import Form, form_problem
from engine.model import Receipt, folder_of
from engine.partition_values import constants_of
from engine.wording import shown

FOLDER = "load"  # of a destination's record
_SNOWFLAKE_FILES = 1_000
_BIGQUERY_URIS = 10_000
# Folders of partitions that a system reads otherwise: DuckDB decodes no column's name, and takes no
# value that holds a =; Spark takes no empty one.
_ODD_FOLDERS = {
    "duckdb": re.compile(r"[^=]*%[^=]*=.*|.*=.*=.*"),
    "spark": re.compile(r"[^=]*="),
}
_HEX = "\\x{:02x}"  # a character in texts of Snowflake and BigQuery
_AZURE = re.compile(r"abfss://(?P<container>[^@/]+)@(?P<host>[^/]+)/?(?P<path>.*)", re.DOTALL)


class Load(NamedTuple):
    """What is loaded.

    Attributes:
        table: into which, names between dots.
        folder: of the parts, as the system writes it, without a slash at its end.
        parts: in their order.
        form: what they are.
    """

    table: tuple[str, ...]
    folder: str
    parts: Sequence[Receipt]
    form: Form

    @property
    def is_partitioned(self) -> bool:
        """Whether columns are in the names of the parts' folders."""
        return any(map(folder_of, (part.name for part in self.parts)))

    @property
    def urls(self) -> list[str]:
        """Addresses of the parts."""
        return [f"{self.folder}/{part.name}" for part in self.parts]


class Loader(NamedTuple):
    """One system.

    Attributes:
        places: what it makes of an address, by the scheme; of a local path, the scheme is empty.
        files: texts by name.
        wildcards: characters that it reads as something else than a name.
        not_in_names: the same, of a file's own name alone.
        reads_partitions: it takes columns from the names of folders.
    """

    places: Mapping[str, Callable[[str], str]]
    files: Callable[[Load], dict[str, str]]
    wildcards: str = ""
    not_in_names: str = ""
    reads_partitions: bool = False


def check_loader(
    name: str,
    folder: str,
    part_names: Sequence[str],
    table: str | None,
    form: Form,
    columns: AbstractSet[str] = frozenset(),
) -> None:
    """Refuse, before any work, what a system cannot load.

    Args:
        name: of :data:`LOADERS`.
        folder: of the parts, path or URL.
        part_names: of the parts.
        table: as the user names it; None for the folder's name.
        form: what the parts are.
        columns: that parts of partitions hold themselves, as far as is known.

    Raises:
        BadSetting: another store, a name that is a wildcard there, parts that it would read
            otherwise, or a table without dataset.
    """
    loader, scheme = LOADERS[name], _scheme(folder)
    if scheme not in loader.places:
        known = ", ".join(f"{it}://" if it else "local folders" for it in loader.places)
        raise BadSetting(f"--manifest {name} is for {known}, and DEST is {folder}; leave it out")
    for text in (folder, *part_names):
        found = set(text) & set(loader.wildcards)
        if text is not folder:
            found |= set(text.rpartition("/")[2]) & set(loader.not_in_names)
        if found:
            raise BadSetting(
                f"{text} holds {' '.join(sorted(found))}, which {name} reads as a wildcard, or as "
                "something else than a name; choose another DEST or --name, or leave --manifest out"
            )
    if problem := form_problem(name, form, part_names):
        raise BadSetting(f"--manifest {name}: {name} {problem}")
    if partitions := list(filter(None, map(folder_of, part_names))):
        _check_partitions(name, folder, partitions, columns)
    names = _table(folder, table)
    if not all(names):
        raise BadSetting(f"--table is {table!r}; give a name, or names with dots between")
    if name == "bigquery" and (len(names) < 2 or "`" in "".join(names)):
        raise BadSetting(
            "--manifest bigquery loads into a table of a dataset: --table DATASET.NAME"
        )


def _check_partitions(
    name: str, folder: str, partitions: Sequence[str], columns: AbstractSet[str]
) -> None:
    if not LOADERS[name].reads_partitions:
        known = " or ".join(it for it, loader in LOADERS.items() if loader.reads_partitions)
        raise BadSetting(
            f"--manifest {name} would load parts without the columns of their folders; put these "
            f"into the parts by --flatten, or load the partitions one by one, or by {known}"
        )
    if name == "duckdb" and "=" in folder:
        raise BadSetting(
            f"DuckDB would read {folder} itself as a partition as well; name a DEST without ="
        )
    odd = _ODD_FOLDERS.get(name)
    for folder_name in (it for partition in partitions for it in partition.split("/")):
        if odd is not None and odd.fullmatch(folder_name):
            raise BadSetting(
                f"--manifest {name}: {name} does not read the folder {shown(folder_name)} as a "
                "column and its value; rename it, or put columns into the parts by --flatten"
            )
    try:
        of_folders = constants_of(partitions)[0]
    except NotPlainFolder as error:
        reason = str(error).partition(":")[0]
        raise BadSetting(f"--manifest {name}: {reason}; leave --manifest out") from error
    held = {column.casefold() for column in columns}
    twice = next((it.name for it in of_folders if it.name.casefold() in held), None)
    if twice is not None:
        raise BadSetting(
            f"--manifest {name}: {name} takes the column {shown(twice)} from the names of folders, "
            "and its values in the files, which hold it as well, would be lost: leave it out"
        )


def load_files(
    name: str, folder: str, table: str | None, parts: Sequence[Receipt], form: Form
) -> dict[str, str]:
    """Return the texts by which a system loads parts, by the names of their files."""
    loader = LOADERS[name]
    place = loader.places[_scheme(folder)](folder.rstrip("/"))
    return loader.files(Load(_table(folder, table), place, parts, form))


def _scheme(folder: str) -> str:
    scheme, colon, _ = folder.partition("://")
    return scheme if colon else ""


def _table(folder: str, table: str | None) -> tuple[str, ...]:
    if table is not None:
        return tuple(table.split("."))
    return (folder.rstrip("/").rpartition("/")[2],)


# -- addresses -------------------------------------------------------------------------------------


def _as_it_is(folder: str) -> str:
    return folder


def _azure(form: str) -> Callable[[str], str]:
    """Return what writes an address of Azure's as a form with container, host, blob_host, path."""

    def written(folder: str) -> str:
        found = _AZURE.fullmatch(folder)
        assert found is not None, folder
        blob_host = found["host"].replace(".dfs.", ".blob.", 1)
        return form.format(blob_host=blob_host, **found.groupdict()).rstrip("/")

    return written


def _scheme_of(scheme: str) -> Callable[[str], str]:
    return lambda folder: f"{scheme}://{folder.partition('://')[2]}"


# -- texts -----------------------------------------------------------------------------------------


def _doubled(quote: str, close: str = "") -> Callable[[str], str]:
    """Return what puts text into quotes, which are doubled in it."""
    end = close or quote
    return lambda text: f"{quote}{text.replace(end, end * 2)}{end}"


def _escaped(text: str) -> str:
    """Put text into quotes, where a backslash stands before quotes and backslashes in it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_text, _name = _doubled("'"), _doubled('"')


def _character(character: str, quoted: Callable[[str], str], number: str) -> str:
    """Put a character into quotes; one that cannot be printed as its number, in a form."""
    return quoted(character) if character.isprintable() else f"'{number.format(ord(character))}'"


def _listed(items: Sequence[str]) -> str:
    return ",\n  ".join(items)


def _redshift(load: Load) -> dict[str, str]:
    entries = [
        {"url": url, "mandatory": True, "meta": {"content_length": part.size_bytes}}
        for url, part in zip(load.urls, load.parts, strict=True)
    ]
    table = ".".join(map(_name, load.table))
    manifest = _text(f"{load.folder}/_evensplit/{FOLDER}/redshift.json")
    return {
        "redshift.json": json.dumps({"entries": entries}, indent=1) + "\n",
        "redshift.sql": f"COPY {table}\nFROM {manifest}\nIAM_ROLE DEFAULT\n"
        f"{_redshift_format(load.form)}\nMANIFEST;\n",
    }


def _redshift_format(form: Form) -> str:
    if form.kind == "Parquet":
        return "FORMAT AS PARQUET"
    if form.kind == "CSV":
        first = "DELIMITER AS " + _character(form.delimiter, _text, "\\{:03o}")
    else:
        first = "FORMAT AS JSON 'auto ignorecase'"
    words = [
        first,
        f"CSV QUOTE AS {_text(form.quote)}" if form.quote else "",
        "IGNOREHEADER AS 1" if form.has_header else "",
        {"": "", "gzip": "GZIP", "bz2": "BZIP2", "zstd": "ZSTD"}[form.codec],
    ]
    return "\n".join(filter(None, words))


def _snowflake(load: Load) -> dict[str, str]:
    # What is not quoted is found in any case, as tables mostly are made.
    table = ".".join(
        name if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) else _name(name)
        for name in load.table
    )
    head = "-- Private storage: add STORAGE_INTEGRATION = name, or name a stage in FROM.\n"
    # Without names in the parts columns are filled in the order of the table's.
    has_names = load.form.kind != "CSV" or load.form.has_header
    by_name = "\nMATCH_BY_COLUMN_NAME = CASE_INSENSITIVE" if has_names else ""
    return {
        "snowflake.sql": head
        + "\n".join(
            f"COPY INTO {table}\nFROM {_escaped(f'{load.folder}/')}\n"
            f"FILES = (\n  {_listed([_escaped(part.name) for part in parts])}\n)\n"
            f"FILE_FORMAT = ({_snowflake_format(load.form)}){by_name};\n"
            for parts in _groups(load.parts, _SNOWFLAKE_FILES)
        )
    }


def _snowflake_format(form: Form) -> str:
    if form.kind == "Parquet":
        return "TYPE = PARQUET"
    codec = f"COMPRESSION = {form.codec.upper() or 'NONE'}"
    if form.kind == "NDJSON":
        return f"TYPE = JSON {codec}"
    words = {
        "TYPE": "CSV",
        "FIELD_DELIMITER": _character(form.delimiter, _escaped, _HEX),
        "FIELD_OPTIONALLY_ENCLOSED_BY": _escaped(form.quote) if form.quote else "NONE",
        "ESCAPE": _escaped(form.escape) if form.escape else "NONE",
        "ESCAPE_UNENCLOSED_FIELD": "NONE",  # else a backslash, which changes the text
        "PARSE_HEADER": str(form.has_header).upper(),
        "NULL_IF": "()",  # else \\N is null
    }
    return " ".join((*(f"{name} = {word}" for name, word in words.items()), codec))


def _groups(items: Sequence[Receipt], size: int) -> list[Sequence[Receipt]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _tsql(file: str, options: str = "") -> Callable[[Load], dict[str, str]]:
    def texts(load: Load) -> dict[str, str]:
        table = ".".join(map(_doubled("[", "]"), load.table))
        places = _listed(list(map(_text, load.urls)))
        given = ", ".join(filter(None, (_tsql_format(load.form), options)))
        return {file: f"COPY INTO {table}\nFROM\n  {places}\nWITH ({given});\n"}

    return texts


def _tsql_format(form: Form) -> str:
    if form.kind == "Parquet":
        return "FILE_TYPE = 'PARQUET'"
    words = [
        "FILE_TYPE = 'CSV', ENCODING = 'UTF8'",
        f"FIELDTERMINATOR = {_character(form.delimiter, _text, '0x{:02X}')}",
        f"FIELDQUOTE = {_text(form.quote)}",
        "" if "\r\n" in form.line_ends else "ROWTERMINATOR = '0x0A'",
        "FIRSTROW = 2" if form.has_header else "",
        "COMPRESSION = 'Gzip'" if form.codec else "",
    ]
    return ", ".join(filter(None, words))


def _bigquery(load: Load) -> dict[str, str]:
    table = ".".join(f"`{name}`" for name in load.table)  # none holds a backtick
    groups = [load._replace(parts=parts) for parts in _groups(load.parts, _BIGQUERY_URIS)]
    return {
        "bigquery.sql": "\n".join(
            f"LOAD DATA INTO {table}\nFROM FILES (\n  {_bigquery_format(load.form)},\n"
            f"  uris = [\n  {_listed(list(map(_escaped, group.urls)))}\n  ]\n);\n"
            for group in groups
        )
    }


def _bigquery_format(form: Form) -> str:
    if form.kind != "CSV":  # a name ending in .gz says that
        return f"format = '{'PARQUET' if form.kind == 'Parquet' else 'NEWLINE_DELIMITED_JSON'}'"
    words = [
        "format = 'CSV'",
        f"field_delimiter = {_character(form.delimiter, _escaped, _HEX)}",
        f"quote = {_escaped(form.quote)}",
        "allow_quoted_newlines = true",
        "preserve_ascii_control_characters = true",
        f"skip_leading_rows = {int(form.has_header)}",
    ]
    return ",\n  ".join(words)


_DUCKDB_TYPES = {"int32": "INTEGER", "int64": "BIGINT", "date": "DATE", "string": "VARCHAR"}


def _duckdb(load: Load) -> dict[str, str]:
    places = _listed(list(map(_text, load.urls)))
    table = ".".join(map(_name, load.table))
    reader, options = _duckdb_format(load.form)
    # Folders above the parts may look like partitions, and are none of the table's columns.
    options["hive_partitioning"] = str(load.is_partitioned).lower()
    if load.is_partitioned:
        columns = constants_of([folder_of(part.name) for part in load.parts])[0]
        types = (f"{_name(it.name)}: {_DUCKDB_TYPES[it.kind]}" for it in columns)
        options["hive_types"] = f"{{{', '.join(types)}}}"
    given = ",\n  ".join(f"{name} = {value}" for name, value in options.items())
    return {
        "duckdb.sql": f"CREATE TABLE {table} AS\nSELECT * FROM {reader}([\n  {places}\n], "
        f"{given});\n"
    }


def _duckdb_format(form: Form) -> tuple[str, dict[str, str]]:
    if form.kind == "Parquet":
        return "read_parquet", {}
    codec = {"compression": _text(form.codec or "none")}
    if form.kind == "NDJSON":  # types of all records: keys beyond a sample would vanish
        return "read_json", {"format": "'newline_delimited'", "sample_size": "-1", **codec}
    # Else it is found by the bytes of quoted fields as well.
    ends = {"\n": r"'\n'", "\r\n": r"'\r\n'"}
    told = [ends[it] for it in form.line_ends]
    return "read_csv", {
        **({"new_line": told[0]} if len(told) == 1 else {}),
        "delim": _text(form.delimiter),
        "quote": _text(form.quote),
        "escape": _text(form.escape or form.quote),
        "header": str(form.has_header).lower(),
        # What it would find out itself, and might find wrong.
        "skip": "0",
        "comment": "''",
        "all_varchar": "true",
        "allow_quoted_nulls": "false",
        **codec,
    }


def _spark(load: Load) -> dict[str, str]:
    paths = ",\n    ".join(map(repr, load.urls))
    options = {"basePath": load.folder} if load.is_partitioned else {}
    form = load.form
    if form.kind != "Parquet":
        options["mode"] = "FAILFAST"  # else what it cannot read becomes null
    if form.kind == "CSV":
        options |= {
            "header": str(form.has_header).lower(),
            "sep": form.delimiter,
            "quote": form.quote,
            "escape": form.escape or form.quote,
            "multiLine": str(bool(form.quote)).lower(),
            # No text; else texts that are empty, in quotes, would be null as well.
            "nullValue": "\uffff",
        }
    given = "".join(f".option({name!r}, {value!r})" for name, value in options.items())
    read = {"Parquet": "parquet(*paths)", "CSV": "csv(paths)", "NDJSON": "json(paths)"}[form.kind]
    view = repr(_doubled("`")("_".join(load.table)))
    return {
        "spark.py": f"paths = [\n    {paths},\n]\n"
        f"spark.read{given}.{read}.createOrReplaceTempView({view})\n"
    }


_S3 = {"s3": _as_it_is, "s3a": _scheme_of("s3")}
_HTTPS = {"abfss": _azure("https://{host}/{container}/{path}")}
LOADERS: Mapping[str, Loader] = {
    "redshift": Loader(_S3, _redshift, "\\"),
    "snowflake": Loader(
        {
            **_S3,
            "gs": _scheme_of("gcs"),
            "abfss": _azure("azure://{blob_host}/{container}/{path}"),
        },
        _snowflake,
    ),
    "bigquery": Loader({"gs": _as_it_is}, _bigquery, "*"),
    "synapse": Loader(
        _HTTPS,
        _tsql("synapse.sql", "CREDENTIAL = (IDENTITY = 'Managed Identity')"),
        "*?#%",
    ),
    "fabric": Loader(_HTTPS, _tsql("fabric.sql"), "*?#%"),
    "duckdb": Loader(
        {
            "": _as_it_is,
            **_S3,
            "gs": _as_it_is,
            "abfss": _azure("abfss://{host}/{container}/{path}"),
        },
        _duckdb,
        "*?[]",
        reads_partitions=True,
    ),
    "spark": Loader(
        {
            "": "file://{}".format,
            "s3": _scheme_of("s3a"),
            "s3a": _as_it_is,
            "gs": _as_it_is,
            "abfss": _as_it_is,
        },
        _spark,
        "*?[]{}\\",
        ":",  # of which Hadoop makes a scheme
        reads_partitions=True,
    ),
}
