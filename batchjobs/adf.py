"""Azure Data Factory's Custom activity: what it leaves for a task, and what it takes back.

In, in the task's working directory:

* ``activity.json``: ``typeProperties.extendedProperties`` say what to do (:class:`Activity`). An
  empty text is what a pipeline's parameter has that nobody set, and counts as not given. All
  settings of a split may be properties, or keys of the one property ``settings``.
* ``linkedServices.json``, ``datasets.json``: the ``referenceObjects``. A place without ``://`` is
  ``container/path`` of the first of these linked services that is a storage account, and a place
  may be the name of one of the datasets. :mod:`batchjobs.linked` says what opens the account.

Out: ``outputs.json``, which the pipeline sees as ``@activity('…').output.customOutput``. Data
Factory takes 2 MB of it, and 896 KB for all that an activity has to say; ours is far below.

A SecureString is plain text in ``activity.json`` and in Data Factory's container ``adfjobs``. Three
names are taken, for storage that no identity can open; none is ever written anywhere by us. The
contract is Microsoft's: learn.microsoft.com/azure/data-factory/transform-data-using-custom-activity
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from batchjobs import linked
from batchjobs.spec import FileSplit, TaskSpec, checked_settings
from engine import BadSetting, EvensplitError

ACTIVITY, OUTPUTS = "activity.json", "outputs.json"
LINKED_SERVICES, DATASETS = "linkedServices.json", "datasets.json"

MAX_OUTPUT_BYTES = 256 << 10  # the rest of the 896 KB is for Data Factory's own
MAX_PARTS_LISTED = 100
_MAX_TEXT = 4_000  # characters of an error's message

# SecureStrings that are taken, and the variable through which the engine takes a secret.
SECRETS: Mapping[str, str] = {
    "storage_connection_string": "AZURE_STORAGE_CONNECTION_STRING",
    "storage_sas_token": "AZURE_STORAGE_SAS_TOKEN",
    "storage_account_key": "AZURE_STORAGE_ACCOUNT_KEY",
}
_PLAIN: Mapping[str, type] = {
    "action": str,
    "source": str,
    "destination": str,
    "done_folder": str,
    "report_errors": bool,
    "slots_per_node": int,
    "num_slots": int,
    "identity_client_id": str,
}
# Of the action submit only, by the names of the options of `evensplit batch submit`.
_SUBMIT: Mapping[str, type] = {
    "pool": str,
    "endpoint": str,
    "pack_small": str,
    "node_memory": str,
    "retries": int,
    "max_hours": float,
}
_TRUTHS = {"true": True, "false": False}


@dataclass(frozen=True)
class Activity:
    """What a Custom activity asks for.

    Attributes:
        action: ``split`` one source, or ``submit`` a job with a task a file and wait for it.
        source: URL of a file; for ``submit`` also of a folder or glob.
        destination: URL of the folder of its parts; for ``submit`` of the folder of such folders.
        settings: of the splits.
        done_folder: where an empty file of the source's name says that it is done; empty for none.
        report_errors: a failure that would last ends the activity well and is told in its outputs,
            so that the pipeline decides, and Data Factory does not repeat it in vain.
        slots_per_node: tasks that share the node.
        num_slots: of them that this one takes.
        submit: options of ``evensplit batch submit``.
        environment: variables to set before any work; holds the secrets.
    """

    action: Literal["split", "submit"]
    source: str
    destination: str
    settings: Mapping[str, Any]
    done_folder: str = ""
    report_errors: bool = False
    slots_per_node: int = 1
    num_slots: int = 1
    submit: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    def task(self) -> TaskSpec:
        """Return the task of a split."""
        file = FileSplit(self.source, self.destination)
        return TaskSpec((file,), self.settings, self.num_slots)


def reports_errors(folder: Path) -> bool:
    """Whether an activity wants its failures among its outputs; known before its settings are.

    False where Data Factory has left no activity that can be read.
    """
    try:
        given = _read(folder / ACTIVITY)["typeProperties"]["extendedProperties"]["report_errors"]
        return bool(_typed("report_errors", given, bool))
    except (OSError, ValueError, KeyError, TypeError, BadSetting):
        return False


def read_activity(folder: Path) -> Activity:
    """Return what Data Factory describes in a task's working directory.

    Raises:
        BadSetting: there is no activity, or a property is unknown, missing or of another type.
    """
    try:
        content = _read(folder / ACTIVITY)
        given = dict(content["typeProperties"]["extendedProperties"])
    except FileNotFoundError as error:
        raise BadSetting(f"no {ACTIVITY} here: this is no Custom activity's task") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadSetting(
            f"{ACTIVITY} has no typeProperties.extendedProperties; add them to the Custom activity"
        ) from error
    references = _References.read(folder)
    environment = _take_secrets(given, references.services)
    given = {name: value for name, value in given.items() if value not in ("", None)}
    given = _with_settings(given)
    plain = {name: _typed(name, given.pop(name), _PLAIN[name]) for name in _PLAIN if name in given}
    submit = {
        name: _typed(name, given.pop(name), _SUBMIT[name]) for name in _SUBMIT if name in given
    }
    if client_id := plain.pop("identity_client_id", ""):
        environment["AZURE_CLIENT_ID"] = client_id
    for name in ("source", "destination", "done_folder"):
        if name in plain:
            plain[name] = references.url(plain[name], name)
    if "credential" not in given and not environment.keys() & set(SECRETS.values()):
        _open_linked(references.used, environment, given, plain.get("action", "split"))
    activity = Activity(
        action=plain.pop("action", "split"),
        source=plain.pop("source", ""),
        destination=plain.pop("destination", ""),
        settings=checked_settings(given),
        submit=submit,
        environment=environment,
        **plain,
    )
    _check(activity)
    return activity


def _with_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return properties with what ``settings`` holds, a JSON object or its text.

    So a pipeline hands on any setting by one parameter. What it names comes before a property of
    that name, and a number of parts or rows before the size that pipelines always give.
    """
    found = given.get("settings", {})
    try:
        found = json.loads(found) if isinstance(found, str) else found
    except (ValueError, RecursionError) as error:
        raise BadSetting(f"settings is no JSON ({error})") from None
    if not isinstance(found, Mapping):
        raise BadSetting('settings is no JSON object; write {"to": "parquet"}')
    for name in found.keys() & {*_PLAIN, *_SUBMIT, *SECRETS}:
        raise BadSetting(f"settings has {name}, which is a property of its own")
    found = {name: value for name, value in found.items() if value not in ("", None)}
    left_out = {"settings"}
    if found.keys() & {"parts", "rows_per_part"}:
        left_out.add("target_size")
    return {name: value for name, value in given.items() if name not in left_out} | found


