"""What the service refuses by its own names: the right kind for each code, whatever is asked."""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from engine.errors import (
    Archived,
    EvensplitError,
    Immutable,
    Locked,
    NoPermission,
    Rehydrating,
    StorageFailed,
    register,
)
from engine.settings import Access
from engine.storage import open_storage
from engine.storage.access import using
from engine.storage.azure import requests
from engine.storage.azure.refusals import REFUSALS
from tests.azurite import ACCOUNT, KEY, Azurite
from tests.azurite.proxy import Fault, Proxy, Seen, before
from tests.engine.running import run, write_source

# Status and message of each code: learn.microsoft.com/rest/api/storageservices, pages
# blob-service-error-codes, common-rest-api-error-codes, sas-error-codes.
ANSWERS: dict[str, tuple[int, str]] = {
    "BlobArchived": (409, "This operation is not permitted on an archived blob."),
    "BlobBeingRehydrated": (409, "This operation is not permitted because it is rehydrated."),
    "LeaseIdMissing": (
        412,
        "There is currently a lease on the blob.",
    ),
    "LeaseIdMismatchWithBlobOperation": (412, "The lease ID specified did not match."),
    "LeaseIdMismatchWithContainerOperation": (412, "The lease ID specified did not match."),
    "BlobImmutableDueToPolicy": (409, "This operation is not permitted as the blob is immutable."),
    "BlobImmutableDueToLegalHold": (409, "The blob is immutable due to one or more legal holds."),
    "ContainerHasLegalHold": (409, "The container has one or more legal holds."),
    "ContainerImmutabilityPolicyLocked": (409, "The container has a locked immutability policy."),
    "BlobUsesCustomerSpecifiedEncryption": (409, "The blob is encrypted with customer encryption."),
    "BlobDoesNotUseCustomerSpecifiedEncryption": (409, "The blob is not encrypted with it."),
    "BlobCustomerSpecifiedEncryptionMismatch": (409, "The given encryption does not match."),
    "ResourceTypeMismatch": (409, "The path, or an element of it, exists and its type is invalid."),
    "PathConflict": (409, "The specified path, or an element of the path, exists."),
    "PathAlreadyExists": (409, "The specified path already exists."),
    "DirectoryIsNotEmpty": (409, "This operation is not permitted on a non-empty directory."),
    "InvalidBlobType": (409, "The blob type is invalid for this operation."),
    "BlobOperationNotSupported": (409, "Blob operation is not supported."),
    "InvalidBlobOrBlock": (400, "The specified blob or block content is invalid."),
    "ContainerBeingDeleted": (409, "The specified container is being deleted."),
    "FilesystemBeingDeleted": (409, "The specified filesystem is being deleted."),
    "AccountBeingCreated": (409, "The specified account is in the process of being created."),
    "ServerBusy": (503, "The server is currently unable to receive requests. Please retry."),
    "OperationTimedOut": (500, "The operation could not be completed within the permitted time."),
    "InternalError": (500, "The server encountered an internal error. Please retry the request."),
    "Md5Mismatch": (400, "The MD5 value specified in the request did not match."),
    "Crc64Mismatch": (400, "The CRC64 value specified in the request did not match."),
    "BlobAlreadyExists": (409, "The specified blob already exists."),
    "ConditionNotMet": (
        412,
        "The condition specified is not met.",
    ),
    "SourceConditionNotMet": (412, "The source condition specified is not met."),
    "InvalidBlockList": (400, "The specified block list is invalid."),
    "PendingCopyOperation": (409, "There is currently a pending copy operation."),
    "AuthorizationFailure": (403, "This request is not authorized to perform this operation."),
    "AuthorizationPermissionMismatch": (403, "This request is not authorized, this permission."),
    "InsufficientAccountPermissions": (403, "The account does not have sufficient permissions."),
    "AuthenticationFailed": (403, "Server failed to authenticate the request."),
    "InvalidAuthenticationInfo": (401, "Server failed to authenticate the request."),
    "NoAuthenticationInformation": (401, "Server failed to authenticate the request."),
    "AuthorizationSourceIPMismatch": (403, "This request is not authorized, this source IP."),
    "AuthorizationProtocolMismatch": (403, "This request is not authorized, this protocol."),
    "AuthorizationServiceMismatch": (403, "This request is not authorized, this service."),
    "AuthorizationResourceTypeMismatch": (403, "This request is not authorized, resource type."),
    "UnauthorizedBlobOverwrite": (403, "This request is not authorized to perform overwrites."),
    "KeyBasedAuthenticationNotPermitted": (403, "Key based authentication is not permitted."),
    "AccountIsDisabled": (403, "The specified account is disabled."),
    "ContainerDisabled": (409, "The specified container has been disabled by the administrator."),
    "InvalidResourceName": (400, "The specified resource name contains invalid characters."),
}
ROOT = Path(__file__).parents[3]
SIGNED = "Signature did not match. String to sign used was GET\n\nplanted-signature"


