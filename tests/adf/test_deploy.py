"""The template of ``conf/azure`` with the pipelines in it, and the command that deploys it."""

from __future__ import annotations

import json
import re
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.mgmt.authorization import models as authorization
from azure.mgmt.batch import models as batch
from azure.mgmt.datafactory import models as datafactory
from azure.mgmt.keyvault import models as keyvault
from azure.mgmt.msi import models as msi
from azure.mgmt.resource.deployments import models as deployments
from azure.mgmt.storage import models as storage
from azure.storage.blob import generate_account_sas

from batchjobs.cli import deploy as command
from batchjobs.client.deployments import Deployments
from batchjobs.deploy import Deployment, template
from engine import BadSetting
from tests.adf.arm import resources
from tests.adf.factory import ROOT, load, walk
from tests.adf.models import misfits
from tests.azurite import ACCOUNT, KEY
from tests.batchjobs.packages import make_package
from tests.engine.running import run

CONF = ROOT.parent
WANTED = Deployment(
    subscription="S",
    group="G",
    location="westeurope",
    prefix="evens",
    package="package-1",
    image=("canonical", "ubuntu-24_04-lts", "server", "24.04.1"),
    agent="batch.node.ubuntu 24.04",
    operator_id="who",
)
MODELS = {
    "Microsoft.Authorization/roleAssignments": authorization.RoleAssignmentCreateParameters,
    "Microsoft.Storage/storageAccounts": storage.StorageAccountCreateParameters,
    "Microsoft.Storage/storageAccounts/blobServices/containers": storage.BlobContainer,
    "Microsoft.Batch/batchAccounts": batch.BatchAccountCreateParameters,
    "Microsoft.Batch/batchAccounts/pools": batch.Pool,
    "Microsoft.KeyVault/vaults": keyvault.VaultCreateOrUpdateParameters,
    "Microsoft.KeyVault/vaults/secrets": keyvault.SecretCreateOrUpdateParameters,
    "Microsoft.ManagedIdentity/userAssignedIdentities": msi.Identity,
    "Microsoft.DataFactory/factories": datafactory.Factory,
    "Microsoft.DataFactory/factories/linkedservices": datafactory.LinkedServiceResource,
    "Microsoft.DataFactory/factories/datasets": datafactory.DatasetResource,
    "Microsoft.DataFactory/factories/pipelines": datafactory.PipelineResource,
    "Microsoft.DataFactory/factories/triggers": datafactory.TriggerResource,
}
ROLES = {
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1": "Storage Blob Data Reader",
    "48e5e92e-a480-4e71-aa9c-2778f4c13781": "Azure Batch Job Submitter",
    "6aaa78f1-f7de-44ca-8722-c64a23943cae": "Azure Batch Data Contributor",
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
}
OF_TEMPLATES = {"type", "apiVersion", "name", "dependsOn", "comments", "scope", "condition"}


def given(wanted=WANTED):
    return {name: item["value"] for name, item in wanted.parameters().items()}


def found(wanted=WANTED):
    return resources(template(wanted, CONF), given(wanted))


def of(type_, every):
    return {id_: item for id_, item in every.items() if item["type"] == type_}


def test_every_resource_is_what_the_models_describe():
    for id_, item in found().items():
        body = {key: value for key, value in item.items() if key not in OF_TEMPLATES}
        assert misfits(MODELS[item["type"]], body) == [], id_


@pytest.mark.parametrize("formula", ["", "$TargetDedicatedNodes = 1;"])
def test_what_a_resource_waits_for_is_there_and_nothing_waits_in_a_circle(formula):
    every = found(Deployment(**(vars(WANTED) | {"formula": formula})))
    for id_, item in every.items():
        assert set(item.get("dependsOn", [])) <= set(every), id_
    done = set()
    while len(done) < len(every):
        ready = {i for i, item in every.items() if set(item.get("dependsOn", [])) <= done} - done
        assert ready, "a circle"
        done |= ready
    (pool,) = of("Microsoft.Batch/batchAccounts/pools", every).values()
    scale = pool["properties"]["scaleSettings"]
    if formula:
        assert scale["autoScale"] == {"formula": formula, "evaluationInterval": "PT5M"}
    else:
        assert scale["fixedScale"]["targetDedicatedNodes"] == 0


