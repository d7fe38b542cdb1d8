"""Fifty files through the Batch service here and Azurite, with all that goes wrong on the way.

Sizes over three orders of magnitude, one node with two slots. The account's job quota is full, the
API is throttled, ``submit`` is killed half way, the pool gets no nodes at first, a node is taken
away in the middle, one file is damaged, and one task always fails. Everything is then mended by
repeating the same command. ``test_scenario`` runs it small; ``python -m tests.batchjobs.scenario``
(``make proof``) at the size of the promise, with the package that ``make package`` made.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.azurite import running
from tests.batchjobs.fake_batch import ACCOUNT, BIN, KEY, Refusal, serving
from tests.batchjobs.packages import delegating, make_package
from tests.engine.running import end, run, start

NUM_FILES = 50
SPAN = 1000  # the largest is so many times the smallest
BYTES_A_ROW = 24
BATCH_ROWS = 1 << 20
ADD = "/jobs/[^/]+/addtaskcollection"


def sizes(total_bytes, num_files):
    """Return sizes of so many bytes together, the largest first."""
    shares = np.logspace(0, -np.log10(SPAN), num_files)
    return [int(share / shares.sum() * total_bytes) for share in shares]


def write_file(path, size_bytes, seed):
    rng = np.random.default_rng(seed)
    left = max(1, size_bytes // BYTES_A_ROW)
    schema = pa.schema([("id", pa.int64()), ("random", pa.int64()), ("float", pa.float64())])
    options = {"use_dictionary": False, "data_page_size": 64 << 10, "write_page_index": True}
    with pq.ParquetWriter(path, schema, compression="none", **options) as writer:
        first = 0
        while left > 0:
            rows = min(left, BATCH_ROWS)
            columns = [np.arange(first, first + rows), rng.integers(0, 1 << 60, rows)]
            columns.append(rng.random(rows))
            writer.write_table(pa.table(columns, schema=schema), row_group_size=rows)
            first, left = first + rows, left - rows


class Scenario:
    """One run of it; every step checks what it promises and keeps what was measured."""

    def __init__(self, folder, azurite, fake, package, *, total_bytes, target_size, num_files):
        self.folder, self.fake = folder, fake
        self.num_files = num_files
        self.sizes, self.facts = sizes(total_bytes, num_files), {}
        self.damaged, self.blocked = num_files * 2 // 5, num_files * 3 // 5  # by size
        self.container, self.logs = azurite.new_container(), azurite.new_container()
        self.client = azurite.client().get_container_client(self.container)
        self.log_client = azurite.client().get_container_client(self.logs)
        url = f"abfs://{self.container}"
        self.out = f"{url}/out"
        self.words = (
            *("batch", "submit", f"{url}/in", "--dest", self.out, "--target-size", target_size),
            *("--retries", 1, "--label", "bill=42"),
            *("--outputs", f"https://x.blob.core.windows.net/{self.logs}", "--identity", "/id"),
            *("--image", "canonical:ubuntu:server:1.2.3", "--agent", "batch.node.here"),
            *("--package", package, "--package-url", url, "--slots", 2, "--spot", 1, "--json"),
        )

    def name(self, index):
        return f"f{index:02}"

    def prepare(self):
        self.total_bytes = 0
        for index, size_bytes in enumerate(self.sizes):
            path = self.folder / "source.parquet"
            write_file(path, size_bytes, index)
            self.total_bytes += path.stat().st_size
            with path.open("rb") as file:
                self.client.upload_blob(f"in/{self.name(index)}.parquet", file, max_concurrency=2)
            if index == self.damaged:
                self.good = path.read_bytes()
            path.unlink()
        self.client.upload_blob(
            f"in/{self.name(self.damaged)}.parquet", self.good[:-4] + b"oops", overwrite=True
        )
        self.client.upload_blob(f"out/{self.name(self.blocked)}/part-00000.parquet", b"not ours")

    # -- what goes wrong before anything runs

    def submit_over_quota(self):
        code = "ActiveJobAndScheduleQuotaReached"
        self.fake.refuse = [("POST", "/jobs", Refusal(409, code, "The job quota is reached."))]
        self.fake.resize_error = {
            "code": "AccountLowPriorityCoreQuotaReached",
            "message": "The Spot core quota is reached.",
        }
        ended = run(*self.words)
        assert (ended.code, "call.quota" in ended.err) == (2, True), ended.err
        assert "evensplit batch clean" in ended.err
        assert "activeJobAndJobScheduleQuota" in ended.err

    def submit_throttled_and_killed(self):
        """The SDK adds the tasks in halves; the answer to the first half is never read."""
        self.fake.refuse = [
            ("GET", "/jobs/[^/]+", Refusal(429, "TooManyRequests", headers={"Retry-After": "1"})),
            ("POST", "/jobs", Refusal(503, "ServerBusy", headers={"Retry-After": "0"})),
            ("POST", ADD, Refusal(413, "RequestBodyTooLarge")),
            ("POST", ADD, Refusal(429, "TooManyRequests", headers={"Retry-After": "1"})),
        ]
        process = start(*self.words)
        self.fake.after = [("POST", ADD, lambda: process.send_signal(signal.SIGKILL))]
        assert end(process).code == -signal.SIGKILL
        assert (self.fake.refuse, self.fake.after) == ([], [])
        ((_, tasks),) = self.fake.tasks.items()
        half = self.num_files // 2
        assert len(tasks) == half
        self.submitted = json.loads(run(*self.words).out)
        counts = {"num_added": self.num_files - half, "num_found": half}
        assert counts.items() <= self.submitted.items()
        assert len(tasks) == self.num_files
        self.job = self.submitted["job_id"]

    def wait_without_nodes(self):
        waited = run("batch", "wait", self.job, "--poll-seconds", 0.1, "--json")
        assert (waited.code, "call.no-nodes" in waited.err) == (2, True)
        assert "--spot or --vm-size" in waited.err
        assert "lowPriorityCoreQuota" in waited.err
        self.fake.resize_error = None
        pool = self.submitted["pool"]
        assert run("batch", "pool", "resize", pool, "--spot", 1).code == 0

    # -- the run

    def lose_a_node_in_the_middle(self):
        """Take the node away once the largest file has parts, but not all."""
        place = f"out/{self.name(0)}/_evensplit/receipts/"
        deadline = time.monotonic() + 800
        while not list(self.client.list_blobs(name_starts_with=place)):
            assert time.monotonic() < deadline, self.fake.nodes
            time.sleep(0.01)
        (node,) = self.fake.nodes.values()
        self.lost_tasks = self.fake.preempt_node(node.id)

    def wait(self):
        began = time.monotonic()
        ended = run("batch", "wait", self.job, "--poll-seconds", 0.2, "--json")
        self.facts["wait_seconds"] = time.monotonic() - began
        assert (ended.code, "job.tasks-failed" in ended.err) == (7, True), ended.err
        report = json.loads(ended.out.splitlines()[0])
        done = {"waiting": 0, "running": 0, "done": self.num_files - 2, "failed": 2}
        assert report["counts"] == done, report["counts"]
        failed = {task["title"][-11:-8]: task for task in report["tasks"] if task["problem"]}
        damaged, blocked = failed[self.name(self.damaged)], failed[self.name(self.blocked)]
        assert damaged["problem"].startswith("source.not-parquet")
        assert "replace the source" in damaged["advice"]
        assert blocked["problem"].startswith("call.destination-in-use")
        assert (blocked["exit_code"], blocked["num_retries"]) == (2, 1)
        requeued = [task["id"] for task in report["tasks"] if task["num_requeues"]]
        assert sorted(requeued) == sorted(self.lost_tasks)
        first = report["tasks"][0]
        result = json.loads(self.log_of(first["id"], "result.json"))
        assert result["num_resumed"] >= 1
        self.facts["num_resumed"] = result["num_resumed"]
        assert b"source.not-parquet" in self.log_of(damaged["id"], "stderr.txt")
        assert KEY not in ended.out + ended.err
        self.results = [
            json.loads(self.log_of(task["id"], "result.json"))["files"][0]
            for task in report["tasks"]
            if task["state"] == "done"
        ]

    def log_of(self, task_id, name):
        return self.log_client.download_blob(f"{self.job}/{task_id}/{name}").readall()

    def mend(self):
        """Repeat the same command: only what failed is done."""
        path = f"in/{self.name(self.damaged)}.parquet"
        self.client.upload_blob(path, self.good, overwrite=True)
        self.client.delete_blob(f"out/{self.name(self.blocked)}/part-00000.parquet")
        made = json.loads(run(*self.words).out)
        assert (made["num_added"], made["num_found"]) == (2, self.num_files - 2)
        ended = run("batch", "wait", made["job_id"], "--poll-seconds", 0.1)
        assert ended.code == 0, ended.err
        assert json.loads(run(*self.words).out)["num_found"] == self.num_files

    def verify(self):
        began = time.monotonic()
        for index in range(self.num_files):
            proof = run("verify", f"{self.out}/{self.name(index)}", "--json")
            assert proof.code == 0, proof.err
            assert json.loads(proof.out)["num_rows"] == max(1, self.sizes[index] // BYTES_A_ROW)
        self.facts["verify_seconds"] = time.monotonic() - began

    def play(self):
        """Do all of it; return what was measured."""
        began = time.monotonic()
        self.prepare()
        self.facts["prepare_seconds"] = time.monotonic() - began
        began = time.monotonic()
        self.submit_over_quota()
        self.submit_throttled_and_killed()
        self.facts["submit_seconds"] = time.monotonic() - began
        with self.fake.working():
            self.wait_without_nodes()
            self.lose_a_node_in_the_middle()
            self.wait()
            self.mend()
        self.verify()
        parts = sum(item["num_parts"] for item in self.results)
        sums = {"source_bytes": self.total_bytes, "num_parts": parts}
        sums["smallest_bytes"], sums["largest_bytes"] = min(self.sizes), max(self.sizes)
        sums["task_seconds"] = sum(item["elapsed_seconds"] for item in self.results)
        sums["peak_memory_bytes"] = max(item["peak_memory_bytes"] for item in self.results)
        return self.facts | sums


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--gigabytes", type=float, default=2.0)
    options.add_argument("--target-size", default="32MB")
    options.add_argument("--package", type=Path, help="by make package for this Python")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name, running() as azurite:
        folder = Path(name)
        package = given.package
        if package is None:
            (folder / "package").mkdir()
            package = make_package(folder / "package", delegating(BIN / "evensplit"))
        for variable in list(os.environ):
            if variable.startswith("AZURE_"):
                del os.environ[variable]
        with serving(folder / "azure", azurite.client()) as fake:
            os.environ |= {
                "AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string,
                "AZURE_BATCH_ENDPOINT": fake.url,
                "AZURE_BATCH_ACCOUNT": ACCOUNT,
                "AZURE_BATCH_ACCESS_KEY": KEY,
                "EVENSPLIT_PYTHON": sys.executable,
            }
            total_bytes = int(given.gigabytes * 1e9)
            how = {"total_bytes": total_bytes, "target_size": given.target_size}
            facts = Scenario(folder, azurite, fake, package, **how).play()
    for key, value in facts.items():
        print(f"{key:20} {value:,.1f}" if isinstance(value, float) else f"{key:20} {value:,}")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
