"""From submit to wait: the SDK, a Batch service here, files in Azurite, tasks as processes."""

from __future__ import annotations

import json

import pytest

from tests.batchjobs.fake_batch import KEY, Refusal
from tests.engine.running import run, write_source

ROWS = {"a": 9_000, "c": 700}


@pytest.fixture
def place(fake, azurite, monkeypatch, tmp_path):
    """A container with sources, and a pool whose nodes have evensplit."""
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string)
    container = azurite.new_container()
    client = azurite.client().get_container_client(container)
    for seed, (name, rows) in enumerate(ROWS.items()):
        path = write_source(tmp_path / f"{name}.parquet", rows, seed=seed)
        client.upload_blob(f"in/{name}.parquet", path.read_bytes())
    package = tmp_path / "package"
    package.mkdir()
    for name in ("evensplit-1-py3-none-any.whl", "constraints.txt", "start.sh"):
        (package / name).write_bytes(name.encode())
    made = run(*create(package, container), "--json")
    assert made.code == 0, made.err
    fake.install(json.loads(made.out)["package"])
    return client, f"abfs://{container}"


def create(package, container, *words):
    image = ("--image", "canonical:ubuntu:server:1.2.3", "--agent", "batch.node.ubuntu 24.04")
    where = ("--package", package, "--package-url", f"abfs://{container}", "--vm-size")
    return ("batch", "pool", "create", "nodes", *where, "standard_d2ds_v5", *image, *words)


def submit(url, *words):
    words = ("--pool", "nodes", "--target-size", "100kB", "--retries", 0, *words, "--json")
    return run("batch", "submit", f"{url}/in", "--dest", f"{url}/out", *words)


@pytest.mark.slow
def test_files_are_split_by_tasks_and_only_what_failed_is_done_again(fake, place):
    """One file is damaged, and one node is taken away while it is at work."""
    client, url = place
    client.upload_blob("in/bad.parquet", b"PAR1 is not enough")
    shown = json.loads(submit(url, "--dry-run").out)
    assert fake.jobs == {}
    (problem,) = shown["problems"]
    assert problem.endswith("/in/bad.parquet")
    made = json.loads(submit(url).out)
    job = made["job_id"]
    assert (job, made["num_added"]) == (shown["job"], 3)
    assert json.loads(submit(url).out)["num_found"] == 3
    first = next(iter(fake.tasks[job].values()))
    fake.start(job, first)
    fake.preempt(job, first)
    fake.run(job)
    ended = run("batch", "wait", job, "--json")
    assert (ended.code, "job.tasks-failed" in ended.err) == (7, True)
    report = json.loads(ended.out.splitlines()[0])
    assert report["counts"] == {"waiting": 0, "running": 0, "done": 2, "failed": 1}
    assert [task["num_requeues"] for task in report["tasks"]] == [1, 0, 0]
    (failed,) = [task for task in report["tasks"] if task["state"] == "failed"]
    assert failed["problem"].startswith("source.")
    assert failed["title"].endswith("bad.parquet")
    assert KEY not in ended.out + ended.err
    logs = run("batch", "logs", job, failed["id"], "--stderr")
    assert logs.out.startswith("evensplit: source.")
    assert run("verify", f"{url}/out/a").code == 0
    again = json.loads(submit(url).out)
    assert again["job_id"] != job
    assert list(fake.tasks[again["job_id"]]) == [failed["id"]]
    assert run("batch", "cancel", again["job_id"]).code == 0
    good = client.download_blob("in/c.parquet").readall()
    client.upload_blob("in/bad.parquet", good, overwrite=True)
    mended = json.loads(submit(url).out)["job_id"]
    assert len(fake.tasks[mended]) == 1
    fake.run(mended)
    assert run("batch", "status", mended).code == 0
    assert run("batch", "list").out.count("ended") == 3
    assert json.loads(run("batch", "clean", "--older-than", 1, "--json").out)["deleted"] == []
    assert len(json.loads(run("batch", "clean", "--json").out)["deleted"]) == 3
    assert fake.jobs == {}


def test_a_wrong_key_and_a_source_that_is_not_there_are_told(fake, place, monkeypatch):
    client, url = place
    none = run("batch", "submit", f"{url}/none", "--dest", f"{url}/out", "--pool", "nodes")
    assert (none.code, "call.no-source" in none.err) == (2, True)
    good = client.download_blob("in/c.parquet").readall()
    client.upload_blob("other/c.parquet", good, overwrite=True)
    same = run("batch", "submit", f"{url}/in", f"{url}/other", "--dest", url, "--pool", "nodes")
    assert (same.code, "would both go to" in same.err) == (2, True)
    wrong = "d3Jvbmc="
    monkeypatch.setenv("AZURE_BATCH_ACCESS_KEY", wrong)
    denied = submit(url)
    assert (denied.code, "call.no-permission" in denied.err) == (2, True)
    assert wrong not in denied.err + denied.out


