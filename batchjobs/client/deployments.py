"""Azure Resource Manager's deployments: what a template would change, and doing it.

Needs the extra ``manage`` (azure-mgmt-resource-deployments) and a login that gives tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.core.rest import HttpRequest, HttpResponse

from batchjobs.client.credentials import token, who
from batchjobs.client.resources import Resources
from batchjobs.client.triggers import Triggers
from batchjobs.errors import ServiceFailed
from engine import BadSetting, NoPermission

# What helps against the codes that a second deployment meets, with the vendor's page of each rule.
_VAULT_ADVICE = (
    "a Key Vault of this name was deleted and is kept: recover it (`az keyvault recover --name "
    "NAME`), or give its name free for ever (`az keyvault purge --name NAME`)"
)
_ADVICE: Mapping[str, str] = {
    # https://learn.microsoft.com/azure/data-factory/continuous-integration-delivery-sample-script
    "TriggerEnabledCannotUpdate": "stop it with `az datafactory trigger stop`, and start it after",
    # https://learn.microsoft.com/azure/role-based-access-control/troubleshooting
    "RoleAssignmentUpdateNotPermitted": (
        "an identity was deleted and made anew, and its old roles are in the way: delete those "
        "that `az role assignment list --all --query \"[?principalName=='']\"` shows for the group"
    ),
    "RoleAssignmentExists": (
        "the same role was given under another name: `az role assignment delete` it, and run again"
    ),
    "PrincipalNotFound": (
        "a new identity is not known everywhere at once: run again in a minute; or an --operator's "
        "type (User, Group, ServicePrincipal) is not its id's"
    ),
    # https://learn.microsoft.com/azure/key-vault/general/key-vault-recovery
    "ConflictError": _VAULT_ADVICE,
    "VaultAlreadyExists": _VAULT_ADVICE,
    # https://learn.microsoft.com/azure/batch/batch-pool-update-properties
    "PropertyCannotBeUpdated": "a pool takes this only without nodes",
    # https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-register-resource-provider
    "MissingSubscriptionRegistration": "`az provider register --namespace NAME`, and wait",
}


@dataclass(frozen=True)
class Change:
    """What would become of one resource: Create, Modify, NoChange, Ignore and so on."""

    kind: str
    resource_id: str


class Deployments:
    """The deployments of a resource group.

    Args:
        subscription: its id.
        group: the resource group's name.
        login: one of :data:`batchjobs.service.CREDENTIALS` but ``key``.
        environment: where secrets are looked for.
        **options: of the SDK's client.

    Raises:
        BadSetting: the login gives no token, or the SDK is not installed.
    """

    def __init__(
        self,
        subscription: str,
        group: str,
        login: str,
        environment: Mapping[str, str],
        **options: Any,
    ) -> None:
        try:
            from azure.mgmt.resource.deployments import DeploymentsMgmtClient
        except ImportError as error:
            raise BadSetting(
                "this needs azure-mgmt-resource-deployments: pip install 'evensplit[manage]'"
            ) from error
        self._subscription, self._group = subscription, group
        self._credential = token(login, environment)
        self._client = DeploymentsMgmtClient(self._credential, subscription, **options)
        self._deployments = self._client.deployments

    def what_if(
        self, name: str, template: Mapping[str, Any], parameters: Mapping[str, Any]
    ) -> list[Change]:
        """Return what a deployment would change; nothing changes.

        Raises:
            engine.EvensplitError: the service refuses the template, or has failed.
        """
        with _telling():
            found = self._deployments.begin_what_if(
                self._group, name, _body(template, parameters)
            ).result()
        if found.error is not None:
            raise BadSetting(f"Azure Resource Manager: {found.error.code}: {found.error.message}")
        changes = (found.properties.changes if found.properties else None) or ()
        return [Change(_text(item.change_type), item.resource_id or "") for item in changes]

    def apply(
        self, name: str, template: Mapping[str, Any], parameters: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Deploy, wait, and return the template's outputs.

        Raises:
            engine.EvensplitError: the service refuses the template, or has failed.
        """
        with _telling():
            done = self._deployments.begin_create_or_update(
                self._group, name, _body(template, parameters)
            ).result()
        properties = done.properties
        if properties is None or _text(properties.provisioning_state) != "Succeeded":
            raise ServiceFailed(f"deployment {name} did not succeed; run the same command again")
        outputs: Mapping[str, Any] = properties.outputs or {}
        return {key: item["value"] for key, item in outputs.items()}

    @property
    def resources(self) -> Resources:
        """What is there in the subscription and the group."""
        return Resources(self._subscription, self._group, self._send)

    def who(self) -> tuple[str, str]:
        """Return object id and type of whoever is logged in."""
        with _telling():
            return who(self._credential)

    def triggers(self, factory_id: str) -> Triggers:
        """Return the triggers of a factory, which need not be there."""
        return Triggers(factory_id, self._send)

    def _send(self, request: HttpRequest) -> HttpResponse:
        with _telling():
            response: HttpResponse = self._client.send_request(request)
            if response.status_code >= 400 and response.status_code != 404:
                raise HttpResponseError(response=response)
        return response


def _body(template: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
    # Incremental: what the template does not name is left alone.
    properties = {"mode": "Incremental", "template": template, "parameters": parameters}
    return {"properties": properties}


def _text(value: Any) -> str:
    return str(getattr(value, "value", value) or "")


@contextmanager
def _telling() -> Iterator[None]:
    """Turn the SDK's errors into ours: code, message and details, nothing of the request."""
    try:
        yield
    except HttpResponseError as error:
        is_denied = isinstance(error, ClientAuthenticationError)
        if is_denied and error.response is None:
            raise NoPermission(
                "nobody is logged in: `az login`, or choose --login; the service principal needs "
                "AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET"
            ) from error
        if is_denied or error.status_code in (401, 403):
            raise NoPermission(
                f"Azure Resource Manager refuses the login ({_why(error)}); it needs the roles "
                "Contributor and Role Based Access Control Administrator on the resource group"
            ) from error
        if error.status_code is not None and error.status_code >= 500:
            raise ServiceFailed(f"Azure Resource Manager: {_why(error)}; run it again") from error
        raise BadSetting(f"Azure Resource Manager: {_why(error)}") from error
    except AzureError as error:
        raise ServiceFailed(
            f"Azure Resource Manager cannot be reached ({type(error).__name__}); run it again"
        ) from error


def _why(error: HttpResponseError) -> str:
    told = error.error
    if told is None:
        return f"status {error.status_code}" if error.status_code else type(error).__name__
    causes = list(_causes(told.code or "", told.message or "", told.details))
    advice = [_ADVICE[code] for code, _ in causes if code in _ADVICE]
    texts = dict.fromkeys(f"{code}: {' '.join(text.split())}" for code, text in causes)
    return "; ".join([*texts, *dict.fromkeys(advice)])


def _causes(code: str, message: str, details: Any) -> Iterator[tuple[str, str]]:
    """Say an error and what is in it: providers put their own into the message, as JSON."""
    try:
        inner = json.loads(message)["error"]
    except (ValueError, TypeError, KeyError):
        yield code, message
    else:
        yield from _causes(inner.get("code", ""), inner.get("message", ""), inner.get("details"))
    for item in details or ():
        is_plain = isinstance(item, Mapping)
        words = [item.get(n) if is_plain else getattr(item, n) for n in ("code", "message")]
        below = item.get("details") if is_plain else item.details
        yield from _causes(words[0] or "", words[1] or "", below)
