"""Small sources, good and bad, and files of settings, that the calls of :mod:`tests.cli` name."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.engine.running import write_source

LONG_NAME = "a_name_that_is_much_longer_than_any_column_of_a_table_should_be_" * 2
ODD_NAMES = {"a.b": [1, 2], "a": [{"b": 1}, {"b": 2}], "x,y": [1, 2], 'say "hi"': [1, 2]}
ODD_NAMES |= {"[red]x\x1b[31m": [1, 2], "列の名前": [1, 2], LONG_NAME: [1, 2]}
SETTINGS = {
    "good.toml": '[plan]\nparts = 2\n[split]\ncodec = "zstd"\n',
    "unknown.toml": '[plan]\ntarget_szie = "1MB"\n',
    "section.toml": "[spilt]\nparts = 2\n",
    "top.toml": "no_such = 1\n",
    "value.toml": '[plan]\ncodec = "ztsd"\n',
    "broken.toml": "not = [toml\n",
}


def make_world(folder: Path) -> None:
    """Fill a folder."""
    whole = write_source(folder / "s.parquet").read_bytes()
    write_source(folder / "one.parquet", 1)
    write_source(folder / "empty.parquet", 0)
    for number in range(1, 6):
        write_source(folder / "lake" / f"day-{number}.parquet", 3_000 * number, seed=number)
    pq.write_table(pa.table(ODD_NAMES), folder / "odd.parquet")
    pq.write_table(pa.table(ODD_NAMES), folder / "[red]\x1b[31m.parquet")
    pq.write_table(pa.table({"id": ["text"]}), folder / "other.parquet")
    (folder / "short.parquet").write_bytes(whole[: len(whole) // 2])
    (folder / "nothing.parquet").write_bytes(b"")
    (folder / "text.parquet").write_text("id,name\n1,x\n" * 99)
    (folder / "encrypted.parquet").write_bytes(whole[:-4] + b"PARE")
    (folder / "footer.parquet").write_bytes(whole[:-2000] + bytes(100) + whole[-1900:])
    middle = len(whole) // 2
    (folder / "page.parquet").write_bytes(whole[:middle] + bytes(20_000) + whole[middle + 20_000 :])
    _make_folders(folder)
    (folder / "files.txt").write_text("# of today\nlake/day-1.parquet\nlake/day-2.parquet\n")
    (folder / "control.csv").write_text("source,destination\nlake,out\n")
    _make_lines(folder / "lines")
    for name, text in SETTINGS.items():
        (folder / name).write_text(text)


def _make_lines(folder: Path) -> None:
    folder.mkdir()
    rows = "".join(f'{n},{n / 8},"a ""quote"",\nand a line"\n' for n in range(2_000))
    (folder / "sales.csv").write_text(f"id,price,note\n{rows}")
    (folder / "open.csv").write_text(f'id,price,note\n{rows}1,2,"never closed\n')
    (folder / "words.csv").write_text("name,city\nann,bern\nbob,basel\n")
    (folder / "events.ndjson").write_text("".join(f'{{"id": {n}}}\n' for n in range(500)))
    (folder / "utf16.csv").write_bytes(f"id,price\n{rows}".encode("utf-16"))


def _make_folders(folder: Path) -> None:
    for path in ("hive/year=2024/a.parquet", "delta/a.parquet", "mixed/a.parquet", "mixed/b"):
        write_source(folder / path, 100)
    (folder / "delta" / "_delta_log").mkdir()
    (folder / "void").mkdir()
    (folder / "busy").mkdir()
    (folder / "busy" / "letter.txt").write_text("mine")
    (folder / "csv").mkdir()
    (folder / "csv" / "a.csv").write_text("1,2\n")
