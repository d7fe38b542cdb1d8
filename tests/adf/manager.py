"""Azure Resource Manager on 127.0.0.1: deployments, with the rules that second ones meet.

Templates are evaluated by :mod:`tests.adf.arm`. Each rule is a method of :class:`Rules` with the
vendor's page of it. Deployments are long-running operations, as the service's are. Not here: what a
resource does, and every other rule.
"""

from __future__ import annotations

import contextlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.adf.arm import GROUP, SUBSCRIPTION, evaluate, resources
from tests.serving import served

GROUP_ID = f"{SUBSCRIPTION}/resourceGroups/{GROUP}"
OPERATOR, APP = (f"0000000{n}-1111-2222-3333-444444444444" for n in (1, 2))
# Of a pool with nodes; the vendor's page is that of `Rules.pool`.
ALWAYS = {"applicationPackages", "metadata", "scaleSettings", "startTask"}


class Refused(Exception):
    def __init__(self, code, message, status=400):
        super().__init__(f"{code}: {message}")
        self.status, self.body = status, {"code": code, "message": message}


class Rules:
    """What is refused, by type; each gets what is there, what is wanted, and the id."""

    def __init__(self, manager):
        self.manager = manager

    def trigger(self, old, new, id_):
        """https://learn.microsoft.com/azure/data-factory/continuous-integration-delivery-sample-script

        "Data Factory … triggers need to be stopped" before a deployment.
        """
        if old and old["properties"].get("runtimeState") == "Started":
            raise Refused("TriggerEnabledCannotUpdate", "Cannot update enabled Trigger.")
        new["properties"].setdefault("runtimeState", "Stopped")

    def pool(self, old, new, id_):
        """https://learn.microsoft.com/azure/batch/batch-pool-update-properties

        All but four properties need a pool without nodes. The error is that of
        https://github.com/Azure/Batch/issues/153.
        """
        nodes = old and old["properties"].get("currentDedicatedNodes", 0)
        keys = set(new["properties"]) | set(old["properties"] if old else ()) - READ_ONLY
        changed = {k for k in keys if old and old["properties"].get(k) != new["properties"].get(k)}
        if nodes and changed - ALWAYS - READ_ONLY:
            name = min(changed - ALWAYS - READ_ONLY)
            text = f"A property that cannot be updated was specified: {name}"
            raise Refused("PropertyCannotBeUpdated", text)
        fixed = new["properties"].get("scaleSettings", {}).get("fixedScale", {})
        now = fixed.get("targetDedicatedNodes", nodes or 0)
        new["properties"]["currentDedicatedNodes"] = now
        self.manager.events.append(("pool", id_.rpartition("/")[2], now))

    def assignment(self, old, new, id_):
        """https://learn.microsoft.com/azure/role-based-access-control/troubleshooting

        An assignment's principal does not change, and a principal has a role at a scope once.
        https://learn.microsoft.com/azure/role-based-access-control/role-assignments-template:
        the type is the principal's.
        """
        principal = self.manager.principal(new["properties"]["principalId"])
        new["properties"] |= {"principalId": principal, "scope": new["scope"]}
        kind = self.manager.directory.get(principal, "ServicePrincipal")
        if kind != new["properties"]["principalType"]:
            raise Refused("UnmatchedPrincipalType", f"{principal} is a {kind}.")
        if old and old["properties"]["principalId"] != principal:
            text = (
                "Tenant ID, application ID, principal ID, and scope are not allowed to be updated."
            )
            raise Refused("RoleAssignmentUpdateNotPermitted", text)
        same = ("principalId", "roleDefinitionId", "scope")
        for other, item in self.manager.of("roleAssignments"):
            if other != id_.lower() and all(
                item["properties"][k] == new["properties"][k] for k in same
            ):
                raise Refused("RoleAssignmentExists", "The role assignment already exists.", 409)

    def vault(self, old, new, id_):
        """https://learn.microsoft.com/azure/key-vault/general/key-vault-recovery

        A deleted vault keeps its name; ``createMode`` of
        https://learn.microsoft.com/azure/templates/microsoft.keyvault/vaults takes it back.
        """
        name = id_.rpartition("/")[2]
        recovers = new["properties"].pop("createMode", "default") == "recover"
        if name in self.manager.deleted_vaults and not recovers:
            text = "A vault with the same name already exists in deleted state."
            raise Refused("ConflictError", text, 409)
        if recovers and name not in self.manager.deleted_vaults:
            raise Refused("VaultNotFound", "There is no deleted vault to recover.", 404)
        self.manager.deleted_vaults.pop(name, None)


