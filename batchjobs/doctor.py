"""Whether what pipelines need is as it should be: judgements on what Azure says, with what to do.

Pure. Facts are what Azure Resource Manager answers, as plain data; what may not be looked at is
for :mod:`batchjobs.cli.doctor` to say. Not judged: what a firewall lets through.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from batchjobs.spec import LivePool, SupportedImage

PROVIDERS = tuple(
    f"Microsoft.{name}"
    for name in ("Batch", "DataFactory", "EventGrid", "KeyVault", "ManagedIdentity", "Storage")
)
# What a deployment does, of all that its roles allow.
ACTIONS = (
    "Microsoft.Resources/deployments/write",
    "Microsoft.Batch/batchAccounts/write",
    "Microsoft.Authorization/roleAssignments/write",
)
_ROLES = "Contributor and Role Based Access Control Administrator"

State = Literal["ok", "bad", "note", "unknown"]
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """What was found on one thing, and what to do if it is bad."""

    what: str
    state: State
    told: str


def providers(states: Mapping[str, str]) -> Finding:
    """Judge by ``registrationState``.

    Source: Resource providers and resource types
    (https://learn.microsoft.com/azure/azure-resource-manager/management/resource-providers-and-types).
    """
    missing = [name for name, state in states.items() if state != "Registered"]
    if not missing:
        return Finding("providers", "ok", "registered")
    calls = "; ".join(f"az provider register --namespace {name}" for name in missing)
    return Finding("providers", "bad", f"{', '.join(missing)} not registered: {calls}")


def roles(permissions: Sequence[Facts], group: str) -> Finding:
    """Judge by what the login may do in the group.

    Source: Permissions - List For Resource Group
    (https://learn.microsoft.com/rest/api/authorization/permissions/list-for-resource-group).
    """
    lacking = [action for action in ACTIONS if not _allows(permissions, action)]
    if not lacking:
        return Finding("roles", "ok", "the login may deploy")
    return Finding(
        "roles",
        "bad",
        f"the login may not do {', '.join(lacking)} in {group}: it needs {_ROLES} there",
    )


def _allows(permissions: Sequence[Facts], action: str) -> bool:
    def matches(patterns: Iterable[str]) -> bool:
        return any(fnmatch.fnmatch(action.lower(), pattern.lower()) for pattern in patterns)

    return any(
        matches(item.get("actions", ())) and not matches(item.get("notActions", ()))
        for item in permissions
    )


def quota(
    account: Facts, sizes: Sequence[Facts], pool: LivePool | None, usual_size: str
) -> Finding:
    """Judge whether the account's cores are enough for one node, and for those asked for.

    Source: https://learn.microsoft.com/azure/batch/batch-quota-limit
    """
    name = (pool.spec.vm_size if pool else usual_size).lower()
    size = next((item for item in sizes if item["name"].lower() == name), None)
    if size is None:
        return Finding("quota", "bad", f"Azure Batch has no {name} here: take another --vm-size")
    of_size = {item["name"]: item["value"] for item in size.get("capabilities", ())}
    cores = int(of_size.get("vCPUs", 1))
    family = size.get("familyName", "")
    families = {
        item["name"].lower(): item["coreQuota"]
        for item in account.get("dedicatedCoreQuotaPerVMFamily") or ()
    }
    dedicated = account.get("dedicatedCoreQuota") or 0
    if account.get("dedicatedCoreQuotaPerVMFamilyEnforced"):
        dedicated = min(dedicated, families.get(family.lower(), 0))
    spot = account.get("lowPriorityCoreQuota") or 0
    asked = (
        (pool.spec.num_dedicated, pool.spec.num_spot) if pool and not pool.spec.formula else (0, 0)
    )
    short = asked[0] * cores > dedicated or asked[1] * cores > spot
    told = f"{dedicated} dedicated cores of {family}, {spot} Spot; a node of {name} has {cores}" + (
        f", {asked[0]} dedicated and {asked[1]} Spot are asked for" if any(asked) else ""
    )
    if short or max(dedicated, spot) < cores:
        return Finding(
            "quota",
            "bad",
            f"{told}: Batch account → Quotas → Request quota increase, or another --vm-size",
        )
    return Finding("quota", "ok", told)


def firewall(name: str, properties: Facts) -> Finding:
    """Judge whether a resource takes requests from everywhere, as nodes without a network come."""
    rules = properties.get("networkAcls") or {}
    closed = properties.get("publicNetworkAccess") == "Disabled"
    if closed or rules.get("defaultAction") == "Deny":
        return Finding(
            f"firewall of {name}",
            "bad",
            "takes no requests from public networks, where nodes and Data Factory come from: let "
            "them in (networkAcls), or give pool and factory a virtual network",
        )
    return Finding(f"firewall of {name}", "ok", "open to those with a role")


def linked_storage(account: Facts, work_id: str, work: Facts | None) -> Finding:
    """Judge the storage that is linked to the Batch account, where Data Factory needs a key."""
    linked = (account.get("autoStorage") or {}).get("storageAccountId", "")
    if linked.lower() != work_id.lower() or work is None:
        found = linked.rpartition("/")[2] or "none"
        return Finding("linked storage", "bad", f"{found} is linked, not {work_id}: deploy again")
    if work.get("allowSharedKeyAccess") is False:
        return Finding(
            "linked storage",
            "bad",
            "keys are off, and Data Factory's Custom activities insist on one (error 2505): allow "
            "shared key access of this account, which holds no data, also by policy",
        )
    return Finding("linked storage", "ok", work_id.rpartition("/")[2])


def image(spec_image: Sequence[str], supported: Iterable[SupportedImage], today: str) -> Finding:
    """Judge by what Azure Batch supports; an image of one's own it does not list."""
    title = ":".join(spec_image[:3]).lower()
    if len(spec_image) == 1:
        return Finding("image", "note", f"{spec_image[0]}: of your own, not listed by Azure Batch")
    found = [item for item in supported if item.title == title]
    ends = max((item.end_date for item in found if item.end_date), default="")
    if not found or (ends and ends <= today):
        told = f"{title} is not supported any more" if not found else f"{title} ended on {ends}"
        return Finding("image", "bad", f"{told}: deploy with --image newest and an empty pool")
    return Finding("image", "ok", f"{':'.join(spec_image)}{f', until {ends}' if ends else ''}")


def pool(found: LivePool, problem: str) -> Finding:
    """Judge whether a pool will run tasks."""
    name = f"pool {found.id}"
    if problem:
        return Finding(name, "bad", problem)
    if not found.num_nodes and not found.spec.formula:
        return Finding(
            name,
            "bad",
            "no nodes, and no formula that would bring some: run the pipeline resize_pool, or "
            "deploy with --formula pending",
        )
    scale = "by a formula" if found.spec.formula else "fixed"
    return Finding(name, "ok", f"{found.num_nodes} nodes of {found.spec.vm_size}, {scale}")
