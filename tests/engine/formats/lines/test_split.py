"""Lines are split as bytes: all of them, in order, between records, as equal as can be."""

from __future__ import annotations

import csv
import io
import json
import random
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from distributed import Client, LocalCluster
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import engine
from engine import splitter
from engine.errors import Different, NotPlainFolder
from engine.formats.lines.proof import compare
from engine.model import Dialect
from engine.storage.access import current
from tests.engine.running import three_parts

MARK = b"\xef\xbb\xbf"


def parts_of(dest: Path) -> list[Path]:
    return sorted(path for path in dest.iterdir() if path.is_file())


def joined(dest: Path, header: bytes = b"", mark: bytes = b"") -> bytes:
    """What the parts hold, without the headers that are repeated."""
    first, *others = [path.read_bytes() for path in parts_of(dest)]
    assert first.startswith(mark + header)
    assert all(part.startswith(header) for part in others)
    return first + b"".join(part.removeprefix(header) for part in others)


def records_of(data: bytes, **how) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), **how))


def write_rows(path: Path, num_rows: int, *, mark: bytes = b"", line_end: str = "\n") -> bytes:
    """A file with a header, and with delimiters, quotes and line ends inside of fields."""
    chance = random.Random(num_rows)
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=line_end)
    writer.writerow(["id", "price", "comment"])
    for number in range(num_rows):
        words = [chance.choice(["abc ", "x,", "\n", '"', "é"]) for _ in range(chance.randint(0, 9))]
        writer.writerow([number, chance.random(), "".join(words)])
    data = mark + out.getvalue().encode()
    path.write_bytes(data)
    return data


cells = st.text(alphabet='ab,;"\n\r\té€', max_size=8)
tables = st.lists(st.lists(cells, min_size=2, max_size=4), min_size=1, max_size=40)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(tables, st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans(), st.integers(1, 6))
def test_any_table_is_cut_between_its_records(
    tmp_path_factory, rows, line_end, has_mark, has_header, parts
):
    folder = tmp_path_factory.mktemp("lines")
    out = io.StringIO(newline="")
    # The module quotes a carriage return only where it is part of line ends, unless it quotes all.
    how = {"lineterminator": line_end, "quoting": csv.QUOTE_ALL}
    csv.writer(out, **how).writerows(rows)
    data = MARK * has_mark + out.getvalue().encode()
    (folder / "in.csv").write_bytes(data)
    header = io.StringIO(newline="")
    csv.writer(header, **how).writerows(rows[:1] * has_header)
    num_records = len(rows) - has_header
    engine.split(
        folder / "in.csv",
        folder / "out",
        parts=max(1, min(parts, num_records)),
        header="yes" if has_header else "no",
        delimiter=",",
        verify=True,
        fsync=False,
    )
    assert joined(folder / "out", header.getvalue().encode(), MARK * has_mark) == data
    read = [records_of(path.read_bytes()) for path in parts_of(folder / "out")]
    assert rows == [*rows[:has_header], *(row for part in read for row in part[has_header:])]


@pytest.mark.parametrize(("mark", "line_end"), [(b"", "\n"), (MARK, "\r\n")])
def test_parts_keep_the_target_and_are_equal(tmp_path: Path, mark: bytes, line_end: str):
    data = write_rows(tmp_path / "in.csv", 60_000, mark=mark, line_end=line_end)
    result = engine.split(tmp_path / "in.csv", tmp_path / "out", target_size=200_000, verify=True)
    sizes = [path.stat().st_size for path in parts_of(tmp_path / "out")]
    assert max(sizes) <= 200_000
    assert max(sizes) <= 1.02 * min(sizes)
    assert len(sizes) <= 1.13 * len(data) / 200_000 + 1
    assert joined(tmp_path / "out", f"id,price,comment{line_end}".encode(), mark) == data
    assert result.manifest.num_rows == 60_000
    assert parts_of(tmp_path / "out")[0].name == "part-00000.csv"
    assert result.verification is not None
    assert result.verification.num_bytes == sum(sizes)