def test_names_are_legal_and_those_of_the_pipelines():
    every, names = found(), WANTED.names
    accounts = {item["name"] for item in of("Microsoft.Storage/storageAccounts", every).values()}
    assert accounts == {names["lake"], names["work"]}
    for name in accounts | {names["batch"]}:
        assert re.fullmatch(r"[a-z0-9]{3,24}", name)
    longest = Deployment(**(vars(WANTED) | {"prefix": "p" * 10})).names
    assert len(longest["batch"]) <= 24
    assert len(longest["vault"]) <= 24
    for kind, type_ in (("vault", "KeyVault/vaults"), ("factory", "DataFactory/factories")):
        assert [i["name"] for i in of(f"Microsoft.{type_}", every).values()] == [names[kind]]
    text = json.dumps(every)
    assert not re.search(r"<(lake|work|vault|batch|region|pool)\b", text)
    assert f"https://{names['lake']}.dfs.core.windows.net" in text
    assert WANTED.packages_url in text
    objects = load()
    for kind, plural in (("pipeline", "pipelines"), ("trigger", "triggers")):
        there = of(f"Microsoft.DataFactory/factories/{plural}", every).values()
        assert {item["name"].partition("/")[2] for item in there} == set(objects[kind])
    (factory,) = of("Microsoft.DataFactory/factories", every).values()
    kept = objects["factory"]["evensplit"]["properties"]["globalParameters"]
    made = factory["properties"]["globalParameters"]
    assert {k: v["type"] for k, v in made.items()} == {k: v["type"] for k, v in kept.items()}


def test_nobody_may_do_more_than_is_needed():
    every, may = found(), set()
    for item in of("Microsoft.Authorization/roleAssignments", every).values():
        who = item["properties"]["principalId"].rstrip(">").rpartition("/")[2]
        role = ROLES[item["properties"]["roleDefinitionId"].rpartition("/")[2]]
        may.add((who, role, item["scope"].rpartition("/providers/")[2].partition("/")[2]))
    names = WANTED.names
    lake = f"storageAccounts/{names['lake']}/blobServices/default/containers/lake"
    packages = f"storageAccounts/{names['work']}/blobServices/default/containers/packages"
    account = f"batchAccounts/{names['batch']}"
    nodes, factory = "evens-nodes", names["factory"]
    assert may == {
        (nodes, "Storage Blob Data Contributor", lake),
        (nodes, "Storage Blob Data Reader", packages),
        (nodes, "Azure Batch Job Submitter", account),
        (factory, "Storage Blob Data Contributor", lake),
        (factory, "Azure Batch Data Contributor", account),
        (factory, "Key Vault Secrets User", f"vaults/{names['vault']}"),
        (names["batch"], "Storage Blob Data Contributor", f"storageAccounts/{names['work']}"),
        ("who", "Storage Blob Data Contributor", packages),
    }
    alone = Deployment(**(vars(WANTED) | {"operator_id": ""}))
    assert len(of("Microsoft.Authorization/roleAssignments", found(alone))) == len(may) - 1


def test_keys_go_from_their_account_to_the_vault_and_nowhere_else():
    made = template(WANTED, CONF)
    assert not [
        name for name in made["parameters"] if re.search("key|secret|sas", name, re.IGNORECASE)
    ]
    every = found()
    holding = {id_ for id_, item in every.items() if "<key of" in json.dumps(item)}
    assert holding == set(of("Microsoft.KeyVault/vaults/secrets", every))
    outputs = [text for text in walk(made["outputs"]) if isinstance(text, str)]
    assert not [text for text in outputs if "listKeys" in text]
    lake = next(i for i in every.values() if i["name"] == WANTED.names["lake"])
    assert lake["properties"]["allowSharedKeyAccess"] is False
    assert lake["properties"]["isHnsEnabled"] is True


