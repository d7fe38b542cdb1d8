"""The template of ``conf/azure`` with the pipelines in it."""

from __future__ import annotations

import json
import re

import pytest
from azure.mgmt.authorization import models as authorization
from azure.mgmt.batch import models as batch
from azure.mgmt.datafactory import models as datafactory
from azure.mgmt.keyvault import models as keyvault
from azure.mgmt.msi import models as msi
from azure.mgmt.storage import models as storage

from batchjobs.deploy import Deployment, Operator, parse_operator, region, template
from engine import BadSetting
from tests.adf.arm import resources
from tests.adf.factory import ROOT, load, walk
from tests.adf.manager import APP, OPERATOR
from tests.adf.models import misfits

CONF = ROOT.parent
WANTED = Deployment(
    subscription="S",
    group="G",
    location="westeurope",
    operators=(Operator(OPERATOR), Operator(APP, "ServicePrincipal")),
)
MODELS = {
    "Microsoft.Authorization/roleAssignments": authorization.RoleAssignmentCreateParameters,
    "Microsoft.Storage/storageAccounts": storage.StorageAccountCreateParameters,
    "Microsoft.Storage/storageAccounts/blobServices/containers": storage.BlobContainer,
    "Microsoft.Batch/batchAccounts": batch.BatchAccountCreateParameters,
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


def test_what_a_resource_waits_for_is_there_and_nothing_waits_in_a_circle():
    every = found()
    for id_, item in every.items():
        assert set(item.get("dependsOn", [])) <= set(every), id_
    done = set()
    while len(done) < len(every):
        ready = {i for i, item in every.items() if set(item.get("dependsOn", [])) <= done} - done
        assert ready, "a circle"
        done |= ready


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
        (OPERATOR, "Storage Blob Data Contributor", packages),
        (APP, "Storage Blob Data Contributor", packages),
    }
    alone = Deployment(**(vars(WANTED) | {"operators": ()}))
    assert len(of("Microsoft.Authorization/roleAssignments", found(alone))) == len(may) - 2


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
    for text in ("who", OPERATOR + ":Robot", "", OPERATOR + "0"):
        with pytest.raises(BadSetting, match="object id"):
            parse_operator(text)
    assert parse_operator(OPERATOR.upper() + ":group") == (OPERATOR, "Group")
    assert region("West Europe") == region("westeurope") == "westeurope"
    with pytest.raises(BadSetting, match="list-locations"):
        region("west/europe")
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
