"""``batch deploy`` once, again, changed and after a tear-down: by the rules that Azure has."""

from __future__ import annotations

import json
import time

import pytest
from azure.mgmt.batch import models as batch
from azure.mgmt.resource.deployments import models as deployments

from batchjobs.cli import deploy as command
from batchjobs.client import service
from batchjobs.deploy import Deployment
from engine import NoPermission, hooks
from tests.adf.deploying import CONF, arm, deploy
from tests.adf.manager import APP, GROUP_ID, OPERATOR, Refused
from tests.adf.models import misfits
from tests.batchjobs.request_check import problems
from tests.engine.running import run

__all__ = ["arm"]

NAMES = Deployment("S", "G", "westeurope").names
ACCOUNT = f"{GROUP_ID}/providers/Microsoft.Batch/batchAccounts/{NAMES['batch']}"
FACTORY = f"{GROUP_ID}/providers/Microsoft.DataFactory/factories/{NAMES['factory']}"
POOL = f"{ACCOUNT}/pools/evensplit".lower()
OTHER_IMAGE = ("--image", "canonical:ubuntu-24_04-lts:server:24.04.1", "--agent")
OTHER_IMAGE = (*OTHER_IMAGE, "batch.node.ubuntu 24.04")


def done(ended):
    assert ended.code == 0, ended.err
    return ended


def give_nodes(manager, number, pool=POOL):
    properties = manager.resources[pool]["properties"]
    properties["currentDedicatedNodes"] = number
    fixed = properties["scaleSettings"].get("fixedScale")
    if fixed:
        fixed["targetDedicatedNodes"] = number


def pool_of(manager, pool=POOL):
    return manager.resources[pool]["properties"]


def test_a_first_deployment_makes_all_in_order_with_a_pinned_image(tmp_path, arm):
    shown = done(deploy(tmp_path, "--what-if", "--location", "West Europe"))
    assert (arm.resources, arm.events) == ({}, [])
    ((method, path, body),) = arm.asked
    assert (method, path.endswith("/whatIf")) == ("POST", True)
    assert misfits(deployments.DeploymentWhatIf, body) == []
    assert body["properties"]["mode"] == "Incremental"
    assert f"Create     {ACCOUNT}/pools/evensplit" in shown.out.splitlines()
    assert "NoChange" not in shown.out
    told = json.loads(done(deploy(tmp_path, "--apply", "--json")).out)
    first, *uploads, last = [event for event in arm.events if event[0] != "roles"]
    assert first[0] == "deployed"
    assert {kind for kind, *_ in uploads} == {"uploaded"}
    assert last == ("pool", "evensplit", 0)
    assert told["pool"] == "evensplit"
    sent = {k: v for k, v in arm.resources[POOL].items() if k in ("identity", "properties")}
    sent["properties"].pop("currentDedicatedNodes")
    assert problems(batch.Pool, sent) == []
    machine = pool_of(arm)["deploymentConfiguration"]["virtualMachineConfiguration"]
    assert machine["imageReference"]["version"] == "24.04.202411030"
    start = pool_of(arm)["startTask"]
    assert start["commandLine"] == f"/bin/bash {told['package']}/start.sh {told['package']}"
    (file,) = start["resourceFiles"]
    assert file["storageContainerUrl"] == f"https://{NAMES['work']}.blob.core.windows.net/packages"
    assert start["userIdentity"]["autoUser"] == {"scope": "Pool", "elevationLevel": "NonAdmin"}


def test_the_same_again_changes_nothing_whatever_became_of_nodes_and_triggers(tmp_path, arm):
    done(deploy(tmp_path, "--apply"))
    give_nodes(arm, 7)
    trigger = arm.resources[f"{FACTORY}/triggers/nightly".lower()]
    trigger["properties"]["runtimeState"] = "Started"
    arm.versions["ubuntu-24_04-lts"].append("24.04.202512010")
    del arm.events[:]
    shown = done(deploy(tmp_path, "--what-if"))
    assert {line.split()[0] for line in shown.out.splitlines() if "/" in line} <= {
        "NoChange",
        "Modify",
    }
    assert f"NoChange   {ACCOUNT}/pools/evensplit" in shown.out.splitlines()
    again = done(deploy(tmp_path, "--apply"))
    assert "stopped for the deployment: nightly" in again.err
    assert not [event for event in arm.events if event[0] == "pool"]
    assert pool_of(arm)["currentDedicatedNodes"] == 7
    after = arm.resources[f"{FACTORY}/triggers/nightly".lower()]
    assert after["properties"]["runtimeState"] == "Started"


