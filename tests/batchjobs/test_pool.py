"""Sizes, formulas and packages; the start task, run for real."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from batchjobs.errors import PoolTooSmall
from batchjobs.pool import (
    VM_SIZES,
    Need,
    check_name,
    choose_vm_size,
    could_hold,
    fill_formula,
    parse_container,
    parse_image,
    read_formula,
    read_package,
    slot_disk_bytes,
    slot_memory_bytes,
)
from engine import BadSetting
from tests.batchjobs.packages import START, make_package

CONF = Path(__file__).parents[2] / "conf/batch"
SHELLCHECK = Path(sys.executable).parent / "shellcheck"
PARAMETERS = {
    "most_dedicated": 7,
    "most_spot": 9,
    "slots_per_node": 4,
    "start_hour": 6,
    "end_hour": 20,
}
FORMULAS = sorted(path.stem for path in (CONF / "autoscale").glob("*.txt"))
GIB = 1 << 30


def test_sizes_come_smallest_first():
    keys = [(size.memory_bytes, size.num_cores) for size in VM_SIZES]
    assert sorted(size.num_cores for size in VM_SIZES) == [size.num_cores for size in VM_SIZES]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("memory_gib", "slots", "name"),
    [
        (1, 1, "standard_d2ds_v5"),
        (1, 4, "standard_d4ds_v5"),
        (7, 1, "standard_e2ds_v5"),
        (20, 8, "standard_e32ds_v5"),
    ],
)
def test_the_smallest_size_that_holds_a_task_in_every_slot(memory_gib, slots, name):
    assert choose_vm_size(Need(memory_gib * GIB), slots).name == name


@pytest.mark.parametrize(
    ("need", "slots", "name"),
    [
        (Need(GIB, disk_bytes=100 * GIB), 1, "standard_d4ds_v5"),
        (Need(GIB, disk_bytes=100 * GIB), 4, "standard_d16ds_v5"),
        (Need(GIB, network_bytes_per_second=10**8), 15, "standard_d16ds_v5"),
        (Need(GIB, network_bytes_per_second=10**8), 17, "standard_d32ds_v5"),
    ],
)
def test_disk_and_network_are_shared_by_the_slots_too(need, slots, name):
    assert choose_vm_size(need, slots).name == name


def test_who_is_told_that_a_node_is_too_small_is_told_which_is_not():
    assert could_hold(Need(20 * GIB)) == "standard_e4ds_v5 could"
    assert could_hold(Need(300 * GIB)) == "no known size could, the largest has 256 GiB"
    with pytest.raises(PoolTooSmall, match="too little disk, network"):
        choose_vm_size(Need(GIB, 2000 * GIB, 10**10), 1)


def test_what_of_a_disk_a_slot_has_is_known_or_not():
    assert slot_disk_bytes("standard_d2ds_v5", 2) == 71 * GIB // 2
    assert slot_disk_bytes("standard_x", 2) is None


@pytest.mark.parametrize(
    "text", ["", "evensplit", "server/evensplit:latest", "server:5000/evensplit"]
)
def test_a_container_without_a_tag_of_its_own_is_refused(text):
    with pytest.raises(BadSetting, match="NAME:TAG"):
        parse_container(text)


@pytest.mark.parametrize("text", ["evensplit:1", "s:5000/a/b:1.2", "s.io/b@sha256:0a"])
def test_a_container_is_named_with_its_tag_or_digest(text):
    assert parse_container(text) == text


def test_a_task_that_no_size_holds_is_refused():
    with pytest.raises(PoolTooSmall, match="standard_e32ds_v5, 256 GiB"):
        choose_vm_size(Need(300 * GIB), 1)


def test_what_a_slot_has_is_known_or_given():
    assert slot_memory_bytes("Standard_D4ds_v5", 2, None) == int(6.4 * GIB)
    assert slot_memory_bytes("standard_x", 2, 10 * GIB) == 4 * GIB
    with pytest.raises(BadSetting, match="--node-memory"):
        slot_memory_bytes("standard_x", 2, None)


def test_the_formulas_are_the_three_that_are_documented():
    assert FORMULAS == ["pending", "schedule", "spot"]


@pytest.mark.parametrize("name", FORMULAS)
def test_a_formula_is_filled_whole_and_lets_tasks_end(name):
    text = fill_formula(read_formula(name, CONF.parent), PARAMETERS)
    assert "@" not in text
    code = [line for line in text.splitlines() if not line.startswith("//")]
    assert all(line.endswith(";") for line in code)
    assert code[-1] == "$NodeDeallocationOption = taskcompletion;"
    assert any(": 0;" in line for line in code)  # the branch in which there are no nodes
    assert "7" in text
    if name == "spot":
        assert "$PreemptedNodeCount" in text
        assert "min(9, nodes)" in text


@pytest.mark.parametrize(
    ("template", "parameters"),
    [
        ("@most_spot@", {}),
        ("@most_spot@", {"most_spot": 10_001}),
        ("@start_hour@", {"start_hour": 24}),
        ("@other@", {"other": 1}),
    ],
)
def test_a_parameter_that_is_missing_unknown_or_out_of_bounds_is_refused(template, parameters):
    with pytest.raises(BadSetting, match=template.strip("@")):
        fill_formula(template, parameters)


def test_text_does_not_get_into_a_formula():
    with pytest.raises(ValueError, match="invalid literal"):
        fill_formula("@most_spot@", {"most_spot": "1; $TargetDedicatedNodes = 9"})


def test_a_formula_that_is_not_there_names_those_that_are():
    with pytest.raises(BadSetting, match="pending, schedule, spot"):
        read_formula("none", CONF.parent)


@pytest.mark.parametrize("name", ["", "a b", "a" * 65, "ü", "a/b"])
def test_names_that_batch_does_not_take_are_refused(name):
    with pytest.raises(BadSetting, match="1 to 64"):
        check_name(name)


@pytest.mark.parametrize("text", ["a:b:c", "a:b:c:latest", "a:b::1", ""])
def test_an_image_without_a_version_of_its_own_is_refused(text):
    with pytest.raises(BadSetting, match="PUBLISHER:OFFER:SKU:VERSION"):
        parse_image(text)


def test_a_package_is_named_by_all_that_is_in_it(tmp_path):
    with pytest.raises(BadSetting, match="make package"):
        read_package(tmp_path)
    for name in ("evensplit-1-py3-none-any.whl", "constraints.txt", "start.sh"):
        (tmp_path / name).write_text(name)
    first, files = read_package(tmp_path)
    assert set(files) == {"evensplit-1-py3-none-any.whl", "constraints.txt", "start.sh"}
    (tmp_path / "constraints.txt").write_text("other")
    assert read_package(tmp_path)[0] != first


def test_the_start_task_passes_shellcheck():
    ended = subprocess.run([SHELLCHECK, START], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "")


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    return make_package(tmp_path_factory.mktemp("package"), "print('evensplit, version 9')")


def start(package, shared):
    environment = {
        "PATH": os.environ["PATH"],
        "AZ_BATCH_NODE_SHARED_DIR": str(shared),
        "EVENSPLIT_PYTHON": sys.executable,
        # Whoever asks an index anyway finds none.
        "PIP_INDEX_URL": "http://127.0.0.1:1/simple",
        "HOME": str(shared),
    }
    words = ["/bin/bash", str(package / "start.sh"), "package-1"]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


def test_the_start_task_installs_offline_once_and_over_what_was_cut_short(package, tmp_path):
    target = tmp_path / "evensplit/package-1"
    (target / "bin").mkdir(parents=True)
    (target / "bin/evensplit").write_text("half of an installation")
    ended = start(package, tmp_path)
    assert (ended.returncode, ended.stdout) == (0, "evensplit, version 9\n"), ended.stderr
    program = target / "bin/evensplit"
    assert (tmp_path / "evensplit/current/bin/evensplit").samefile(program)
    written = program.stat().st_mtime_ns
    again = start(package, tmp_path)
    assert (again.returncode, again.stdout) == (0, "package-1 is installed\n")
    assert program.stat().st_mtime_ns == written


def test_other_users_of_a_node_may_run_what_is_installed(package, tmp_path):
    before = os.umask(0o077)
    try:
        assert start(package, tmp_path).returncode == 0
    finally:
        os.umask(before)
    target = tmp_path / "evensplit/package-1"
    for path in (target.parent, target, target / "bin", target / "bin/evensplit"):
        assert path.stat().st_mode & 0o055 == 0o055, path


def test_the_start_task_says_what_is_missing(tmp_path):
    (tmp_path / "start.sh").write_bytes(START.read_bytes())
    ended = start(tmp_path, tmp_path / "shared")
    assert (ended.returncode, "make the package anew" in ended.stderr) == (2, True)
    assert not (tmp_path / "shared/evensplit/package-1/.installed").exists()
