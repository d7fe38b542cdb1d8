"""What the service's own error codes mean: one table, from code to error, sentence and retry.

A status says little: 409 is a race, an archived blob, a legal hold or a folder in the way. Codes
are documented at learn.microsoft.com/rest/api/storageservices, pages ``blob-service-error-codes``,
``common-rest-api-error-codes``, ``sas-error-codes`` and, of hierarchical namespaces,
``datalakestoragegen2/path/create``. What is no row here is told by its status
(:func:`engine.storage.azure.requests.translated`).

Not covered: codes of requests that are never made (page blobs, leases, snapshots, incremental
copies).
"""

from __future__ import annotations

import email.utils
import urllib.parse
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from engine.errors import (
    Archived,
    BadSetting,
    Conflict,
    DestinationInUse,
    Encrypted,
    EvensplitError,
    Immutable,
    Locked,
    NoPermission,
    Rehydrating,
    StorageFailed,
)
from engine.storage.base import redacted

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError


class Refusal(NamedTuple):
    """What a code means.

    Attributes:
        error: what is raised.
        sentence: what is the matter and what to change; follows the file's name.
        may_pass: the same request may succeed within minutes, so it is made again.
    """

    error: type[EvensplitError]
    sentence: str
    may_pass: bool = False

    def about(self, path: str, code: str = "") -> EvensplitError:
        """Return the error of a file."""
        return self.error(f"{redacted(path)}: {self.sentence}{f' ({code})' if code else ''}")


# learn.microsoft.com/azure/storage/blobs/archive-rehydrate-overview
ARCHIVED = Refusal(
    Archived,
    "is in the archive tier, where it cannot be read; --rehydrate of plan and split asks for it to "
    "be brought back to Hot, which takes up to 15 hours and is charged",
)
REHYDRATING = Refusal(
    Rehydrating,
    "is being brought back from the archive tier, which takes up to 15 hours; run the same "
    "command again then",
)
_LEASED = Refusal(
    Locked,
    "somebody holds a lease on it; let them finish, or break it (az storage blob lease break), "
    "then run the same command again",
)
_IMMUTABLE = Refusal(
    Immutable,
    "an immutability policy or a legal hold keeps it as it is; choose another destination",
)
# learn.microsoft.com/azure/storage/blobs/encryption-customer-provided-keys
_ENCRYPTED = Refusal(
    Encrypted,
    "is encrypted with a key of its owner's that each request has to bring; copy it without that "
    "key first, or keep the key in a Key Vault as the account's own",
)
# learn.microsoft.com/rest/api/storageservices/datalakestoragegen2/path/create
_IN_THE_WAY = Refusal(
    DestinationInUse,
    "a folder has that name, or a file the name of one of its folders; choose another destination",
)
_OTHER_KIND = Refusal(
    DestinationInUse,
    "stands there already and is no block blob, or was written through the Data Lake interface, so "
    "blocks cannot replace it; remove it or choose another destination",
)
# learn.microsoft.com/rest/api/storageservices/put-block: all ids of a blob have one length.
_OTHER_BLOCKS = Refusal(
    DestinationInUse,
    "blocks that another program has staged there are in the way; choose another destination, or "
    "write a file of that name and delete it, which drops them",
)
_BEING_DELETED = Refusal(
    StorageFailed, "what it lies in is being made or deleted; wait, or take another", may_pass=True
)
_BUSY = Refusal(
    StorageFailed,
    "see that the account's endpoint can be reached and is not throttled",
    may_pass=True,
)
_CHANGED = Refusal(Conflict, "was changed by somebody else; run the same command again")
# learn.microsoft.com/azure/storage/common/storage-network-security; no role has a code of its own.
_KEPT_OUT = Refusal(
    NoPermission,
    "the account keeps this machine out: allow its address or subnet in the account's Networking, "
    "or use its private endpoint. Of a SAS: it does not cover this request",
)
_NO_ROLE = Refusal(
    NoPermission,
    "what opened the account may not do this: an identity needs the role Storage Blob Data "
    "Contributor (a role takes minutes to hold), a SAS the permissions to read, write, list and "
    "delete",
)
_NOT_KNOWN = Refusal(
    NoPermission,
    "the account does not take the credential: a key was renewed, a SAS was cut off in copying, or "
    "the identity is of another tenant; --credential chooses between them",
)
_SAS_TOO_NARROW = Refusal(
    NoPermission,
    "the SAS does not cover this: it has to allow this machine's address, https, the service blob, "
    "and the resource types container and object",
)
_NO_OVERWRITE = Refusal(
    NoPermission, "the SAS may create files but not replace one; give it the permission to write"
)
_NO_KEYS = Refusal(
    NoPermission,
    "the account takes neither keys nor what is signed with one; use --credential identity",
)
_DISABLED = Refusal(
    NoPermission,
    "the storage account or container is disabled, mostly for its subscription; enable that first",
)
_NO_NAME = Refusal(
    BadSetting,
    "is no name that the service takes: a container's has 3 to 63 small letters, digits and single "
    "hyphens, a file's at most 1,024 characters",
)