def test_sizes_that_were_said_once_stay(tmp_path, arm):
    words = ("--target-size", "50MB", "--slots", 2, "--vm-size", "standard_e4ds_v5")
    done(deploy(tmp_path, "--apply", *words))
    done(deploy(tmp_path, "--apply"))
    about = arm.resources[FACTORY.lower()]["properties"]["globalParameters"]
    assert (about["targetSize"]["value"], about["slotsPerNode"]["value"]) == ("50MB", 2)
    assert pool_of(arm)["vmSize"] == "standard_e4ds_v5"


def test_another_package_is_there_before_the_pool_refers_to_it_and_nodes_stay(tmp_path, arm):
    done(deploy(tmp_path, "--apply"))
    give_nodes(arm, 3)
    del arm.events[:]
    ended = done(deploy(tmp_path, "--apply", program="print(2)"))
    assert "3 nodes of pool evensplit go on with the package" in ended.err.replace("\n", " ")
    kinds = [event[0] for event in arm.events]
    assert kinds == ["deployed", *["uploaded"] * (len(kinds) - 2), "pool"]
    assert arm.events[-1] == ("pool", "evensplit", 3)
    package = json.loads(done(deploy(tmp_path, "--apply", "--json", program="print(2)")).out)
    assert pool_of(arm)["startTask"]["commandLine"].endswith(package["package"])
    (_, _, body), *_ = [item for item in arm.asked if item[0] == "PATCH"]
    assert set(body["properties"]) == {
        "applicationPackages",
        "metadata",
        "scaleSettings",
        "startTask",
    }


@pytest.mark.parametrize("words", [OTHER_IMAGE, ("--vm-size", "standard_e4ds_v5"), ("--slots", 2)])
def test_what_needs_an_empty_pool_is_refused_before_anything_is_done(tmp_path, arm, words):
    done(deploy(tmp_path, "--apply"))
    give_nodes(arm, 2)
    del arm.events[:]
    for action in ("--what-if", "--apply"):
        refused = deploy(tmp_path, action, *words)
        assert (refused.code, "call.pool-in-use" in refused.err) == (2, True)
        assert "--second-pool" in refused.err
    assert arm.events == []
    give_nodes(arm, 0)
    done(deploy(tmp_path, "--apply", *words))
    assert arm.events[-1] == ("pool", "evensplit", 0)
    shown = done(deploy(tmp_path, "--what-if", *words)).out
    assert f"NoChange   {ACCOUNT}/pools/evensplit" in shown.splitlines()


def test_a_second_pool_is_made_before_pipelines_use_it_and_stays_theirs(tmp_path, arm):
    done(deploy(tmp_path, "--apply"))
    give_nodes(arm, 2)
    del arm.events[:]
    told = done(deploy(tmp_path, "--apply", "--json", "--second-pool", *OTHER_IMAGE))
    second = json.loads(told.out)["pool"]
    assert second.startswith("evensplit-")
    assert "batch pool delete evensplit" in told.err.replace("\n", " ")
    kinds = [event[0] for event in arm.events]
    assert kinds.index("pool") < kinds.index("deployed")
    service_ = arm.resources[f"{FACTORY}/linkedservices/batch".lower()]
    assert service_["properties"]["typeProperties"]["poolName"] == second
    assert pool_of(arm)["currentDedicatedNodes"] == 2
    again = json.loads(done(deploy(tmp_path, "--apply", "--json")).out)
    assert again["pool"] == second


def test_a_formula_and_a_fixed_size_give_way_to_each_other_without_losing_nodes(tmp_path, arm):
    done(deploy(tmp_path, "--apply", "--formula", "schedule", "--start-hour", 5))
    assert "hour" in pool_of(arm)["scaleSettings"]["autoScale"]["formula"].lower()
    give_nodes(arm, 4)
    done(deploy(tmp_path, "--apply"))
    assert "autoScale" in pool_of(arm)["scaleSettings"]
    done(deploy(tmp_path, "--apply", "--formula", "fixed"))
    fixed = pool_of(arm)["scaleSettings"]["fixedScale"]
    assert fixed["targetDedicatedNodes"] == 4
    done(deploy(tmp_path, "--apply", "--formula", "pending", "--dedicated", 9))
    assert "min(9, nodes)" in pool_of(arm)["scaleSettings"]["autoScale"]["formula"]


def test_a_deleted_vault_is_recovered(tmp_path, arm):
    done(deploy(tmp_path, "--apply"))
    arm.delete_group()
    assert list(arm.deleted_vaults) == [NAMES["vault"]]
    ended = done(deploy(tmp_path, "--apply"))
    assert f"az keyvault purge --name {NAMES['vault']}" in ended.err.replace("\n", " ")
    assert arm.deleted_vaults == {}
    done(deploy(tmp_path, "--apply"))


