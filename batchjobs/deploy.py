"""What is deployed to Azure: the template of ``conf/azure``, and the objects of ``conf/adf`` in it.

Pure but for reading files; the requests are :mod:`batchjobs.client.deployments`'s. Names that must
be the only ones in the world end in a hash of subscription, group and prefix: they are known before
anything exists, and the same call always means the same resources. The objects of ``conf/adf`` have
``<batch>``, ``<vault>`` and the like where a name belongs. No key is a parameter or an output.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from batchjobs.spec import id_of
from engine import BadSetting
from engine.hooks import conf_folders

BLOB_CONTRIBUTOR = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"  # Storage Blob Data Contributor
POOL = "evensplit"
OPERATOR_TYPES = ("User", "Group", "ServicePrincipal")
MAX_BATCH_COUNT = 50  # of Data Factory's ForEach
_TEMPLATE = "main.json"
_FACTORY_API = "2018-06-01"
# The folders of Data Factory's Git layout, and the types of resources in them.
_KINDS = {
    "linkedService": "linkedservices",
    "dataset": "datasets",
    "pipeline": "pipelines",
    "trigger": "triggers",
}
_REFERENCES = {
    "LinkedServiceReference": "linkedService",
    "DatasetReference": "dataset",
    "PipelineReference": "pipeline",
}
_PREFIX = re.compile(r"[a-z][a-z0-9]{2,9}")
_PLACE = re.compile(r"<([a-z-]+)>")
_OBJECT_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_REGION = re.compile(r"[a-z0-9]+")


def region(text: str) -> str:
    """Return Azure's name of a region, which may be said as it is shown: ``West Europe``.

    Raises:
        BadSetting: it is no name.
    """
    name = text.replace(" ", "").lower()
    if not _REGION.fullmatch(name):
        raise BadSetting(f"location {text!r} is no region; `az account list-locations` has them")
    return name


class Operator(NamedTuple):
    """Someone who may upload packages: an object id of Microsoft Entra ID, and what it is."""

    id: str
    type: str = OPERATOR_TYPES[0]


def parse_operator(text: str) -> Operator:
    """Return an operator from ``ID`` or ``ID:TYPE``; Azure checks that the type is the id's.

    Raises:
        BadSetting: it is neither.
    """
    id_, _, type_ = text.partition(":")
    named = {name.lower(): name for name in OPERATOR_TYPES}.get((type_ or "user").lower())
    if named is None or not _OBJECT_ID.fullmatch(id_):
        raise BadSetting(
            f"operator {text!r} is not ID or ID:TYPE, with an object id (yours: `az ad "
            f"signed-in-user show --query id`) and a type of {', '.join(OPERATOR_TYPES)}"
        )
    return Operator(id_.lower(), named)


@dataclass(frozen=True)
class Deployment:
    """What is wanted.

    Attributes:
        subscription: its id.
        group: the resource group, which is there.
        location: Azure's name of the region.
        prefix: begins all names: 3 to 10 small letters and digits.
        pool: name of the pool that pipelines use.
        slots_per_node: tasks at once on a node of it.
        target_size: of a part, where a pipeline names none.
        batch_count: files that a pipeline has in work at once; Data Factory takes no expression.
        operators: who uploads packages, and has no role yet.
        recovers_vault: whether a deleted Key Vault of this name is taken back.
    """

    subscription: str
    group: str
    location: str
    prefix: str = "evens"
    pool: str = POOL
    slots_per_node: int = 4
    target_size: str = "100MB"
    batch_count: int = 20
    operators: tuple[Operator, ...] = ()
    recovers_vault: bool = False

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise BadSetting(
                f"prefix {self.prefix!r}: 3 to 10 small letters and digits, a letter first"
            )
        if not 1 <= self.batch_count <= MAX_BATCH_COUNT:
            raise BadSetting(f"batch count {self.batch_count}: 1 to {MAX_BATCH_COUNT}")

    @property
    def suffix(self) -> str:
        """Ends the names that must be the only ones in the world."""
        text = f"{self.subscription}/{self.group}/{self.prefix}".lower()
        return hashlib.sha256(text.encode()).hexdigest()[:6]

    @property
    def id(self) -> str:
        """The deployment's name: the same for the same call."""
        return id_of("evensplit", [self.subscription, self.group, self.prefix])

    @property
    def names(self) -> dict[str, str]:
        """What stands for ``<batch>`` and the like in the objects of ``conf/adf``."""
        lake = f"{self.prefix}lake{self.suffix}"
        return {
            "lake": lake,
            "work": f"{self.prefix}work{self.suffix}",
            "vault": f"{self.prefix}-vault-{self.suffix}",
            "batch": f"{self.prefix}batch{self.suffix}",
            "factory": f"{self.prefix}-factory-{self.suffix}",
            "pool": self.pool,
            "region": self.location,
            "lake-id": self._id("Microsoft.Storage/storageAccounts", lake),
        }

    @property
    def factory_id(self) -> str:
        """Resource id of the factory."""
        return self._id("Microsoft.DataFactory/factories", self.names["factory"])

    @property
    def account_id(self) -> str:
        """Resource id of the Batch account."""
        return self._id("Microsoft.Batch/batchAccounts", self.names["batch"])

    @property
    def identity_id(self) -> str:
        """Resource id of the managed identity that nodes have."""
        kind = "Microsoft.ManagedIdentity/userAssignedIdentities"
        return self._id(kind, f"{self.prefix}-nodes")

    @property
    def lake_id(self) -> str:
        """Resource id of the storage account with the data."""
        return self._id("Microsoft.Storage/storageAccounts", self.names["lake"])

    @property
    def work_id(self) -> str:
        """Resource id of the storage account with the packages."""
        return self._id("Microsoft.Storage/storageAccounts", self.names["work"])

    @property
    def vault_id(self) -> str:
        """Resource id of the Key Vault."""
        return self._id("Microsoft.KeyVault/vaults", self.names["vault"])

    @property
    def packages_id(self) -> str:
        """Resource id of the container that packages lie in, which is the scope of a role."""
        return f"{self.work_id}/blobServices/default/containers/packages"

    def _id(self, kind: str, name: str) -> str:
        group_id = f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"
        return f"{group_id}/providers/{kind}/{name}"

    @property
    def packages_url(self) -> str:
        """Container that nodes fetch packages from."""
        return f"https://{self.names['work']}.blob.core.windows.net/packages"

    def parameters(self) -> dict[str, Any]:
        """Return the template's parameters, as Azure Resource Manager takes them."""
        values = {
            "prefix": self.prefix,
            "suffix": self.suffix,
            "location": self.location,
            "pool": self.pool,
            "slotsPerNode": self.slots_per_node,
            "targetSize": self.target_size,
            "operators": [item._asdict() for item in self.operators],
            "vaultMode": "recover" if self.recovers_vault else "default",
        }
        return {name: {"value": value} for name, value in values.items()}


