"""A Batch service on 127.0.0.1 for the unmodified SDK: the routes that evensplit uses.

Written from the REST description of 2025-06-01. It checks what it is sent (version, SharedKey
signature, content type, names, fields, limits) and answers as the service does: pages, 409 for what
exists, errors a task in a bulk add, 413, 429 with Retry-After. Nodes run the command lines as real
processes. Not here: VMs, start tasks, evaluation of formulas, time.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ACCOUNT, KEY = "evensplit", base64.b64encode(b"no secret: for tests only").decode()
API_VERSION = "2025-06-01"
PAGE = 100
BODY_BYTES = 1 << 20
LEGAL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
BIN = Path(sys.executable).parent

# What a request may hold, by the official description; None: not looked into.
TASK_FIELDS = {
    "id", "displayName", "commandLine", "environmentSettings", "requiredSlots", "constraints",
    "outputFiles",
}  # fmt: skip
JOB_FIELDS = {
    "id", "poolInfo", "onAllTasksComplete", "constraints", "metadata", "commonEnvironmentSettings",
}  # fmt: skip
POOL_FIELDS = {
    "id", "vmSize", "taskSlotsPerNode", "virtualMachineConfiguration", "taskSchedulingPolicy",
    "startTask", "metadata", "targetDedicatedNodes", "targetLowPriorityNodes", "enableAutoScale",
    "autoScaleFormula", "autoScaleEvaluationInterval",
}  # fmt: skip


class Refusal(Exception):
    def __init__(self, status, code, message="refused", headers=(), values=()):
        self.status, self.code, self.message = status, code, message
        self.headers, self.values = dict(headers), values


class FakeBatch:
    """State, and what the tests want to know or to go wrong.

    ``refuse``: (method, path pattern, refusal) taken off one by one, before anything else is done.
    ``after``: the same, but the request takes effect and its answer is lost.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.jobs, self.tasks, self.pools, self.requests = {}, {}, {}, []
        self.refuse, self.after, self.formulas = [], [], []
        self.lock = threading.RLock()
        self.shared = folder / "shared"
        self.running = {}

    def install(self, package):
        """Put the command of this environment where a start task would."""
        place = self.shared / "evensplit" / package / "bin"
        place.mkdir(parents=True)
        (place / "evensplit").symlink_to(BIN / "evensplit")

    def count(self, method, pattern):
        return sum(m == method and bool(re.fullmatch(pattern, p)) for m, p in self.requests)

    # -- nodes

    def run(self, job_id):
        """Run what waits in a job, two at once."""
        with ThreadPoolExecutor(2) as nodes:
            list(nodes.map(lambda task: self.run_one(job_id, task), self._waiting(job_id)))
        self._end_if_over(job_id)

    def _waiting(self, job_id):
        return [t for t in list(self.tasks[job_id].values()) if t["state"] == "active"]

    def run_one(self, job_id, task):
        retries = task["constraints"]["maxTaskRetryCount"]
        info = task["executionInfo"]
        while True:
            code = self._process(job_id, task).wait()
            if code == 0 or info["retryCount"] == retries:
                break
            info["retryCount"] += 1
        self._complete(task, code)

    def start(self, job_id, task):
        """Begin a task that :meth:`preempt` will end."""
        task["state"] = "running"
        self.running[task["id"]] = self._process(job_id, task)

    def preempt(self, job_id, task):
        process = self.running.pop(task["id"])
        os.killpg(process.pid, 9)
        process.wait()
        shutil.rmtree(self.directory(job_id, task["id"]))
        task["state"] = "active"
        task["executionInfo"]["requeueCount"] += 1

    def directory(self, job_id, task_id):
        return self.folder / "tasks" / job_id / task_id

    def _process(self, job_id, task):
        place = self.directory(job_id, task["id"])
        (place / "wd").mkdir(parents=True, exist_ok=True)
        settings = self.jobs[job_id].get("commonEnvironmentSettings", [])
        settings = settings + task.get("environmentSettings", [])
        environment = os.environ | {item["name"]: item["value"] for item in settings}
        environment |= {
            "AZ_BATCH_TASK_WORKING_DIR": str(place / "wd"),
            "AZ_BATCH_TASK_DIR": str(place),
            "AZ_BATCH_NODE_SHARED_DIR": str(self.shared),
            "AZ_BATCH_JOB_ID": job_id,
            "AZ_BATCH_TASK_ID": task["id"],
        }
        # As on a node there is no shell but the one that the command line names.
        with (place / "stdout.txt").open("ab") as out, (place / "stderr.txt").open("ab") as err:
            return subprocess.Popen(
                shlex.split(task["commandLine"]),
                env=environment,
                stdout=out,
                stderr=err,
                cwd=place / "wd",
                start_new_session=True,
            )

    def _complete(self, task, code):
        info = task["executionInfo"]
        info |= {"exitCode": code, "result": "success" if code == 0 else "failure"}
        if code:
            message = "The task exited with an exit code representing a failure"
            info["failureInfo"] = {
                "category": "usererror", "code": "FailureExitCode", "message": message,
            }  # fmt: skip
        task["state"] = "completed"

    def _end_if_over(self, job_id):
        job = self.jobs[job_id]
        over = all(task["state"] == "completed" for task in self.tasks[job_id].values())
        if over and job["onAllTasksComplete"] == "terminatejob" and job["state"] == "active":
            job["state"] = "completed"
            job["executionInfo"]["terminateReason"] = "AllTasksCompleted"

    # -- routes

    def post_jobs(self, body, query):
        only(body, JOB_FIELDS, needed={"id", "poolInfo"})
        legal(body["id"])
        if body["id"] in self.jobs:
            raise Refusal(409, "JobExists")
        job = {"state": "active", "executionInfo": {}, "onAllTasksComplete": "noaction"} | body
        self.jobs[body["id"]], self.tasks[body["id"]] = job, {}
        return 201, None

    def get_jobs(self, body, query):
        return 200, {"value": list(self.jobs.values())}

    def get_job(self, body, query, job_id):
        return 200, self._job(job_id)

    def patch_job(self, body, query, job_id):
        job = self._active(job_id)
        job |= only(body, {"onAllTasksComplete"})
        self._end_if_over(job_id)
        return 200, None

    def delete_job(self, body, query, job_id):
        self._job(job_id)
        del self.jobs[job_id], self.tasks[job_id]
        return 202, None

    def post_job_terminate(self, body, query, job_id):
        job = self._active(job_id)
        job |= {"state": "completed", "executionInfo": {"terminateReason": body["terminateReason"]}}
        for task in self._waiting(job_id):
            self._complete(task, None)
        return 202, None

    def post_addtaskcollection(self, body, query, job_id):
        self._active(job_id)
        tasks = body["value"]
        if len(tasks) > PAGE:
            raise Refusal(400, "RequestBodyInvalid", "more than 100 tasks")
        return 200, {"value": [self._add(job_id, task) for task in tasks]}

    def _add(self, job_id, task):
        about = {"taskId": task["id"], "status": "success"}
        try:
            only(task, TASK_FIELDS, needed={"id", "commandLine"})
            legal(task["id"])
            if task["commandLine"] != task["commandLine"].strip():
                raise Refusal(400, "InvalidPropertyValue", "spaces around the command")
            if task["id"] in self.tasks[job_id]:
                raise Refusal(409, "TaskExists")
        except Refusal as refusal:
            return about | {"status": "clienterror", "error": refusal_body(refusal)}
        info = {"retryCount": 0, "requeueCount": 0}
        self.tasks[job_id][task["id"]] = {"state": "active", "executionInfo": info} | task
        return about

    def get_tasks(self, body, query, job_id):
        self._job(job_id)
        first = int(query.get("skip", ["0"])[0])
        every = list(self.tasks[job_id].values())
        names = query["$select"][0].split(",") if "$select" in query else None
        page = [
            {k: v for k, v in task.items() if names is None or k in names}
            for task in every[first : first + PAGE]
        ]
        answer = {"value": page}
        if first + PAGE < len(every):
            more = urllib.parse.urlencode({"api-version": API_VERSION, "skip": first + PAGE})
            select = urllib.parse.urlencode({"$select": ",".join(names)}) if names else ""
            answer["odata.nextLink"] = f"{self.url}/jobs/{job_id}/tasks?{more}&{select}"
        return 200, answer

    def post_task_reactivate(self, body, query, job_id, task_id):
        self._active(job_id)
        task = self.tasks[job_id][task_id]
        if task["executionInfo"].get("result") != "failure":
            raise Refusal(409, "TaskCompleted")
        task["executionInfo"] = {"retryCount": 0, "requeueCount": 0}
        task["state"] = "active"
        return 204, None

    def get_task_file(self, body, query, job_id, task_id, path):
        self._job(job_id)
        file = self.directory(job_id, task_id) / urllib.parse.unquote(path)
        if not file.exists():
            raise Refusal(404, "FileNotFound")
        return 200, file.read_bytes()

    def post_pools(self, body, query):
        only(body, POOL_FIELDS, needed={"id", "vmSize"})
        legal(body["id"])
        if body["id"] in self.pools:
            raise Refusal(409, "PoolExists")
        if body.get("enableAutoScale") and "targetDedicatedNodes" in body:
            raise Refusal(400, "InvalidPropertyValue", "a target and a formula")
        self.pools[body["id"]] = {"state": "active"} | body
        return 201, None

    def get_pool(self, body, query, pool_id):
        return 200, self._pool(pool_id)

    def delete_pool(self, body, query, pool_id):
        self._pool(pool_id)
        del self.pools[pool_id]
        return 202, None

    def post_pool_resize(self, body, query, pool_id):
        pool = self._pool(pool_id)
        known = {"targetDedicatedNodes", "targetLowPriorityNodes", "nodeDeallocationOption"}
        pool |= only(body, known)
        pool |= {"currentDedicatedNodes": body["targetDedicatedNodes"], "state": "active"}
        return 202, None

    def post_pool_evaluate(self, body, query, pool_id):
        self._pool(pool_id)
        formula = only(body, {"autoScaleFormula"})["autoScaleFormula"]
        self.formulas.append(formula)
        answer = {"timestamp": "2026-01-01T00:00:00Z", "results": "$TargetDedicatedNodes=0"}
        if "nonsense" in formula:
            values = [{"name": "Message", "value": "Line 1, Col 1: Function doesn't exist."}]
            message = "Autoscale evaluation failed"
            code = "AutoScalingFormulaEvaluationError"
            answer["error"] = {"code": code, "message": message, "values": values}
        return 200, answer

    def _job(self, job_id):
        if job_id not in self.jobs:
            raise Refusal(404, "JobNotFound", "The specified job does not exist.")
        return self.jobs[job_id]

    def _active(self, job_id):
        job = self._job(job_id)
        if job["state"] != "active":
            raise Refusal(409, "JobCompleted", "The specified job is already in a completed state.")
        return job

    def _pool(self, pool_id):
        if pool_id not in self.pools:
            raise Refusal(404, "PoolNotFound", "The specified pool does not exist.")
        return self.pools[pool_id]


