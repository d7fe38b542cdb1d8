"""``python -m benchmarks.page``: write docs/performance.md, and the README's table, from records.

No figure is typed by hand: tables and what is said of them come from ``build/bench``, and each
section's words from the benchmark's module.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

from benchmarks.record import Record, load
from benchmarks.table import Row, Value, table

PAGE, README = Path("docs/performance.md"), Path("README.md")
BEGIN, END = "<!-- begin: written by make bench -->", "<!-- end: written by make bench -->"
SECTIONS = {
    "peers": "Beside other tools",
    "copy": "Against a copy",
    "written": "Files that others wrote",
    "extremes": "Shapes that are hard",
    "small": "A small file",
    "folders": "Folders",
    "floors": "The least that it can take",
}
_FIGURES = {"wall s": "wall", "CPU s": "CPU", "peak MB": "peak"}
_BUSY_LOAD = 1.0
_BUSY = "\nThe machine was busy with other work as well: read the ratios."
_TEXT = """# Performance

`make bench` measures what is here and writes this page; `make bench SCALE=1 REPEATS=1` takes
minutes.

{machine}.
{versions}.

Wall and CPU are medians, CPU with that of all processes; peak is the largest sum of memory of all
processes at once (shared pages counted once). Commands of a table take turns, and a ratio is the
median of the rounds' ratios, so that a busy minute hits all. MB are 10^6 bytes.

{sections}

## Where evensplit is not the best choice
* **Rows are to be changed, sorted, or parted by value.** evensplit keeps every row as and where it
  is. What decodes everything anyway can write the parts in the same pass: DuckDB, Polars, Spark.
* **The file is small, and parts need no cap**: the start of evensplit is most of its time.
* **Row groups of few rows, small files of very many columns**: there is little to copy, and much to
  count.
* **Few large values, or one large dictionary**: each part has a dictionary of its own, so parts
  take more than the source; without (`--no-dictionary`) all is decoded, as by others.

In these tables something else took less wall, CPU or memory than evensplit (of evensplit's):

{better}
"""


def write() -> None:
    """Write the page, and the README's table."""
    records = {name: load(name) for name in SECTIONS}
    PAGE.write_text(page(records))
    README.write_text(with_table(README.read_text(), _measured(records["peers"])))


def page(records: dict[str, Record]) -> str:
    """The page of these records, one a section."""
    any_record = next(iter(records.values()))
    found = [row for record in records.values() for row in better(record.rows)]
    return _TEXT.format(
        machine=any_record.machine,
        versions=any_record.versions,
        sections="\n\n".join(_section(record) for record in records.values()),
        better=table(found) if found else "None.",
    )


def with_table(readme: str, text: str) -> str:
    """The README with another table between its marks."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def table_of(readme: str) -> str:
    """The table between the README's marks."""
    return readme.split(BEGIN)[1].split(END)[0].strip()


def better(rows: Iterable[Row]) -> Iterator[Row]:
    """What took less than evensplit at the same job, but for what splits nothing."""
    for job, tools in _jobs(rows).items():
        ours = tools.pop("evensplit", None)
        for tool, figures in tools.items():
            if (
                not ours
                or tool.startswith(("cp", "evensplit", "the least"))
                or None in figures.values()
            ):
                continue
            ratios = {name: _number(figures[name]) / _number(ours[name]) for name in _FIGURES}
            if min(ratios.values()) < 1:
                words = {f"{_FIGURES[name]} ratio": value for name, value in ratios.items()}
                yield {"job": job, "tool": tool, **words}


def _jobs(rows: Iterable[Row]) -> dict[str, dict[str, Row]]:
    """Figures by job and tool; what comes before the tool in a row says the job."""
    jobs: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in rows:
        if "tool" in row:
            words = list(row)[: list(row).index("tool")]
            job = ", ".join(str(row[word]) for word in words)
            jobs[job][str(row["tool"])] = {name: row[name] for name in _FIGURES}
    return jobs


def _number(value: Value) -> float:
    assert isinstance(value, int | float)
    return value


def _section(record: Record) -> str:
    docs = import_module(f"benchmarks.{record.name}").__doc__ or ""
    words = docs.strip().replace("``", "`")
    return f"## {SECTIONS[record.name]}\n\n{words}\n\n{_measured(record)}"


def _measured(record: Record) -> str:
    """How the figures came about, and the figures."""
    busy = _BUSY if record.load > _BUSY_LOAD else ""
    how = f"`{record.command}`, {record.day}, load {record.load:.1f} as it began.{busy}"
    return f"{how}\n\n{table(record.rows)}"


if __name__ == "__main__":
    write()
