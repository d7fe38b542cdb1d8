"""A Batch service on 127.0.0.1 for the unmodified SDK: the routes that evensplit uses.

Written from the REST description of 2025-06-01. It checks what it is sent (version, SharedKey
signature, content type, bodies by the description, ids, limits) and answers as the service does:
pages, 409 for what exists, errors a task in a bulk add, 413, 429 with Retry-After. Nodes run the
command lines as real processes (:mod:`tests.batchjobs.fake_nodes`). Not here: VMs, evaluation of
formulas.

    with serving(folder, azurite.client()) as fake, fake.working():
        …  # fake.url, fake.preempt_node(name), fake.refuse, fake.jobs, fake.tasks
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import hmac
import itertools
import json
import re
import sys
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from azure.batch import models
from azure.batch.models import _models

from tests.batchjobs.fake_nodes import Node, complete
from tests.batchjobs.request_check import problems
from tests.serving import served

ACCOUNT, KEY = "evensplit", base64.b64encode(b"no secret: for tests only").decode()
API_VERSION = "2025-06-01"
PAGE = 100
BODY_BYTES = 1 << 20
LEGAL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
BIN = Path(sys.executable).parent


IMAGES = (
    ("Canonical:ubuntu-24_04-lts-daily:server", "batch.node.ubuntu 24.04", "unverified"),
    ("canonical:0001-com-ubuntu-server-jammy:22_04-lts", "batch.node.ubuntu 22.04"),
    ("canonical:ubuntu-24_04-lts:server-gen1",),
    ("Canonical:ubuntu-24_04-lts:server",),
    (
        "microsoft-dsvm:ubuntu-hpc:2404",
        "batch.node.ubuntu 24.04",
        "verified",
        "DockerCompatible",
    ),
)


class Refusal(Exception):
    def __init__(self, status, code, message="refused", headers=(), values=()):
        self.status, self.code, self.message = status, code, message
        self.headers, self.values = dict(headers), values


class FakeBatch:
    """State, and what the tests want to know or to go wrong.

    ``refuse``: (method, path pattern, refusal) taken off one by one, before anything else is done.
    ``after``: the same, but the request takes effect and its answer is lost. Both also take a
    function to call instead of a refusal.
    ``resize_error``: what new nodes fail with, a dictionary of code and message.
    ``storage``: a BlobServiceClient of Azurite, for packages and output files.
    ``environment``: variables of every process on a node.
    ``login``: variables that let the client in.
    ``spans``: seconds of the last run of each task, by its id.
    ``images``: what nodes can have; the service names no versions.
    ``applications``: zip archives by ``NAME:VERSION``.
    ``most_away``: nodes that were away at once when one more was rebooted.
    """

    def __init__(self, folder: Path, storage=None):
        self.folder, self.storage = folder, storage
        self.jobs, self.tasks, self.pools, self.nodes, self.requests = {}, {}, {}, {}, []
        self.refuse, self.after, self.formulas = [], [], []
        self.resize_error, self.environment, self.applications = None, {}, {}
        self.images = [supported_image(*words) for words in IMAGES]
        self.lock = threading.RLock()
        self.login = {"AZURE_BATCH_ACCOUNT": ACCOUNT, "AZURE_BATCH_ACCESS_KEY": KEY}
        self.shared = folder / "shared"
        self.spans, self.most_away = {}, 0
        self._held, self._names = {}, itertools.count()

    def install(self, package):
        """Put the command of this environment where a start task would, for nodes without one."""
        place = self.shared / "evensplit" / package / "bin"
        place.mkdir(parents=True)
        (place / "evensplit").symlink_to(BIN / "evensplit")

    def count(self, method, pattern):
        return sum(m == method and bool(re.fullmatch(pattern, p)) for m, p in self.requests)

    def directory(self, job_id, task_id):
        return self.folder / "tasks" / job_id / task_id

    # -- nodes

    @contextlib.contextmanager
    def working(self):
        """Meanwhile pools have their nodes, which run start tasks and tasks in the background."""
        stop = threading.Event()

        def work():
            while not stop.wait(0.02):
                with self.lock:
                    for pool_id in list(self.pools):
                        self._fit(pool_id)
                    self._step(list(self.nodes.values()))

        with ThreadPoolExecutor(1) as thread:
            working = thread.submit(work)
            try:
                yield
            finally:
                stop.set()
        working.result()

    def preempt_node(self, name):
        """Take a node away; a new one comes. Return the tasks that ran there, which begin anew."""
        with self.lock:
            node = self.nodes.pop(name)
            lost = [work.task["id"] for work in node.works]
            node.preempt()
        return lost

    def set_nodes(self, pool_id, dedicated, spot=0):
        """Do what the formula of a pool would."""
        with self.lock:
            self._allocate(self._pool(pool_id), dedicated, spot)

    def run(self, job_id, num_nodes=2):
        """Run what waits in a job on nodes that :meth:`install` made ready."""
        pool_id = self.jobs[job_id]["poolInfo"]["poolId"]
        nodes = [self._node(pool_id, is_ready=True) for _ in range(num_nodes)]
        while any(task["state"] != "completed" for task in self.tasks[job_id].values()):
            with self.lock:
                self._step(nodes, job_id)
            time.sleep(0.01)
        self._end_if_over(job_id)

    def start(self, job_id, task):
        """Begin a task that :meth:`preempt` will end."""
        node = self._node(self.jobs[job_id]["poolInfo"]["poolId"], is_ready=True)
        node.begin(job_id, task)
        self._held[task["id"]] = node

    def preempt(self, job_id, task):
        self._held.pop(task["id"]).preempt()

    def end(self):
        """Kill whatever still runs."""
        for node in [*self.nodes.values(), *self._held.values()]:
            node.end()

    def _node(self, pool_id, **how):
        return Node(self, pool_id, f"tvm-{next(self._names)}", **how)

    def _allocate(self, pool, dedicated, spot):
        pool["resizeErrors"] = [self.resize_error] if self.resize_error else []
        if self.resize_error:
            dedicated = spot = 0
        pool |= {"currentDedicatedNodes": dedicated, "currentLowPriorityNodes": spot}
        pool["allocationState"] = "steady"

    def _fit(self, pool_id):
        """Add the nodes that a pool lacks; those too many leave once they have nothing to do."""
        pool = self.pools[pool_id]
        for is_dedicated, name in ((True, "Dedicated"), (False, "LowPriority")):
            wanted = pool[f"current{name}Nodes"]
            here = [
                node
                for node in self.nodes.values()
                if (node.pool_id, node.is_dedicated) == (pool_id, is_dedicated)
            ]
            for _ in range(wanted - len(here)):
                node = self._node(pool_id, is_dedicated=is_dedicated)
                self.nodes[node.id] = node
            for node in [node for node in here if not node.works][: max(0, len(here) - wanted)]:
                del self.nodes[node.id]

    def _step(self, nodes, only_job=None):
        for node in nodes:
            node.step()
        for job_id, job in self.jobs.items():
            if job["state"] != "active" or only_job not in (None, job_id):
                continue
            fitting = [n for n in nodes if n.pool_id == job["poolInfo"]["poolId"]]
            for task in self._waiting(job_id):
                free = max(fitting, key=lambda node: node.free_slots, default=None)
                if free is None or free.free_slots < 1:
                    break
                if free.free_slots >= task.get("requiredSlots", 1):
                    free.begin(job_id, task)
            self._end_if_over(job_id)

    def _waiting(self, job_id):
        return [t for t in list(self.tasks[job_id].values()) if t["state"] == "active"]

    def _end_if_over(self, job_id):
        job = self.jobs[job_id]
        over = all(task["state"] == "completed" for task in self.tasks[job_id].values())
        if over and job["onAllTasksComplete"] == "terminatejob" and job["state"] == "active":
            job["state"] = "completed"
            reason = {"terminateReason": "AllTasksComplete", "endTime": now()}
            job["executionInfo"] |= reason

    # -- routes

    def post_jobs(self, body, query):
        checked(models.BatchJobCreateOptions, body)
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

    def get_taskcounts(self, body, query, job_id):
        self._job(job_id)
        states = [task["state"] for task in self.tasks[job_id].values()]
        results = [task["executionInfo"].get("result") for task in self.tasks[job_id].values()]
        names = ("active", "running", "completed")
        counts = {name: states.count(name) for name in names}
        counts |= {"succeeded": results.count("success"), "failed": results.count("failure")}
        return 200, {"taskCounts": counts, "taskSlotCounts": counts}

    def patch_job(self, body, query, job_id):
        job = self._active(job_id)
        job |= checked(models.BatchJobUpdateOptions, body)
        self._end_if_over(job_id)
        return 200, None

    def delete_job(self, body, query, job_id):
        self._job(job_id)
        del self.jobs[job_id], self.tasks[job_id]
        return 202, None

    def post_job_terminate(self, body, query, job_id):
        job = self._active(job_id)
        reason = {"terminateReason": body["terminateReason"], "endTime": now()}
        job |= {"state": "completed", "executionInfo": reason}
        for node in self.nodes.values():
            node.end(job_id)
        for task in self.tasks[job_id].values():
            if task["state"] != "completed":
                complete(task, None)
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
            checked(models.BatchTaskCreateOptions, task)
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

    def get_task(self, body, query, job_id, task_id):
        return 200, self._task(job_id, task_id)

    def delete_task(self, body, query, job_id, task_id):
        self._task(job_id, task_id)
        del self.tasks[job_id][task_id]
        return 200, None

    def get_task_files(self, body, query, job_id, task_id):
        self._task(job_id, task_id)
        place = self.directory(job_id, task_id)
        names = sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())
        return 200, {"value": [{"name": name, "isDirectory": False} for name in names]}

    def post_task_reactivate(self, body, query, job_id, task_id):
        self._active(job_id)
        task = self._task(job_id, task_id)
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
        checked(models.BatchPoolCreateOptions, body)
        legal(body["id"])
        if body["id"] in self.pools:
            raise Refusal(409, "PoolExists")
        if body.get("enableAutoScale") and "targetDedicatedNodes" in body:
            raise Refusal(400, "InvalidPropertyValue", "a target and a formula")
        pool = self.pools[body["id"]] = {"state": "active"} | body
        targets = (body.get(f"target{name}Nodes", 0) for name in ("Dedicated", "LowPriority"))
        self._allocate(pool, *targets)
        return 201, None

    def get_pools(self, body, query):
        return 200, {"value": list(self.pools.values())}

    def get_supportedimages(self, body, query):
        return 200, {"value": self.images}

    def get_nodes(self, body, query, pool_id):
        self._pool(pool_id)
        every = [node for node in self.nodes.values() if node.pool_id == pool_id]
        return 200, {"value": [node.as_json() for node in every]}

    def get_node(self, body, query, pool_id, node_id):
        return 200, self.nodes[node_id].as_json()

    def post_node_reboot(self, body, query, pool_id, node_id):
        checked(_models.BatchNodeRebootOptions, body)
        self._pool(pool_id)
        if self.nodes[node_id].state not in ("idle", "running"):
            raise Refusal(409, "NodeStateUnusable", "The node is in an unusable state.")
        self.nodes[node_id].reboots = True
        away = sum(not node.is_ready for node in self.nodes.values())
        self.most_away = max(self.most_away, away)
        return 202, None

    def post_pool_enableautoscale(self, body, query, pool_id):
        pool = self._pool(pool_id)
        pool |= checked(models.BatchPoolEnableAutoScaleOptions, body) | {"enableAutoScale": True}
        return 200, None

    def post_pool_disableautoscale(self, body, query, pool_id):
        self._pool(pool_id)["enableAutoScale"] = False
        return 200, None

    def get_pool(self, body, query, pool_id):
        return 200, self._pool(pool_id)

    def delete_pool(self, body, query, pool_id):
        self._pool(pool_id)
        del self.pools[pool_id]
        return 202, None

    def post_pool_resize(self, body, query, pool_id):
        pool = self._pool(pool_id)
        if pool.get("enableAutoScale"):
            raise Refusal(409, "PoolHasAutoScaleEnabled", "The pool scales by a formula.")
        pool |= checked(models.BatchPoolResizeOptions, body)
        self._allocate(pool, body["targetDedicatedNodes"], body["targetLowPriorityNodes"])
        return 202, None

    def post_pool_evaluate(self, body, query, pool_id):
        self._pool(pool_id)
        formula = checked(models.BatchPoolEvaluateAutoScaleOptions, body)["autoScaleFormula"]
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

    def _task(self, job_id, task_id):
        self._job(job_id)
        if task_id not in self.tasks[job_id]:
            raise Refusal(404, "TaskNotFound", "The specified task does not exist.")
        return self.tasks[job_id][task_id]

    def _pool(self, pool_id):
        if pool_id not in self.pools:
            raise Refusal(404, "PoolNotFound", "The specified pool does not exist.")
        return self.pools[pool_id]


ROUTES = [
    ("POST", "/jobs", FakeBatch.post_jobs),
    ("GET", "/jobs", FakeBatch.get_jobs),
    ("GET", "/jobs/([^/]+)", FakeBatch.get_job),
    ("GET", "/jobs/([^/]+)/taskcounts", FakeBatch.get_taskcounts),
    ("PATCH", "/jobs/([^/]+)", FakeBatch.patch_job),
    ("DELETE", "/jobs/([^/]+)", FakeBatch.delete_job),
    ("POST", "/jobs/([^/]+)/terminate", FakeBatch.post_job_terminate),
    ("POST", "/jobs/([^/]+)/addtaskcollection", FakeBatch.post_addtaskcollection),
    ("GET", "/jobs/([^/]+)/tasks", FakeBatch.get_tasks),
    ("GET", "/jobs/([^/]+)/tasks/([^/]+)", FakeBatch.get_task),
    ("DELETE", "/jobs/([^/]+)/tasks/([^/]+)", FakeBatch.delete_task),
    ("GET", "/jobs/([^/]+)/tasks/([^/]+)/files", FakeBatch.get_task_files),
    ("POST", "/jobs/([^/]+)/tasks/([^/]+)/reactivate", FakeBatch.post_task_reactivate),
    ("GET", "/jobs/([^/]+)/tasks/([^/]+)/files/(.+)", FakeBatch.get_task_file),
    ("POST", "/pools", FakeBatch.post_pools),
    ("GET", "/pools", FakeBatch.get_pools),
    ("GET", "/supportedimages", FakeBatch.get_supportedimages),
    ("GET", "/pools/([^/]+)/nodes", FakeBatch.get_nodes),
    ("GET", "/pools/([^/]+)/nodes/([^/]+)", FakeBatch.get_node),
    ("POST", "/pools/([^/]+)/nodes/([^/]+)/reboot", FakeBatch.post_node_reboot),
    ("POST", "/pools/([^/]+)/enableautoscale", FakeBatch.post_pool_enableautoscale),
    ("POST", "/pools/([^/]+)/disableautoscale", FakeBatch.post_pool_disableautoscale),
    ("GET", "/pools/([^/]+)", FakeBatch.get_pool),
    ("DELETE", "/pools/([^/]+)", FakeBatch.delete_pool),
    ("POST", "/pools/([^/]+)/resize", FakeBatch.post_pool_resize),
    ("POST", "/pools/([^/]+)/evaluateautoscale", FakeBatch.post_pool_evaluate),
]


def supported_image(title, agent="batch.node.ubuntu 24.04", verified="verified", *more):
    names = dict(zip(("publisher", "offer", "sku"), title.split(":"), strict=True))
    reference = names | {"version": "latest"}
    about = {"nodeAgentSKUId": agent, "osType": "linux", "verificationType": verified}
    about |= {"capabilities": list(more), "batchSupportEndOfLife": "2029-04-30T00:00:00Z"}
    return about | {"imageReference": reference}


def now():
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def checked(model, body):
    wrong = problems(model, body)
    if wrong:
        raise Refusal(400, "InvalidPropertyValue", "; ".join(wrong))
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
            if isinstance(item[2], Refusal):
                raise item[2]
            item[2]()
            return


@contextlib.contextmanager
def serving(folder, storage=None):
    """Serve an empty account on ``fake.url``; its nodes keep their disks in a folder."""
    fake = FakeBatch(folder, storage)
    server = Server(("127.0.0.1", 0), Handler)
    server.fake = fake
    with served(server) as url:
        fake.url = url
        try:
            yield fake
        finally:
            fake.end()