def test_a_deleted_vault_that_may_not_be_looked_for_is_told_with_what_to_do(tmp_path, arm):
    done(deploy(tmp_path, "--apply"))
    arm.delete_group()
    arm.denied = ("/subscriptions/S/providers/Microsoft.KeyVault",)
    refused = deploy(tmp_path, "--apply")
    assert (refused.code, "ConflictError" in refused.err) == (2, True)
    assert "az keyvault recover" in refused.err.replace("\n", " ")


def test_images_are_listed_with_the_versions_of_a_region(arm):
    shown = done(run("batch", "images", "--location", "West Europe")).out
    assert "canonical:ubuntu-24_04-lts:server:24.04.202411030" in shown
    every = json.loads(done(run("batch", "images", "--location", "westeurope", "--json")).out)
    versions = {item["offer"]: item["version"] for item in every}
    assert versions["ubuntu-hpc"] == "24.4.2025010101"
    assert versions["0001-com-ubuntu-server-jammy"] == "", "the region has none"


def test_who_may_not_list_images_can_name_one(tmp_path, arm):
    arm.denied = ("/subscriptions/S/providers",)
    refused = deploy(tmp_path, "--apply")
    assert (refused.code, "Reader on the subscription" in refused.err.replace("\n", " ")) == (
        2,
        True,
    )
    done(deploy(tmp_path, "--apply", *OTHER_IMAGE))


def test_operators_come_and_stay_by_their_ids_and_those_with_the_role_are_left_out(tmp_path, arm):
    def principals():
        every = [item["properties"] for _, item in arm.of("roleAssignments")]
        return {p["principalId"]: p["principalType"] for p in every if "#" not in p["principalId"]}

    done(deploy(tmp_path, "--apply", "--operator", OPERATOR))
    done(deploy(tmp_path, "--apply", "--operator", f"{APP}:serviceprincipal"))
    assert principals() == {OPERATOR: "User", APP: "ServicePrincipal"}
    # Somebody gives the role by hand, under a name of its own.
    for key, item in arm.of("roleAssignments"):
        if item["properties"]["principalId"] == OPERATOR:
            arm.resources[key.rpartition("/")[0] + "/by-hand"] = arm.resources.pop(key)
            break
    done(
        deploy(tmp_path, "--apply", "--operator", OPERATOR, "--operator", f"{APP}:ServicePrincipal")
    )
    wrong = deploy(tmp_path, "--apply", "--operator", f"{OPERATOR[:-1]}9:Group")
    assert (wrong.code, "UnmatchedPrincipalType" in wrong.err) == (2, True)


def test_an_identity_that_was_made_anew_is_told_with_what_to_do(tmp_path, arm):
    done(deploy(tmp_path, "--apply"))
    (identity,) = [key for key, _ in arm.of("userAssignedIdentities")]
    del arm.resources[identity]
    refused = deploy(tmp_path, "--apply")
    assert (refused.code, "RoleAssignmentUpdateNotPermitted" in refused.err) == (2, True)
    assert "az role assignment list" in refused.err.replace("\n", " ")


def test_defaults_choose_what_is_not_said(tmp_path, arm, monkeypatch):
    from tests.adf.deploying import package_in

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AZURE_SUBSCRIPTION_ID")
    package = package_in(tmp_path)
    (tmp_path / "build").mkdir()
    package.rename(tmp_path / "build/package")
    arm.has_group = False
    none = run("batch", "deploy", "--apply", "--defaults", "--conf", CONF, "--group", "G")
    assert (none.code, "az group create --name G" in none.err.replace("\n", " ")) == (2, True)
    arm.has_group = True
    done(run("batch", "deploy", "--apply", "--defaults", "--conf", CONF, "--group", "G"))
    assert "autoScale" in pool_of(arm)["scaleSettings"]
    given = [item["properties"] for _, item in arm.of("roleAssignments")]
    assert {p["principalType"] for p in given if p["principalId"] == OPERATOR} == {"User"}
    arm.login.claims = {}
    assert done(run("batch", "deploy", "--help")).out
    nobody = run("batch", "deploy", "--apply", "--defaults", "--conf", CONF, "--group", "G")
    assert (nobody.code, "--operator ID:TYPE" in nobody.err) == (2, True)
    bare = run("batch", "deploy", "--apply", "--conf", CONF, "--group", "G")
    assert (bare.code, "--package is missing" in bare.err) == (2, True)


