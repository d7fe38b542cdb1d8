"""What Azure Resource Manager says of a subscription: groups, regions, images, resources.

Reads only. Requests go through the sender of :mod:`batchjobs.client.deployments`, which raises
what is refused; what is not there is None, or an empty list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.rest import HttpRequest, HttpResponse
from azure.storage.blob import BlobClient

from batchjobs.client.credentials import token
from batchjobs.errors import ServiceFailed
from engine import NoPermission

Send = Callable[[HttpRequest], HttpResponse]

_COMPUTE_API = "2024-07-01"
_GROUPS_API = "2022-09-01"
_ROLES_API = "2022-04-01"
_VAULTS_API = "2023-07-01"
_FACTORIES_API = "2018-06-01"


class Resources:
    """What is there, as plain data.

    Args:
        subscription: its id.
        group: the resource group's name.
        send: sends a request to Azure Resource Manager, and raises what it refuses.
    """

    def __init__(self, subscription: str, group: str, send: Send) -> None:
        self._subscription_id = f"/subscriptions/{subscription}"
        self._group_id = f"{self._subscription_id}/resourceGroups/{group}"
        self._send = send

    def find(self, path: str, api: str) -> Any:
        """Return what is at a path, None if nothing is."""
        response = self._send(HttpRequest("GET", f"{path}?api-version={api}"))
        return None if response.status_code == 404 else response.json()

    def listed(self, path: str, api: str) -> list[dict[str, Any]]:
        """Return all pages of a list, empty if there is no such place."""
        found: list[dict[str, Any]] = []
        url = f"{path}?api-version={api}"
        while url:
            response = self._send(HttpRequest("GET", url))
            if response.status_code == 404:
                return []
            page: Mapping[str, Any] = response.json()
            found += page["value"]
            url = page.get("nextLink") or ""
        return found

    def group_location(self) -> str:
        """Return the region of the resource group, empty if there is no such group."""
        found = self.find(self._group_id, _GROUPS_API)
        return str(found["location"]) if found else ""

    def image_versions(self, location: str, title: str) -> list[str]:
        """Return the versions of an image in a region; none if the region does not have it.

        Source: Virtual Machine Images - List
        (https://learn.microsoft.com/rest/api/compute/virtual-machine-images/list), which takes
        names as they are, and no part of them.

        Args:
            location: Azure's name of the region.
            title: publisher, offer and SKU with colons between.
        """
        publisher, offer, sku = title.split(":")
        place = (
            f"{self._subscription_id}/providers/Microsoft.Compute/locations/{location}/publishers/"
            f"{publisher}/artifacttypes/vmimage/offers/{offer}/skus/{sku}/versions"
        )
        return [str(item["name"]) for item in self.find(place, _COMPUTE_API) or ()]

    def subscriptions(self) -> dict[str, str]:
        """Return the subscriptions that the login sees and can use: names by their ids."""
        every = self.listed("/subscriptions", _GROUPS_API)
        usable = [item for item in every if item.get("state", "Enabled") == "Enabled"]
        return {item["subscriptionId"]: item.get("displayName", "") for item in usable}

    def factory_parameters(self, factory_id: str) -> dict[str, Any]:
        """Return a factory's global parameters, none if there is no such factory."""
        found = self.find(factory_id, _FACTORIES_API) or {}
        every = found.get("properties", {}).get("globalParameters") or {}
        return {name: item.get("value") for name, item in every.items()}

    def deleted_vault(self, location: str, name: str) -> bool:
        """Return whether a Key Vault of that name was deleted and can be recovered.

        Who may not look there is told no: the deployment then fails with the service's word.
        Source: Vaults - Get Deleted
        (https://learn.microsoft.com/rest/api/keyvault/keyvault/vaults/get-deleted).
        """
        kind = "Microsoft.KeyVault"
        place = (
            f"{self._subscription_id}/providers/{kind}/locations/{location}/deletedVaults/{name}"
        )
        try:
            return self.find(place, _VAULTS_API) is not None
        except NoPermission:
            return False

    def principals(self, scope: str, role: str) -> set[str]:
        """Return the object ids of those who were given a role at just this scope.

        Args:
            scope: resource id; it need not be there.
            role: the role's GUID.
        """
        place = f"{scope}/providers/Microsoft.Authorization/roleAssignments"
        every = [item["properties"] for item in self.listed(place, _ROLES_API)]
        return {
            item["principalId"].lower()
            for item in every
            if item["roleDefinitionId"].lower().endswith(role)
            and item["scope"].lower() == scope.lower()
        }


def has_blob(url: str, login: str, environment: Mapping[str, str]) -> bool:
    """Return whether a blob is there.

    Raises:
        NoPermission: the login may not look; reading data needs a role of its own.
    """
    blob = BlobClient.from_blob_url(url, credential=token(login, environment))
    try:
        return bool(blob.exists())
    except HttpResponseError as error:
        raise NoPermission(
            f"{url} (status {error.status_code}); Storage Blob Data Reader is a role for that"
        ) from error
    except AzureError as error:
        raise ServiceFailed(f"{url} cannot be reached ({type(error).__name__})") from error
