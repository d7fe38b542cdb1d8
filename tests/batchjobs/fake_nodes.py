"""Nodes of the Batch service here: each task a real process, each disk a folder that can be lost.

A node of a pool fetches its package from Azurite (or unpacks an application package), runs its
start task, and then takes tasks by slots. Its environment is this process's, so what a managed
identity would give stands in the environment; the Batch account's key does not.
"""

from __future__ import annotations

import fnmatch
import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
import zipfile
from dataclasses import dataclass

_SECONDS = {"D": 86400, "H": 3600, "M": 60, "S": 1}


@dataclass
class Work:
    """A task at work."""

    job_id: str
    task: dict
    process: subprocess.Popen
    began: float
    deadline: float


class Node:
    """One node. ``is_ready``: it has what :meth:`FakeBatch.install` put there, no start task."""

    def __init__(self, fake, pool_id, name, *, is_dedicated=False, is_ready=False):
        self.fake, self.pool_id, self.id, self.is_dedicated = fake, pool_id, name, is_dedicated
        self.folder = fake.folder / "nodes" / name
        self.shared = fake.shared if is_ready else self.folder / "shared"
        self.state = "idle" if is_ready else "creating"
        self.start_info = {}
        self.applications = {}
        self.works = []
        self.num_boots, self.reboots = 1, False
        self.idle_at = None
        self._starting = None

    @property
    def pool(self):
        return self.fake.pools.get(self.pool_id, {})

    @property
    def is_ready(self):
        return self.state in ("idle", "running") and not self.reboots

    @property
    def free_slots(self):
        if not self.is_ready:
            return 0
        used = sum(work.task.get("requiredSlots", 1) for work in self.works)
        return self.pool.get("taskSlotsPerNode", 1) - used

    def as_json(self):
        about = {"id": self.id, "state": self.state, "isDedicated": self.is_dedicated}
        about["lastBootTime"] = f"2026-01-01T{self.num_boots:02}:00:00Z"
        return about | ({"startTaskInfo": self.start_info} if self.start_info else {})

    # -- start task

    def step(self):
        """Go on by what can be done now; a reboot keeps the disk and runs the start task again."""
        if self.reboots and not self.works:
            self.num_boots, self.reboots, self.state = self.num_boots + 1, False, "creating"
        if self.state == "creating":
            self._begin_start_task()
        elif self.state == "starting" and self._starting.poll() is not None:
            self._end_start_task(self._starting.returncode)
        for work in list(self.works):
            self._look(work)

    def _begin_start_task(self):
        spec = self.pool.get("startTask")
        if spec is None:
            self.state = "idle"
            return
        place = self.folder / "startup"
        (place / "wd").mkdir(parents=True, exist_ok=True)
        self.shared.mkdir(parents=True, exist_ok=True)
        self._unpack_applications()
        for file in spec.get("resourceFiles", []):
            self._fetch(file, place / "wd")
        self.start_info = {"state": "running", "retryCount": 0}
        self.state = "starting"
        self._starting = self._process(spec["commandLine"], place, {})

    def _end_start_task(self, code):
        spec = self.pool["startTask"]
        self.start_info |= {"exitCode": code}
        if code and self.start_info["retryCount"] < spec.get("maxTaskRetryCount", 0):
            self.start_info["retryCount"] += 1
            place = self.folder / "startup"
            self._starting = self._process(spec["commandLine"], place, {})
            return
        self.start_info["state"] = "completed"
        self.state = "starttaskfailed" if code else "idle"
        self.idle_at = time.monotonic()
        if code:
            self.start_info["failureInfo"] = failure()

    def _unpack_applications(self):
        for reference in self.pool.get("applicationPackageReferences", []):
            name = f"{reference['applicationId']}:{reference['version']}"
            place = self.folder / "applications" / name
            with zipfile.ZipFile(io.BytesIO(self.fake.applications[name])) as archive:
                archive.extractall(place)
            variable = "AZ_BATCH_APP_PACKAGE_" + re.sub("[^0-9A-Za-z]", "_", name)
            self.applications[variable] = str(place)

    def _fetch(self, file, place):
        url = file.get("storageContainerUrl", "")
        container = file.get("autoStorageContainerName") or url.rpartition("/")[2]
        client = self.fake.storage.get_container_client(container)
        for blob in client.list_blobs(name_starts_with=file.get("blobPrefix")):
            target = place / blob.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as out:
                client.download_blob(blob.name).readinto(out)

    # -- tasks

    def begin(self, job_id, task):
        place = self.fake.directory(job_id, task["id"])
        (place / "wd").mkdir(parents=True, exist_ok=True)
        settings = self.fake.jobs[job_id].get("commonEnvironmentSettings", [])
        settings = settings + task.get("environmentSettings", [])
        more = {item["name"]: item["value"] for item in settings}
        more |= {"AZ_BATCH_JOB_ID": job_id, "AZ_BATCH_TASK_ID": task["id"]}
        process = self._process(task["commandLine"], place, more)
        limit = seconds_of(task.get("constraints", {}).get("maxWallClockTime"))
        now = time.monotonic()
        work = Work(job_id, task, process, now, now + limit)
        task |= {"state": "running", "nodeInfo": {"nodeId": self.id, "poolId": self.pool_id}}
        self.state = "running"
        self.works.append(work)

    def _process(self, command, place, more):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AZURE_BATCH_")}
        environment |= self.fake.environment | self.applications | more
        environment |= {
            "AZ_BATCH_TASK_WORKING_DIR": str(place / "wd"),
            "AZ_BATCH_TASK_DIR": str(place),
            "AZ_BATCH_NODE_SHARED_DIR": str(self.shared),
            "AZ_BATCH_NODE_ID": self.id,
            "AZ_BATCH_POOL_ID": self.pool_id,
            "AZ_BATCH_NODE_IS_DEDICATED": str(self.is_dedicated).lower(),
        }
        # As on a node there is no shell but the one that the command line names.
        with (place / "stdout.txt").open("ab") as out, (place / "stderr.txt").open("ab") as err:
            return subprocess.Popen(
                shlex.split(command),
                env=environment,
                stdout=out,
                stderr=err,
                cwd=place / "wd",
                start_new_session=True,
            )

    def _look(self, work):
        code = work.process.poll()
        if code is None and time.monotonic() > work.deadline:
            code = kill(work.process)
        if code is None:
            return
        self._leave(work)
        self.fake.spans[work.task["id"]] = time.monotonic() - work.began
        info = work.task["executionInfo"]
        if code and info["retryCount"] < work.task["constraints"]["maxTaskRetryCount"]:
            info["retryCount"] += 1
            work.task["state"] = "active"
            return
        self._upload(work, code)
        complete(work.task, code)

    def _leave(self, work):
        self.works.remove(work)
        if not self.works:
            self.state = "idle"

    def _upload(self, work, code):
        folder = self.fake.directory(work.job_id, work.task["id"])
        for output in work.task.get("outputFiles", []):
            condition = output["uploadOptions"]["uploadCondition"]
            if condition not in ("taskcompletion", "taskfailure" if code else "tasksuccess"):
                continue
            target = output["destination"]["container"]
            container = target["containerUrl"].rpartition("/")[2]
            client = self.fake.storage.get_container_client(container)
            above = output["filePattern"].startswith("../")
            pattern = output["filePattern"].removeprefix("../")
            for path in sorted((folder if above else folder / "wd").iterdir()):
                if path.is_file() and fnmatch.fnmatch(path.name, pattern):
                    name = f"{target['path']}/{path.name}"
                    client.upload_blob(name, path.read_bytes(), overwrite=True)

    def preempt(self):
        """Kill all that runs, lose the disk, and let the tasks begin anew elsewhere."""
        self.state = "preempted"
        if self._starting is not None:
            kill(self._starting)
        for work in self.works:
            kill(work.process)
            shutil.rmtree(self.fake.directory(work.job_id, work.task["id"]), ignore_errors=True)
            work.task["state"] = "active"
            work.task["executionInfo"]["requeueCount"] += 1
        self.works = []
        shutil.rmtree(self.folder, ignore_errors=True)

    def end(self, job_id=None):
        """Kill what runs, of one job or all."""
        for work in list(self.works):
            if job_id in (None, work.job_id):
                kill(work.process)
                self._leave(work)
        if job_id is None and self._starting is not None:
            kill(self._starting)


def kill(process):
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def complete(task, code):
    info = task["executionInfo"]
    info |= {"exitCode": code, "result": "success" if code == 0 else "failure"}
    if code:
        info["failureInfo"] = failure()
    task["state"] = "completed"


def failure():
    message = "The task exited with an exit code representing a failure"
    return {"category": "usererror", "code": "FailureExitCode", "message": message}


def seconds_of(duration):
    """Return seconds of ``P1DT2H3M4S``; a century for none."""
    if not duration:
        return 3e9
    return sum(
        float(number) * _SECONDS[unit] for number, unit in re.findall(r"([\d.]+)([DHMS])", duration)
    )