def test_an_upload_waits_for_a_role_that_was_just_given(tmp_path, arm, monkeypatch):
    monkeypatch.setattr(command, "_POLL_SECONDS", 0.0)
    refusals = [1, 2]

    def put_file(url, data):
        if refusals:
            refusals.pop()
            raise NoPermission("no")

    monkeypatch.setattr(hooks, "put_file", put_file)
    ended = done(deploy(tmp_path, "--apply", "--operator", OPERATOR))
    assert ended.err.count("waiting") == 2
    refusals[:] = [1]
    alone = deploy(tmp_path, "--apply")
    assert (alone.code, "--operator" in alone.err) == (2, True)


def test_an_application_package_is_there_before_the_pool_refers_to_it(tmp_path, arm, monkeypatch):
    put = []
    monkeypatch.setattr(
        "batchjobs.client.arm.BatchAccount.put_application",
        lambda self, name, data: put.append(name) or arm.events.append(("application", name)),
    )
    package = json.loads(done(deploy(tmp_path, "--apply", "--application", "even", "--json")).out)
    assert put == [f"even:{package['package']}"]
    assert [event[0] for event in arm.events] == ["deployed", "application", "pool"]
    (reference,) = pool_of(arm)["applicationPackages"]
    assert reference == {"id": f"{ACCOUNT}/applications/even", "version": package["package"]}
    assert "resourceFiles" not in pool_of(arm)["startTask"]
    done(deploy(tmp_path, "--apply", program="print(3)"))
    assert len(put) == 2
    assert put[1].startswith("even:")
    done(deploy(tmp_path, "--apply", "--application", ""))
    assert pool_of(arm)["applicationPackages"] == []


def test_containers_get_a_pool_of_their_own_with_an_image_that_runs_them(tmp_path, arm):
    words = ("--container", "acr.io/even:1", "--registry", "acr.io")
    told = json.loads(done(deploy(tmp_path, "--apply", "--json", *words)).out)
    assert (told["pool"], told["container-pool"]) == ("evensplit", "evensplit-containers")
    place = f"{POOL}-containers"
    machine = pool_of(arm, place)["deploymentConfiguration"]["virtualMachineConfiguration"]
    assert machine["imageReference"]["offer"] == "ubuntu-hpc"
    assert machine["containerConfiguration"]["containerImageNames"] == ["acr.io/even:1"]
    assert "startTask" not in pool_of(arm, place)
    said = {item["name"]: item["value"] for item in pool_of(arm, place)["metadata"]}
    assert said["evensplit.package"] == "container:acr.io/even:1"
    # Tasks of Data Factory name no container, so their pool has none.
    own = pool_of(arm)["deploymentConfiguration"]["virtualMachineConfiguration"]
    assert "containerConfiguration" not in own
    give_nodes(arm, 2, place)
    done(deploy(tmp_path, "--apply"))
    assert "NoChange" in done(deploy(tmp_path, "--what-if", *words)).out.splitlines()[-2]
    newer = ("--container", "acr.io/even:2")
    assert "call.pool-in-use" in deploy(tmp_path, "--apply", *newer).err
    told = json.loads(done(deploy(tmp_path, "--apply", "--json", "--second-pool", *newer)).out)
    assert told["container-pool"].startswith("evensplit-containers-")


@pytest.mark.parametrize(
    ("id_", "field"),
    [
        (
            "/subscriptions/S/resourceGroups/G/providers/Microsoft.Compute/galleries/a/images/b",
            "id",
        ),
        ("/SharedGalleries/a/images/b", "sharedGalleryImageId"),
        ("/CommunityGalleries/a/images/b", "communityGalleryImageId"),
    ],
)
def test_an_image_of_ones_own_is_named_with_its_version(tmp_path, arm, id_, field):
    bare = deploy(tmp_path, "--apply", "--image-id", id_, "--agent", "batch.node.debian 12")
    assert (bare.code, "with its version" in bare.err.replace("\n", " ")) == (2, True)
    words = ("--image-id", f"{id_}/versions/1.2.3", "--agent", "batch.node.debian 12")
    done(deploy(tmp_path, "--apply", *words))
    machine = pool_of(arm)["deploymentConfiguration"]["virtualMachineConfiguration"]
    assert machine["imageReference"] == {field: f"{id_}/versions/1.2.3"}
    shown = done(deploy(tmp_path, "--what-if")).out
    assert f"NoChange   {ACCOUNT}/pools/evensplit" in shown.splitlines()


