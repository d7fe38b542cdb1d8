"""Memory: the formulas' sense, budgets from fake and real control groups, and the meter."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine import memory
from engine.errors import UnsupportedSystem
from engine.memory import MIB, Cgroup, budget, cgroups, least_of, verify_batch_bytes

UNLIMITED = str((1 << 63) - 4096)


class FakeRoot:
    """A root with ``/proc/self`` and cgroup trees, as the kernel would show them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "proc/self").mkdir(parents=True)
        self.memberships: list[str] = []
        self.mounts = ["22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw"]
        self._write()

    def _write(self) -> None:
        (self.root / "proc/self/cgroup").write_text("\n".join(self.memberships) + "\n")
        (self.root / "proc/self/mountinfo").write_text("\n".join(self.mounts) + "\n")

    def join(self, line: str) -> None:
        self.memberships.append(line)
        self._write()

    def mount(self, version: int, point: str, below: str = "/") -> None:
        kind = "cgroup2 cgroup2 rw" if version == 2 else "cgroup cgroup rw,memory"
        point = point.replace(" ", "\\040")
        self.mounts.append(f"32 31 0:29 {below} {point} rw,nosuid shared:9 - {kind}")
        self._write()

    def group(self, version: int, path: str, limit: str, used: int = 0, cache: int = 0) -> None:
        folder = self.root / path.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        names = {
            1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
            2: ("memory.max", "memory.current", "inactive_file"),
        }[version]
        (folder / names[0]).write_text(limit + "\n")
        (folder / names[1]).write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"cache 1\n{names[2]} {cache}\nother 7\n")

    def budget(self, limit_bytes: int | None = None) -> memory.Budget:
        return budget(limit_bytes, root=self.root, available_bytes=8 << 30)


@pytest.fixture
def fake(tmp_path: Path) -> FakeRoot:
    return FakeRoot(tmp_path / "root")


