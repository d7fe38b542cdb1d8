"""Azure Resource Manager's deployments: what a template would change, and doing it.

Needs the extra ``manage`` (azure-mgmt-resource-deployments) and a login that gives tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from azure.core.rest import HttpRequest, HttpResponse

from batchjobs.client.credentials import token
from batchjobs.client.resources import Resources
from batchjobs.client.triggers import Triggers
from batchjobs.errors import ServiceFailed
from engine import BadSetting, NoPermission


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
        self._client = DeploymentsMgmtClient(token(login, environment), subscription, **options)
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
    details = [f"{item.code}: {item.message}" for item in told.details or ()]
    return "; ".join(filter(None, [f"{told.code}: {told.message}", *details])).replace("\n", " ")