def test_rows_per_part_counts_records_not_lines(tmp_path: Path):
    write_rows(tmp_path / "in.csv", 10_000)
    engine.split(tmp_path / "in.csv", tmp_path / "out", rows_per_part=3_000)
    counts = [len(records_of(path.read_bytes())) - 1 for path in parts_of(tmp_path / "out")]
    assert counts == [3_000, 3_000, 3_000, 1_000]


def test_json_lines_are_cut_at_line_feeds(tmp_path: Path):
    rows = [{"id": number, "text": '"\n' * (number % 7)} for number in range(20_000)]
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (tmp_path / "in.jsonl").write_bytes(data)
    engine.split(tmp_path / "in.jsonl", tmp_path / "out", parts=7, verify=True)
    assert joined(tmp_path / "out") == data
    assert {path.suffix for path in parts_of(tmp_path / "out")} == {".jsonl"}
    texts = [path.read_text() for path in parts_of(tmp_path / "out")]
    assert [json.loads(row) for text in texts for row in text.splitlines()] == rows


@pytest.mark.parametrize("ending", ["\n", ""])
def test_several_files_are_one(tmp_path: Path, ending: str):
    for name, numbers in {"a.tsv": range(500), "b.tsv": range(500, 900)}.items():
        rows = "\n".join(f"{number}\t{number * 7}" for number in numbers)
        (tmp_path / name).write_text(f"id\tvalue\n{rows}{ending}")
    files = [tmp_path / "a.tsv", tmp_path / "b.tsv"]
    result = engine.split(files, tmp_path / "out", parts=4, verify=True)
    assert result.manifest.num_rows == 900
    read = [records_of(p.read_bytes(), delimiter="\t")[1:] for p in parts_of(tmp_path / "out")]
    assert [int(row[0]) for part in read for row in part] == list(range(900))


def test_a_folder_stands_for_its_files_of_lines(tmp_path: Path):
    lines = {"b/2.csv": b"id,n\n3,30\n4,40\n", "a/1.csv": b"id,n\n1,10\n2,20\n", "_SUCCESS": b""}
    for name, data in lines.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    engine.split(tmp_path / "in", tmp_path / "out", parts=1, verify=True)
    assert joined(tmp_path / "out", b"id,n\n") == b"id,n\n1,10\n2,20\n3,30\n4,40\n"
    assert engine.are_lines(tmp_path / "in")
    assert [found.num_records for found in engine.profile_lines(tmp_path / "in")] == [2, 2]
    (tmp_path / "in" / "notes.ndjson").write_bytes(b"{}\n")
    for refused in (engine.plan, engine.profile, engine.profile_lines):
        with pytest.raises(NotPlainFolder, match=r"several formats, .*--include '\*.csv'"):
            refused(tmp_path / "in")


def test_partitions_of_lines_keep_their_folders(tmp_path: Path):
    for year in (2023, 2024):
        (tmp_path / "in" / f"year={year}").mkdir(parents=True)
        (tmp_path / "in" / f"year={year}" / "a.csv").write_bytes(b"id,n\n%d,1\n" % year)
    engine.split(tmp_path / "in", tmp_path / "out", verify=True)
    found = sorted((tmp_path / "out").glob("year=*/*"))
    assert [path.parent.name for path in found] == ["year=2023", "year=2024"]
    assert [path.read_bytes() for path in found] == [b"id,n\n2023,1\n", b"id,n\n2024,1\n"]


def test_escapes_and_other_quotes(tmp_path: Path):
    how = {"delimiter": ";", "quotechar": "'", "escapechar": "\\", "doublequote": False}
    rows = [[str(number), "it's; \n \\ 'n" * (number % 5)] for number in range(3_000)]
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n", **how).writerows(rows)
    (tmp_path / "in.txt").write_text(out.getvalue(), newline="")
    engine.split(
        tmp_path / "in.txt", tmp_path / "out", parts=9, quote="'", escape="\\", verify=True
    )
    assert joined(tmp_path / "out") == out.getvalue().encode()
    read = [records_of(path.read_bytes(), **how) for path in parts_of(tmp_path / "out")]
    assert [row for part in read for row in part] == rows