def test_without_proc_it_is_said_that_nobody_knows(
    fake: FakeRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("psutil.PROCFS_PATH", "/nowhere")
    with pytest.raises(UnsupportedSystem, match=r"/nowhere/meminfo: No such file.*; mount /proc"):
        memory.budget(root=fake.root)


def test_without_groups_available_memory_counts(fake: FakeRoot) -> None:
    found = fake.budget()
    assert found.bytes == int((8 << 30) * 0.8)
    assert found.source == "available memory 8192 MiB"


def test_without_proc_nothing_fails(tmp_path: Path) -> None:
    assert budget(root=tmp_path, available_bytes=100).bytes == 80


def test_the_users_limit_is_taken_as_it_is(fake: FakeRoot) -> None:
    found = fake.budget(512 * MIB)
    assert (found.bytes, found.source) == (512 * MIB, "as given")
    assert len(found.candidates) == 2


def test_a_users_limit_does_not_raise_the_machines(fake: FakeRoot) -> None:
    assert fake.budget(1 << 40).source.startswith("available memory")


def test_v1(fake: FakeRoot) -> None:
    fake.join("4:memory:/job")
    fake.join("1:cpu,cpuacct:/elsewhere")
    fake.mount(1, "/sys/fs/cgroup/memory")
    fake.group(1, "/sys/fs/cgroup/memory", UNLIMITED)
    fake.group(1, "/sys/fs/cgroup/memory/job", str(512 * MIB), used=300 * MIB, cache=200 * MIB)
    found = fake.budget()
    assert found.bytes == int((512 - 100) * MIB * 0.8)
    assert found.source == "cgroup v1 limit 512 MiB, 100 MiB of it used"


def test_v2(fake: FakeRoot) -> None:
    fake.join("0::/job.slice/run")
    fake.mount(2, "/sys/fs/cgroup")
    fake.group(2, "/sys/fs/cgroup/job.slice", "max")
    fake.group(2, "/sys/fs/cgroup/job.slice/run", str(1 << 30), used=256 * MIB, cache=56 * MIB)
    assert fake.budget().bytes == int((1024 - 200) * MIB * 0.8)
    assert fake.budget().source.startswith("cgroup v2 limit 1024 MiB")


@pytest.mark.parametrize("version", [1, 2])
def test_a_parent_may_be_the_tightest(fake: FakeRoot, version: int) -> None:
    fake.join("4:memory:/pod/one" if version == 1 else "0::/pod/one")
    fake.mount(version, "/cg")
    fake.group(version, "/cg/pod", str(300 * MIB), used=200 * MIB)
    fake.group(version, "/cg/pod/one", str(200 * MIB), used=50 * MIB)
    found = fake.budget()
    assert found.bytes == int(100 * MIB * 0.8)
    assert [candidate.bytes for candidate in found.candidates] == sorted(
        candidate.bytes for candidate in found.candidates
    )
    assert len(found.candidates) == 3


def test_no_limit_anywhere(fake: FakeRoot) -> None:
    fake.join("4:memory:/a")
    fake.join("0::/b")
    fake.mount(1, "/cg1")
    fake.mount(2, "/cg2")
    fake.group(1, "/cg1/a", UNLIMITED)
    fake.group(2, "/cg2/b", "max")
    assert list(cgroups(fake.root)) == []


def test_both_versions_at_once(fake: FakeRoot) -> None:
    fake.join("4:memory:/a")
    fake.join("0::/b")
    fake.mount(1, "/cg1")
    fake.mount(2, "/cg2")
    fake.group(1, "/cg1/a", str(100 * MIB))
    fake.group(2, "/cg2/b", str(90 * MIB))
    assert sorted(group.version for group in cgroups(fake.root)) == [1, 2]
    assert fake.budget().source == "cgroup v2 limit 90 MiB"


def test_a_container_sees_its_group_as_the_mounts_root(fake: FakeRoot) -> None:
    fake.join("4:memory:/docker/abc/inner")
    fake.mount(1, "/cg", below="/docker/abc")
    fake.group(1, "/cg/inner", str(100 * MIB))
    fake.group(1, "/cg", str(80 * MIB))
    assert fake.budget().source == "cgroup v1 limit 80 MiB"


@pytest.mark.parametrize("name", ["/../../elsewhere", "/docker/abcdef"])
def test_a_group_outside_the_mount_falls_back_to_its_root(fake: FakeRoot, name: str) -> None:
    fake.join(f"4:memory:{name}")
    fake.mount(1, "/cg", below="/docker/abc")
    fake.group(1, "/cg", str(80 * MIB))
    assert fake.budget().source == "cgroup v1 limit 80 MiB"


def test_a_mount_point_with_a_blank(fake: FakeRoot) -> None:
    fake.join("0::/")
    fake.mount(2, "/my groups")
    fake.group(2, "/my groups", str(80 * MIB))
    assert fake.budget().source == "cgroup v2 limit 80 MiB"


def test_an_overdrawn_group_leaves_nothing() -> None:
    assert least_of(None, 1 << 40, [Cgroup(2, "/x", 10, 20)]).bytes == 0


def test_more_cache_than_usage_is_not_negative(fake: FakeRoot) -> None:
    fake.join("0::/")
    fake.mount(2, "/cg")
    fake.group(2, "/cg", str(100), used=5, cache=50)
    assert next(cgroups(fake.root)).remaining_bytes == 100


V1_ROOT = Path("/sys/fs/cgroup/memory")
ASK = "from engine.memory import budget; b = budget(); print(b.bytes, b.source)"


def _own_v1_group() -> Path:
    """This process's memory group, as the module under test is not asked."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if ":memory:" in line:
            group = V1_ROOT / line.split(":")[2].lstrip("/")
            return group if group.is_dir() else V1_ROOT
    return V1_ROOT


@pytest.mark.skipif(not os.access(V1_ROOT, os.W_OK), reason="no writable cgroup v1: see the next")
def test_a_real_cgroup_v1() -> None:
    group = _own_v1_group() / f"evensplit-{uuid.uuid4().hex}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(256 * MIB))
        into = f"open({str(group / 'cgroup.procs')!r}, 'w').write('0'); "
        answer = subprocess.run(
            [sys.executable, "-c", into + ASK], capture_output=True, text=True, check=True
        ).stdout
    finally:
        _remove_group(group)
    found_bytes, _, source = answer.strip().partition(" ")
    assert source.startswith("cgroup v1 limit 256 MiB")
    assert 150 * MIB < int(found_bytes) <= 256 * MIB * 0.8


def _remove_group(group: Path) -> None:
    for _ in range(4000):  # the kernel needs a moment to let a dead process go
        try:
            group.rmdir()
        except OSError:
            time.sleep(0.05)
        else:
            return
    group.rmdir()


def test_the_real_machine_answers() -> None:
    found = budget()
    assert 0 < found.bytes < 1 << 50
    assert found.bytes == min(candidate.bytes for candidate in found.candidates)
    has_v1 = os.path.isfile(V1_ROOT / "memory.limit_in_bytes")
    has_v2 = os.path.isfile("/sys/fs/cgroup/cgroup.controllers")
    known = {1: has_v1, 2: has_v2 or os.path.isdir("/sys/fs/cgroup/unified")}
    assert all(known[group.version] for group in cgroups())


# -- formulas ----------------------------------------------------------------------------------


def test_every_input_of_a_formula_counts() -> None:
    splice = {
        "index_bytes": MIB,
        "largest_index_bytes": MIB,
        "footer_bytes": MIB,
        "num_columns": 9,
        "num_row_groups": 9,
    }
    decode = {"page_bytes": MIB, "dictionary_bytes": MIB, "batch_bytes": MIB, "num_lengths": 9}
    check = {"sides_bytes": [MIB], "footer_bytes": MIB, "largest_index_bytes": MIB}
    for formula, inputs in (
        (memory.splice_bytes, splice),
        (memory.decode_bytes, decode),
        (memory.verify_bytes, check),
    ):
        base = formula(**inputs)
        assert all(formula(**{**inputs, key: inputs[key] * 3}) > base for key in inputs)


def test_a_batch_fits_the_budget_it_was_made_for() -> None:
    def needed(batch_bytes: int, workers: int) -> int:
        side = memory.decode_bytes(page_bytes=0, dictionary_bytes=0, batch_bytes=batch_bytes)
        return memory.verify_bytes(
            sides_bytes=[side] * 2 * workers, footer_bytes=MIB, largest_index_bytes=0
        )

    for memory_bytes in (160 * MIB, 200 * MIB, 256 * MIB, 1 << 30):
        for workers in (1, 2, 8):
            least = needed(memory.MIN_BATCH_BYTES, workers)
            batch = verify_batch_bytes(memory_bytes - least, workers=workers)
            assert batch == memory.MIN_BATCH_BYTES or needed(batch, workers) <= memory_bytes
    assert verify_batch_bytes(0, workers=8) == 64 << 10
    assert verify_batch_bytes(1 << 40, workers=1) == memory.VERIFY_BATCH_BYTES


@pytest.mark.parametrize(
    ("imports", "arrow", "under"),
    [
        ("dask.local", False, "threads"),
        ("dask.local, pyarrow.parquet, pyarrow.compute", True, "threads"),
        ("distributed, dask", False, "distributed"),
        ("distributed, dask, pyarrow.parquet, pyarrow.compute", True, "distributed"),
    ],
)
def test_a_process_starts_within_its_base(imports: str, arrow: bool, under: Any) -> None:
    ask = (
        f"import engine.work, engine.cli.main, engine.formats.parquet.part, {imports}; "
        "from engine.memory import family_bytes; print(family_bytes())"
    )
    answer = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert int(answer.stdout) <= memory.process_base_bytes(arrow=arrow, under=under)


def test_splicing_needs_no_arrow() -> None:
    ask = "import sys, engine.work, engine.memory; print('pyarrow' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


# -- the meter ---------------------------------------------------------------------------------


def alone(code: str) -> list[int]:
    """Return what a process of its own prints: this one may have children that grow and shrink."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


def test_the_meter_sees_a_peak_that_has_passed() -> None:
    peak_bytes, left_bytes = alone("""
import time
from engine import memory
from engine.errors import UnsupportedSystem
before = memory.family_bytes()
with memory.PeakMeter(0.01) as meter:
    data = b"x" * (64 << 20)
    while meter.peak_bytes < before + len(data) * 0.9:
        time.sleep(0.01)
    del data
print(meter.peak_bytes - before, memory.family_bytes() - before)
""")
    assert 60 * MIB <= peak_bytes <= 90 * MIB
    assert left_bytes < 20 * MIB


def test_the_meter_sees_children() -> None:
    (peak_bytes,) = alone("""
import subprocess, sys, time
from engine import memory
from engine.errors import UnsupportedSystem
take = "x = b'x' * (64 << 20); print(flush=True); import sys; sys.stdin.read()"
before = memory.family_bytes()
with memory.PeakMeter(0.01) as meter:
    command = [sys.executable, "-c", take]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    while meter.peak_bytes < before + (60 << 20):
        time.sleep(0.01)
    child.communicate()
print(meter.peak_bytes - before)
""")
    assert peak_bytes >= 60 * MIB


def test_shared_pages_count_once() -> None:
    (more_bytes,) = alone("""
import os
from engine import memory
from engine.errors import UnsupportedSystem
data = b"x" * (64 << 20)
before = memory.family_bytes()
stay, go = os.pipe()
child = os.fork()
if child == 0:
    os.close(go)
    os.read(stay, 1)
    os._exit(0)
print(memory.family_bytes() - before)
os.close(go)
os.waitpid(child, 0)
""")
    assert more_bytes < 32 * MIB


def test_without_pss_resident_size_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_lines", lambda path: [])
    assert memory.family_bytes() > 10 * MIB


def test_sampling_is_cheap() -> None:
    """One summary of the kernel's a process: its list of every mapping takes far longer."""
    ask = (
        "import sys; from engine import memory; memory.family_bytes(); seen = []\n"
        "sys.addaudithook(lambda event, args: event == 'open' and seen.append(str(args[0])))\n"
        "[memory.family_bytes() for _ in range(20)]; print(*seen, sep='\\n')"
    )
    answer = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    opened = [path for path in answer.stdout.split() if "/smaps" in path]
    assert len(opened) == 20
    assert all(path.endswith("/smaps_rollup") for path in opened)
    # Besides, a line about each process of the machine: who is whose child.
    most = 20 * (4 + 3 * len(psutil.pids()))
    assert len(answer.stdout.split()) < most