def _open_linked(
    accounts: Sequence[linked.Account],
    environment: dict[str, str],
    given: dict[str, Any],
    action: str,
) -> None:
    """Let the linked services of the places open these; what the activity says comes first."""
    variables, credential = linked.opened(accounts)
    if variables and action == "submit":
        raise BadSetting(
            "the linked service has its secret in plain text, which the tasks of a job do not get: "
            "keep it in a Key Vault and refer to it, or give the nodes' identity a role"
        )
    environment |= variables
    if credential:
        given["credential"] = credential


def _check(activity: Activity) -> None:
    if activity.action not in ("split", "submit"):
        raise BadSetting(f"action is {activity.action!r}; it is split or submit")
    if not (activity.source and activity.destination):
        raise BadSetting(f"{ACTIVITY} names no source or no destination in extendedProperties")
    if activity.action == "submit" and not {"pool", "endpoint"} <= activity.submit.keys():
        raise BadSetting("the action submit needs the properties pool and endpoint")
    if activity.action == "split" and activity.submit:
        raise BadSetting(f"{', '.join(activity.submit)}: only of the action submit")
    if not 1 <= activity.num_slots <= activity.slots_per_node:
        raise BadSetting(
            f"num_slots is {activity.num_slots}; it must be 1 to slots_per_node, "
            f"{activity.slots_per_node}"
        )


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError as error:
        raise ValueError("it is nested without end") from error


def _take_secrets(given: dict[str, Any], services: linked.Services) -> dict[str, str]:
    """Take the SecureStrings out of the properties; no error repeats a value.

    One that lies in a Key Vault is not fetched: it becomes the setting ``credential``.
    """
    environment = {}
    for name in list(given):
        is_secure = _is_secure(given[name])
        if is_secure and name not in SECRETS:
            raise BadSetting(
                f"{name}: no secret of that name is known; leave it out and let the pool's managed "
                f"identity read the data, or give {', '.join(SECRETS)}"
            )
        if name not in SECRETS:
            continue
        value = given.pop(name)
        if value in ("", None):
            continue
        if isinstance(value, Mapping) and value.get("type") == "AzureKeyVaultSecret":
            given["credential"] = linked.vault_reference(name, value, services)
            continue
        if not is_secure or not isinstance(value.get("value"), str):
            raise BadSetting(
                f"{name} is not a SecureString, so Data Factory shows it to whoever may look; give "
                "it as one, or better leave it out"
            )
        environment[SECRETS[name]] = value["value"]
    return environment