def test_quotes_may_be_plain_text(tmp_path: Path):
    data = b"".join(b'%d,5" pipe,"\n' % number for number in range(5_000))
    (tmp_path / "in.csv").write_bytes(data)
    result = engine.split(tmp_path / "in.csv", tmp_path / "out", parts=3, quote="none", verify=True)
    assert result.manifest.num_rows is None
    assert result.verification.num_rows == 5_000
    assert joined(tmp_path / "out") == data


def test_a_split_that_was_stopped_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = write_rows(tmp_path / "in.csv", 20_000)

    with monkeypatch.context() as patch:
        patch.setattr(splitter, "run_parts", three_parts)
        with pytest.raises(KeyboardInterrupt):
            engine.split(tmp_path / "in.csv", tmp_path / "out", parts=7)
    assert engine.split(tmp_path / "in.csv", tmp_path / "out", parts=7).num_resumed == 3
    assert joined(tmp_path / "out", b"id,price,comment\n") == data
    engine.split(tmp_path / "in.csv", tmp_path / "again", parts=7)
    assert [p.read_bytes() for p in parts_of(tmp_path / "out")] == [
        p.read_bytes() for p in parts_of(tmp_path / "again")
    ]


def test_a_damaged_part_is_found_and_repaired(tmp_path: Path):
    write_rows(tmp_path / "in.csv", 20_000)
    engine.split(tmp_path / "in.csv", tmp_path / "out", parts=4)
    part = parts_of(tmp_path / "out")[2]
    before = part.read_bytes()
    part.write_bytes(before[:5000] + b"?" + before[5001:])
    with pytest.raises(Different, match=r"^part-00002\.csv differs .* at its byte 5,000"):
        engine.verify(tmp_path / "out")
    assert engine.verify(tmp_path / "out", repair=True).repaired == ("part-00002.csv",)
    assert part.read_bytes() == before


def test_a_store_is_read_and_written(tmp_path: Path):
    data = write_rows(tmp_path / "in.csv", 20_000)
    store = fsspec.filesystem("memory")
    store.pipe("/lines/in.csv", data)
    try:
        engine.split("memory://lines/in.csv", "memory://lines/out", parts=3, verify=True)
        first, *others = (store.cat(path) for path in sorted(store.glob("/lines/out/part-*.csv")))
    finally:
        store.rm("/lines", recursive=True)
    header = b"id,price,comment\n"
    assert first + b"".join(part.removeprefix(header) for part in others) == data


def test_workers_of_a_cluster_write_parts(tmp_path: Path):
    data = write_rows(tmp_path / "in.csv", 20_000)
    how = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(host="127.0.0.1", **how) as cluster, Client(cluster) as client:
        engine.split(tmp_path / "in.csv", tmp_path / "out", parts=3, client=client)
    assert joined(tmp_path / "out", b"id,price,comment\n") == data


@pytest.mark.parametrize(
    ("moved", "told"), [(b'1,"a\nb"\n', "holds 2 records"), (b'1,"a\n', "inside a quoted field")]
)
def test_parts_that_were_cut_elsewhere_are_found(tmp_path: Path, moved: bytes, told: str):
    rows = [b'0,"a\nb"\n', b'1,"a\nb"\n', b'2,"a\nb"\n']
    texts = {
        "in.csv": b"".join(rows),
        "part-0.csv": rows[0] + moved,
        "part-1.csv": b"".join(rows[1:]).removeprefix(moved),
    }
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text)
    source, *parts = engine.find_sources([tmp_path / name for name in texts])
    source = replace(source, dialect=Dialect("csv", ",", '"'))
    with pytest.raises(Different, match=f"^part-0.csv .*{told}"):
        compare([source], parts, [1, 2], 1, None, is_recoded=False)


def test_the_credential_holds_in_all_threads_of_a_proof(tmp_path: Path):
    write_rows(tmp_path / "in.csv", 2_000)
    engine.split(tmp_path / "in.csv", tmp_path / "out", parts=3)
    seen = set()
    engine.verify(
        tmp_path / "out",
        credential="environment",
        progress=lambda _: seen.add(current().credential),
    )
    assert seen == {"environment"}
