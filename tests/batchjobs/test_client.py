"""The SDK against a service on 127.0.0.1: requests, errors, credentials, pools."""

from __future__ import annotations

import base64
import os
from dataclasses import replace

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CredentialUnavailableError

from batchjobs.client import connect
from batchjobs.client.errors import translate_sdk_errors
from batchjobs.errors import NoJob, NoNodes, OverQuota, PoolDiffers, ServiceFailed
from batchjobs.fanout import submit
from batchjobs.monitor import look, wait
from batchjobs.spec import FileSplit, JobSpec, PoolSpec, TaskSpec
from engine import BadSetting, NoPermission
from tests.batchjobs.fake_batch import KEY, Refusal
from tests.batchjobs.fake_nodes import Node, failure

POOL = PoolSpec("standard_d2ds_v5", ("a", "b", "c", "1.0"), "agent", package="p", num_spot=3)
ADD = "/jobs/[^/]+/addtaskcollection"


@pytest.fixture
def service(fake):
    return connect(fake.url, "auto", os.environ)


def tasks_of(number, length=10, **more):
    return [
        TaskSpec((FileSplit(f"az://in/{i:0{length}}.parquet", f"az://out/{i}", "v", number - i),))
        for i in range(number)
    ]


def job_of(tasks, **more):
    return JobSpec((f"az://in/{len(tasks)}",), "az://out", {}, "nodes", **more)


def test_a_thousand_tasks_take_no_more_than_15_requests_and_keep_their_order(fake, service):
    tasks = tasks_of(1000)
    job = job_of(tasks)
    made = submit(service, job, tasks)
    assert made.num_added == 1000
    assert len(fake.requests) == 14
    assert list(fake.tasks[job.id]) == [task.id for task in tasks]
    assert [task.id for task in service.tasks(job.id)] == [task.id for task in tasks]
    assert fake.count("GET", f"/jobs/{job.id}/tasks") == 1 + 10  # pages of 100
    assert submit(service, job, tasks).num_found == 1000
    assert fake.count("POST", ADD) == 10


def test_what_a_job_and_its_tasks_are_sent_as(fake, service):
    tasks = tasks_of(1)
    identity = "/subscriptions/1/id"
    job = job_of(
        tasks,
        slots_per_node=4,
        max_task_seconds=90,
        retention_seconds=3600,
        outputs_url="https://acc.blob.core.windows.net/logs",
        identity=identity,
    )
    submit(service, job, [replace(tasks[0], package="p1")])
    sent = fake.jobs[job.id]
    assert sent["poolInfo"] == {"poolId": "nodes"}
    assert sent["onAllTasksComplete"] == "terminatejob"
    slots = {"name": "EVENSPLIT_SLOTS_PER_NODE", "value": "4"}
    assert sent["commonEnvironmentSettings"] == [slots]
    assert {item["name"]: item["value"] for item in sent["metadata"]}["made-by"] == "evensplit"
    (task,) = fake.tasks[job.id].values()
    assert task["commandLine"].endswith("/evensplit/p1/bin/evensplit\" batch task'")
    assert task["constraints"] == {
        "maxTaskRetryCount": 2,
        "maxWallClockTime": "PT01M30S",
        "retentionTime": "PT01H00M00S",
    }
    patterns = {
        item["filePattern"]: item["destination"]["container"] for item in task["outputFiles"]
    }
    assert set(patterns) == {"../std*.txt", "result*.json"}
    assert patterns["../std*.txt"]["identityReference"] == {"resourceId": identity}
    assert patterns["../std*.txt"]["path"].startswith(f"{job.id}/")


def test_a_body_that_is_too_large_is_sent_in_halves(fake, service):
    tasks = tasks_of(100, length=12_000)
    submit(service, job_of(tasks), tasks)
    assert len(fake.tasks[job_of(tasks).id]) == 100
    assert fake.count("POST", ADD) > 2


def test_throttling_and_a_service_that_is_busy_are_waited_out(fake, service):
    fake.refuse = [
        ("POST", ADD, Refusal(429, "TooManyRequests", headers={"Retry-After": "0"})),
        ("POST", "/jobs", Refusal(503, "ServerBusy", headers={"Retry-After": "0"})),
        ("GET", "/jobs/[^/]+", Refusal(503, "ServerBusy", headers={"Retry-After": "0"})),
    ]
    tasks = tasks_of(3)
    assert submit(service, job_of(tasks), tasks).num_added == 3
    assert fake.refuse == []


