"""Options of fsspec's file systems, as users of fsspec know them, without a secret in them.

What may be secret is a reference, ``env:NAME``, and stays one wherever options travel: in settings,
tasks and jobs. Who opens a store reads it from the environment there (:func:`resolved`). As plain
text only names are taken that no driver keeps a secret under (:data:`PLAIN_TEXT`).

Not covered: which options a driver has; it refuses the others itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.errors import BadSetting

REFERENCE = "env:"
PLAIN_TEXT = frozenset(
    {
        # S3, and the client of botocore
        *"endpoint_url profile region_name signature_version addressing_style".split(),
        *"ServerSideEncryption StorageClass SSEKMSKeyId ACL api_version".split(),
        # Google
        *"project access consistency default_location".split(),
        # SFTP
        *"host username key_filename host_key_policy temppath".split(),
        # a cache in front of a URL, which refuses it
        "cache_storage",
        # HTTP
        *"encoded block_size size_policy".split(),
    }
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"pass|secret|token|key|auth|cred|sign|sas|cookie|pin", re.IGNORECASE)


def parse(given: Any) -> str:
    """Return options as one JSON text, the same for the same options; empty for none.

    Args:
        given: a mapping, ``"name=value"``, JSON of an object, or several of these.

    Raises:
        BadSetting: it is none of these, or a value that may be secret is no reference; the message
            does not repeat it.
    """
    pairs: dict[str, Any] = {}
    for item in _items(given):
        pairs |= item
    _walk(pairs, _checked)
    try:
        return json.dumps(pairs, sort_keys=True) if pairs else ""
    except (TypeError, ValueError, RecursionError) as error:
        raise BadSetting("storage options hold what JSON cannot; give text and numbers") from error


def resolved(options: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return options that :func:`parse` returned, with what the environment holds.

    Raises:
        BadSetting: a variable is not set here.
    """

    def value_of(name: str, value: Any) -> Any:
        if not (isinstance(value, str) and value.startswith(REFERENCE)):
            return value
        variable = value.removeprefix(REFERENCE)
        if variable not in environment:
            raise BadSetting(
                f"the storage option {name} is to come from the variable {variable}, which is not "
                "set here; workers of a cluster need it as well"
            )
        text = environment[variable]
        try:
            return json.loads(text) if text[:1] in ("{", "[") else text
        except ValueError:
            return text

    found: dict[str, Any] = _walk(json.loads(options), value_of) if options else {}
    return found


def _items(given: Any) -> list[dict[str, Any]]:
    if given is None or given == "":
        return []
    if isinstance(given, str):
        return [_from_text(given)]
    if isinstance(given, Mapping):
        return [dict(given)]
    if isinstance(given, Sequence) and not isinstance(given, bytes | bytearray):
        return [pairs for item in given for pairs in _items(_text_or_mapping(item))]
    raise BadSetting(_SHAPE)


_SHAPE = (
    "--storage-option is none of name=value, a JSON object, and in Python a dict; for example "
    "anon=true, or secret=env:NAME for a variable of the environment"
)


def _text_or_mapping(item: Any) -> Any:
    if not isinstance(item, str | Mapping):
        raise BadSetting(_SHAPE)
    return item


def _from_text(text: str) -> dict[str, Any]:
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            raise BadSetting(_SHAPE) from None
        return dict(found)
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise BadSetting(_SHAPE)
    return {name.strip(): value if name.strip() in PLAIN_TEXT else _value(value)}


def _value(text: str) -> Any:
    """Return what a text means in JSON, else the text; true and false also as Python has them."""
    try:
        return json.loads(text.lower() if text.lower() in ("true", "false") else text)
    except (ValueError, RecursionError):
        return text


def _walk(value: Any, change: Callable[[str, Any], Any], name: str = "", depth: int = 0) -> Any:
    """Return a value with ``change(name, leaf)`` in the place of each leaf."""
    if depth > 20:
        raise BadSetting("storage options are nested more than 20 deep")
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise BadSetting("names of storage options are text")
        return {key: _walk(item, change, key, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_walk(item, change, name, depth + 1) for item in value]
    return change(name, value)


def _checked(name: str, value: Any) -> Any:
    """Refuse a leaf that may be a secret, without repeating it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        if _SECRET.search(name):
            raise _may_be_secret(name)
        return value
    if not isinstance(value, str):
        raise BadSetting(f"the storage option {name} is neither text nor number nor truth")
    if value.startswith(REFERENCE):
        if not _VARIABLE.fullmatch(value.removeprefix(REFERENCE)):
            raise BadSetting(f"the storage option {name}: after env: comes a variable's name")
    elif name not in PLAIN_TEXT or ("://" in value and re.search("[@?#]", value)):
        raise _may_be_secret(name)
    return value


def _may_be_secret(name: str) -> BadSetting:
    return BadSetting(
        f"the storage option {name} may hold a secret, so its value is not taken from here: set a "
        f"variable of the environment, and say {name}=env:NAME_OF_IT"
    )