ROUTES = [
    ("POST", "/jobs", FakeBatch.post_jobs),
    ("GET", "/jobs", FakeBatch.get_jobs),
    ("GET", "/jobs/([^/]+)", FakeBatch.get_job),
    ("PATCH", "/jobs/([^/]+)", FakeBatch.patch_job),
    ("DELETE", "/jobs/([^/]+)", FakeBatch.delete_job),
    ("POST", "/jobs/([^/]+)/terminate", FakeBatch.post_job_terminate),
    ("POST", "/jobs/([^/]+)/addtaskcollection", FakeBatch.post_addtaskcollection),
    ("GET", "/jobs/([^/]+)/tasks", FakeBatch.get_tasks),
    ("POST", "/jobs/([^/]+)/tasks/([^/]+)/reactivate", FakeBatch.post_task_reactivate),
    ("GET", "/jobs/([^/]+)/tasks/([^/]+)/files/(.+)", FakeBatch.get_task_file),
    ("POST", "/pools", FakeBatch.post_pools),
    ("GET", "/pools/([^/]+)", FakeBatch.get_pool),
    ("DELETE", "/pools/([^/]+)", FakeBatch.delete_pool),
    ("POST", "/pools/([^/]+)/resize", FakeBatch.post_pool_resize),
    ("POST", "/pools/([^/]+)/evaluateautoscale", FakeBatch.post_pool_evaluate),
]


