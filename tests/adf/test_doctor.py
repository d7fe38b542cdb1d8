"""``batch doctor``: a deployment that is well, each of its faults, and that nothing is changed."""

from __future__ import annotations

import json

import pytest

from tests.adf.deploying import arm, deploy
from tests.adf.test_redeploy import ACCOUNT, GROUP_ID, NAMES, POOL, done, give_nodes
from tests.engine.running import run

__all__ = ["arm"]

STORAGE = f"{GROUP_ID}/providers/Microsoft.Storage/storageAccounts"
WORK = f"{STORAGE}/{NAMES['work']}".lower()
ALL = [{"actions": ["*"], "notActions": []}]
CONTRIBUTOR = [{"actions": ["*"], "notActions": ["Microsoft.Authorization/*/Write"]}]
SIZES = [
    {
        "name": "Standard_D4ds_v5",
        "familyName": "standardDDSv5Family",
        "capabilities": [{"name": "vCPUs", "value": "4"}],
    }
]


@pytest.fixture
def well(arm, fake, tmp_path):
    """A deployment that is as it should be."""
    for name in ("Batch", "DataFactory", "EventGrid", "KeyVault", "ManagedIdentity", "Storage"):
        arm.lists[f"/providers/microsoft.{name.lower()}"] = {"registrationState": "Registered"}
    arm.lists["/permissions"] = {"value": ALL}
    arm.lists["/virtualmachineskus"] = {"value": SIZES}
    done(deploy(tmp_path, "--apply"))
    account = arm.resources[ACCOUNT.lower()]["properties"]
    account |= {
        "dedicatedCoreQuota": 100,
        "dedicatedCoreQuotaPerVMFamilyEnforced": True,
        "dedicatedCoreQuotaPerVMFamily": [{"name": "standardDDSv5Family", "coreQuota": 20}],
        "lowPriorityCoreQuota": 0,
    }
    give_nodes(arm, 3)
    fake.pools["evensplit"] = {"id": "evensplit", "state": "active"}
    del arm.asked[:]
    return arm


def look(*words):
    return run("batch", "doctor", "--group", "G", *words)


def found(ended):
    return {
        item["what"]: (item["state"], item["told"])
        for item in json.loads(ended.out.splitlines()[0])
    }


def test_what_is_well_is_said_so_and_nothing_is_changed(well, fake):
    before = json.dumps(well.resources)
    number = len(fake.requests)
    ended = done(look("--json"))
    states = found(ended)
    assert {state for state, _ in states.values()} == {"ok"}
    assert len(states) == 15
    assert (json.dumps(well.resources), well.asked) == (before, [])
    assert {method for method, _ in fake.requests[number:]} == {"GET"}
    shown = done(look()).out
    assert "ok      quota: 20 dedicated cores of standardDDSv5Family, 0 Spot" in shown


def break_pool(arm, fake):
    give_nodes(arm, 0)


def break_keys(arm, fake):
    arm.resources[WORK]["properties"]["allowSharedKeyAccess"] = False


def break_link(arm, fake):
    del arm.resources[ACCOUNT.lower()]["properties"]["autoStorage"]


def break_firewall(arm, fake):
    arm.resources[WORK]["properties"]["networkAcls"] = {"defaultAction": "Deny"}


def break_image(arm, fake):
    fake.images = [item for item in fake.images if "24_04" not in item["imageReference"]["offer"]]


def break_image_end(arm, fake):
    for item in fake.images:
        item["batchSupportEndOfLife"] = "2020-01-01T00:00:00Z"


def break_package(arm, fake):
    arm.events[:] = [event for event in arm.events if not str(event[1]).endswith("start.sh")]


def break_resize(arm, fake):
    error = {"code": "AccountCoreQuotaReached", "message": "no cores"}
    fake.pools["evensplit"]["resizeErrors"] = [error]


def break_quota(arm, fake):
    arm.resources[ACCOUNT.lower()]["properties"]["dedicatedCoreQuotaPerVMFamily"] = []


def break_quota_of_nodes(arm, fake):
    give_nodes(arm, 6)


def break_size(arm, fake):
    arm.lists["/virtualmachineskus"] = {"value": []}


def break_roles(arm, fake):
    arm.lists["/permissions"] = {"value": CONTRIBUTOR}


def break_provider(arm, fake):
    arm.lists["/providers/microsoft.batch"] = {"registrationState": "NotRegistered"}


def break_nodes_role(arm, fake):
    for _, item in arm.of("roleAssignments"):
        if item["scope"].endswith("/containers/lake"):
            item["properties"]["principalId"] = "another"


def break_group(arm, fake):
    arm.has_group = False


@pytest.mark.parametrize(
    ("breaks", "what", "told"),
    [
        (break_pool, "pool evensplit", "resize_pool"),
        (break_keys, "linked storage", "error 2505"),
        (break_link, "linked storage", "none is linked"),
        (break_firewall, "firewall of work", "networkAcls"),
        (break_image, "image", "not supported any more"),
        (break_image_end, "image", "ended on 2020-01-01"),
        (break_package, "package", "deploy again"),
        (break_resize, "pool evensplit", "AccountCoreQuotaReached"),
        (break_quota, "quota", "Request quota increase"),
        (break_quota_of_nodes, "quota", "6 dedicated and 0 Spot are asked for"),
        (break_size, "quota", "no standard_d4ds_v5 here"),
        (break_roles, "roles", "Microsoft.Authorization/roleAssignments/write"),
        (break_provider, "providers", "az provider register --namespace Microsoft.Batch"),
        (break_nodes_role, "nodes' roles", "may not read"),
        (break_group, "group", "az group create --name G"),
    ],
)
def test_a_fault_is_found_with_what_to_do(well, fake, breaks, what, told):
    breaks(well, fake)
    ended = look("--json")
    assert (ended.code, f"call.not-ready: 1 check failed: {what}" in ended.err) == (2, True)
    state, text = found(ended)[what]
    assert (state, told in text) == ("bad", True), text


def test_what_may_not_be_looked_at_is_not_judged(well):
    well.denied = ("/subscriptions/S/providers/Microsoft.Batch",)
    ended = done(look("--json"))
    state, text = found(ended)["quota"]
    assert (state, "Reader on the subscription" in text) == ("unknown", True)


def test_who_may_see_nothing_is_told_so(well):
    well.denied = ("/subscriptions",)
    states = found(done(look("--json", "--subscription", "S")))
    assert {name: state for name, (state, _) in states.items()} == {
        "login": "ok",
        "group": "unknown",
        "providers": "unknown",
        "roles": "unknown",
        "Batch account": "unknown",
    }


def test_a_pool_that_is_gone_and_a_login_that_is_none_are_found(well, arm):
    del well.resources[POOL]
    state, told = found(look("--json"))["pool"]
    assert (state, told) == ("bad", "there is no pool evensplit: deploy again")
    arm.login.claims = {}
    states = found(look("--json"))
    assert list(states) == ["login"]
    assert "does not say who it is" in states["login"][1]


def test_before_the_first_deployment_only_what_can_be_is_looked_at(arm):
    arm.lists["/permissions"] = {"value": ALL}
    ended = look("--json")
    assert found(ended)["Batch account"] == ("note", "not there yet: `evensplit batch deploy`")
    assert f"{POOL}" not in ended.out
