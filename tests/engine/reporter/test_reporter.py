"""The report as a reader sees it: in a browser, in light and dark, without a network."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bokeh.embed import json_item
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Browser

import engine
from engine.formats.parquet.profiler.keys import HeavyValue, KeySkew
from engine.model import spread
from engine.reporter import figures
from engine.reporter.scheme import DARK, LIGHT, Scheme
from engine.reporter.slots import makespan, schedule
from engine.settings import Settings
from engine.splitter import plan_split
from engine.wording import memory_amount, percent
from tests.browser import opened
from tests.engine.running import run, write_source

Side = Literal["light", "dark"]


@pytest.mark.slow
@pytest.mark.parametrize("side", ["light", "dark"])
@pytest.mark.parametrize(("name", "num_figures"), [("s.parquet", 10), ("in", 11), ("parts", 16)])
def test_a_page_in_a_browser(
    browser: Browser, place: Path, name: str, num_figures: int, side: Side
) -> None:
    scheme: Scheme = LIGHT if side == "light" else DARK
    path = place / f"{name}.html"
    with opened(browser, path, side) as seen:
        seen.page.wait_for_selector(f"body[data-drawn={side}]")
        seen.page.wait_for_timeout(300)  # the last figure may still be painting
        seen.keep(f"{name}-{side}")
        found = seen.page.locator(".drawn")
        assert found.count() == num_figures
        for at in range(num_figures):
            figure = found.nth(at)
            figure.scroll_into_view_if_needed()
            pixels = seen.places_of(figure, scheme.series[0])
            assert len(pixels) > 100, f"figure {at} is empty"
            if side == "dark":  # which differs in nothing but colours
                continue
            # Hover over a mark: its numbers appear.
            box = figure.bounding_box()
            assert box is not None
            row, column = pixels[len(pixels) // 2].tolist()
            tooltip = seen.page.locator(".bk-tooltip-content").first
            seen.page.mouse.move(box["x"] + column, box["y"] + row, steps=2)
            tooltip.wait_for(state="visible")
            assert re.search(r"\d", tooltip.inner_text())
            assert "???" not in tooltip.inner_text()
            seen.page.mouse.move(0, 0)
            tooltip.wait_for(state="hidden")
        assert seen.complaints == []
        assert seen.requests == [path.as_uri()]


@pytest.mark.slow
def test_a_page_turns_dark_when_its_reader_does(browser: Browser, place: Path) -> None:
    with opened(browser, place / "s.parquet.html", "light") as seen:
        seen.page.wait_for_selector("body[data-drawn=light]")
        seen.page.emulate_media(color_scheme="dark")
        seen.page.wait_for_selector("body[data-drawn=dark]")
        seen.page.wait_for_timeout(300)
        first = seen.page.locator(".drawn").first
        assert len(seen.places_of(first, DARK.surface)) > 10_000
        assert len(seen.places_of(first, LIGHT.surface)) < 100  # where letters are smoothed
        assert seen.complaints == []


def test_what_a_report_of_a_split_says(place: Path) -> None:
    text = (place / "parts.html").read_text()
    plan = json.loads((place / "parts/_evensplit/plan.json").read_text())
    took = json.loads((place / "parts/_evensplit/run.json").read_text())
    num_parts = len(plan["parts"])
    assert f"{num_parts} of {num_parts} parts: all parts are committed." in text
    assert f"Equal: {num_parts} parts hold all 60,000 rows" in text
    assert took["num_parts"] == num_parts
    assert 0 < took["peak_memory_bytes"] <= took["projected_memory_bytes"]
    assert f"peak {memory_amount(took['peak_memory_bytes'])}" in text
    assert "<b>odd" not in text
    assert "http://" not in re.sub(r"http://www\.w3\.org[/\w]*", "", text.split("<script>")[0])


def test_a_finished_split_tells_how_its_parts_came_out(place: Path) -> None:
    text = (place / "parts.html").read_text()
    parts = json.loads((place / "parts/_evensplit/manifest.json").read_text())["parts"]
    copied, encoded = (sum(it[f"{how}_bytes"] for it in parts) for how in ("spliced", "reencoded"))
    for told in (
        f"{spread([part['size_bytes'] for part in parts]):.2%}",
        percent(copied / (copied + encoded)),
    ):
        assert re.search(rf">\s*{re.escape(told)}\s*<", text), told


def test_long_names_are_cut_where_they_would_push_figures_away(tmp_path: Path) -> None:
    names = [f"{'a_very_long_name_' * 20}{n}" for n in range(3)]
    pq.write_table(pa.table(dict.fromkeys(names, range(100))), tmp_path / "long.parquet")
    (file,) = profile = engine.profile(str(tmp_path / "long.parquet"))
    drawn = figures.row_groups_figure(file)
    labels = [item.label.value for item in drawn.legend[0].items]
    assert len(set(labels)) == 3
    assert max(map(len, labels)) < 30
    value = HeavyValue(names[0], 1, 1.0)
    keys = figures.keys_figure(KeySkew(names[0], 1, 1, (value,), (1,), 0, True))
    for figure in (drawn, figures.columns_figure(profile), keys):
        titles = [item.text for item in figure.above if getattr(item, "text", "")]
        assert all(len(title.text) < 100 for title in titles)


def test_an_unfinished_split_and_a_changed_source(place: Path, tmp_path: Path) -> None:
    source = write_source(tmp_path / "s.parquet", 20_000)
    dest = tmp_path / "parts"
    assert run("split", source, dest, "--parts", "3").code == 0
    (dest / "part-00001.parquet").unlink()
    (dest / "_evensplit/manifest.json").unlink()
    (dest / "_evensplit/run.json").write_text("{")
    write_source(source, 20_000, seed=2)
    engine.report(str(dest), str(tmp_path / "page.html"))
    text = (tmp_path / "page.html").read_text()
    assert "2 of 3 parts: the split is not finished" in text
    assert "has changed since the split: it is not shown" in text


def test_a_source_that_cannot_be_split_is_shown_all_the_same(tmp_path: Path) -> None:
    source = write_source(tmp_path / "s.parquet", 20_000)
    page = tmp_path / "page.html"
    assert run("report", source, "-o", page, "--target-size", "1kB").code == 0
    assert "It is refused: --target-size is 1,000 bytes, and every part has" in page.read_text()


def test_a_page_replaces_a_page_alone(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source.parquet", 100)
    before = source.read_bytes()
    for place, words in ((source, "is no HTML page"), (tmp_path, "is a folder")):
        ended = run("report", source, "-o", place)
        assert ended.code == 2
        assert words in ended.err
    assert source.read_bytes() == before


def test_what_cannot_be_reported(tmp_path: Path) -> None:
    ended = run("report", tmp_path / "nothing", "-o", tmp_path / "page.html")
    assert ended.code == 2
    assert "call.no-source" in ended.err
    program = (
        "import sys; sys.modules['bokeh'] = None\nimport engine\n"
        f"engine.report({str(tmp_path)!r}, {str(tmp_path / 'page.html')!r})"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert "pip install 'evensplit[report]'" in ended.stderr
    assert not (tmp_path / "page.html").exists()


def every_figure(place: Path, scheme: Scheme) -> dict[str, Any]:
    profile = engine.profile(str(place / "in"))
    (file,) = engine.profile(str(place / "s.parquet"))
    plan = plan_split([str(place / "s.parquet")], Settings(target_bytes=400_000))
    keys = KeySkew("k", 30, 3, (HeavyValue("a", 20, 2 / 3),), (20, 10, 0), 0, True)
    sizes = {part.name: part.predicted_bytes for part in plan.parts}
    return {
        "files": figures.files_figure(profile, scheme),
        "lorenz": figures.lorenz_figure([1, 2, 3], "files", scheme),
        "row groups": figures.row_groups_figure(file, scheme),
        "columns": figures.columns_figure(profile, scheme),
        "rows": figures.rows_figure(file, [10, 20], scheme),
        "pages": figures.pages_figure(file, scheme),
        "before and after": figures.before_after_figure({"s": file.size_bytes}, sizes, scheme),
        "slots": figures.slots_figure([file.size_bytes], [*sizes.values()], 4, scheme),
        "parts": figures.parts_figure(plan, None, scheme),
        "growth": figures.growth_figure(plan, scheme),
        "memory": figures.memory_figure({"projected": 2**20}, "fits", scheme),
        "keys": figures.keys_figure(keys, scheme),
        "partitions": figures.partitions_figure(keys, scheme),
    }


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_every_figure_says_what_it_shows(place: Path, scheme: Scheme) -> None:
    for name, figure in every_figure(place, scheme).items():
        titles = [item.text for item in figure.above if getattr(item, "text", "")]
        assert len(titles) == 2, name  # takeaway, title
        assert any(axis.axis_label for axis in figure.axis), name
        assert figure.hover, name
        # The page replaces colours by name: there may be none but the scheme's.
        text = json.dumps(json_item(figure))
        used = set(re.findall(r'"(#[0-9a-fA-F]{6})"', text))
        assert used <= set(scheme.colours), name


def test_figures_of_what_is_empty(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "empty.parquet")
    (file,) = profile = engine.profile(str(tmp_path / "empty.parquet"))
    for figure in (
        figures.files_figure(profile),
        figures.lorenz_figure([0], "files"),
        figures.row_groups_figure(file),
        figures.columns_figure(profile),
        figures.rows_figure(file),
        figures.pages_figure(file),
        figures.before_after_figure({}, {}),
        figures.slots_figure([], []),
        figures.keys_figure(KeySkew("k", 0, 0, (), (0, 0), 0, True)),
        figures.partitions_figure(KeySkew("k", 0, 0, (), (0, 0), 0, True)),
    ):
        json_item(figure)
    engine.report(str(tmp_path / "empty.parquet"), str(tmp_path / "page.html"))
    assert "the file has no rows" in (tmp_path / "page.html").read_text()


def test_colours_are_as_many_and_different() -> None:
    assert (
        len(LIGHT.colours) == len(DARK.colours) == len(set(LIGHT.colours)) == len(set(DARK.colours))
    )
    assert not set(LIGHT.colours) & set(DARK.colours)
    for scheme in (LIGHT, DARK):
        assert contrast(scheme.ink, scheme.surface) >= 7
        assert contrast(scheme.muted, scheme.surface) >= 4.5


def contrast(one: str, other: str) -> float:
    """By WCAG 2: from 1 to 21."""
    lights = []
    for colour in (one, other):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts
        )
        lights.append(0.2126 * red + 0.7152 * green + 0.0722 * blue)
    return (max(lights) + 0.05) / (min(lights) + 0.05)


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=40), st.integers(1, 10))
def test_loaders_take_turns(sizes: list[int], num_slots: int) -> None:
    turns = schedule(sizes, num_slots)
    assert sorted(turn.item for turn in turns) == list(range(len(sizes)))
    assert all(turn.stop_bytes - turn.start_bytes == sizes[turn.item] for turn in turns)
    for slot in range(num_slots):
        mine = sorted((t.start_bytes, t.stop_bytes) for t in turns if t.slot == slot)
        assert all(one[1] <= two[0] for one, two in pairwise(mine))
    least = max(*sizes, sum(sizes) / num_slots)
    assert least <= makespan(turns) <= sum(sizes) / num_slots + max(sizes)


def test_the_folder_of_a_split_is_no_finding(tmp_path: Path) -> None:
    for year in (2023, 2024):
        write_source(tmp_path / f"in/year={year}/a.parquet", 200)
    engine.split(tmp_path / "in", tmp_path / "parts", parts=1)
    engine.report(tmp_path / "parts", tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "year=2023" in text
    assert "earlier split" not in text
    assert "passed over" not in text
    (tmp_path / "parts/year=2024/part-00000.parquet").unlink()
    engine.report(tmp_path / "parts", tmp_path / "page.html")
    assert "1 of 2 parts: the split is not finished" in (tmp_path / "page.html").read_text()
