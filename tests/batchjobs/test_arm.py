"""Pools that only Azure Resource Manager makes, containers, and application packages."""

from __future__ import annotations

import datetime
import io
import json
import sys
import zipfile
from dataclasses import replace

import pytest
from azure.batch import models as batch_models
from azure.mgmt.batch import models
from azure.storage.blob import BlobSasPermissions, generate_blob_sas

from batchjobs.client.arm import BatchAccount, pool_resource
from batchjobs.client.bodies import pool_options, task_options
from batchjobs.errors import PoolDiffers
from batchjobs.spec import FileSplit, JobSpec, PoolSpec, TaskSpec
from engine import BadSetting, NoPermission
from tests import azurite as azurite_module
from tests.batchjobs.fake_arm import ACCOUNT_ID, Login, managing
from tests.batchjobs.fake_batch import BIN
from tests.batchjobs.packages import delegating, make_package
from tests.batchjobs.request_check import problems
from tests.engine.running import run, write_source

IDENTITY = f"{ACCOUNT_ID.partition('/providers')[0]}/providers/x/userAssignedIdentities/nodes"
POOL = PoolSpec(
    "standard_d2ds_v5",
    ("canonical", "ubuntu", "server", "1.2"),
    "batch.node.ubuntu 24.04",
    slots_per_node=2,
    num_spot=3,
    package="package-1",
    package_container="https://acc.blob.core.windows.net/packages",
    identity=IDENTITY,
)
CONTAINER = replace(
    POOL,
    package="",
    package_container="",
    container="acr.azurecr.io/evensplit:1.0",
    registry="acr.azurecr.io",
)
APPLICATION = replace(POOL, application="evensplit:package-1", identity="", package_container="")
KINDS = {
    "identity": POOL,
    "formula": replace(POOL, formula="$TargetDedicatedNodes = 0;", num_spot=0),
    "container": CONTAINER,
    "application": APPLICATION,
}


@pytest.fixture
def login(monkeypatch):
    made = Login()
    monkeypatch.setattr("batchjobs.client.arm.token", lambda name, environment: made)
    return made


@pytest.fixture
def manager(tmp_path, login, monkeypatch):
    with managing(tmp_path) as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield found


def as_sent(model):
    return json.loads(json.dumps(model.as_dict(exclude_readonly=True)))


@pytest.mark.parametrize("pool", KINDS.values(), ids=KINDS)
def test_both_planes_are_sent_what_their_descriptions_allow(pool):
    resource = as_sent(pool_resource(ACCOUNT_ID, "nodes", pool))
    assert problems(models.Pool, resource) == []
    options = as_sent(pool_options("nodes", pool))
    assert problems(batch_models.BatchPoolCreateOptions, options) == []
    said = {item["name"]: item["value"] for item in resource["properties"]["metadata"]}
    assert said == {item["name"]: item["value"] for item in options["metadata"]}
    assert said["evensplit.spec"] == pool.id
    start = resource["properties"].get("startTask")
    assert (start or {}).get("commandLine") == options.get("startTask", {}).get("commandLine")


def test_the_check_finds_what_is_wrong():
    body = as_sent(pool_resource(ACCOUNT_ID, "nodes", POOL))
    body["properties"]["vmSize"] = 3
    body["properties"]["nodes"] = 1
    body["properties"]["scaleSettings"]["fixedScale"]["nodeDeallocationOption"] = "wait"
    del body["properties"]["startTask"]["resourceFiles"][0]["identityReference"]
    del body["properties"]["metadata"][0]["value"]
    assert len(problems(models.Pool, body)) == 4
    assert problems(models.Pool, {"etag": "1"}) == ["body.etag is the service's to say"]


def test_a_pool_with_an_identity_is_made_once_and_not_mistaken(manager, login):
    account = BatchAccount(ACCOUNT_ID, "cli", manager.environment)
    assert account.has_pool("nodes", POOL) is False
    assert account.create_pool("nodes", POOL) is True
    assert account.create_pool("nodes", POOL) is False
    with pytest.raises(PoolDiffers, match="another spec"):
        account.has_pool("nodes", replace(POOL, slots_per_node=4))
    sent = manager.pools["nodes"]
    assert sent["identity"] == {
        "type": "UserAssigned",
        "userAssignedIdentities": {IDENTITY: {}},
    }
    (file,) = sent["properties"]["startTask"]["resourceFiles"]
    assert file["identityReference"] == {"resourceId": IDENTITY}
    assert file["storageContainerUrl"] == "https://acc.blob.core.windows.net/packages"
    assert login.scopes[0].startswith("https://127.0.0.1")


def test_a_token_that_is_not_taken_and_an_account_that_is_none_are_told(manager, login):
    login.token = "another"
    account = BatchAccount(ACCOUNT_ID, "cli", manager.environment)
    with pytest.raises(NoPermission, match="does not take the credential") as caught:
        account.has_pool("nodes", POOL)
    assert "another" not in str(caught.value)
    with pytest.raises(BadSetting, match="no resource id of a Batch account"):
        BatchAccount("b1", "cli", {})


def test_resource_manager_takes_no_key():
    with pytest.raises(BadSetting, match="takes no account key"):
        BatchAccount(ACCOUNT_ID, "key", {"AZURE_BATCH_ACCESS_KEY": "x"})


