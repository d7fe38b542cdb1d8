"""Cuts that are looked for where they are wished: right, even, and of few bytes read."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

import engine
from engine import splitter
from engine.errors import BadSetting, Different, TargetTooSmall
from engine.formats.lines import uncounted
from engine.formats.lines.proof import compare
from engine.formats.lines.reading import opened
from engine.model import Dialect
from engine.storage.local import LocalSource
from tests.engine.formats.lines.test_split import joined, parts_of
from tests.engine.running import run, three_parts

PROMISED_SPREAD = 0.02


def json_lines(num_records: int, most_bytes: int = 200, *, seed: int = 0) -> list[bytes]:
    chance = random.Random(seed)
    texts = ("x" * chance.randint(0, most_bytes) for _ in range(num_records))
    return [json.dumps({"id": at, "text": text}).encode() for at, text in enumerate(texts)]


def write_lines(path: Path, num_records: int, most_bytes: int = 200) -> bytes:
    data = b"\n".join(json_lines(num_records, most_bytes)) + b"\n"
    path.write_bytes(data)
    return data


@contextmanager
def looks_of(near_bytes: int, step_bytes: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uncounted, "_NEAR_BYTES", near_bytes)
        patch.setattr(uncounted, "_STEP_BYTES", step_bytes)
        yield


@contextmanager
def bytes_read() -> Iterator[list[int]]:
    """Count what of files passes through this process; copies in the kernel do not."""
    found: list[int] = []
    read = LocalSource.read

    def counted(self: LocalSource, offset: int, length: int) -> bytes:
        found.append(length)
        return read(self, offset, length)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalSource, "read", counted)
        yield found


files = st.lists(st.integers(0, 3_000), min_size=1, max_size=3)


# Two records begin equally far from where a cut is wished.
@example([159, 2034, 2048], "tsv", b"\n", 2780143, 1, 1, 4, 0.0)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    files,
    st.sampled_from(["ndjson", "tsv"]),
    st.sampled_from([b"\n", b"\r\n"]),
    st.integers(0, 2**32),
    st.integers(1, 40),
    st.integers(1, 9),
    st.integers(1, 12),
    st.floats(0, 0.1),
)
def test_parts_are_whole_records_in_order_under_the_target(
    tmp_path_factory, sizes, kind, line_end, seed, near_bytes, step_bytes, num_parts, more
):
    """Of any lines, also empty ones, in several files, without a last line end."""
    folder, chance = tmp_path_factory.mktemp("lines"), random.Random(seed)
    header = b"" if kind == "ndjson" else b"id\ttext" + line_end
    sources, expected = [], b""
    for number, num_records in enumerate(sizes):
        records = json_lines(num_records, chance.choice([3, 40]), seed=seed + number)
        records = [chance.choice([b"", it]) if chance.random() < 0.1 else it for it in records]
        if kind == "tsv":
            records = [b'"' * chance.randint(0, 2) + b"%d\tx" % at for at in range(num_records)]
        elif records:
            records[0] = b"{}"
        text = b"".join(record + line_end for record in records)
        if chance.random() < 0.5:
            text = text.removesuffix(line_end)
        sources.append(folder / f"{number}.{kind}")
        sources[-1].write_bytes(header + text)
        told = line_end if line_end in header + text else b"\n"  # a line without an end tells none
        ended = text if text.endswith(b"\n") or not text else text + told
        is_last = number == len(sizes) - 1
        expected += text if is_last else ended
    ends = {0, len(expected), *(at + 1 for at, byte in enumerate(expected) if byte == 10)}
    target = max(60, int(len(expected) / num_parts * (1 + more)) + len(header))
    how = {"target_size": target, "fsync": False}
    how |= {"quote": "none", "header": "yes"} if kind == "tsv" else {}
    with looks_of(near_bytes, step_bytes):
        try:
            result = engine.split(sources, folder / "out", verify=True, **how)
        except TargetTooSmall:  # as where all is counted
            with pytest.raises(TargetTooSmall):
                engine.plan(sources, count_records=True, **how)
            return
    assert joined(folder / "out", header) == header + expected
    parts = [part.stat().st_size for part in parts_of(folder / "out")]
    assert max(parts) <= target
    assert set(accumulate(size - len(header) for size in parts)) <= ends
    counted_plan = engine.plan(sources, count_records=True, **how)
    assert result.verification.num_rows == counted_plan.num_rows
    event("not counted" if result.manifest.num_rows is None else "counted")
    if result.manifest.num_rows is None:
        assert result.manifest.spread <= PROMISED_SPREAD
        assert len(parts) <= len(counted_plan.parts) + uncounted._MORE_PARTS
        plan = engine.plan(sources, **how)
        assert [part.predicted_bytes for part in plan.parts] == parts
        assert plan == engine.plan(sources, **how)
    else:
        assert result.manifest.num_rows == counted_plan.num_rows


@given(
    st.lists(st.sampled_from([b"\n", b"x", b"x" * 20, b"x" * 50]), max_size=40).map(b"".join),
    st.integers(0, 70),
    st.integers(0, 1_500),
    st.integers(1, 5),
    st.integers(1, 9),
)
def test_the_nearest_record_is_found_wherever_one_looks(
    tmp_path_factory, data, first, wished, near_bytes, step_bytes
):
    path = tmp_path_factory.mktemp("near") / "a.ndjson"
    path.write_bytes(data)
    first = min(first, len(data))
    wished = min(max(first, wished), len(data))
    starts = {first, len(data), *(at + 1 for at in range(first, len(data)) if data[at] == 10)}
    (file,) = engine.find_sources(path)
    with looks_of(near_bytes, step_bytes), opened(file) as source:
        found = uncounted._nearest(source, wished, file=file, first=first, room=None)
    assert found in starts
    assert abs(found - wished) == min(abs(start - wished) for start in starts)


def test_little_is_read_but_around_cuts(tmp_path: Path):
    data = write_lines(tmp_path / "in.ndjson", 60_000, 600)
    with bytes_read() as read:
        plan = engine.plan(tmp_path / "in.ndjson", target_size="4MB")
    assert len(plan.parts) > 4
    begin_bytes = (64 << 10) + 4096 + 16
    assert sum(read) < begin_bytes + 8192 * len(plan.parts) < len(data) / 100
    with bytes_read() as read:
        result = engine.split(tmp_path / "in.ndjson", tmp_path / "out", target_size="4MB")
    assert result.manifest.num_rows is None
    # Where the kernel copies nothing, steps of a copy are read.
    assert sum(size for size in read if size <= 64 << 10) < begin_bytes + 13_000 * len(plan.parts)
    assert joined(tmp_path / "out") == data
    with bytes_read() as read:
        engine.plan(tmp_path / "in.ndjson", target_size="4MB", count_records=True)
    assert sum(read) >= len(data)  # so that the counter counts


def test_a_record_over_the_target_is_refused_where_it_lies(tmp_path: Path):
    records = json_lines(30_000)
    records[20_000] = b'{"wide": "%b"}' % (b"x" * 1_200_000)
    data = b"\n".join(records) + b"\n"
    (tmp_path / "in.ndjson").write_bytes(data)
    start = data.index(b'{"wide"')
    for target in (500_000, 1_100_000):
        with bytes_read() as read, pytest.raises(TargetTooSmall) as refused:
            engine.split(tmp_path / "in.ndjson", tmp_path / "out", target_size=target)
        assert sum(read) < len(data)
        told = str(refused.value)
        place = int(told.partition(" around byte ")[2].partition(" ")[0].replace(",", ""))
        assert start <= place < start + 1_200_000, told
        assert str(tmp_path / "in.ndjson") in told
        assert not (tmp_path / "out").exists()


def test_a_large_record_moves_the_cuts_around_it(tmp_path: Path):
    """Else the part before it would be larger than all others, or the one behind it smaller."""
    records = json_lines(60_000)
    records[30_000] = b'{"wide": "%b"}' % (b"x" * 60_000)
    (tmp_path / "in.ndjson").write_bytes(b"\n".join(records))
    plan = engine.plan(tmp_path / "in.ndjson", parts=8)
    assert plan.num_rows is None
    assert plan.spread <= PROMISED_SPREAD
    cuts = [part.ranges[0].offset for part in plan.parts]
    mean = plan.predicted_bytes / 8
    assert max(abs(cut - at * mean) for at, cut in enumerate(cuts)) > 20_000


def test_records_that_are_large_against_parts_are_counted(tmp_path: Path):
    data = write_lines(tmp_path / "in.ndjson", 50, 2_000)
    result = engine.split(tmp_path / "in.ndjson", tmp_path / "out", target_size=10_000)
    assert result.manifest.num_rows == sum(part.num_rows for part in result.manifest.parts) == 50
    assert joined(tmp_path / "out") == data
    with pytest.raises(BadSetting, match="the source has 50 rows"):
        engine.plan(tmp_path / "in.ndjson", parts=51)
    with pytest.raises(TargetTooSmall, match="ask for more parts"):
        engine.plan(tmp_path / "in.ndjson", parts=2, target_size=10_000)


def test_a_wild_number_of_parts_is_refused_without_as_many_looks(tmp_path: Path):
    data = write_lines(tmp_path / "in.ndjson", 5_000)
    for how in ({"parts": 10**9}, {"target_size": 10}):
        with bytes_read() as read, pytest.raises((BadSetting, TargetTooSmall)):
            engine.plan(tmp_path / "in.ndjson", **how)
        assert sum(read) < 3 * len(data)


@pytest.mark.parametrize(
    "how",
    [
        {"count_records": True, "parts": 3},
        {"rows_per_part": 4_000},
        {"parts": 3, "name": "{index}-{first_row}.ndjson"},
        {"parts": 3, "name": "{index}-{num_rows}.ndjson"},
    ],
)
def test_who_asks_for_rows_has_them_counted(tmp_path: Path, how):
    write_lines(tmp_path / "in.ndjson", 9_000)
    plan = engine.plan(tmp_path / "in.ndjson", **how)
    assert plan.num_rows == sum(part.num_rows for part in plan.parts) == 9_000


@pytest.mark.parametrize("how", [{}, {"quote": "none", "escape": "\\", "header": "yes"}])
def test_quotes_and_escapes_may_hide_line_feeds(tmp_path: Path, how):
    (tmp_path / "in.csv").write_bytes(b"id,text\n" + b'1,"a"\n2,b\\\n' * 4_000)
    assert engine.plan(tmp_path / "in.csv", parts=3, **how).num_rows is not None


def test_the_number_of_parts_is_a_multiple_of_slots(tmp_path: Path):
    write_lines(tmp_path / "in.ndjson", 9_000)
    how = {"target_size": 300_000, "count_records": False}
    assert len(engine.plan(tmp_path / "in.ndjson", **how).parts) == 4
    plan = engine.plan(tmp_path / "in.ndjson", load_slots=3, **how)
    assert (len(plan.parts), plan.num_rows) == (6, None)


def test_what_nobody_counted_is_said_to_be_so(tmp_path: Path):
    write_lines(tmp_path / "in.ndjson", 9_000)
    place, out = str(tmp_path / "in.ndjson"), str(tmp_path / "out")
    assert "rows not counted" in run("plan", place, "--parts", "3").out
    ended = run("split", place, out, "--parts", "3", "--manifest", "duckdb")
    assert ended.code == 0
    assert "rows not counted" in ended.out
    assert "all 9,000 rows" in run("verify", out).out
    told = json.loads(run("plan", place, "--parts", "3", "--json").out)
    assert (told["num_rows"], told["parts"][1]["num_rows"]) == (None, None)
    record = json.loads((tmp_path / "out/_evensplit/manifest.json").read_text())
    assert (record["num_rows"], record["parts"][1]["num_rows"]) == (None, None)
    plan = engine.plan(place, parts=3)
    assert "rows not counted" in plan._repr_html_()
    counted = engine.split(place, tmp_path / "counted", parts=3, count_records=True)
    record = json.loads((tmp_path / "counted/_evensplit/manifest.json").read_text())
    assert record["num_rows"] == counted.manifest.num_rows == 9_000


def test_partitions_are_one_plan(tmp_path: Path):
    for year, num_records in ((2023, 6_000), (2024, 9_000)):
        (tmp_path / f"in/year={year}").mkdir(parents=True)
        write_lines(tmp_path / f"in/year={year}/a.ndjson", num_records)
    result = engine.split(tmp_path / "in", tmp_path / "out", target_size=300_000, verify=True)
    assert result.manifest.num_rows is None
    assert result.verification.num_rows == 15_000
    assert [part.index for part in result.manifest.parts] == list(range(7))


def test_a_split_that_was_stopped_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = write_lines(tmp_path / "in.ndjson", 20_000)

    with monkeypatch.context() as patch:
        patch.setattr(splitter, "run_parts", three_parts)
        with pytest.raises(KeyboardInterrupt):
            engine.split(tmp_path / "in.ndjson", tmp_path / "out", parts=7)
    assert engine.split(tmp_path / "in.ndjson", tmp_path / "out", parts=7).num_resumed == 3
    assert joined(tmp_path / "out") == data
    part = parts_of(tmp_path / "out")[2]
    before = part.read_bytes()
    part.write_bytes(before[:5000] + b"?" + before[5001:])
    with pytest.raises(Different, match=r"^part-00002\.ndjson differs .* at its byte 5,000"):
        engine.verify(tmp_path / "out")
    assert engine.verify(tmp_path / "out", repair=True).repaired == ("part-00002.ndjson",)
    assert part.read_bytes() == before


def test_a_part_that_ends_inside_a_record_is_found(tmp_path: Path):
    texts = {"in.ndjson": b"{}\n[1]\n", "part-0.ndjson": b"{}\n[", "part-1.ndjson": b"1]\n"}
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text)
    source, *parts = engine.find_sources([tmp_path / name for name in texts])
    source = engine.plan(tmp_path / "in.ndjson").sources[0]
    assert source.dialect == Dialect("ndjson")
    with pytest.raises(Different, match=r"^part-0.ndjson ends inside a record"):
        compare([source], parts, [None, None], 1, None, is_recoded=False)


def test_a_report_says_what_was_not_counted(tmp_path: Path):
    write_lines(tmp_path / "in.ndjson", 9_000)
    engine.split(tmp_path / "in.ndjson", tmp_path / "out", parts=3)
    for place, said in (("in.ndjson", "rows not counted"), ("out", "Rows are not counted")):
        page = tmp_path / f"{place}.html"
        assert run("report", str(tmp_path / place), "-o", str(page)).code == 0
        assert said in page.read_text()