def test_answers_that_were_lost_are_no_failures(fake, service):
    lost = {"headers": {"Retry-After": "0"}}
    fake.after = [
        ("POST", "/jobs", Refusal(503, "ServerBusy", **lost)),
        ("POST", ADD, Refusal(503, "ServerBusy", **lost)),
        ("POST", "/pools", Refusal(503, "ServerBusy", **lost)),
    ]
    tasks = tasks_of(3)
    assert submit(service, job_of(tasks), tasks).num_added == 3
    service.create_pool("nodes", POOL)
    assert fake.after == []
    assert (len(fake.jobs), len(fake.pools)) == (1, 1)


def test_a_task_that_is_refused_is_told_and_the_others_are_added(fake, service):
    tasks = tasks_of(3)
    job = job_of(tasks)

    class Illegal(TaskSpec):
        id = "not legal!"

    with pytest.raises(ServiceFailed, match="1 tasks were not added: InvalidPropertyValue"):
        submit(service, job, [*tasks, Illegal(tasks[0].files)])
    assert len(fake.tasks[job.id]) == 3
    assert fake.jobs[job.id]["onAllTasksComplete"] == "noaction"


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("ActiveJobAndScheduleQuotaReached", "clean.*raise"),
        ("AccountCoreQuotaReached", "--dedicated or --vm-size.*dedicatedCoreQuota"),
    ],
)
def test_a_quota_names_the_two_ways_out(fake, service, code, advice):
    fake.refuse = [("POST", "/jobs", Refusal(409, code, "The quota is reached."))]
    with pytest.raises(OverQuota, match=f"The quota is reached.; .*{advice}"):
        submit(service, job_of([]), [])


def test_a_job_that_ends_while_it_is_filled_goes_on_in_the_next_attempt(fake, service):
    fake.refuse = [("POST", ADD, Refusal(409, "JobCompleted"))]
    tasks = tasks_of(2)
    job = job_of(tasks)
    made = submit(service, job, tasks)
    assert made.job_id == replace(job, attempt=1).id
    assert len(fake.tasks[made.job_id]) == 2


def test_a_wrong_key_is_told_and_no_key_is_shown(fake):
    wrong = base64.b64encode(b"another key").decode()
    service = connect(
        fake.url, "key", {"AZURE_BATCH_ACCESS_KEY": wrong, "AZURE_BATCH_ACCOUNT": "x"}
    )
    with pytest.raises(NoPermission, match="does not take the credential") as caught:
        service.jobs()
    assert wrong not in str(caught.value) + repr(caught.value)


def test_a_service_that_is_not_there_is_told():
    service = connect("http://127.0.0.1:1", "key", {"AZURE_BATCH_ACCESS_KEY": KEY})
    service._client._config.retry_policy.total_retries = 0
    with pytest.raises(ServiceFailed, match="cannot be reached"):
        service.jobs()


@pytest.mark.parametrize(
    ("login", "missing"), [("key", "AZURE_BATCH_ACCESS_KEY"), ("service-principal", "TENANT_ID")]
)
def test_a_login_that_lacks_its_environment_is_refused(login, missing):
    with pytest.raises(BadSetting, match=missing):
        connect("https://a.b.batch.azure.com", login, {})


@pytest.mark.parametrize(
    ("login", "environment", "kind"),
    [
        ("auto", {"AZURE_BATCH_ACCESS_KEY": KEY, "AZURE_CLIENT_SECRET": "x"}, "AzureNamedKey"),
        ("auto", {}, "AzureCli"),
        ("identity", {"AZURE_BATCH_ACCESS_KEY": KEY}, "ManagedIdentity"),
        (
            "auto",
            {"AZURE_CLIENT_SECRET": "x", "AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c"},
            "ClientSecret",
        ),
    ],
)
def test_a_login_is_the_one_that_is_named_or_set(login, environment, kind):
    service = connect("https://a.b.batch.azure.com", login, environment)
    assert type(service._client._config.credential).__name__ == f"{kind}Credential"


def test_no_account_is_told():
    with pytest.raises(BadSetting, match="AZURE_BATCH_ENDPOINT"):
        connect("", "auto", {})


def test_a_pool_is_made_once_and_not_mistaken(fake, service):
    assert service.create_pool("nodes", POOL) is True
    assert service.create_pool("nodes", POOL) is False
    with pytest.raises(PoolDiffers, match="another spec"):
        service.create_pool("nodes", replace(POOL, slots_per_node=2))
    sent = fake.pools["nodes"]
    assert sent["targetLowPriorityNodes"] == 3
    assert sent["startTask"]["commandLine"] == "/bin/bash p/start.sh p"
    assert sent["startTask"]["waitForSuccess"] is True
    assert sent["virtualMachineConfiguration"]["imageReference"]["version"] == "1.0"
    found = service.find_pool("nodes")
    assert (found.package, found.slots_per_node, found.vm_size) == ("p", 1, "standard_d2ds_v5")


