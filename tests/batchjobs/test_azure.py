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
    assert len(json.loads(run("batch", "clean", "--json").out)["deleted"]) == 3
    assert fake.jobs == {}


def test_bad_calls_are_told_before_anything_is_submitted(fake, place, tmp_path):
    _, url = place
    here = run("batch", "submit", tmp_path / "a.parquet", "--dest", f"{url}/out", "--pool", "nodes")
    assert (here.code, "on this machine" in here.err) == (2, True)
    assert "call.no-job" in run("batch", "submit", url, "--dest", url, "--pool", "none").err
    assert "--pool NAME or --local" in run("batch", "submit", url, "--dest", url).err
    small = submit(url, "--node-memory", "1MB")
    assert (small.code, "call.pool-too-small" in small.err) == (2, True)
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
    quota = run(*words)
    assert quota.code == 2
    assert "call.quota: PoolQuotaReached; No more pools.; delete" in quota.err
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
