"""Damaged texts for every other parser: ``make texts``, or ``python -m tests.fuzz.texts``.

Records of a destination (plan, receipt, manifest, run), what Data Factory leaves for an activity,
specs of tasks, lists and control files, the begins of CSV and NDJSON. Bytes are changed blindly,
and JSON by its places. Each parser returns, or refuses in one line as a caller's fault; another
exception, a limit of memory or of the processor's seconds is a fault. Parquet: :mod:`.run`.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

import engine
from batchjobs import adf
from batchjobs.spec import TaskSpec
from engine.errors import EvensplitError
from engine.formats.lines.codecs import CODECS
from engine.ledger.manifest import Ledger
from engine.part_names import CODEC_SUFFIXES
from engine.storage import open_storage
from engine.storage.lists import listed
from tests.fuzz.judge import CODES, prepare

MAX_CPU_SECONDS = 20  # of one text, of which most take some thousandths
MAX_MEMORY_BYTES = 4 << 30  # of address space

_OTHERS: tuple[Any, ...] = (
    *(None, True, 0, -1, 7.5, 2**31, 2**63, 2**64, 10**400, 1e308, float("inf"), float("nan")),
    *("", "x", "../x", "a\nb", "\ud800", "\0", "\x1b[2J", "x" * 100_000, "{}", "@x", "1e999"),
    *([], {}, [[]], [None], [{}], {"type": "SecureString"}, {"type": "SecureString", "value": 1}),
    {"type": "AzureKeyVaultSecret", "store": {"referenceName": []}, "secretName": "x"},
)
_BYTES = (b"\0", b"\xff", b'"', b"\\", b"\n", b"\r", b",", b"{", b"[", b"\xef\xbb\xbf", b"1" * 5000)
_DEEP = 100_000


class Parser(NamedTuple):
    """``good`` are texts that it takes; ``read`` is given one that is damaged."""

    good: tuple[bytes, ...]
    read: Callable[[bytes], object]


# -- parsers ---------------------------------------------------------------------------------------


def parsers(folder: Path) -> dict[str, Parser]:
    """Return every parser by its name; files are put into a folder that exists."""
    source = folder / "source.parquet"
    pq.write_table(pa.table({"id": range(100)}), source, row_group_size=25)
    dest = folder / "parts"
    engine.split(source, dest, parts=2, fsync=False)
    found = {
        name: _record(dest / "_evensplit" / name, call)
        for name, call in {
            "plan.json": lambda: engine.split(source, dest, parts=2, fsync=False),
            "manifest.json": lambda: engine.verify(dest, workers=1),
            "receipts/00000.json": lambda: _receipts(dest),
            "run.json": lambda: _run(dest),
        }.items()
    }
    found |= {name: _activity(folder / "activity", name) for name in _ACTIVITY}
    spec = {"files": [{"source": "a/b.parquet", "destination": "c"}], "settings": {"parts": 3}}
    found["task"] = Parser(
        (_text(spec),), lambda data: TaskSpec.from_json(data.decode(errors="replace"))
    )
    plain, control = b"# remark\na.parquet\nabfss://x@y/z/*\n", b'source,n\n"a,b",1\nc.parquet,2\n'
    found["list"] = Parser((plain, control), lambda data: listed("files.txt", data))
    table = b'id;text\n1;"a\nb"\n2;"c""d"\n3;e\n'
    found["lines.csv"] = _lines(folder / "lines.csv", table)
    for name, codec in CODECS.items():
        path = folder / f"lines.csv{CODEC_SUFFIXES[name]}"
        made = codec.compressor(codec.level(None))
        found[path.name] = _lines(path, made.compress(table * 20) + made.flush())
    found["lines.ndjson"] = _lines(folder / "lines.ndjson", b'{"id": 1}\n{"id": [2, "x"]}\n')
    return found


def _text(data: object) -> bytes:
    return json.dumps(data).encode()


def _record(path: Path, call: Callable[[], object]) -> Parser:
    good = path.read_bytes()

    def read(data: bytes) -> None:
        path.write_bytes(data)
        try:
            call()
        finally:
            path.write_bytes(good)

    return Parser((good,), read)


def _receipts(dest: Path) -> object:
    store, folder = open_storage(str(dest))
    ledger = Ledger(store, folder)
    return ledger.receipts(ledger.plan())


def _run(dest: Path) -> object:
    store, folder = open_storage(str(dest))
    ledger = Ledger(store, folder)
    return ledger.run(ledger.plan())


_LAKE = {
    "name": "lake",
    "properties": {
        "type": "AzureBlobFS",
        "typeProperties": {
            "url": "https://account.dfs.core.windows.net",
            "accountKey": {
                "type": "AzureKeyVaultSecret",
                "store": {"referenceName": "vault", "type": "LinkedServiceReference"},
                "secretName": "key",
            },
        },
    },
}
_VAULT = {
    "name": "vault",
    "properties": {
        "type": "AzureKeyVault",
        "typeProperties": {"baseUrl": "https://vault.vault.azure.net"},
    },
}
_FILES = {
    "name": "files",
    "properties": {
        "type": "Parquet",
        "linkedServiceName": {"referenceName": "lake", "type": "LinkedServiceReference"},
        "typeProperties": {
            "location": {"type": "AzureBlobFSLocation", "fileSystem": "in", "folderPath": "a/b"}
        },
    },
}
_ASKED = {
    "typeProperties": {
        "extendedProperties": {
            "source": "files",
            "destination": "out/parts",
            "parts": "4",
            "report_errors": "true",
            "num_slots": "1",
            "storage_sas_token": {"type": "SecureString", "value": "sv=1&sig=x"},
        }
    }
}
_ACTIVITY: dict[str, object] = {
    adf.ACTIVITY: _ASKED,
    adf.LINKED_SERVICES: [_LAKE, _VAULT],
    adf.DATASETS: [_FILES],
}


def _activity(folder: Path, name: str) -> Parser:
    folder.mkdir(exist_ok=True)
    without: dict[str, Any] = json.loads(json.dumps(_ASKED))
    del without["typeProperties"]["extendedProperties"]["storage_sas_token"]

    def read(data: bytes) -> None:
        for other, content in _ACTIVITY.items():
            (folder / other).write_bytes(_text(content))
        if name != adf.ACTIVITY:  # without a secret of its own, the linked services are asked
            (folder / adf.ACTIVITY).write_bytes(_text(without))
        (folder / name).write_bytes(data)
        adf.reports_errors(folder)
        adf.read_activity(folder)

    return Parser((_text(_ACTIVITY[name]),), read)


def _lines(path: Path, good: bytes) -> Parser:
    def read(data: bytes) -> None:
        path.write_bytes(data)
        parts = path.with_suffix(".parts")
        try:
            engine.split(path, parts, parts=2, fsync=False, workers=1)
            engine.verify(parts, workers=1)
        finally:
            shutil.rmtree(parts, ignore_errors=True)

    return Parser((good, good * 20), read)


# -- damage ----------------------------------------------------------------------------------------


def damaged(good: bytes, chance: random.Random) -> bytes:
    """Return a text with one to three places changed."""
    with suppress(ValueError):
        data = json.loads(good)
        if chance.random() < 0.7:
            for _ in range(chance.randint(1, 2)):
                _change(data, chance)
            return json.dumps(data).encode()
    text = bytearray(good)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(text) + 1)
        stop = min(len(text), at + chance.choice((0, 1, 1, 9)))
        text[at:stop] = (
            chance.choice(_BYTES) if chance.random() < 0.8 else text[: chance.choice((9, 99))]
        )
    if chance.random() < 0.03:
        return chance.choice((b"[", b'{"a":', b'"')) * _DEEP
    return bytes(text[: chance.randrange(len(text) + 1)] if chance.random() < 0.1 else text)


def _change(data: Any, chance: random.Random) -> None:
    places = list(_places(data))
    if not places:
        return
    container, key = chance.choice(places)
    how = chance.randrange(4)
    if how == 0:
        del container[key]
    elif how == 1 and isinstance(container, list):
        container.extend(container[key : key + 1] * chance.choice((1, 2, 1000)))
    else:
        container[key] = deepcopy(chance.choice(_OTHERS))  # the next change must not change these


def _places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a JSON value: what holds it, and its key there."""
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, item in list(items) if isinstance(data, dict | list) else ():
        yield data, key
        if isinstance(item, dict | list):
            yield from _places(item)