def test_tasks_in_a_container_say_so_and_need_no_start_task():
    options = as_sent(pool_options("nodes", CONTAINER))
    assert "startTask" not in options
    machine = options["virtualMachineConfiguration"]["containerConfiguration"]
    assert machine["containerImageNames"] == [CONTAINER.container]
    assert machine["containerRegistries"] == [
        {"registryServer": "acr.azurecr.io", "identityReference": {"resourceId": IDENTITY}}
    ]
    task = TaskSpec((FileSplit("az://a", "az://b"),), package=CONTAINER.program)
    sent = as_sent(task_options(JobSpec(("az://a",), "az://b", {}, "nodes"), task))
    assert problems(batch_models.BatchTaskCreateOptions, sent) == []
    assert sent["containerSettings"]["imageName"] == CONTAINER.container
    assert sent["commandLine"] == "/bin/bash -c 'exec \"evensplit\" batch task'"


def pool_words(package, *words):
    image = ("--image", "canonical:ubuntu:server:1.2.3", "--agent", "batch.node.ubuntu 24.04")
    return (*image, "--package", package, "--account-id", ACCOUNT_ID, "--spot", 1, *words, "--json")


@pytest.fixture
def container(azurite, monkeypatch, tmp_path):
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string)
    monkeypatch.setenv("EVENSPLIT_PYTHON", sys.executable)
    path = write_source(tmp_path / "a.parquet", 2_000)
    name = azurite.new_container()
    azurite.client().get_blob_client(name, "in/a.parquet").upload_blob(path.read_bytes())
    (tmp_path / "package").mkdir()
    make_package(tmp_path / "package", delegating(BIN / "evensplit"))
    return name


def test_submit_makes_a_pool_with_an_identity(fake, manager, container, tmp_path, monkeypatch):
    """The package goes to a store of the identity's; here its upload is all that is left out."""
    put = {}
    monkeypatch.setattr("engine.hooks.put_file", lambda url, data, **how: put.update({url: data}))
    words = ("batch", "submit", f"abfs://{container}/in", "--dest", f"abfs://{container}/out")
    place = "abfss://packages@acc.dfs.core.windows.net"
    more = ("--pool-identity", IDENTITY, "--package-url", place, "--client-id", "c1")
    words = (*words, *pool_words(tmp_path / "package", *more))
    shown = json.loads(run(*words, "--dry-run").out)
    assert (manager.requests, put) == ([], {})
    ended = run(*words)
    assert ended.code == 0, ended.err
    made = json.loads(ended.out)
    assert set(put) == set(shown["uploads"])
    (first, *_) = shown["requests"]
    assert first["method"] == "PUT"
    assert first["path"] == f"{ACCOUNT_ID}/pools/{made['pool']}"
    assert first["body"] == manager.pools[made["pool"]]
    settings = fake.jobs[made["job_id"]]["commonEnvironmentSettings"]
    assert {"name": "AZURE_CLIENT_ID", "value": "c1"} in settings
    assert json.loads(run(*words).out)["pool_made"] is False


@pytest.mark.slow
def test_an_application_package_is_uploaded_unpacked_and_run(
    fake, manager, container, azurite, tmp_path
):
    """Through Resource Manager to Azurite; the pool's node unpacks what lies there."""
    client = azurite.client().get_blob_client(container, "application.zip")
    sas = generate_blob_sas(
        azurite_module.ACCOUNT,
        container,
        client.blob_name,
        account_key=azurite_module.KEY,
        permission=BlobSasPermissions(read=True, write=True, create=True),
        expiry=datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1),
    )
    manager.upload_url = f"{client.url}?{sas}"
    fake.storage = azurite.client()
    words = ("batch", "submit", f"abfs://{container}/in", "--dest", f"abfs://{container}/out")
    words = (*words, *pool_words(tmp_path / "package", "--application", "evensplit"))
    ended = run(*words)
    assert ended.code == 0, ended.err
    assert sas not in ended.out + ended.err
    made = json.loads(ended.out)
    ((name, package),) = manager.packages.items()
    assert package["properties"]["state"] == "Active"
    uploaded = client.download_blob().readall()
    assert "start.sh" in zipfile.ZipFile(io.BytesIO(uploaded)).namelist()
    # What Resource Manager made is there for the data plane too.
    sent = manager.pools[made["pool"]]["properties"]
    (reference,) = sent["applicationPackages"]
    assert reference["id"] == f"{ACCOUNT_ID}/applications/evensplit"
    fake.applications[name] = uploaded
    fake.pools[made["pool"]] = {
        "id": made["pool"],
        "taskSlotsPerNode": sent["taskSlotsPerNode"],
        "startTask": sent["startTask"],
        "applicationPackageReferences": [
            {"applicationId": "evensplit", "version": reference["version"]}
        ],
        "currentDedicatedNodes": 0,
        "currentLowPriorityNodes": 1,
    }
    with fake.working():
        ended = run("batch", "wait", made["job_id"], "--poll-seconds", 0.1)
    assert ended.code == 0, ended.err
    assert run("verify", f"abfs://{container}/out/a").code == 0
