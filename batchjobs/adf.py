"""Azure Data Factory's Custom activity: ``activity.json`` in, ``outputs.json`` out.

Data Factory puts the activity into the task's working directory and reads the outputs from there as
``@activity('…').output.customOutput``. A SecureString comes as plain text and is kept by Data
Factory's own storage, so none is taken: nodes read data by their pool's identity.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchjobs.spec import FileSplit, TaskSpec, checked_settings
from engine import BadSetting

ACTIVITY, OUTPUTS = "activity.json", "outputs.json"


def read_activity(folder: Path) -> TaskSpec | None:
    """Return the task that Data Factory describes in a folder, None if it describes none.

    ``extendedProperties`` has ``source``, ``destination`` and any setting of a split.

    Raises:
        BadSetting: the file is not what Data Factory writes, or a property is wrong.
    """
    try:
        text = (folder / ACTIVITY).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return None
    try:
        given = dict(json.loads(text)["typeProperties"]["extendedProperties"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadSetting(
            f"{ACTIVITY} has no typeProperties.extendedProperties; add them to the Custom activity"
        ) from error
    return _task(given)


def _task(given: dict[str, Any]) -> TaskSpec:
    secret = [name for name, value in given.items() if _is_secure(value)]
    if secret:
        raise BadSetting(
            f"{', '.join(secret)}: a SecureString is plain text on the node and in the container "
            "adfjobs; leave it out and let the pool's managed identity read the data"
        )
    source, destination = given.pop("source", ""), given.pop("destination", "")
    if not (isinstance(source, str) and isinstance(destination, str) and source and destination):
        raise BadSetting(f"{ACTIVITY} names no source or no destination in extendedProperties")
    return TaskSpec((FileSplit(source, destination),), checked_settings(given))


def _is_secure(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("type") == "SecureString"


def write_outputs(folder: Path, result: Mapping[str, Any]) -> None:
    """Tell Data Factory the totals; it takes 2 MB at most, so parts are counted, not listed."""
    (folder / OUTPUTS).write_text(json.dumps(result), encoding="utf-8")
