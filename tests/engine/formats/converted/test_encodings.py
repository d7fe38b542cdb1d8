"""Files in other encodings than UTF-8 become the same rows; what they lack is told by its line."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import engine
from engine.errors import BadRow, BadSetting, BadStructure, EvensplitError, Unsupported
from engine.formats.lines import index

NAMES = ["latin-1", "cp1252", "cp1251", "iso-8859-15", "koi8-r", "utf-16-le", "utf-16-be", "utf-16"]


def convert(
    folder: Path, data: bytes, name: str = "in.csv", **options: Any
) -> list[dict[str, Any]]:
    """The rows of the parts; no part may be there where a file is refused."""
    (folder / name).write_bytes(data)
    how = {"parts": 1, "to": "parquet", "fsync": False, "verify": True, **options}
    try:
        engine.split(folder / name, folder / "out", **how)
    except EvensplitError:
        assert not list((folder / "out").glob("*.parquet"))
        raise
    return [
        row
        for path in sorted((folder / "out").glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


def letters_of(name: str) -> st.SearchStrategy[str]:
    """Texts that an encoding has, of characters whose bytes look like marks too."""
    if name.startswith("utf-16"):
        return st.text(alphabet='a,"\n\u0a0a\u2c2c\u0a22\u220a\ufeffé€😀', max_size=6)
    single = [bytes([number]).decode(name, "ignore") for number in range(128, 256)]
    return st.text(alphabet='ab,;"\n\t ' + "".join(single), max_size=6)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=25,
    deadline=None,
    report_multiple_bugs=False,
)
@given(st.sampled_from(NAMES), st.booleans(), st.data())
def test_any_table_in_any_encoding_has_all_its_values(
    tmp_path_factory, name: str, is_json: bool, data
):
    folder = tmp_path_factory.mktemp("encoded")
    letters = letters_of(name)
    header = data.draw(st.lists(letters.filter(str.strip), min_size=2, max_size=3, unique=True))
    values = st.lists(letters, min_size=len(header), max_size=len(header))
    rows = data.draw(st.lists(values, min_size=1, max_size=30))
    out = io.StringIO()
    csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([header, *rows])
    monkeypatch = pytest.MonkeyPatch()
    with monkeypatch.context() as patched:
        patched.setattr(index, "_BLOCK_BYTES", 100)
        found = convert(
            folder,
            out.getvalue().encode(name),
            encoding=name,
            header="yes",
            delimiter=",",
            schema=", ".join('"' + each.replace('"', '""') + '" varchar' for each in header),
            parts=data.draw(st.integers(1, min(4, len(rows)))),
        )
    assert [list(row.values()) for row in found] == rows
    assert all(list(row) == header for row in found)


@pytest.mark.parametrize("name", ["cp1252", "utf-16", "utf-16-be"])
def test_json_lines_may_have_an_encoding(tmp_path: Path, name: str):
    text = "".join(f'{{"straße": {n}, "ort": "Zürich €"}}\n' for n in range(50))
    found = convert(tmp_path, text.encode(name), "in.ndjson", encoding=name)
    assert found == [{"straße": n, "ort": "Zürich €"} for n in range(50)]


@pytest.mark.parametrize(
    ("name", "data", "where"),
    [
        ("cp1252", b"id,ort\n1,a\n2,\x81\n3,b\n", "line 3: its byte 3 is no cp1252"),
        (
            "utf-16-le",
            "id,ort\n1,a\n2,b\ud800\n3,b\n".encode("utf-16-le", "surrogatepass"),
            "line 3: its character 4 is no utf-16-le",
        ),
        ("utf-8", "id,ort\n1,Z\n2,Zürich\n".encode("latin-1"), "line 3: its byte 4 is no UTF-8"),
    ],
)
def test_what_an_encoding_lacks_is_told_by_its_line(tmp_path: Path, name, data, where):
    with pytest.raises(BadRow, match=f"{where}.*--encoding latin-1"):
        convert(tmp_path, data, encoding=name, header="yes", delimiter=",")


@pytest.mark.parametrize(
    ("name", "record", "kept"),
    [
        ("utf-16-le", "é,b€\u0a0a\n", "é,b€\u0a0a".encode("utf-16-le")),
        ("cp1252", "é€,b\r\n", "é€,b".encode("cp1252")),
    ],
)
def test_records_left_out_are_kept_in_their_own_bytes(tmp_path: Path, name, record, kept: bytes):
    good = "".join(f"{n},ü{n}\n" for n in range(40))
    text = f"id,ort\n{good}{record}{good}{record}"
    how = {"bad_rows": "file", "schema": "id bigint", "header": "yes", "delimiter": ","}
    found = convert(tmp_path, text.encode(name), encoding=name, **how)
    assert [row["ort"] for row in found] == [f"ü{n}" for n in range(40)] * 2
    file = (tmp_path / "out/_evensplit/bad-rows.csv").read_bytes()
    _, *records = csv.reader(io.StringIO(file.decode("latin-1"), newline=""))
    assert [(line, field.encode("latin-1")) for _, line, _, _, field in records] == [
        ("42", kept),
        ("83", kept),
    ]


def test_a_file_that_is_no_utf_8_says_how_to_read_it(tmp_path: Path):
    data = "id,größe\n1,a\n2,b\n".encode("latin-1")
    with pytest.raises(EvensplitError, match=r"its header is no UTF-8.*--encoding latin-1"):
        convert(tmp_path, data, header="yes")
    data = b'{"ort": "Z\xfcrich"}\n'
    with pytest.raises(EvensplitError, match="--encoding latin-1"):
        convert(tmp_path, data, "in.ndjson")


@pytest.mark.parametrize(
    ("data", "name", "error", "message"),
    [
        ("id,a\n1,b\n".encode("utf-16-le")[:-1], "utf-16-le", BadStructure, "the last one is cut"),
        ("id,a\n1,b\n".encode("utf-16-le"), "utf-16-be", Unsupported, "no text as utf-16-be"),
        ("id,a\n1,b\n".encode("utf-16-le"), "latin-1", Unsupported, "no text as iso8859-1"),
        ("id,a\n1,b\n".encode("utf-16-le"), "utf-16", BadSetting, "no byte order mark"),
        ("id,a\n1,b\n".encode("utf-16"), None, Unsupported, "--to parquet --encoding utf-16"),
        ("id,a\n1,b\n".encode("utf-8-sig"), "latin-1", BadSetting, "leave --encoding out"),
        (b"id,a\n1,b\n", "klingon", BadSetting, "is not read"),
    ],
)
def test_an_encoding_that_cannot_be_is_refused(tmp_path: Path, data, name, error, message):
    with pytest.raises(error, match=message):
        convert(tmp_path, data, encoding=name, header="yes", delimiter=",")


def test_lines_that_stay_lines_need_no_encoding(tmp_path: Path):
    with pytest.raises(BadSetting, match="--encoding is for --to parquet"):
        convert(tmp_path, b"id,a\n1,b\n", encoding="latin-1", to=None)
    data = gzip.compress("id,a\n1,b\n".encode("utf-16"))
    with pytest.raises(Unsupported, match="decompress it first"):
        convert(tmp_path, data, "in.csv.gz", encoding="utf-16")
    assert convert(
        tmp_path,
        gzip.compress("id,ä\n1,ö\n".encode("latin-1")),
        "in.csv.gz",
        encoding="latin-1",
        header="yes",
    ) == [{"id": 1, "ä": "ö"}]