# -- judgement -------------------------------------------------------------------------------------


def judged(parser: Parser, text: bytes) -> tuple[str, str]:
    """Return taken, refused or fault, and what was seen."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(used.ru_utime + used.ru_stime) + 1 + MAX_CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))
    try:
        parser.read(text)
    except EvensplitError as error:
        if error.exit_code in CODES and "\n" not in str(error) and "\x1b" not in str(error):
            return "refused", error.kind
        return "fault", f"{type(error).__name__}: {error!s:.300}"
    except Exception as error:  # noqa: BLE001 - which one it is, is what is judged
        return "fault", f"{type(error).__name__}: {error!s:.300}"
    return "taken", ""


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--seconds", type=float, default=300)
    words.add_argument("--most", type=int)
    words.add_argument("--begin", type=int, default=0, help="number of the first text")
    given = words.parse_args()
    prepare()
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    counts: Counter[tuple[str, str]] = Counter()
    started, number = time.monotonic(), given.begin
    faults: dict[tuple[str, str], str] = {}
    with tempfile.TemporaryDirectory(prefix="evensplit-texts-") as folder:
        all_of = parsers(Path(folder))
        names = list(all_of)
        while time.monotonic() - started < given.seconds and (
            given.most is None or number < given.begin + given.most
        ):
            name = names[number % len(names)]
            chance = random.Random(f"{given.seed}:{number}")
            text = damaged(chance.choice(all_of[name].good), chance)
            # Said before, as a limit of the processor's seconds ends the process.
            print(f"{number}\r", end="", file=sys.stderr)
            word, said = judged(all_of[name], text)
            counts[name, word] += 1
            if word == "fault":
                faults.setdefault(
                    (name, said[:60]),
                    f"{name}: {said}\n  again: python -m tests.fuzz.texts --seed {given.seed} "
                    f"--begin {number} --most 1",
                )
            number += 1
    print(*faults.values(), sep="\n")
    print("parser               taken  refused  faults")
    for name in names:
        taken, refused, fault = (counts[name, word] for word in ("taken", "refused", "fault"))
        print(f"{name:20} {taken:5}  {refused:7}  {fault:6}")
    total = counts.total()
    print(f"{total} texts, {sum(n for (_, w), n in counts.items() if w == 'fault')} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
