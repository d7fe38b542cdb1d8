"""The command that looks at a deployment, and says what is wrong with it; it changes nothing."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cached_property
from typing import Any

import click

from batchjobs import doctor
from batchjobs.cli.deploy_plan import DEFAULT_GROUP, USUAL, only_subscription
from batchjobs.cli.doors import Doors, login_option
from batchjobs.cli.group import batch, json_option, tell
from batchjobs.deploy import BLOB_CONTRIBUTOR, POOL, Deployment
from batchjobs.doctor import Finding
from batchjobs.errors import NotReady
from batchjobs.spec import LivePool
from engine import EvensplitError, NoPermission
from engine.cli.terminal import say
from engine.hooks import counted

_ACCOUNTS_API = "2024-07-01"
_STORAGE_API = "2023-05-01"
_VAULTS_API = "2023-07-01"
_IDENTITIES_API = "2023-01-31"
_PROVIDERS_API = "2021-04-01"
_PERMISSIONS_API = "2022-04-01"
_MAY_NOT = (
    "this login may not look; Reader on the subscription, and Storage Blob Data Reader on the "
    "container packages, would let it"
)
_COLOURS = {"ok": "green", "bad": "red", "note": None, "unknown": "yellow"}


@batch.command("doctor")
@click.option("--subscription", envvar="AZURE_SUBSCRIPTION_ID", metavar="ID")
@click.option("--group", default=DEFAULT_GROUP, show_default=True)
@click.option("--prefix", default="evens", show_default=True)
@login_option
@json_option
def doctor_command(
    subscription: str | None, group: str, prefix: str, login: str, as_json: bool
) -> None:
    """Look at what `batch deploy` made, or is to make, and say what to do. Changes nothing.

    Login, roles, providers, quota, firewalls, linked storage, package, image and pool. What the
    login may not look at is said, and not judged.
    """
    doors = Doors(login)
    found = list(
        _Patient(doors, subscription or only_subscription(doors), group, prefix).findings()
    )
    if as_json:
        tell([asdict(item) for item in found], "", as_json=True)
    else:
        for item in found:
            say(f"{item.state:8}{item.what}: {item.told}", mark=item.state, fg=_COLOURS[item.state])
    bad = [item.what for item in found if item.state == "bad"]
    if bad:
        raise NotReady(f"{counted(len(bad), 'check')} failed: {', '.join(bad)}")


class _Patient:
    """A deployment that is looked at: facts are asked for once, when a check needs them."""

    def __init__(self, doors: Doors, subscription: str, group: str, prefix: str) -> None:
        self._doors, self._group = doors, group
        self._service = doors.deployments(subscription, group)
        self._found = self._service.resources
        self._subscription_id = f"/subscriptions/{subscription}"
        self._group_id = f"{self._subscription_id}/resourceGroups/{group}"
        # Names of resources do not depend on the region.
        self._wanted = Deployment(subscription, group, "nowhere", prefix)

    def findings(self) -> Iterator[Finding]:
        """Yield a finding a check; what needs something that is not there is left out."""
        login = _checked("login", self._login)
        yield login
        if login.state == "bad":
            return
        early: list[tuple[str, Callable[[], Finding]]] = [
            ("group", self._location),
            ("providers", self._providers),
            ("roles", self._roles),
            ("Batch account", self._region),
        ]
        found = [_checked(*check) for check in early]
        yield from found
        if found[-1].state == "ok":
            yield from (_checked(*check) for check in self._late())

    def _late(self) -> Iterator[tuple[str, Callable[[], Finding]]]:
        yield "quota", self._quota
        for name, check in self._firewalls():
            yield f"firewall of {name}", check
        yield "linked storage", self._linked
        yield "nodes' roles", self._nodes_roles
        if self._pool is None:
            missing = Finding("pool", "bad", f"there is no pool {self._pool_id}: deploy again")
            yield "pool", lambda: missing
        else:
            yield "package", self._package
            yield "image", self._image
            yield "pool", self._nodes

    def _region(self) -> Finding:
        if self._account is None:
            return Finding("Batch account", "note", "not there yet: `evensplit batch deploy`")
        return Finding("Batch account", "ok", self._wanted.names["batch"])

    def _login(self) -> Finding:
        id_, type_ = self._service.who()
        return Finding("login", "ok", f"{type_} {id_}")

    def _location(self) -> Finding:
        location = self._found.group_location()
        if location:
            return Finding("group", "ok", f"{self._group} in {location}")
        return Finding("group", "bad", f"az group create --name {self._group} --location REGION")

    def _providers(self) -> Finding:
        states = {}
        for name in doctor.PROVIDERS:
            about = self._found.find(f"{self._subscription_id}/providers/{name}", _PROVIDERS_API)
            states[name] = (about or {}).get("registrationState", "NotRegistered")
        return doctor.providers(states)

    def _roles(self) -> Finding:
        place = f"{self._group_id}/providers/Microsoft.Authorization/permissions"
        return doctor.roles(self._found.listed(place, _PERMISSIONS_API), self._group)

    @cached_property
    def _account(self) -> dict[str, Any] | None:
        return self._properties(self._wanted.account_id, _ACCOUNTS_API)

    @cached_property
    def _pool_id(self) -> str:
        return self._found.factory_parameters(self._wanted.factory_id).get("pool") or POOL

    @cached_property
    def _pool(self) -> LivePool | None:
        return self._doors.account(self._wanted.account_id).live_pool(self._pool_id)

    def _properties(self, resource_id: str, api: str) -> dict[str, Any] | None:
        about = self._found.find(resource_id, api)
        return None if about is None else dict(about.get("properties", {}))

    def _quota(self) -> Finding:
        location = self._found.group_location()
        kind = f"{self._subscription_id}/providers/Microsoft.Batch/locations/{location}"
        sizes = self._found.listed(f"{kind}/virtualMachineSkus", _ACCOUNTS_API)
        return doctor.quota(self._account or {}, sizes, self._pool, USUAL.vm_size)

    def _firewalls(self) -> Iterator[tuple[str, Callable[[], Finding]]]:
        places = {
            "lake": (self._wanted.lake_id, _STORAGE_API),
            "work": (self._wanted.work_id, _STORAGE_API),
            "vault": (self._wanted.vault_id, _VAULTS_API),
            "batch": (self._wanted.account_id, _ACCOUNTS_API),
        }
        for name, place in places.items():

            def check(name: str = name, place: tuple[str, str] = place) -> Finding:
                return doctor.firewall(name, self._properties(*place) or {})

            yield name, check

    def _linked(self) -> Finding:
        work = self._properties(self._wanted.work_id, _STORAGE_API)
        return doctor.linked_storage(self._account or {}, self._wanted.work_id, work)

    def _nodes_roles(self) -> Finding:
        identity = self._properties(self._wanted.identity_id, _IDENTITIES_API) or {}
        lake = f"{self._wanted.lake_id}/blobServices/default/containers/lake"
        if identity.get("principalId", "").lower() in self._found.principals(
            lake, BLOB_CONTRIBUTOR
        ):
            return Finding("nodes' roles", "ok", "they read and write the container lake")
        told = "the nodes' identity may not read and write the container lake: deploy again"
        return Finding("nodes' roles", "bad", told)

    def _package(self) -> Finding:
        spec = self._pool.spec if self._pool else USUAL
        if spec.application:
            return Finding("package", "ok", f"application package {spec.application}")
        url = f"{self._wanted.packages_url}/{spec.package}/start.sh"
        if self._doors.has_file(url):
            return Finding("package", "ok", spec.package)
        told = f"{spec.package} is not in the container packages: deploy again"
        return Finding("package", "bad", told)

    def _image(self) -> Finding:
        image = self._pool.spec.image if self._pool else ()
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        return doctor.image(image, self._cloud.images(), today)

    def _nodes(self) -> Finding:
        assert self._pool is not None  # else this is no check
        return doctor.pool(self._pool, self._cloud.pool_problem(self._pool_id))

    @cached_property
    def _cloud(self) -> Any:
        return self._doors.cloud(f"https://{(self._account or {}).get('accountEndpoint', '')}")


def _checked(what: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except NoPermission as error:
        if what == "login":
            return Finding(what, "bad", str(error))
        return Finding(what, "unknown", _MAY_NOT)
    except EvensplitError as error:
        return Finding(what, "bad", str(error))
