"""The page for everybody: any name is text, any width is enough, and nobody needs a mouse."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, Locator

import engine
from engine.formats.parquet.profiler.keys import HeavyValue, KeySkew
from engine.reporter import figures
from engine.reporter.page import Section, render
from engine.reporter.scheme import DARK, LIGHT
from engine.reporter.spoken import MAX_ROWS, spoken
from tests.browser import Seen, opened

HOSTILE = (
    *("<img src=x onerror=ran()>", "<script>ran()</script>", "</script><script>ran()</script>"),
    *("<svg onload=ran()>", "<a href=javascript:ran()>go</a>", "<base href=//x>", "<b>", "&lt;"),
    *(
        "<iframe srcdoc='<script>parent.ran()</script>'>",
        '" onmouseover="ran()',
        "' onclick='ran()",
    ),
    *("@name", "@{name}{safe}", "$index", "$color[swatch]:x", "$$\\frac{a}{b}$$", "\\(x\\)"),
    *("{{ 7 * 7 }}", "{% raw %}", "${ran()}", "`", "#2a78d6", "%s", "\\u003cb>", "é", "日本", "\n"),
)


def hostile_names() -> st.SearchStrategy[list[str]]:
    """Seven names, each of one to three pieces that something may take for more than text."""
    name = st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=3).map("".join)
    return st.lists(name, min_size=7, max_size=7, unique=True)


def flat(text: str) -> str:
    """Text as a browser sets it: blanks and breaks are one blank."""
    return " ".join(text.split())


def told(seen: Seen, place: Locator, colour: str) -> list[str]:
    """What is told over each mark of a colour: marks are told apart by the gaps between them."""
    place.scroll_into_view_if_needed()
    box = place.bounding_box()
    assert box is not None
    pixels = seen.places_of(place, colour)
    at = int(np.bincount(pixels[:, 1]).argmax())  # a column of pixels through all of them
    rows = np.unique(pixels[pixels[:, 1] == at][:, 0])
    found = []
    for run in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
        if len(run) < 4:  # the edge of a mark, smoothed
            continue
        seen.page.mouse.move(box["x"] + at, box["y"] + int(run[len(run) // 2]), steps=2)
        tooltip = seen.page.locator(".bk-tooltip-content").first
        tooltip.wait_for(state="visible")
        seen.page.wait_for_timeout(50)  # the text of the mark before
        found.append(flat(tooltip.inner_text()))
        seen.page.mouse.move(0, 0)
        tooltip.wait_for(state="hidden")
    return found


@pytest.mark.slow
@settings(
    max_examples=4, deadline=None, derandomize=True, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(names=hostile_names())
def test_whatever_a_name_holds_is_text(browser: Browser, tmp_path: Path, names: list[str]) -> None:
    values = pa.array(np.arange(2_000))
    pq.write_table(pa.table([values] * 7, names), tmp_path / "<b>.parquet", row_group_size=1_000)
    profile = engine.profile(tmp_path / "<b>.parquet")
    heavy = tuple(HeavyValue(name, 10 - at, 0.1) for at, name in enumerate(names))
    keys = KeySkew(names[0], 100, 7, heavy, (20, 10), 0, True)
    drawn = (
        figures.row_groups_figure(profile[0]),
        figures.columns_figure(profile),
        figures.keys_figure(keys),
    )
    page = tmp_path / "page.html"
    page.write_text(render(names[0], names[1], [Section(names[2], figures=drawn)]))
    with opened(browser, page, "dark") as seen:
        seen.page.wait_for_selector("body[data-drawn=dark]")
        seen.page.wait_for_timeout(300)
        groups, columns, heaviest = seen.page.locator(".drawn").all()
        spelled = {flat(column.spelling) for column in profile[0].columns}
        stacks = [text for colour in DARK.series for text in told(seen, groups, colour)]
        for found in (stacks, told(seen, columns, DARK.series[0])):
            assert len(found) == 7
            assert {name for name in spelled if any(name in text for text in found)} == spelled
        values_told = told(seen, heaviest, DARK.series[0])
        assert len(values_told) == 7
        assert all(any(flat(name) in text for text in values_told) for name in names)
        cells = {flat(text) for text in seen.page.locator("td").all_text_contents()}
        assert spelled <= {text.rpartition(": ")[0] or text for text in cells} | cells
        assert not seen.has_run()
        assert seen.page.locator("main :is(img, svg, iframe, a, base, main script)").count() == 0
        assert flat(seen.page.locator("h1").inner_text()) == flat(names[0])
        assert seen.complaints == []  # of the policy, what it has kept from running
        assert seen.requests == [page.as_uri()]


@pytest.mark.slow
def test_the_policy_lets_nothing_else_run(browser: Browser, tmp_path: Path) -> None:
    """What a defect of ours might let in: handlers, scripts, links that run, forms, a base."""
    smuggled = (
        '<img src="data:," onerror="ran()"><script>ran()</script><base href="file:///">'
        '<form action="file:///"><button>send</button></form><a href="javascript:ran()">go</a>'
    )
    text = render("a", "b", [Section("c")])
    page = tmp_path / "page.html"
    page.write_text(text.replace("<main>", f"<main><script>ran()</script>{smuggled}"))
    with opened(browser, page, "light") as seen:
        seen.page.wait_for_selector("body[data-drawn=light]")
        seen.page.locator("a").click()
        seen.page.evaluate("document.forms[0].requestSubmit()")
        seen.page.wait_for_timeout(300)
        assert not seen.has_run()
        refused = " ".join(seen.complaints)
        assert "inline script" in refused
        assert "inline event handler" in refused
        assert "base-uri" in refused
        assert "form-action" in refused
        assert seen.page.url == page.as_uri()


@pytest.mark.ways(6)
@pytest.mark.slow
@pytest.mark.parametrize("side", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("name", ["s.parquet", "in", "parts"])
def test_a_page_keeps_nobody_out(
    browser: Browser, place: Path, name: str, width: int, side: str
) -> None:
    with opened(browser, place / f"{name}.html", side, width) as seen:  # type: ignore[arg-type]
        seen.page.wait_for_selector(f"body[data-drawn={side}]")
        seen.page.wait_for_timeout(300)
        assert not seen.is_too_wide()
        assert seen.faults() == []
        for summary in seen.page.locator("summary").all():
            summary.click()
        assert not seen.is_too_wide()
        assert seen.faults() == []
        seen.keep(f"{name}-{width}-{side}")
        for figure in seen.page.locator(".drawn").all():
            box, around = figure.bounding_box(), figure.locator("..").bounding_box()
            assert box is not None
            assert around is not None
            assert box["x"] + box["width"] <= around["x"] + around["width"]


@pytest.mark.slow
def test_the_keyboard_reaches_every_table(browser: Browser, place: Path) -> None:
    with opened(browser, place / "s.parquet.html", "light") as seen:
        seen.page.wait_for_selector("body[data-drawn=light]")
        wanted = seen.page.locator("summary").all_inner_texts()
        reached: list[str] = []
        while len(reached) < len(wanted):
            seen.page.keyboard.press("Tab")
            here = seen.page.evaluate(
                "document.activeElement.matches('summary') && document.activeElement.innerText"
            )
            if here:
                seen.page.keyboard.press("Enter")
                reached.append(here)
        assert reached == wanted
        assert seen.page.locator("details[open]").count() == len(wanted)


def test_counted_things_have_whole_ticks(place: Path) -> None:
    profile = engine.profile(place / "in")
    plan = engine.plan(place / "s.parquet", target_size="400kB")
    keys = KeySkew("k", 30, 3, (HeavyValue("a", 20, 2 / 3),), (20, 10, 0), 0, True)
    for axis in (
        figures.files_figure(profile).xaxis,
        figures.row_groups_figure(profile[0]).xaxis,
        figures.rows_figure(profile[0]).xaxis,
        figures.pages_figure(profile[0]).yaxis,
        figures.parts_figure(plan).xaxis,
        *(figures.partitions_figure(keys).xaxis, figures.partitions_figure(keys).yaxis),
    ):
        assert (axis[0].ticker.min_interval, axis[0].formatter.format) == (1, "0,0")


def test_figures_say_their_numbers(place: Path) -> None:
    plan = engine.plan(place / "s.parquet", target_size="400kB")
    said = spoken(figures.parts_figure(plan))
    assert [row[0] for row in said.numbers.rows] == [part.name for part in plan.parts]
    assert said.legend == (("copied", LIGHT.series[0]), ("re-encoded", LIGHT.series[4]))
    wide = engine.profile(place / "s.parquet")[0]
    assert {
        row[3].partition(":")[0] for row in spoken(figures.row_groups_figure(wide)).numbers.rows
    } == {column.spelling for column in wide.columns}
    many = spoken(figures.slots_figure([1] * 2 * MAX_ROWS, [1]))
    assert (len(many.numbers.rows), many.numbers.num_left_out) == (MAX_ROWS, MAX_ROWS + 1)


def test_growth_is_drawn_to_the_byte(place: Path) -> None:
    plan = engine.plan(place / "s.parquet", target_size="400kB")
    assert plan.growth_bytes is not None
    plot = figures.growth_figure(plan)
    ends = {}
    for renderer in plot.renderers:
        data = renderer.data_source.data
        ends[data["what"][0]] = data["right"][0] - data["left"][0]
    assert ends["source"] * 1e6 == pytest.approx(plan.growth_bytes.source_bytes)
    assert sum(size for what, size in ends.items() if what != "source") * 1e6 == pytest.approx(
        plan.predicted_bytes
    )
    kept = json.loads((place / "parts/_evensplit/plan.json").read_text())["growth_bytes"]
    assert kept == vars(plan.growth_bytes)


def test_the_policy_names_every_script(place: Path) -> None:
    text = (place / "s.parquet.html").read_text()
    scripts = re.findall(r"<script>", text)
    policy = re.search(r'Policy" content="([^"]*)"', text)
    assert policy is not None
    assert policy[1].count("sha256-") == len(scripts) == 2
    assert "unsafe-inline" not in policy[1].partition("style-src")[0]
    assert "unsafe-eval" not in policy[1]
