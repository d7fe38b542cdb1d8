"""Requests to a service: retries with jitter, and errors of the tree.

The SDK's own retries sleep up to 84 seconds a request whatever the failure, know no Retry-After
and do not cover a body that breaks off, so they are turned off and :func:`with_retries` does it.
Errors of the SDK hold requests, and these hold signatures: none of them is chained to ours.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from engine.errors import (
    BadStructure,
    CallError,
    EvensplitError,
    NoPermission,
    NoSource,
    StorageFailed,
)
from engine.storage.azure.refusals import REFUSALS, refusal_of
from engine.storage.base import redacted

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError

T = TypeVar("T")

MAX_TRIES = 8
MAX_CONNECT_TRIES = 4  # a wrong host or a closed port rarely gets better
FIRST_WAIT_SECONDS = 0.5
MAX_WAIT_SECONDS = 20.0
MAX_RETRY_AFTER_SECONDS = 120.0
_PASSING = {408, 429, 500, 502, 503, 504}


def with_retries(path: str, action: Callable[[], T], stop: threading.Event | None = None) -> T:
    """Return what a request answers; try again, a bounded number of times, what may pass.

    Args:
        path: what the request is about, for messages.
        action: makes the request, and can make it again.
        stop: when set, nothing is tried again.

    Raises:
        Conflict: a condition on the blob's version does not hold.
        NoSource, NoPermission, BadStructure, StorageFailed: as their names say.
        EvensplitError: another one of :data:`engine.storage.azure.refusals.REFUSALS`.
    """
    from azure.core.exceptions import AzureError, ServiceRequestError

    stop = stop or threading.Event()
    tries = 0
    while True:
        try:
            return action()
        except AzureError as error:
            tries += 1
            connected = not isinstance(error, ServiceRequestError)
            last = tries >= (MAX_TRIES if connected else MAX_CONNECT_TRIES)
            wait = None if last or stop.is_set() else wait_seconds(error, tries)
            failure = None if wait is not None else translated(error, path, tries)
        # Raised outside of the handler: a chained error would take the SDK's request along.
        if failure is not None:
            raise failure
        assert wait is not None
        stop.wait(wait)


def wait_seconds(error: AzureError, tries: int) -> float | None:
    """Return how long to wait before the next try; None if trying again is useless."""
    status, code = _status(error), error_code(error)
    if not may_pass(error, status, code):
        return None
    wait = min(MAX_WAIT_SECONDS, FIRST_WAIT_SECONDS * float(1 << (tries - 1)))
    wait *= random.uniform(0.5, 1)  # workers throttled together do not come back together
    return max(wait, min(_retry_after_seconds(error), MAX_RETRY_AFTER_SECONDS))


def may_pass(error: AzureError, status: int | None, code: str) -> bool:
    """Whether the same request may succeed later."""
    from azure.core.exceptions import ClientAuthenticationError

    if isinstance(error, ClientAuthenticationError):
        return False
    if code in REFUSALS:
        return REFUSALS[code].may_pass
    return status is None or status in _PASSING


def _retry_after_seconds(error: AzureError) -> float:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    text = headers.get("retry-after-ms") or headers.get("x-ms-retry-after-ms")
    try:
        return float(text) / 1000 if text else float(headers.get("retry-after") or 0)
    except ValueError:  # a date; the service sends seconds
        return 0.0


def _status(error: AzureError) -> int | None:
    """Return the answer's status; None if none came, or it broke off."""
    status = getattr(error, "status_code", None)
    return None if status is None or 200 <= status < 300 else int(status)


def error_code(error: AzureError) -> str:
    """Return the service's own name of an error, which says more than the status."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def translated(error: AzureError, path: str, tries: int = 1) -> EvensplitError:
    """Return the error of the tree that one of the SDK stands for, without the SDK's words."""
    where, status, code = redacted(path), _status(error), error_code(error)
    what = code or (f"status {status}" if status else type(error).__name__)
    refusal = refusal_of(code, error)
    if may_pass(error, status, code):
        advice = refusal.sentence if refusal else REFUSALS["ServerBusy"].sentence
        return StorageFailed(
            f"{where}: {what}, {tries} times in a row; {advice}, then run the same command again: "
            "finished parts are kept"
        )
    if refusal is not None:
        return refusal.about(path, code)
    if status in (412, 304) or (status == 409 and not code):
        return REFUSALS["ConditionNotMet"].about(path, what)
    if status == 404 and code != "CannotVerifyCopySource":
        missing = "container; create it first" if code == "ContainerNotFound" else "file"
        return NoSource(f"{where}: no such {missing}")
    if status == 416:
        return BadStructure(f"{where}: bytes wanted past the file's end")
    if what == "AzureSigningError":
        return NoPermission(
            f"no permission for {where}: the account's key in the environment is none; copy "
            "AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_CONNECTION_STRING anew"
        )
    if status in (401, 403, 404) or status is None:
        return NoPermission(
            f"no permission for {where} ({what}); an identity needs a role (Storage Blob Data "
            "Contributor, for a Key Vault: Key Vault Secrets User), a SAS the permissions to read, "
            "write, list and delete; --credential chooses between them"
        )
    return CallError(
        f"{where}: the store does not take this request ({what}), and will not take it again; see "
        "learn.microsoft.com/rest/api/storageservices/blob-service-error-codes"
    )