def test_bad_calls_are_told_before_anything_is_submitted(fake, place, tmp_path):
    _, url = place
    here = run("batch", "submit", tmp_path / "a.parquet", "--dest", f"{url}/out", "--pool", "nodes")
    assert (here.code, "on this machine" in here.err) == (2, True)
    assert "call.no-job" in run("batch", "submit", url, "--dest", url, "--pool", "none").err
    assert "settings of a pool, or --local" in run("batch", "submit", url, "--dest", url).err
    small = submit(url, "--node-memory", "1MB")
    assert (small.code, "call.pool-too-small" in small.err) == (2, True)
    assert "standard_d2ds_v5 could" in small.err
    assert "1 to 64 letters" in run("batch", "submit", url, "--dest", url, "--pool", "a/b").err
    slots = run("batch", "submit", url, "--dest", url, "--pool", "nodes", "--slots", 2)
    assert (slots.code, "when it is made" in slots.err) == (2, True)
    assert fake.jobs == {}


def test_commands_on_pools(fake, place, tmp_path):
    client, url = place
    words = create(tmp_path / "package", url.partition("://")[2])
    assert json.loads(run(*words, "--json").out)["made"] is False
    other = run(*words, "--slots", 2)
    assert (other.code, "call.pool-differs" in other.err) == (2, True)
    uploaded = [blob.name for blob in client.list_blobs() if "start.sh" in blob.name]
    (file,) = fake.pools["nodes"]["startTask"]["resourceFiles"]
    assert uploaded == [file["blobPrefix"] + "start.sh"]
    assert file["autoStorageContainerName"] == client.container_name
    assert "standard_d2ds_v5" in run("batch", "pool", "show", "nodes").out
    assert run("batch", "pool", "resize", "nodes", "--spot", 2).code == 0
    evaluated = run("batch", "pool", "evaluate", "nodes", "--formula", "pending", "--dedicated", 5)
    assert evaluated.out == "$TargetDedicatedNodes=0\n"
    assert "min(5, nodes)" in fake.formulas[0]
    fake.refuse = [("POST", "/pools", Refusal(409, "PoolQuotaReached", "No more pools."))]
    quota = run(*[word for word in words if word != "nodes"])
    assert quota.code == 2
    assert (
        "call.quota: PoolQuotaReached; No more pools.; name an existing --pool, or raise"
        in quota.err
    )
    assert run("batch", "pool", "delete", "nodes").code == 0
    assert run("batch", "pool", "show", "nodes").code == 2


def test_a_pool_is_fitted_to_files_and_named_by_its_spec(fake, place, tmp_path):
    _, url = place
    words = create(tmp_path / "package", url.partition("://")[2], "--formula", "spot", "--spot", 9)
    words = [word for word in words if word not in ("nodes", "--vm-size", "standard_d2ds_v5")]
    made = json.loads(run(*words, "--fit", f"{url}/in", "--slots", 4, "--dry-run", "--json").out)
    assert made["vm_size"] == "standard_d4ds_v5"
    assert made["pool"].startswith("evensplit-")
    assert len(made["pool"]) <= 64
    assert "min(9, nodes)" in made["formula"]
    assert list(fake.pools) == ["nodes"]


def test_a_submit_makes_its_pool_finds_it_again_and_rehearses_just_that(fake, place, tmp_path):
    client, url = place
    fake.pools.clear()
    client.delete_blobs(*[blob.name for blob in client.list_blobs(name_starts_with="package-")])
    pool = create(tmp_path / "package", url.partition("://")[2], "--slots", 2, "--spot", 3)[4:]
    pool = [word for word in pool if word not in ("--vm-size", "standard_d2ds_v5")]
    words = ("batch", "submit", f"{url}/in", "--dest", f"{url}/out", *pool, "--json")
    words = (*words, "--target-size", "100kB", "--label", "bill=42", "--max-job-hours", 2)
    before = len(fake.requests)
    shown = json.loads(run(*words, "--dry-run").out)
    assert (fake.pools, fake.jobs) == ({}, {})
    assert {method for method, _ in fake.requests[before:]} == {"GET"}
    assert len(shown["uploads"]) == 3
    assert not [blob for blob in client.list_blobs() if "start.sh" in blob.name]
    (first, *_) = shown["tasks"]
    assert (first["num_parts"], first["disk_bytes"]) == (3, 0)
    assert first["parts_bytes"] > 100_000
    assert first["memory_bytes"] > 100 << 20
    assert first["expected_seconds"] > 5

    before = len(fake.requests)
    ended = run(*words)
    assert ended.code == 0, ended.err
    made = json.loads(ended.out)
    sent = fake.requests[before:]
    changed = [request for request in sent if request[0] != "GET"]
    assert changed == [(item["method"], item["path"]) for item in shown["requests"]]
    assert len(sent) == shown["num_requests"]
    bodies = {item["path"]: item["body"] for item in shown["requests"]}
    tasks = bodies[f"/jobs/{made['job_id']}/addtaskcollection"]["value"]
    assert {task["id"] for task in tasks} == set(fake.tasks[made["job_id"]])
    assert bodies["/pools"].items() <= fake.pools[made["pool"]].items()
    assert (made["pool"], made["pool_made"]) == (bodies["/pools"]["id"], True)
    assert fake.pools[made["pool"]]["vmSize"] == "standard_d2ds_v5"
    job = fake.jobs[made["job_id"]]
    assert {"name": "bill", "value": "42"} in job["metadata"]
    assert job["constraints"]["maxWallClockTime"] == "PT02H00M00S"
    assert len([blob for blob in client.list_blobs() if "start.sh" in blob.name]) == 1

    before = len(fake.requests)
    again = json.loads(run(*words).out)
    assert (again["pool"], again["pool_made"]) == (made["pool"], False)
    assert (again["job_id"], again["num_found"]) == (made["job_id"], 2)
    assert {method for method, _ in fake.requests[before:]} == {"GET", "PATCH"}
    rehearsed = json.loads(run(*words, "--dry-run").out)
    assert [item["method"] for item in rehearsed["requests"]] == ["PATCH"]
    other = run(*words, "--pool", made["pool"], "--agent", "other")
    assert (other.code, "call.pool-differs" in other.err) == (2, True)