def _is_secure(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("type") == "SecureString"


def _typed(name: str, value: Any, wanted: type) -> Any:
    """Return a value with its type; the text of a number or truth is taken for it."""
    found = value
    if wanted is bool:
        found = _TRUTHS.get(str(value).lower(), value)
    elif wanted in (int, float) and isinstance(value, str | int | float):
        try:
            found = wanted(value) if not isinstance(value, bool) else value
        except (ValueError, OverflowError):
            found = value
    is_right = isinstance(found, wanted) and isinstance(found, bool) == (wanted is bool)
    if not is_right or (wanted is int and isinstance(value, float) and value != found):
        raise BadSetting(f"{name} is not {wanted.__name__}; change it in extendedProperties")
    return found


@dataclass(frozen=True)
class _References:
    """The linked services and datasets that an activity refers to, by name.

    ``used`` are the storage accounts that places were found in.
    """

    services: linked.Services
    datasets: Mapping[str, Mapping[str, Any]]
    used: list[linked.Account] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> _References:
        """Read both files; Data Factory writes them even if they are empty."""
        return cls(_named(folder / LINKED_SERVICES), _named(folder / DATASETS))

    def url(self, place: str, name: str) -> str:
        """Return the URL of a place: a URL, a dataset's name, or ``container/path``."""
        if "://" in place or place.startswith("/"):
            self.used.extend(filter(None, [linked.named_in(place)]))
            return place
        if place in self.datasets:
            return self._of_dataset(self.datasets[place], place)
        for service, properties in self.services.items():
            if linked.is_storage(properties):
                return self._inside(service, place)
        raise BadSetting(
            f"{name} is no URL, and the activity's referenceObjects hold no linked service of a "
            "storage account that it could lie in; add one"
        )

    def _of_dataset(self, dataset: Mapping[str, Any], name: str) -> str:
        properties = linked.inner(dataset, "typeProperties")
        # The older datasets AzureBlob and AzureBlobFSFile have no location, and the container in
        # front of folderPath: learn.microsoft.com/azure/data-factory/connector-azure-blob-storage
        location = linked.inner(properties, "location") or properties
        words = [location.get("fileSystem") or location.get("container")]
        words += [location.get("folderPath"), location.get("fileName")]
        container = words[0] or ("location" not in properties and words[1])
        service = str(linked.inner(dataset, "linkedServiceName").get("referenceName", ""))
        is_known = linked.is_storage(self.services.get(service, {}))
        if not container or not is_known or not all(isinstance(w, str) for w in words if w):
            raise BadSetting(
                f"dataset {name}: its location is no plain text, or its linked service is not "
                "among the referenceObjects; give the place as container/path"
            )
        return self._inside(service, "/".join(str(word).strip("/") for word in words if word))

    def _inside(self, service: str, place: str) -> str:
        account = linked.account_of(service, self.services)
        self.used.append(account)
        return account.url(place)


def _named(path: Path) -> dict[str, Mapping[str, Any]]:
    try:
        items = _read(path)
        return {str(item["name"]): dict(item["properties"]) for item in items}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise BadSetting(f"{path.name} is not what Data Factory writes") from error


def failure_outputs(outcome: str, error: EvensplitError) -> dict[str, Any]:
    """Return what a pipeline is told of an activity that did not come to its work."""
    return {"outcome": outcome, "error": error.as_dict(), "parts": []}


def split_outputs(activity: Activity, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a pipeline is told of a split: totals, the manifest's place, a page of parts."""
    (file,) = result["files"]
    totals = ("num_parts", "num_rows", "size_bytes", "num_resumed")
    return {
        "outcome": result["outcome"],
        "source": activity.source,
        "destination": activity.destination,
        "manifest": file.get("manifest", ""),
        **{name: result[name] for name in totals},
        "error": file.get("error"),
        "parts": file.get("parts", []),
    }


def write_outputs(folder: Path, outputs: Mapping[str, Any]) -> None:
    """Write ``outputs.json``, with fewer parts or a shorter message where it would be too large."""
    made = dict(outputs)
    error = made.get("error")
    if error:
        made["error"] = {**error, "message": error["message"][:_MAX_TEXT]}
    made["parts"] = made.get("parts", [])[:MAX_PARTS_LISTED]
    while len(text := json.dumps(made)) > MAX_OUTPUT_BYTES and made["parts"]:
        made["parts"] = made["parts"][: len(made["parts"]) // 2]
    (folder / OUTPUTS).write_text(text, encoding="utf-8")