def test_what_nobody_knows_is_refused(tmp_path):
    for wrong in ({"prefix": "Evens"}, {"prefix": "ab"}, {"batch_count": 51}):
        with pytest.raises(BadSetting):
            Deployment(**(vars(WANTED) | wrong))
    with pytest.raises(BadSetting, match="--conf"):
        template(WANTED, tmp_path)
    (tmp_path / "azure").mkdir()
    (tmp_path / "azure/main.json").write_text('{"resources": []}')
    (tmp_path / "adf/dataset").mkdir(parents=True)
    (tmp_path / "adf/dataset/x.json").write_text('{"name": "x", "properties": {"a": "<what>"}}')
    with pytest.raises(BadSetting, match="<what>"):
        template(WANTED, tmp_path)
    (tmp_path / "adf/dataset/x.json").write_text('{"name": "x", "properties": {"a": "[x]"}}')
    (made,) = template(WANTED, tmp_path)["resources"]
    assert made["properties"] == {"a": "[[x]"}, "no expression of the template's"


def test_the_number_of_files_at_once_is_set():
    every = found(Deployment(**(vars(WANTED) | {"batch_count": 7})))
    counts = [
        item["batchCount"]
        for item in walk(every)
        if isinstance(item, dict) and "batchCount" in item
    ]
    assert counts == [7, 7]


class FakeArm(BaseHTTPRequestHandler):
    """Azure Resource Manager's deployments on 127.0.0.1: what it is asked is kept."""

    def do_GET(self):
        triggers = self.server.triggers
        where = self.path.partition("?")[0]
        if where.endswith("/triggers"):
            found = {"value": [_trigger(name, triggers[name]) for name in triggers]}
            self._answer(200 if triggers else 404, found)
        else:
            name = where.rpartition("/")[2]
            self._answer(200, _trigger(name, triggers[name]))

    def do_POST(self):
        *_, name, verb = self.path.partition("?")[0].split("/")
        if name in self.server.triggers:
            stays = (name, verb) == self.server.broken
            if not stays:
                self.server.triggers[name] = {"stop": "Stopped", "start": "Started"}[verb]
            self._answer(500 if stays else 200, {})
            return
        change = {"resourceId": f"{self.path.partition('?')[0]}/x", "changeType": "Create"}
        self._answer(200, {"status": "Succeeded", "properties": {"changes": [change]}})

    def do_PUT(self):
        if "Started" in self.server.triggers.values():
            error = {"code": "TriggerEnabledCannotUpdate", "message": "Cannot update enabled."}
            self._answer(400, {"error": error})
            return
        outputs = {"factory": {"type": "String", "value": "evens-factory"}}
        self._answer(200, {"properties": {"provisioningState": "Succeeded", "outputs": outputs}})

    def _answer(self, status, data):
        length = int(self.headers.get("Content-Length") or 0)
        content = json.loads(self.rfile.read(length) or "null")
        if content is not None:
            self.server.asked.append((self.command, self.path, content))
        if self.server.refuse and content is not None:
            status, data = self.server.refuse
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def _trigger(name, state):
    return {"name": name, "properties": {"runtimeState": state}}


@pytest.fixture
def arm(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeArm)
    server.asked, server.refuse, server.triggers, server.broken = [], None, {}, None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"

    def connect(subscription, group, login):
        # The SDK as it is, but that no token may be sent in the clear.
        plain = {"base_url": url, "authentication_policy": SansIOHTTPPolicy(), "retry_total": 0}
        return Deployments(subscription, group, "cli", {}, **plain)

    monkeypatch.setattr(command, "connect", connect)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def call(tmp_path, *words):
    package = tmp_path / "package"
    if not package.exists():
        package.mkdir()
        make_package(package, "pass")
    return run(
        "batch", "deploy", "--subscription", "S", "--group", "G", "--location", "westeurope",
        "--package", package, "--image", "canonical:ubuntu:server:1.2.3", "--conf", CONF,
        "--agent", "batch.node.ubuntu 24.04", *words,
    )  # fmt: skip


