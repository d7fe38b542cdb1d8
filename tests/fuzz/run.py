"""Make damaged files and judge them, in forks: ``make fuzz``, or ``python -m tests.fuzz.run``.

A mutant is named by the seed and its number, and is the same on every machine. A fork that dies
takes one mutant with it, which is then a fault, and another goes on behind it. What hangs is found
by the processor's seconds that it takes, so a busy machine is no reason.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.judge import CALLS, Outcome, judge, prepare
from tests.fuzz.mutate import Good, mutant

ROOT = Path(__file__).parents[2]
FAULTS = ROOT / "build" / "fuzz"
MAX_CPU_SECONDS = 20  # of one mutant, of which most take some hundredths
MAX_SILENT_SECONDS = 600  # nothing is heard for so long only if something waits for ever
MAX_MEMORY_BYTES = 4 << 30  # of address space; a number in a file must not be taken for a size
VERIFIED = 4  # every so-manieth mutant that is split, also by ourselves: it takes longest
A_FORK = 400  # mutants; then a new one, so that what a library keeps does not pile up


@dataclass
class Found:
    """What was seen: how many of each outcome, and the faults."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[dict[str, object]] = field(default_factory=list)

    @property
    def line(self) -> str:
        counts = self.counts
        total = sum(counts.values())
        return (
            f"{total} mutants, {counts['refused']} refused, {counts['equal']} equal, "
            f"{counts['unread']} that no reader reads, {counts['fault']} faults"
        )


