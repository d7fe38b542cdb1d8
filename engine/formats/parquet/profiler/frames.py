"""A profile as pandas tables, one line a file, row group, column or column chunk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from engine.errors import BadSetting
from engine.formats.parquet.bytes.footer import Codec, Encoding

_FILE_FIELDS = (
    "path size_bytes num_rows num_columns num_row_groups num_pages largest_page_bytes footer_bytes "
    "has_page_index created_by"
).split()


def make_frame(files: Sequence[Any], what: str) -> pd.DataFrame:
    """Return one of the tables of :meth:`.profiler.model.Profile.frame`, of its files."""
    makers: dict[str, Callable[[Sequence[Any]], pd.DataFrame]] = {
        "files": _files,
        "row_groups": lambda files: _listed(files, "row_groups"),
        "columns": lambda files: _listed(files, "columns"),
        "chunks": _chunks,
    }
    if what not in makers:
        raise BadSetting(f"no table {what!r}; there are {', '.join(makers)}")
    return makers[what](files)


def _files(files: Sequence[Any]) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for file in files:
        row = {name: getattr(file, name) for name in _FILE_FIELDS}
        for name in ("row_group", "column", "page"):
            skew = getattr(file, f"{name}_skew")
            row[f"{name}_gini"] = skew.gini if skew else None
            row[f"{name}_max_over_median"] = skew.max_over_median if skew else None
        row["bytes_per_row"] = file.size_bytes / (file.num_rows or 1)
        rows.append(row)
    return pd.DataFrame(rows)


def _listed(files: Sequence[Any], what: str) -> pd.DataFrame:
    return pd.DataFrame(
        [{"path": file.path} | asdict(item) for file in files for item in getattr(file, what)]
    )


def _chunks(files: Sequence[Any]) -> pd.DataFrame:
    return pd.concat([_chunks_of(file) for file in files], ignore_index=True)


def _chunks_of(file: Any) -> pd.DataFrame:
    table = file.chunks
    num_groups, num_columns = table.compressed_bytes.shape
    names = np.array([column.name for column in file.columns], object)
    codecs = {code.value: code.name for code in Codec}
    encodings = [tuple(_encoding(number) for number in numbers) for numbers in table.encoding_sets]
    return pd.DataFrame(
        {
            "path": file.path,
            "row_group": np.repeat(np.arange(num_groups), num_columns),
            "column": np.tile(names, num_groups),
            "num_rows": np.repeat(table.num_rows, num_columns),
            "num_values": table.num_values.ravel(),
            "compressed_bytes": table.compressed_bytes.ravel(),
            "uncompressed_bytes": table.uncompressed_bytes.ravel(),
            "data_page_offset": table.data_page_offsets.ravel(),
            "dictionary_page_offset": table.dictionary_offsets.ravel(),
            "codec": [codecs.get(code, str(code)) for code in table.codecs.ravel().tolist()],
            "encodings": [encodings[at] for at in table.encodings.ravel().tolist()],
        }
    )


def _encoding(number: int) -> str:
    return Encoding(number).name if number in set(Encoding) else f"unknown ({number})"