def template(wanted: Deployment, conf: Path | None = None) -> dict[str, Any]:
    """Return the whole template: what ``conf/azure`` has, and the objects of ``conf/adf``.

    Args:
        wanted: what fills it.
        conf: instead of the one that :mod:`engine.conf` finds.

    Raises:
        BadSetting: the files are not there, or name what nobody knows.
    """
    try:
        resources, objects = (conf_folders(name, conf)[0] for name in ("azure", "adf"))
        made: dict[str, Any] = json.loads((resources / _TEMPLATE).read_text(encoding="utf-8"))
        made["resources"] += _objects(objects, wanted)
    except (OSError, ValueError, IndexError) as error:
        raise BadSetting(
            f"{conf or 'conf'} does not hold azure/main.json and adf/ ({error}); name another "
            "folder with --conf, or leave it out"
        ) from error
    return made


def _objects(folder: Path, wanted: Deployment) -> Iterator[dict[str, Any]]:
    for kind, plural in _KINDS.items():
        for path in sorted((folder / kind).glob("*.json")):
            content = json.loads(path.read_text(encoding="utf-8"))
            properties = _filled(content["properties"], wanted.names)
            _set_batch_count(properties, wanted.batch_count)
            needed = sorted({_resource_id(*item) for item in _references(properties)})
            yield {
                "type": f"Microsoft.DataFactory/factories/{plural}",
                "apiVersion": _FACTORY_API,
                "name": f"[concat(variables('factory'), '/{content['name']}')]",
                "dependsOn": ["[variables('factoryId')]", *needed],
                "properties": properties,
            }


def _resource_id(kind: str, name: str) -> str:
    type_ = f"Microsoft.DataFactory/factories/{_KINDS[kind]}"
    return f"[resourceId('{type_}', variables('factory'), '{name}')]"


def _walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        yield from _walk(item)


def _references(properties: Any) -> Iterator[tuple[str, str]]:
    for item in _walk(properties):
        if item.get("type") in _REFERENCES:
            yield _REFERENCES[item["type"]], item["referenceName"]


def _set_batch_count(properties: Any, batch_count: int) -> None:
    for item in _walk(properties):
        if "batchCount" in item:
            item["batchCount"] = batch_count


def _filled(value: Any, names: Mapping[str, str]) -> Any:
    """Put names in, and keep Azure Resource Manager from taking a text for an expression of its."""
    if isinstance(value, dict):
        return {key: _filled(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, names) for item in value]
    if not isinstance(value, str):
        return value
    unknown = [name for name in _PLACE.findall(value) if name not in names]
    if unknown:
        raise BadSetting(f"nothing is known of <{unknown[0]}> in {value!r}")
    text = _PLACE.sub(lambda found: names[found[1]], value)
    return f"[{text}" if text.startswith("[") else text