def only(body, known, needed=frozenset()):
    wrong = (set(body) - set(known)) | (set(needed) - set(body))
    if wrong:
        raise Refusal(400, "InvalidPropertyValue", f"unknown or missing: {sorted(wrong)}")
    return body


def legal(name):
    if not LEGAL_ID.fullmatch(name):
        raise Refusal(400, "InvalidPropertyValue", "an illegal id")


def refusal_body(refusal):
    values = [{"key": key, "value": value} for key, value in refusal.values]
    message = {"lang": "en-US", "value": f"{refusal.message}\nRequestId:1\nTime:2"}
    return {"code": refusal.code, "message": message, "values": values}


def signature(method, path, headers, query):
    """The SharedKey rule of the documentation, on its own."""
    names = "content-encoding content-language content-length content-md5 content-type date"
    names += " if-modified-since if-match if-none-match if-unmodified-since range"
    lines = [method, *(headers.get(name, "") for name in names.split())]
    lines += [f"{k.lower()}:{v}" for k, v in sorted(headers.items()) if k.lower()[:4] == "ocp-"]
    lines.append(f"/{ACCOUNT}{path}")
    lines += [f"{name}:{values[0]}" for name, values in sorted(query.items())]
    digest = hmac.new(base64.b64decode(KEY), "\n".join(lines).encode(), hashlib.sha256)
    return f"SharedKey {ACCOUNT}:{base64.b64encode(digest.digest()).decode()}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        fake = self.server.fake
        parts = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(parts.query)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with fake.lock:
            fake.requests.append((self.command, parts.path))
            try:
                self._check(parts.path, query, raw)
                refuse(fake.refuse, self.command, parts.path)
                status, answer = self._route(fake, parts.path, query, raw)
                refuse(fake.after, self.command, parts.path)
            except Refusal as refusal:
                self._answer(refusal.status, refusal_body(refusal), refusal.headers)
            else:
                self._answer(status, answer)

    def _check(self, path, query, raw):
        if query.get("api-version") != [API_VERSION]:
            raise Refusal(400, "InvalidQueryParameterValue", "api-version")
        if self.headers.get("Authorization") != signature(self.command, path, self.headers, query):
            raise Refusal(403, "AuthenticationFailed", "Server failed to authenticate the request.")
        json_type = "application/json; odata=minimalmetadata"
        if raw and self.headers.get("Content-Type") != json_type:
            raise Refusal(415, "UnsupportedMediaType", self.headers.get("Content-Type"))
        if len(raw) > BODY_BYTES:
            raise Refusal(413, "RequestBodyTooLarge")

    def _route(self, fake, path, query, raw):
        body = json.loads(raw) if raw else None
        for method, pattern, function in ROUTES:
            found = re.fullmatch(pattern, path)
            if found and method == self.command:
                return function(fake, body, query, *found.groups())
        raise Refusal(400, "UnsupportedHttpVerb", f"{self.command} {path}")

    def _answer(self, status, answer, headers=()):
        is_file = isinstance(answer, bytes)
        body = answer if is_file else b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        kind = "application/octet-stream" if is_file else "application/json;odata=minimalmetadata"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


for verb in ("GET", "POST", "PATCH", "DELETE"):
    setattr(Handler, f"do_{verb}", Handler.handle_any)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Say nothing of a client that closes its connection without goodbye; tell all else."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def refuse(planned, method, path):
    for item in planned:
        if item[0] == method and re.fullmatch(item[1], path):
            planned.remove(item)
            raise item[2]


@contextlib.contextmanager
def serving(folder):
    fake = FakeBatch(folder)
    server = Server(("127.0.0.1", 0), Handler)
    server.fake = fake
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