def test_nodes_are_rebooted_one_after_the_other(tmp_path, arm, fake, monkeypatch):
    monkeypatch.setattr(service, "_POLL_SECONDS", 0.02)
    done(deploy(tmp_path, "--apply"))
    fake.pools["evensplit"] = {"id": "evensplit", "state": "active"}
    fake.set_nodes("evensplit", 3)
    with fake.working():
        while [node.is_ready for node in fake.nodes.values()] != [True] * 3:
            time.sleep(0.01)
        ended = done(deploy(tmp_path, "--apply", "--reboot-nodes"))
    assert "3 nodes rebooted" in ended.err
    assert [node.num_boots for node in fake.nodes.values()] == [2, 2, 2]
    assert fake.most_away == 1, "each was back before the next went"


def test_a_package_that_does_not_install_costs_one_node(tmp_path, arm, fake, monkeypatch):
    monkeypatch.setattr(service, "_POLL_SECONDS", 0.02)
    done(deploy(tmp_path, "--apply"))
    fake.pools["evensplit"] = {"id": "evensplit", "state": "active"}
    fake.set_nodes("evensplit", 2)
    with fake.working():
        while [node.is_ready for node in fake.nodes.values()] != [True] * 2:
            time.sleep(0.01)
        fake.pools["evensplit"]["startTask"] = {"commandLine": "/bin/false"}
        ended = deploy(tmp_path, "--apply", "--reboot-nodes")
        assert (ended.code, "does not come back" in ended.err.replace("\n", " ")) == (2, True)
        assert sorted(node.num_boots for node in fake.nodes.values()) == [1, 2]
        del fake.pools["evensplit"]["startTask"]
        again = done(deploy(tmp_path, "--apply", "--reboot-nodes"))
    assert "is left as it is: its start task failed" in again.err.replace("\n", " ")
    assert "1 node rebooted" in again.err
    assert [node.num_boots for node in fake.nodes.values()] == [2, 2]


def test_started_triggers_are_started_again_whatever_happens(tmp_path, arm):
    done(deploy(tmp_path, "--apply"))
    states = {"nightly": "Started", "new_file": "Stopped"}

    def trigger(name):
        return arm.resources[f"{FACTORY}/triggers/{name}".lower()]["properties"]

    for name, state in states.items():
        trigger(name)["runtimeState"] = state
    arm.put(f"{FACTORY}/triggers/mine", {"properties": {"runtimeState": "Started"}})
    trigger("mine")["runtimeState"] = "Started"
    arm.refuse = None
    ended = done(deploy(tmp_path, "--apply"))
    assert "stopped for the deployment: nightly, mine" in ended.err
    arm.stuck = ("mine", "start")
    ended = deploy(tmp_path, "--apply")
    assert (ended.code, "are stopped still: mine; start them" in ended.err) == (5, True)
    assert [trigger(name)["runtimeState"] for name in ("nightly", "mine")] == ["Started", "Stopped"]
    trigger("mine")["runtimeState"] = "Started"
    arm.stuck = ("mine", "stop")
    assert deploy(tmp_path, "--apply").code == 5
    arm.stuck = None

    def breaks(*_):
        raise Refused("InvalidTemplate", "line 7")

    arm.deploy = breaks
    refused = deploy(tmp_path, "--apply")
    assert (refused.code, "InvalidTemplate: line 7" in refused.err) == (2, True)
    assert [trigger(name)["runtimeState"] for name in ("nightly", "mine")] == ["Started", "Started"]


def test_nobody_logged_in_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = deploy(tmp_path, "--what-if", "--subscription", "S", "--login", "cli")
    assert (ended.code, "az login" in ended.err) == (2, True)


def test_the_command_says_what_is_wrong(tmp_path, arm):
    assert "--what-if or --apply" in deploy(tmp_path).err
    arm.refuse = (400, {"error": {"code": "InvalidTemplate", "message": "line 7", "details": []}})
    refused = deploy(tmp_path, "--apply")
    assert (refused.code, "InvalidTemplate: line 7" in refused.err) == (2, True)
    arm.refuse = (403, {"error": {"code": "AuthorizationFailed", "message": "no"}})
    denied = deploy(tmp_path, "--apply")
    assert (denied.code, "Role Based Access Control" in denied.err) == (2, True)
    arm.refuse = (503, {"error": {"code": "Busy", "message": "later"}})
    assert deploy(tmp_path, "--what-if").code == 5
    for words, told in (
        (OTHER_IMAGE[:2], "needs the --agent"),
        (OTHER_IMAGE[2:], "--agent goes with"),
        ((*OTHER_IMAGE, "--image-id", "/x"), "exclude each other"),
        (("--registry", "x"), "--registry goes with"),
        (("--operator", "me"), "object id"),
    ):
        ended = deploy(tmp_path, "--what-if", *words)
        assert (ended.code, told in ended.err.replace("\n", " ")) == (2, True), ended.err
