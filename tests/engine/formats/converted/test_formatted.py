"""Dates written by a format are the dates that Python reads there, or none."""

from __future__ import annotations

import random
from calendar import day_name, month_name
from datetime import datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.formats.converted.formatted import fault_of_format, kind_of_format, times_of

DAYS = ("%d.%m.%Y", "%m/%d/%y", "%Y%m%d", "%d %b %Y", "%A, %B %d %Y", "%Y %j", "%F", "%e-%h-%y")
TIMES = ("", " %H:%M", " %I:%M %p", "T%T", " %H%M%S", " %r")
MANY = 60


def python_reads(text: str, form: str) -> datetime | None:
    for short, long in {"%F": "%Y-%m-%d", "%T": "%H:%M:%S", "%r": "%I:%M:%S %p"}.items():
        form = form.replace(short, long)
    form = form.replace("%e", "%d").replace("%h", "%b").replace("%A", "%a").replace("%B", "%b")
    for name in (*day_name, *month_name[1:]):
        text = text.replace(name, name[:3])
    try:
        when = datetime.strptime(text.strip(), form)  # noqa: DTZ007
    except ValueError:
        return None
    # It passes over a weekday that is another one.
    return when if "%a" not in form or text.strip().startswith(when.strftime("%a")) else None


@settings(max_examples=60)
@given(st.sampled_from(DAYS), st.sampled_from(TIMES), st.integers(0, 1 << 30))
def test_a_text_is_the_time_that_it_says_or_none(day: str, time: str, seed: int):
    form, draw = day + time, random.Random(seed)
    days = (
        f"{draw.choice((1969, 2024, 2068))}-{draw.randint(1, 12):02}-28 {draw.randint(0, 23):02}:05"
        for _ in range(MANY)
    )
    texts = [datetime.fromisoformat(text).strftime(form) for text in days]
    for at, text in enumerate(texts):
        place = draw.randrange(len(text))
        other = text[:place] + draw.choice("01239") + text[place + 1 :]
        texts[at] = draw.choice(
            (text, other, other, text.replace(" 0", " "), text.replace(".0", "."))
        )
    made = times_of(pa.array(texts, pa.string()), form).to_pylist()
    for text, value in zip(texts, made, strict=True):
        assert value is None or value == python_reads(text, form), (text, form)


@given(st.sampled_from(DAYS), st.sampled_from(TIMES), st.datetimes())
def test_what_a_format_writes_is_read(day: str, time: str, when: datetime):
    form = day + time
    when = when.replace(year=max(1969, when.year % 2069), second=0, microsecond=0)
    if "%H" not in form and "%I" not in form and "%T" not in form and "%r" not in form:
        when = when.replace(hour=0, minute=0)
    texts = pa.array([when.strftime(form), when.strftime(form).upper(), None])
    assert times_of(texts, form).to_pylist() == [when, when, None]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("%d.%m.%Y", "31.02.2024"),
        ("%d.%m.%Y", "29.02.2023"),
        ("%d.%m.%Y", "01.02.24"),
        ("%d.%m.%Y", "01.02.2024\0x"),
        ("%A %d.%m.%Y", "Monday 02.01.2024"),
        ("%d.%m.%Y %H:%M %p", "01.02.2024 11:30 PM"),
        ("%F %T", "2024-01-01 10:00:60"),
    ],
)
def test_what_strptime_makes_something_else_of_is_no_value(form: str, text: str):
    assert times_of(pa.array([text]), form).to_pylist() == [None]


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ("%d/%m", "has no year"),
        ("%Y", "has no month"),
        ("%Y-%m", "has no day"),
        ("%F %M", "has no hour"),
        ("%F %I:%M", "has no %p beside %I"),
        ("%F %X", "has %X"),
        ("%s", "has %s"),
        ("%F %H:%M%z", "has %z"),
        ("%G-W%V-%u", "has %G"),
        ("%-d.%m.%Y", "has %-"),
        ("%Y-%m-%d%", "has %,"),
        ("dd.mm.yyyy", "has no year"),
        ("%%Y-%m-%d", "has no year"),
        ("%F %%H", ""),
        ("%D %r", ""),
    ],
)
def test_a_format_says_a_whole_day(form: str, told: str):
    assert fault_of_format(form).startswith(told)
    assert bool(fault_of_format(form)) == bool(told)
    if not told:
        assert kind_of_format(form) == ("timestamp" if "%r" in form else "date")