READ_ONLY = {"currentDedicatedNodes", "currentLowPriorityNodes"}
RULES = {
    "microsoft.authorization/roleassignments": Rules.assignment,
    "microsoft.batch/batchaccounts/pools": Rules.pool,
    "microsoft.datafactory/factories/triggers": Rules.trigger,
    "microsoft.keyvault/vaults": Rules.vault,
}


class Manager:
    """What is there.

    ``resources``: by id in small letters, with what the service adds. ``lists``: what else can be
    read, by the end of its path. ``deleted_vaults``: by name. ``directory``: types of
    people and groups by object id. ``versions``: of images, by offer. ``events``: what was done, in
    order. ``asked``: requests with a body. ``refuse``: status and body that these get instead.
    """

    def __init__(self):
        self.resources, self.deleted_vaults, self.events, self.asked = {}, {}, [], []
        self.directory = {OPERATOR: "User"}
        self.versions = {"ubuntu-24_04-lts": ["24.04.202409120", "24.04.202411030"]}
        self.versions["ubuntu-hpc"] = ["24.4.2025010101"]
        self.lists = {}
        self.has_group, self.refuse, self.stuck = True, None, None
        self.denied = ()  # beginnings of paths that the login may not read
        self.births, self.operations = {}, {}
        self.rules = Rules(self)

    def of(self, end):
        return [
            (k, v) for k, v in self.resources.items() if k.rpartition("/")[0].endswith(end.lower())
        ]

    def principal(self, text):
        """Return who that is: an identity that is made anew is another one."""
        found = re.fullmatch(r"<principal of (.*)>", text)
        return f"{text}#{self.births.get(found[1].lower(), 0)}" if found else text

    def put(self, id_, item):
        key = id_.lower()
        old = self.resources.get(key)
        rule = RULES.get(type_of(key))
        new = json.loads(json.dumps(item))
        if rule:
            rule(self.rules, old, new, id_)
        if type_of(key) == "microsoft.batch/batchaccounts":
            new["properties"]["accountEndpoint"] = "account.westeurope.batch.azure.com"
        if old is None and type_of(key).endswith("userassignedidentities"):
            new["properties"] = {
                "principalId": f"<principal of {id_}>#{self.births.get(key, 0) + 1}"
            }
        if old is None:
            self.births[key] = self.births.get(key, 0) + 1
        self.resources[key] = {"properties": {}} | new | {"id": id_, "name": id_.rpartition("/")[2]}

    def delete_group(self):
        """`az group delete`: what is in it goes, with the roles at it; vaults are kept by name."""
        for key, item in self.resources.items():
            if type_of(key) == "microsoft.keyvault/vaults":
                self.deleted_vaults[item["name"]] = item
        self.resources.clear()

    def deploy(self, body):
        template, given = body["template"], values(body["parameters"])
        every = resources(template, given)
        done = set()
        while len(done) < len(every):
            ready = [
                i for i in every if i not in done and set(every[i].get("dependsOn", [])) <= done
            ]
            assert ready, "a circle"
            for id_ in ready:
                self.put(id_, every[id_])
                done.add(id_)
        self.events.append(("deployed", len(every)))
        outputs = evaluate(template["outputs"], template, given)
        return {key: {"type": "String", "value": item["value"]} for key, item in outputs.items()}

    def what_if(self, body):
        every = resources(body["template"], values(body["parameters"]))
        for id_, item in every.items():
            old = self.resources.get(id_.lower())
            same = (
                old is not None and old["properties"].items() >= item.get("properties", {}).items()
            )
            yield {
                "resourceId": id_,
                "changeType": "NoChange" if same else "Modify" if old else "Create",
            }


def values(parameters):
    return {name: item["value"] for name, item in parameters.items()}