def test_a_pool_with_a_formula_scales_itself(fake, service):
    service.create_pool("nodes", replace(POOL, formula="$TargetDedicatedNodes = 0;", num_spot=0))
    sent = fake.pools["nodes"]
    assert sent["enableAutoScale"] is True
    assert sent["autoScaleEvaluationInterval"] == "PT05M00S"
    assert "targetDedicatedNodes" not in sent


def test_a_pool_is_resized_evaluated_and_deleted(fake, service):
    service.create_pool("nodes", POOL)
    service.resize_pool("nodes", 2, 1)
    assert fake.pools["nodes"]["nodeDeallocationOption"] == "taskcompletion"
    assert service.find_pool("nodes").num_dedicated == 2
    assert service.evaluate("nodes", "x = 1;") == "$TargetDedicatedNodes=0"
    with pytest.raises(BadSetting, match="Function doesn't exist"):
        service.evaluate("nodes", "nonsense()")
    service.delete_pool("nodes")
    with pytest.raises(NoJob, match="PoolNotFound"):
        service.find_pool("nodes")


def test_what_keeps_a_pool_from_its_nodes_is_shown(fake, service):
    service.create_pool("nodes", POOL)
    error = {"code": "AccountCoreQuotaReached", "message": "The core quota is reached."}
    fake.pools["nodes"]["resizeErrors"] = [error]
    told = service.find_pool("nodes").problem
    assert told.startswith(
        "AccountCoreQuotaReached: The core quota is reached.; change --dedicated"
    )


def test_a_preempted_task_begins_again_under_its_id(fake, service):
    tasks = tasks_of(1)
    job = job_of(tasks, max_retries=0)
    submit(service, job, tasks)
    (task,) = fake.tasks[job.id].values()
    task["commandLine"] = "/bin/bash -c 'echo begun; sleep 60'"
    fake.start(job.id, task)
    assert service.tasks(job.id)[0].state == "running"
    fake.preempt(job.id, task)
    found = service.tasks(job.id)[0]
    assert (found.id, found.state, found.num_requeues) == (tasks[0].id, "waiting", 1)
    assert service.read_file(job.id, found.id, "stdout.txt") is None


def begin_one(fake, service, **more):
    """A job of one task that has a pool."""
    service.create_pool("nodes", POOL)
    tasks = tasks_of(1)
    job = job_of(tasks, **more)
    submit(service, job, tasks)
    (task,) = fake.tasks[job.id].values()
    return job, task


def test_a_task_that_takes_too_long_is_ended(fake, service):
    job, task = begin_one(fake, service, max_retries=0, max_task_seconds=1)
    task["commandLine"] = "/bin/bash -c 'sleep 60'"
    fake.run(job.id)
    report = look(service, job.id)
    (found,) = report.failed
    assert found.task.exit_code == -9
    assert "--max-hours" in found.advice
    assert report.job.ended_at > 0


def test_what_keeps_tasks_waiting_for_ever_is_told(fake, service):
    job, task = begin_one(fake, service)
    node = Node(fake, "nodes", "tvm-9")
    fake.nodes["tvm-9"] = node
    assert look(service, job.id).error() is None  # it has yet to begin
    node.state = "starttaskfailed"
    node.start_info = {"state": "completed", "exitCode": 2, "failureInfo": failure()}
    node.start_info |= {"retryCount": 3, "startTime": "2026-01-01T00:00:00Z"}
    with pytest.raises(NoNodes, match=r"its start task failed .*exit code 2"):
        raise look(service, job.id).error()
    task["state"] = "running"
    assert look(service, job.id).error() is None
    task["state"] = "active"
    service.resize_pool("nodes", 0, 0)
    seen = []
    report = wait(service, job.id, seen.append, poll_seconds=0.01)
    assert isinstance(report.error(), NoNodes)
    assert len(seen) == 2
    assert "pool resize nodes" in str(report.error())
    service.delete_pool("nodes")
    with pytest.raises(NoNodes, match="not there any more"):
        raise look(service, job.id).error()


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (CredentialUnavailableError("no response from the IMDS endpoint."), ServiceFailed, "again"),
        (CredentialUnavailableError("Please run 'az login' to set up"), NoPermission, "az login"),
        (ClientAuthenticationError("AADSTS700016"), NoPermission, "does not take"),
    ],
)
def test_a_token_that_does_not_come_is_told_from_one_that_is_refused(error, kind, told):
    with pytest.raises(kind, match=told), translate_sdk_errors():
        raise error