def test_the_command_shows_what_would_change_and_does_it(tmp_path, arm, azurite, monkeypatch):
    shown = call(tmp_path, "--what-if")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith("Create     /subscriptions/S/resourcegroups/G/")
    ((method, path, body),) = arm.asked
    assert (method, "/whatIf?" in path) == ("POST", True)
    assert misfits(deployments.DeploymentWhatIf, body) == []
    assert body["properties"]["mode"] == "Incremental"
    names = Deployment(**(vars(WANTED) | {"operator_id": ""})).names
    sas = generate_account_sas(
        ACCOUNT,
        KEY,
        resource_types="sco",
        permission="rwlcd",
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    words = {
        "AccountName": names["work"],
        "BlobEndpoint": azurite.endpoint,
        "SharedAccessSignature": sas,
    }
    text = ";".join(f"{key}={value}" for key, value in words.items())
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    client = azurite.client().get_container_client("packages")
    client.create_container()
    done = call(tmp_path, "--apply", "--formula", CONF / "batch/autoscale/pending.txt", "--json")
    assert done.err == ""
    told = json.loads(done.out)
    assert told["factory"] == "evens-factory"
    uploaded = {blob.name for blob in client.list_blobs()}
    assert f"{told['package']}/start.sh" in uploaded
    put = arm.asked[-1][2]["properties"]
    assert put["parameters"]["package"]["value"] == told["package"]
    assert "min(10, nodes)" in put["parameters"]["formula"]["value"]
    assert sas not in json.dumps(put) + done.out
    assert names["work"] in json.dumps(put)


@pytest.fixture
def uploads_nothing(monkeypatch):
    monkeypatch.setattr(command, "_upload", lambda *_: None)


STARTED = {"new_file": "Started", "nightly": "Stopped", "mine": "Started"}


def test_started_triggers_are_stopped_while_all_is_deployed_again(tmp_path, arm, uploads_nothing):
    arm.triggers = dict(STARTED)
    done = call(tmp_path, "--apply")
    assert (done.code, done.err) == (0, "stopped for the deployment: new_file, mine\n")
    assert arm.triggers == STARTED


def test_triggers_are_started_again_after_a_deployment_that_fails(tmp_path, arm, uploads_nothing):
    arm.triggers = dict(STARTED)
    arm.refuse = (400, {"error": {"code": "InvalidTemplate", "message": "line 7"}})
    refused = call(tmp_path, "--apply")
    assert (refused.code, "InvalidTemplate: line 7" in refused.err) == (2, True)
    assert arm.triggers == STARTED


def test_a_trigger_that_does_not_start_again_is_named(tmp_path, arm, uploads_nothing):
    arm.triggers, arm.broken = dict(STARTED), ("mine", "start")
    ended = call(tmp_path, "--apply")
    assert (ended.code, "are stopped still: mine; start them" in ended.err) == (5, True)
    assert arm.triggers == STARTED | {"mine": "Stopped"}
    arm.triggers, arm.broken = dict(STARTED), ("mine", "stop")
    assert call(tmp_path, "--apply").code == 5
    assert arm.triggers == STARTED


def test_nobody_logged_in_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = call(tmp_path, "--what-if", "--login", "cli")
    assert (ended.code, "az login" in ended.err) == (2, True)


def test_the_command_says_what_is_wrong(tmp_path, arm):
    assert "--what-if or --apply" in call(tmp_path).err
    error = {"code": "InvalidTemplate", "message": "line 7", "details": []}
    arm.refuse = (400, {"error": error})
    refused = call(tmp_path, "--apply")
    assert (refused.code, "InvalidTemplate: line 7" in refused.err) == (2, True)
    arm.refuse = (403, {"error": {"code": "AuthorizationFailed", "message": "no"}})
    denied = call(tmp_path, "--apply")
    assert (denied.code, "Role Based Access Control Administrator" in denied.err) == (2, True)
    arm.refuse = (503, {"error": {"code": "Busy", "message": "later"}})
    assert call(tmp_path, "--what-if").code == 5