@pytest.fixture
def proxy(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with before(azurite.port) as made:
        there = azurite.through(made.port)
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", there.connection_string)
        monkeypatch.setattr(requests, "FIRST_WAIT_SECONDS", 0.0)
        yield made


def _commits(store: Any, path: str) -> None:
    sink = store.create(path, durable=True)
    sink.write(b"content")
    try:
        sink.commit()
    finally:
        sink.abort()


def always(_: Seen) -> bool:
    return True


# Each verb that is used, what asks by it, and which of its requests is refused.
VERBS: dict[str, tuple[Callable[[Any, str], object], Callable[[Seen], bool]]] = {
    "describe": (lambda store, path: store.stat(path), always),
    "read": (lambda store, path: store.get(path), always),
    "list": (lambda store, path: store.files(path), always),
    "write": (lambda store, path: store.put(path, b"x"), always),
    "stage": (_commits, lambda seen: seen.asks("PUT", "comp=block&")),
    "commit": (_commits, lambda seen: seen.asks("PUT", "comp=blocklist")),
    "remove": (lambda store, path: store.remove(path), always),
}


def test_every_code_has_an_answer_here() -> None:
    assert ANSWERS.keys() == REFUSALS.keys()
    for refusal in REFUSALS.values():
        assert register()[refusal.error.kind] is refusal.error
        assert refusal.may_pass <= (refusal.error is StorageFailed)


def test_the_documentation_says_the_same() -> None:
    page = (ROOT / "docs/storage.md").read_text().partition("what the service refuses\n")[2]
    rows = [line.split("|")[1:-1] for line in page.splitlines() if line.startswith("| ")][1:]
    named = [(code, row) for row in rows for code in re.findall(r"`([A-Z]\w+)`", row[0])]
    assert len(named) > 15
    for code, (_, kind, exit_code, again) in named:
        error = REFUSALS[code].error
        assert (kind.strip(" `"), int(exit_code)) == (error.kind, error.exit_code), code
        assert REFUSALS[code].may_pass == bool(again.strip()), code


@pytest.mark.parametrize("verb", VERBS)
def test_each_code_is_told_by_its_name(azurite: Azurite, proxy: Proxy, verb: str) -> None:
    store, path = open_storage(f"abfs://{azurite.new_container()}/folder/a.parquet")
    ask, when = VERBS[verb]
    for code, (status, message) in ANSWERS.items():
        refusal = REFUSALS[code]
        fault = Fault("status", when, 1000, status, code, message=message, detail=SIGNED)
        proxy.faults[:], proxy.seen[:] = [fault], []
        with pytest.raises(EvensplitError) as caught:
            ask(store, path)
        said = str(caught.value)
        assert type(caught.value) is refusal.error, (code, said)
        assert code in said
        assert "folder/a.parquet" in said or verb == "list"
        assert "planted" not in said
        assert "\n" not in said
        asked = len([seen for seen in proxy.ours() if when(seen)])
        looked = 1 if verb in ("stage", "commit") else 0  # a look at what stands there
        tries = requests.MAX_TRIES if refusal.may_pass else 1
        assert asked in (tries, tries + looked), code


@pytest.mark.parametrize(
    ("status", "code", "kind", "tries"),
    [
        (400, "InvalidHeaderValue", "call", 1),
        (409, "FeatureVersionMismatch", "call", 1),
        (409, "SomethingNew", "call", 1),
        (409, "", "retry.conflict", 1),
        (412, "SomethingNew", "retry.conflict", 1),
        (403, "SomethingNew", "call.no-permission", 1),
        (404, "SomethingNew", "call.no-source", 1),
        (503, "SomethingNew", "retry.storage", 8),
        (429, "", "retry.storage", 8),
    ],
)
def test_codes_that_are_not_in_the_table_are_told_by_their_status(
    azurite: Azurite, proxy: Proxy, status: int, code: str, kind: str, tries: int
) -> None:
    store, path = open_storage(f"abfs://{azurite.new_container()}/a.parquet")
    proxy.fail(Fault("status", always, 99, status, code))
    with pytest.raises(EvensplitError) as caught:
        store.put(path, b"x")
    assert (code or str(status)) in str(caught.value) or status == 404
    assert (caught.value.kind, len(proxy.ours())) == (kind, tries)


def test_throttling_that_passes_is_not_told(azurite: Azurite, proxy: Proxy) -> None:
    store, path = open_storage(f"abfs://{azurite.new_container()}/a.parquet")
    for code, refusal in REFUSALS.items():
        if refusal.may_pass:
            status, message = ANSWERS[code]
            proxy.faults[:] = [Fault("status", always, 3, status, code, message=message)]
            store.put(path, code.encode())
            assert store.get(path) == code.encode()


# -- times ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("minutes", "word"), [(20, "behind"), (-20, "ahead of")])
@pytest.mark.parametrize("verb", ["describe", "read", "write"])
def test_a_wrong_clock_is_named(
    azurite: Azurite, proxy: Proxy, minutes: int, word: str, verb: str
) -> None:
    store, path = open_storage(f"abfs://{azurite.new_container()}/a.parquet")
    there = email.utils.formatdate(time.time() + 60 * minutes, usegmt=True)
    proxy.fail(Fault("status", always, 9, 403, "AuthenticationFailed", headers={"Date": there}))
    with pytest.raises(NoPermission, match=f"clock is (19|20|21) minutes {word}"):
        VERBS[verb][0](store, path)


@pytest.mark.parametrize(
    ("detail", "words"),
    [
        (
            "Signature not valid in the specified time frame: Start [planted] - Expiry [planted]",
            "the SAS is not valid now",
        ),
        ("Lifetime validation failed. The token is expired. planted", "the token has ended"),
        ("Request date header too old: 'planted'", "clock differs"),
        (SIGNED, "does not take the credential"),
    ],
)
def test_what_the_service_says_of_times_is_understood(
    azurite: Azurite, proxy: Proxy, detail: str, words: str
) -> None:
    store, path = open_storage(f"abfs://{azurite.new_container()}/a.parquet")
    proxy.fail(Fault("status", always, 9, 403, "AuthenticationFailed", detail=detail))
    with pytest.raises(NoPermission, match=words) as caught:
        store.get(path)
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize(
    ("begin", "end", "words"), [(-2, -1, "the SAS ended at"), (1, 2, "the SAS begins at")]
)
def test_a_sas_that_is_not_valid_now_is_named(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch, begin: int, end: int, words: str
) -> None:
    container, now = azurite.new_container(), datetime.now(UTC)
    sas = generate_container_sas(
        ACCOUNT,
        container,
        account_key=KEY,
        permission=ContainerSasPermissions(read=True),
        start=now + timedelta(hours=begin),
        expiry=now + timedelta(hours=end),
    )
    only_sas = f"BlobEndpoint={azurite.endpoint};AccountName={ACCOUNT};SharedAccessSignature={sas}"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", only_sas)
    store, path = open_storage(f"abfs://{container}/a.parquet")
    for verb in ("describe", "read"):  # Azurite itself refuses, without and with a body
        with pytest.raises(NoPermission, match=words) as caught:
            VERBS[verb][0](store, path)
        assert "sig" not in str(caught.value)


# -- leases ----------------------------------------------------------------------------------------


def test_a_lease_is_no_claim_and_no_change(azurite: Azurite, proxy: Proxy) -> None:
    container = azurite.new_container()
    store, path = open_storage(f"abfs://{container}/a.parquet")
    store.put(path, b"theirs")
    azurite.client().get_blob_client(container, "a.parquet").acquire_lease(60)
    assert store.get(path) == b"theirs"
    for change in (lambda: store.put(path, b"x"), lambda: store.remove(path)):
        with pytest.raises(Locked, match="holds a lease"):
            change()
    with pytest.raises(Locked):
        _commits(store, path)
    assert store.get(path) == b"theirs"


# -- immutable ------------------------------------------------------------------------------------


def test_a_claim_that_a_policy_keeps_is_somebodys(azurite: Azurite, proxy: Proxy) -> None:
    store, path = open_storage(f"abfs://{azurite.new_container()}/plan.json")
    store.put(path, b"theirs")
    proxy.fail(Fault("status", lambda seen: seen.asks("PUT"), 9, 409, "BlobImmutableDueToPolicy"))
    assert not store.put_if_absent(path, b"ours")
    with pytest.raises(Immutable):
        store.put(path, b"ours")


def test_a_part_that_became_immutable_by_its_own_commit_is_ours(
    azurite: Azurite, proxy: Proxy
) -> None:
    def is_commit(seen: Seen) -> bool:
        return seen.asks("PUT", "comp=blocklist")

    proxy.fail(
        Fault("lost-answer", is_commit),
        Fault("status", is_commit, 1, 409, "BlobImmutableDueToPolicy"),
    )
    store, path = open_storage(f"abfs://{azurite.new_container()}/part.parquet")
    _commits(store, path)
    assert store.get(path) == b"content"


# -- the archive tier -----------------------------------------------------------------------------


@pytest.fixture
def archived(azurite: Azurite, proxy: Proxy, tmp_path: Path) -> str:
    """A folder of two archived files and one that is not."""
    container = azurite.new_container()
    data = write_source(tmp_path / "s.parquet", 2_000).read_bytes()
    for name in ("a", "b", "c"):
        blob = azurite.client().get_blob_client(container, f"in/{name}.parquet")
        blob.upload_blob(data)
        if name != "b":
            blob.set_standard_blob_tier("Archive")
    return f"abfs://{container}/in"


def tiers_asked_for(proxy: Proxy) -> list[str]:
    return [seen.path.split("?")[0][-9:] for seen in proxy.ours() if seen.asks("PUT", "comp=tier")]


def test_an_archived_source_is_named_as_such(archived: str, proxy: Proxy, tmp_path: Path) -> None:
    ended = run("split", archived, tmp_path / "parts", "--parts", "2", "--json")
    assert ended.code == 3
    assert json.loads(ended.out)["error"]["kind"] == "source.archived"
    assert "--rehydrate" in ended.out
    assert tiers_asked_for(proxy) == []
    assert not (tmp_path / "parts").exists()
    store, path = open_storage(f"{archived}/a.parquet")
    with pytest.raises(Archived):  # Azurite's own answer to who reads it all the same
        store.get(path)


def test_rehydrate_asks_for_all_that_is_archived(
    archived: str, proxy: Proxy, tmp_path: Path
) -> None:
    words = ("split", archived, tmp_path / "parts", "--parts", "2")
    ended = run(*words, "--rehydrate", "--json")
    assert ended.code == 5
    found = json.loads(ended.out)["error"]
    assert found["kind"] == "retry.rehydrating"
    assert "2 of 3 files" in found["message"]
    assert tiers_asked_for(proxy) == ["a.parquet", "c.parquet"]
    ended = run(*words, "--rehydrate")  # Azurite has them back at once
    assert ended.code == 0, ended.err
    assert len(tiers_asked_for(proxy)) == 2


def test_what_is_on_its_way_is_not_asked_for_again(archived: str, proxy: Proxy) -> None:
    proxy.answer_headers["x-ms-archive-status"] = "rehydrate-pending-to-hot"
    for rehydrate in (False, True):
        with using(Access(rehydrate=rehydrate)):
            store, path = open_storage(f"{archived}/a.parquet")
            with pytest.raises(Rehydrating, match="run the same command again"):
                store.stat(path)
    assert tiers_asked_for(proxy) == []