def type_of(key):
    """Return the type in a resource id: provider and every other word."""
    provider, *words = key.rpartition("/providers/")[2].split("/")
    return "/".join([provider, *words[::2]])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        manager = self.server.manager
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or "null")
        path = urlsplit(self.path).path
        assert "api-version=" in self.path
        if body is not None:
            manager.asked.append((self.command, path, body))
        try:
            if manager.refuse and body is not None:
                return self._answer(*manager.refuse)
            if path.lower().startswith(tuple(text.lower() for text in manager.denied)):
                raise Refused("AuthorizationFailed", "no", 403)
            answer = getattr(self, f"_{self.command.lower()}")(manager, path, body)
            self._answer(*(answer or (404, {"error": {"code": "NotFound", "message": path}})))
        except Refused as refused:
            self._answer(refused.status, {"error": refused.body})

    def _get(self, manager, path, _):
        key = path.lower()
        if key in manager.resources:
            return 200, manager.resources[key]
        if key in manager.operations:
            return 200, manager.operations[key]
        for end, answer in self.server.manager.lists.items():
            if key.endswith(end.lower()):
                return 200, answer
        if key == "/subscriptions":
            return 200, {
                "value": [{"subscriptionId": "S", "displayName": "mine", "state": "Enabled"}]
            }
        if key == GROUP_ID.lower():
            return (200, {"location": "westeurope"}) if manager.has_group else None
        if found := re.search(r"/locations/westeurope/deletedvaults/([^/]+)$", key):
            return (200, {"name": found[1]}) if found[1] in manager.deleted_vaults else None
        if found := re.search(r"/locations/westeurope/publishers/.*/offers/([^/]+)/skus/", key):
            return 200, [{"name": text} for text in manager.versions.get(found[1], ())]
        if key.endswith(("/roleassignments", "/triggers", "/pools")):
            below = [item for k, item in manager.of(key) if k.startswith(key)]
            return 200, {"value": below}
        return None

    def _put(self, manager, path, body):
        if "/deployments/" not in path:
            manager.put(path, body)
            return 200, manager.resources[path.lower()]
        result = {"status": "Succeeded"}
        properties = {"provisioningState": "Succeeded"}
        try:
            properties["outputs"] = manager.deploy(body["properties"])
        except Refused as refused:
            # As the service says it: the provider's answer is the text of a detail.
            detail = {"code": "Conflict", "message": json.dumps({"error": refused.body})}
            words = {"code": "DeploymentFailed", "message": "At least one operation failed."}
            result = {"status": "Failed", "error": words | {"details": [detail]}}
            properties["provisioningState"] = "Failed"
        operation = f"{path}/operationStatuses/1"
        manager.operations |= {operation.lower(): result, path.lower(): {"properties": properties}}
        self.operation = f"{self.server.url}{operation}?api-version=2021-04-01"
        return 201, {"properties": {"provisioningState": "Accepted"}}

    def _patch(self, manager, path, body):
        old = manager.resources[path.lower()]
        manager.put(path, old | {"properties": old["properties"] | body["properties"]})
        return 200, manager.resources[path.lower()]

    def _post(self, manager, path, body):
        if path.endswith("/whatIf"):
            changes = list(manager.what_if(body["properties"]))
            return 200, {"status": "Succeeded", "properties": {"changes": changes}}
        *_, name, verb = path.split("/")
        if (name, verb) == manager.stuck:
            raise Refused("InternalServerError", "later", 500)
        trigger = manager.resources[path.lower().rpartition("/")[0]]
        trigger["properties"]["runtimeState"] = {"stop": "Stopped", "start": "Started"}[verb]
        manager.events.append((verb, name))
        return 200, {}

    def _answer(self, status, data):
        body = json.dumps(data).encode()
        self.send_response(status)
        if operation := getattr(self, "operation", ""):
            self.send_header("Azure-AsyncOperation", operation)
            self.send_header("Retry-After", "0")
            self.operation = ""
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


for verb in ("GET", "PUT", "POST", "PATCH"):
    setattr(Handler, f"do_{verb}", Handler.handle_any)


@contextlib.contextmanager
def managing():
    """Serve an empty group on ``manager.url``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.manager = manager = Manager()
    with served(server) as url:
        manager.url = server.url = url
        yield manager
