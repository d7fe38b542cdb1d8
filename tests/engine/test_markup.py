"""Results as HTML: every text is text, and no table is long."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine.markup import MAX_ROWS, Bar, Grid, card
from engine.wording import shown
from tests.engine.running import write_source

TAGS = {"div", "strong", "table", "thead", "tbody", "tr", "th", "td"}
ATTRIBUTES = {"style", "scope", "colspan", "role", "aria-label", "title"}
HOSTILE = st.text() | st.sampled_from(
    ['<img src=x onerror="ran()">', "</td><script>ran()</script>", "'\" onmouseover=ran()", "&lt;"]
)


class Read(HTMLParser):
    """What a browser would make of it: texts, tags, and words for those who see no bars."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.labels: list[str] = []
        self.num_rows = 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        assert {name for name, _ in attrs} <= ATTRIBUTES
        self.num_rows += tag == "tr"
        self.labels += [value or "" for name, value in attrs if name == "aria-label"]
        assert not any("url(" in (value or "") for name, value in attrs if name == "style")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_every_text_is_text(title: str, sentence: str, heading: str, cell: str):
    grid = Grid((f"<{heading}", "share"), [(cell, Bar(0.5, cell))])
    read = Read(card(title, (sentence,), grid))
    wanted = [shown(text) for text in (title, sentence, heading, "share", cell)]
    assert "".join(read.texts) == "".join(wanted)
    assert read.labels == [shown(cell)]


@given(st.integers(0, 40))
def test_a_long_table_is_its_first_and_last_rows(num_rows: int):
    read = Read(card("t", (), Grid(("n",), [(str(at),) for at in range(num_rows)])))
    assert read.num_rows == 1 + min(num_rows, MAX_ROWS)
    if num_rows:
        assert {"0", str(num_rows - 1)} <= set(read.texts)
    told = sum(int(text.split()[1]) for text in read.texts if "more" in text)
    numbers = sum(text.isdigit() for text in read.texts)
    assert told + numbers == num_rows


@given(st.floats(-1, 2), st.floats(-1, 2))
def test_bars_stay_in_their_cell(filled: float, other: float):
    html = card("t", (), Grid(("n",), [(Bar(filled, "x", other),)]))
    widths = [float(piece.partition("%")[0]) for piece in html.split("width:")[1:] if "%" in piece]
    assert all(0 <= width <= 100 for width in widths)


def test_results_are_a_line_and_a_table(tmp_path: Path):
    source = write_source(tmp_path / "<i>.parquet", 20_000)
    folder = tmp_path / "many"
    for at in range(3):
        write_source(folder / f"{at}.parquet", 100 * (at + 1))
    plan = engine.plan(source, parts=3)
    result = engine.split(source, tmp_path / "parts", parts=3, verify=True)
    assert result.verification is not None
    for told, words in (
        (engine.profile(source), ["text", "BYTE_ARRAY"]),
        (engine.profile(source)[0], ["text", "BYTE_ARRAY"]),
        (engine.profile(folder), [str(folder / "2.parquet")]),
        (engine.profile_key(source, "few"), ["red", "green"]),
        (plan, ["part-00002.parquet", *(f"{part.num_rows:,}" for part in plan.parts)]),
        (result, ["part-00002.parquet", result.verification.sentence]),
        (result.manifest, ["part-00002.parquet"]),
        (result.verification, [result.verification.sentence]),
        (replace(result.verification, repaired=("part-00001.parquet",)), []),
        (replace(plan, lost=("<i>",)), ["not kept: <i>"]),
    ):
        assert len(repr(told)) < 700
        assert "\n" not in repr(told)
        read = Read(told._repr_html_())
        assert set(words) <= set(read.texts)


def test_a_result_of_nothing_is_shown(tmp_path: Path):
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "empty.parquet")
    Read(engine.profile(tmp_path / "empty.parquet")._repr_html_())
    result = engine.split(tmp_path / "empty.parquet", tmp_path / "parts", parts=1)
    Read(result._repr_html_())