def test_a_dry_run_needs_no_account(place, tmp_path, monkeypatch):
    _, url = place
    monkeypatch.delenv("AZURE_BATCH_ENDPOINT")
    pool = create(tmp_path / "package", url.partition("://")[2], "--spot", 1)[4:]
    none = run("batch", "submit", f"{url}/in", "--dest", f"{url}/out", *pool[:-2], "--dry-run")
    assert (none.code, "would have no nodes" in none.err) == (2, True)
    ended = run("batch", "submit", f"{url}/in", "--dest", f"{url}/out", *pool, "--dry-run")
    assert ended.code == 0, ended.err
    assert "2 files in 2 tasks" in ended.out
    assert "upload 3 files" in ended.out
    assert "POST   /pools" in ended.out
    assert "2 tasks, " in ended.out


def test_a_container_pool_needs_an_image_that_runs_containers(fake):
    words = ("--container", "acr.io/even:1", "--vm-size", "standard_d2ds_v5", "--agent", "a")
    plain = ("batch", "pool", "create", "nodes", *words, "--image")
    refused = run(*plain, "canonical:ubuntu-24_04-lts:server:1.2.3")
    assert (refused.code, "runs containers" in refused.err.replace("\n", " ")) == (2, True)
    assert "nodes" not in fake.pools
    ended = run(*plain, "microsoft-dsvm:ubuntu-hpc:2404:1.2.3")
    assert ended.code == 0, ended.err


def test_a_pool_takes_an_image_of_ones_own(fake):
    id_ = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/galleries/a/images/b"
    words = ("batch", "pool", "create", "nodes", "--container", "acr.io/even:1", "--agent", "a")
    words = (*words, "--vm-size", "standard_d2ds_v5", "--image-id")
    assert "with its version" in run(*words, id_).err.replace("\n", " ")
    ended = run(*words, f"{id_}/versions/1.0.0")
    assert ended.code == 0, ended.err
    machine = fake.pools["nodes"]["virtualMachineConfiguration"]
    assert machine["imageReference"] == {"virtualMachineImageId": f"{id_}/versions/1.0.0"}
    both = run(*words, f"{id_}/versions/1.0.0", "--image", "a:b:c:1")
    assert "exclude each other" in both.err


@pytest.mark.parametrize(
    ("left_out", "told"),
    [
        ("--image", "--image too"),
        ("--agent", "--agent too"),
        ("--package", "either --package FOLDER or --container"),
        ("--package-url", "--package needs --package-url"),
    ],
)
def test_a_pool_that_is_half_described_is_refused(fake, place, tmp_path, left_out, told):
    _, url = place
    words = list(create(tmp_path / "package", url.partition("://")[2], "--spot", 1))[4:]
    at = words.index(left_out)
    ended = run("batch", "submit", url, "--dest", url, *words[:at], *words[at + 2 :])
    assert (ended.code, told in ended.err) == (2, True), ended.err


def test_what_only_resource_manager_can_make_needs_the_accounts_id(fake, place, tmp_path):
    _, url = place
    words = create(tmp_path / "package", url.partition("://")[2], "--spot", 1)[4:]
    for more in (("--pool-identity", "/subscriptions/x"), ("--application", "evensplit")):
        ended = run("batch", "submit", url, "--dest", url, *words, *more)
        assert (ended.code, "--account-id" in ended.err) == (2, True)
    wrong = run("batch", "submit", url, "--dest", url, *words, "--label", "evensplit.spec=1")
    assert (wrong.code, "a name of your own" in wrong.err) == (2, True)