_ROWS: tuple[tuple[str, Refusal], ...] = (
    ("BlobArchived", ARCHIVED),
    ("BlobBeingRehydrated", REHYDRATING),
    (
        "LeaseIdMissing LeaseIdMismatchWithBlobOperation LeaseIdMismatchWithContainerOperation",
        _LEASED,
    ),
    ("BlobImmutableDueToPolicy BlobImmutableDueToLegalHold", _IMMUTABLE),
    ("ContainerHasLegalHold ContainerImmutabilityPolicyLocked", _IMMUTABLE),
    ("BlobUsesCustomerSpecifiedEncryption BlobDoesNotUseCustomerSpecifiedEncryption", _ENCRYPTED),
    ("BlobCustomerSpecifiedEncryptionMismatch", _ENCRYPTED),
    ("ResourceTypeMismatch PathConflict PathAlreadyExists DirectoryIsNotEmpty", _IN_THE_WAY),
    ("InvalidBlobType BlobOperationNotSupported", _OTHER_KIND),
    ("InvalidBlobOrBlock", _OTHER_BLOCKS),
    ("ContainerBeingDeleted FilesystemBeingDeleted AccountBeingCreated", _BEING_DELETED),
    ("ServerBusy OperationTimedOut InternalError Md5Mismatch Crc64Mismatch", _BUSY),
    # An InvalidBlockList says that another commit has taken or dropped the blocks.
    ("BlobAlreadyExists ConditionNotMet SourceConditionNotMet InvalidBlockList", _CHANGED),
    ("PendingCopyOperation", _CHANGED),
    ("AuthorizationFailure", _KEPT_OUT),
    ("AuthorizationPermissionMismatch InsufficientAccountPermissions", _NO_ROLE),
    ("AuthenticationFailed InvalidAuthenticationInfo NoAuthenticationInformation", _NOT_KNOWN),
    ("AuthorizationSourceIPMismatch AuthorizationProtocolMismatch", _SAS_TOO_NARROW),
    ("AuthorizationServiceMismatch AuthorizationResourceTypeMismatch", _SAS_TOO_NARROW),
    ("UnauthorizedBlobOverwrite", _NO_OVERWRITE),
    ("KeyBasedAuthenticationNotPermitted", _NO_KEYS),
    ("AccountIsDisabled ContainerDisabled", _DISABLED),
    ("InvalidResourceName", _NO_NAME),
)
REFUSALS = {code: refusal for codes, refusal in _ROWS for code in codes.split()}

# A key's request may be 15 minutes off, a SAS begins to the second; 5 minutes are no accident.
# learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key
_SKEW = timedelta(minutes=5)

# What AuthenticationErrorDetail says of times that this machine cannot compare itself.
_DETAILS = {
    "specified time frame": "the SAS is not valid now: it ended, or has not begun; make a new one",
    "Lifetime validation failed": "the token has ended, or has not begun; log in again, and see "
    "that this machine's clock is right",
    "date header": "this machine's clock differs from the service's; set it right",
}


def refusal_of(code: str, error: AzureError) -> Refusal | None:
    """Return what a code means, with what the answer says besides."""
    if code in ("AuthenticationFailed", "AuthorizationFailure"):  # the second is Azurite's
        reason = _wrong_time(error)
        if reason:
            return Refusal(NoPermission, reason)
    return REFUSALS.get(code)


def _wrong_time(error: AzureError) -> str | None:
    """Say if a time is why a request was not taken: this machine's clock, or a SAS's.

    The answer to HEAD has no body, so times are compared here; nothing of the body is repeated, as
    it may hold what was signed.
    """
    details = getattr(error, "additional_info", None) or {}
    detail = str(details.get("authenticationerrordetail", ""))
    response = getattr(error, "response", None)
    there = _time_of((getattr(response, "headers", None) or {}).get("Date"))
    here = datetime.now(UTC)
    if there and abs(here - there) > _SKEW:
        minutes = round(abs(here - there).total_seconds() / 60)
        way = "ahead of" if here > there else "behind"
        return f"this machine's clock is {minutes:,} minutes {way} the service's; set it right"
    for name, time in _times_of_sas(getattr(getattr(response, "request", None), "url", "")):
        if name == "se" and time < here:
            return f"the SAS ended at {time:%Y-%m-%d %H:%M} UTC; make a new one"
        if name == "st" and time > here:
            return f"the SAS begins at {time:%Y-%m-%d %H:%M} UTC; wait, or make a new one"
    return next((told for sign, told in _DETAILS.items() if sign in detail), None)


def _times_of_sas(url: str) -> Iterator[tuple[str, datetime]]:
    """Yield begin (``st``) and end (``se``) that a request's signature has."""
    for name, text in urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query):
        if name in ("st", "se"):
            try:
                time = datetime.fromisoformat(text)
            except ValueError:
                continue
            yield name, time if time.tzinfo else time.replace(tzinfo=UTC)


def _time_of(text: str | None) -> datetime | None:
    try:
        return email.utils.parsedate_to_datetime(text) if text else None
    except ValueError:
        return None