def write_corpus(folder: Path, *, spark: bool = False) -> list[Path]:
    """Write the good files in a process of its own: threads of this one would be lost in forks."""
    words = [sys.executable, "-m", "tests.fuzz.corpus", str(folder), *["--spark"] * spark]
    subprocess.run(words, check=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    return sorted(folder.glob("*.parquet"))


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder in memory, where there is one: hundreds of files a second are made and removed."""
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else None
    return tempfile.TemporaryDirectory(prefix="evensplit-fuzz-", dir=place)


class Fuzz:
    """All mutants of a seed: any can be made again by its number."""

    def __init__(self, goods: list[Path], folder: Path, seed: int) -> None:
        self.paths, self.folder, self.seed = goods, folder, seed
        self.goods = [Good(path.read_bytes()) for path in goods]

    def make(self, number: int) -> tuple[Path, Path, dict[str, object], str]:
        """Return mutant, the good file it comes from, the call, and what was done."""
        chance = random.Random(f"{self.seed}:{number}")
        which = number % len(self.goods)
        data, told = mutant(self.goods, which, chance)
        path = self.folder / f"m{number}.parquet"
        path.write_bytes(data)
        return path, self.paths[which], chance.choice(CALLS), told

    def judge(self, number: int, stage: Callable[[str], None] = lambda _: None) -> Outcome:
        path, good, call, _ = self.make(number)
        dest = self.folder / f"m{number}-parts"
        outcome = judge(path, good, call, dest, stage, verifies=number % VERIFIED == 0)
        path.unlink()
        return outcome

    def note(self, number: int, said: str) -> dict[str, object]:
        """Keep a fault for reproduction: the file, and all that is known of it."""
        spark = " --spark" * any(good.stem.startswith("spark") for good in self.paths)
        FAULTS.mkdir(parents=True, exist_ok=True)
        path, good, call, told = self.make(number)
        shutil.move(path, FAULTS / f"{self.seed}-{number}.parquet")
        fault = {
            "number": number,
            "good": good.stem,
            "call": call,
            "done": told,
            "said": said,
            "again": f"python -m tests.fuzz.run{spark} --seed {self.seed} --only {number}",
        }
        (FAULTS / f"{self.seed}-{number}.json").write_text(json.dumps(fault, indent=1) + "\n")
        return fault


class _Fork:
    """A process that judges every so-manieth mutant from a number on, and tells of each."""

    def __init__(self, fuzz: Fuzz, numbers: Iterator[int]) -> None:
        self.last: tuple[int, str] | None = None
        self.rest = b""
        self.reader, writer = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(self.reader)
            try:
                _work(fuzz, numbers, writer)
            finally:
                os._exit(0)
        os.close(writer)

    def lines(self) -> list[dict[str, object]] | None:
        """Return what was told since; None at the end."""
        data = os.read(self.reader, 1 << 16)
        if not data:
            os.close(self.reader)
            return None
        *lines, self.rest = (self.rest + data).split(b"\n")
        return [json.loads(line) for line in lines]


def _work(fuzz: Fuzz, numbers: Iterator[int], writer: int) -> None:
    prepare()
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)

    def tell(**facts: object) -> None:
        os.write(writer, json.dumps(facts).encode() + b"\n")

    for number in numbers:
        used = resource.getrusage(resource.RUSAGE_SELF)
        most = int(used.ru_utime + used.ru_stime) + 1 + MAX_CPU_SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))
        tell(number=number, stage="mutation")
        outcome = fuzz.judge(number, lambda stage, n=number: tell(number=n, stage=stage))
        tell(number=number, word=outcome.word, said=outcome.said)


def run(
    fuzz: Fuzz,
    *,
    most: int | None = None,
    seconds: float | None = None,
    workers: int = 2,
    begin: int = 0,
) -> Found:
    """Judge mutants until there were ``most``, or for so many seconds."""
    found, started = Found(), time.monotonic()
    next_of = [begin + worker for worker in range(workers)]

    def numbers(worker: int) -> Iterator[int]:
        for number in range(next_of[worker], next_of[worker] + A_FORK * workers, workers):
            if most is not None and number >= begin + most:
                return
            if seconds is not None and time.monotonic() - started > seconds:
                return
            yield number

    def ended(worker: int) -> bool:
        return next(numbers(worker), None) is None

    forks = {w: _Fork(fuzz, numbers(w)) for w in range(workers) if not ended(w)}
    while forks:
        ready = select.select([f.reader for f in forks.values()], [], [], MAX_SILENT_SECONDS)[0]
        for worker, fork in list(forks.items()):
            if not ready:
                os.kill(fork.pid, 9)
            elif fork.reader not in ready:
                continue
            lines = fork.lines()
            for line in lines or ():
                next_of[worker] = _note(found, fuzz, fork, line) + workers
            if lines is None:
                status = os.waitstatus_to_exitcode(os.waitpid(fork.pid, 0)[1])
                _note_death(found, fuzz, fork, status)
                del forks[worker]
                if not ended(worker):
                    forks[worker] = _Fork(fuzz, numbers(worker))
    return found


def _note(found: Found, fuzz: Fuzz, fork: _Fork, line: dict[str, object]) -> int:
    number = int(line["number"])  # type: ignore[call-overload]
    if "word" not in line:
        fork.last = (number, str(line["stage"]))
        return number
    fork.last = None
    found.counts[str(line["word"])] += 1
    if line["word"] == "fault":
        found.faults.append(fuzz.note(number, str(line["said"])))
    return number


def _note_death(found: Found, fuzz: Fuzz, fork: _Fork, status: int) -> None:
    """A process died over a mutant: ours to answer for, unless a reader was reading the source."""
    if fork.last is None:
        return
    number, stage = fork.last
    if stage.endswith("reads the source"):
        found.counts["unread"] += 1
        return
    found.counts["fault"] += 1
    found.faults.append(fuzz.note(number, f"{stage}: the process ended with {status}"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--most", type=int)
    parser.add_argument("--begin", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", type=int, help="judge one mutant again, in this process")
    parser.add_argument("--spark", action="store_true", help="also files by Spark")
    given = parser.parse_args()
    with scratch() as folder:
        goods = write_corpus(Path(folder) / "good", spark=given.spark)
        fuzz = Fuzz(goods, Path(folder), given.seed)
        if given.only is not None:
            prepare()
            _, good, call, told = fuzz.make(given.only)
            print(f"{good.stem}, {call}: {told}")
            print(*fuzz.judge(given.only), sep=": ")
            return 0
        found = run(
            fuzz,
            most=given.most,
            seconds=given.seconds,
            workers=given.workers,
            begin=given.begin,
        )
    for fault in found.faults:
        print(
            f"{fault['good']}, {fault['call']}: {fault['done']}",
            *(fault["said"], fault["again"]),
            sep="\n  ",
        )
    print(found.line)
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
