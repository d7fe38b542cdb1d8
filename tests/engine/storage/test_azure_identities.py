"""Tokens of an identity: one is asked for at a time, and a broken connection is not the end.

Microsoft's own credentials run here, against metadata services on loopback; the chain never runs
without being told which identity to ask.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure.identity import CredentialUnavailableError

from engine.errors import BadSetting, EvensplitError, NoPermission, StorageFailed
from engine.model import SourceFile
from engine.settings import Access
from engine.storage import open_storage
from engine.storage.azure import identities, urls
from engine.storage.azure.client import service
from engine.storage.azure.credentials import Login, Secret, login
from engine.storage.azure.identities import Tokens
from engine.storage.azure.source import AzureSource
from tests.serving import served

SCOPE = "https://storage.azure.com/.default"
SIGNS = (
    "AZ_BATCH_NODE_ID",
    "IDENTITY_ENDPOINT",
    "MSI_ENDPOINT",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_FEDERATED_TOKEN_FILE",
)
URL = "abfss://data@account.dfs.core.windows.net/a b.parquet"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identities, "FIRST_WAIT_SECONDS", 0.0)
    for name in SIGNS:
        monkeypatch.delenv(name, raising=False)


class Giver:
    """A credential whose answers are given: seconds that a token lasts, or an error."""

    def __init__(self, *answers: float | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    def get_token(self, *_: str, **options: Any) -> AccessToken:
        self.asked.append(options)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return AccessToken(f"token{len(self.asked)}", int(time.time() + answer))


NO_ANSWER = ClientAuthenticationError(
    "ManagedIdentityCredential authentication unavailable, no response from the IMDS endpoint."
)


# -- kept -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "variables",
    [
        {"AZURE_TOKEN_CREDENTIALS": "bogus"},
        {"AZURE_TENANT_ID": "y z", "AZURE_CLIENT_ID": "x", "AZURE_CLIENT_SECRET": "hush"},
        {"AZURE_AUTHORITY_HOST": "http://not.tls"},
    ],
)
def test_a_variable_that_cannot_be_is_told(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(BadSetting, match=next(iter(variables))) as told:
        identities.identity()
    assert not [text for text in variables.values() if text in str(told.value)]


def test_a_key_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c4n4ry!")
    store, path = open_storage(URL)
    with pytest.raises(NoPermission, match="key in the environment is none; copy") as told:
        store.stat(path)
    assert "c4n4ry" not in str(told.value)


@pytest.mark.parametrize("seconds", [86_400, 3_600, 901, 899, 600, 200, 60])
def test_a_token_is_asked_for_once_however_near_its_end(seconds: float) -> None:
    giver = Giver(seconds)
    tokens = Tokens(giver)
    assert {tokens.get_token(SCOPE).token for _ in range(500)} == {"token1"}
    assert len(giver.asked) == 1


def test_a_token_near_its_end_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    giver, now = Giver(3600), time.time()
    tokens = Tokens(giver)
    seen = []
    for minute in range(0, 180, 5):
        monkeypatch.setattr(identities.time, "time", lambda minute=minute: now + 60 * minute)
        seen.append(tokens.get_token(SCOPE))
        assert seen[-1].expires_on > now + 60 * minute + identities.USABLE_SECONDS
    assert len(giver.asked) == 4  # each lasts 45 minutes or 3 quarters, and the rest is margin


def test_every_copied_block_has_the_same_token(monkeypatch: pytest.MonkeyPatch) -> None:
    giver = Giver(600)
    monkeypatch.setattr("engine.storage.azure.source.identity", lambda: Tokens_of[0])
    Tokens_of = [Tokens(giver)]  # noqa: N806 - one for the process, as identity() has it
    found = login(urls.parse(URL), Access("identity"))
    blob = service(found).get_blob_client("data", "a b.parquet")
    file = SourceFile(URL, 10, "etag:0x1")
    source = AzureSource(found, blob, file, file)
    made = [source.authorization() for _ in range(300)]
    assert made[0] == made[-1]
    assert made[0]["source_authorization"] == "Bearer token1"
    assert made[0]["source_url"].endswith("/data/a%20b.parquet")
    assert len(giver.asked) == 1


def test_a_signature_of_ours_is_made_once_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    found = login(urls.parse(URL), Access())
    assert found.secret == Secret("account key", "a2V5")
    file = SourceFile(URL, 10, "etag:0x1")
    source = AzureSource(found, service(found).get_blob_client("data", "a"), file, file)
    assert len({source.authorization()["source_url"] for _ in range(50)}) == 1


def test_threads_go_on_with_what_is_left_while_one_renews() -> None:
    entered, go_on = threading.Event(), threading.Event()

    class Slow(Giver):
        def get_token(self, *scopes: str, **options: Any) -> AccessToken:
            if self.asked:
                entered.set()
                go_on.wait()
            return super().get_token(*scopes, **options)

    giver = Slow(100)
    tokens = Tokens(giver)
    first = tokens.get_token(SCOPE)
    key = (SCOPE,), None
    tokens._kept[key] = first, time.time() - identities.ASKED_AGAIN_SECONDS
    renewing = threading.Thread(target=tokens.get_token, args=(SCOPE,))
    renewing.start()
    entered.wait()
    assert tokens.get_token(SCOPE) is first  # does not wait
    go_on.set()
    renewing.join()
    assert tokens.get_token(SCOPE).token == "token2"


def test_many_threads_without_a_token_ask_once() -> None:
    giver = Giver(3600)
    tokens = Tokens(giver)
    threads = [threading.Thread(target=tokens.get_token, args=(SCOPE,)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(giver.asked) == 1


def test_other_scopes_tenants_and_challenges_have_tokens_of_their_own() -> None:
    giver = Giver(3600)
    tokens = Tokens(giver)
    tokens.get_token(SCOPE)
    tokens.get_token("https://vault.azure.net/.default")
    tokens.get_token(SCOPE, tenant_id="other")
    tokens.get_token(SCOPE, claims="again", enable_cae=True)
    tokens.get_token(SCOPE, claims="again", enable_cae=True)  # a challenge is never kept
    assert giver.asked == [
        {},
        {},
        {"tenant_id": "other"},
        *[{"claims": "again", "enable_cae": True}] * 2,
    ]


# -- asked again ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [NO_ANSWER, ServiceRequestError("reset"), ConnectionResetError(), ValueError("?")],
)
@pytest.mark.parametrize("number", [1, 2])
def test_a_broken_connection_is_not_the_end(
    error: Exception, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_TOKEN_CREDENTIALS")
    giver = Giver(*[error] * number, 3600)
    assert Tokens(giver).get_token(SCOPE).token == f"token{number + 1}"


@pytest.mark.parametrize(
    ("name", "value", "kind", "tries"),
    [
        ("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential", StorageFailed, 3),
        ("AZURE_TOKEN_CREDENTIALS", "prod", StorageFailed, 3),
        ("AZURE_TOKEN_CREDENTIALS", "", NoPermission, 3),  # a laptop, or a first broken connection
        ("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential", NoPermission, 1),
        ("AZ_BATCH_NODE_ID", "tvm1", StorageFailed, 3),
        ("IDENTITY_ENDPOINT", "http://127.0.0.1", StorageFailed, 3),
        ("AZURE_CLIENT_SECRET", "planted", StorageFailed, 3),
    ],
)
def test_no_answer_is_a_fault_only_where_an_identity_is(
    name: str, value: str, kind: type[EvensplitError], tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    giver = Giver(NO_ANSWER)
    with pytest.raises(EvensplitError) as caught:
        Tokens(giver).get_token(SCOPE)
    assert (type(caught.value), len(giver.asked)) == (kind, tries)
    assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ("AADSTS700016: Application not found. secret=planted", "AADSTS700016"),
        ("AADSTS7000215: Invalid client secret provided: planted", "AADSTS7000215"),
        ("No identity has been assigned to this resource. planted", "AZURE_CLIENT_ID"),
    ],
)
def test_a_refusal_is_told_at_once(said: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "prod")
    giver = Giver(ClientAuthenticationError(said))
    with pytest.raises(NoPermission, match=word) as caught:
        Tokens(giver).get_token(SCOPE)
    assert len(giver.asked) == 1
    assert "planted" not in str(caught.value)


def test_entra_id_itself_may_be_down_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "prod")
    giver = Giver(ClientAuthenticationError("AADSTS90033: A transient error has occurred."), 3600)
    assert Tokens(giver).get_token(SCOPE).token == "token2"


def test_a_renewal_that_fails_leaves_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    giver, now = Giver(3600, NO_ANSWER), time.time()
    tokens = Tokens(giver)
    tokens.get_token(SCOPE)
    monkeypatch.setattr(identities.time, "time", lambda: now + 3_000)
    assert tokens.get_token(SCOPE).token == "token1"
    monkeypatch.setattr(identities.time, "time", lambda: now + 3_590)
    with pytest.raises(StorageFailed):  # there was one, so there is an identity
        tokens.get_token(SCOPE)


# -- Microsoft's credentials, on loopback ---------------------------------------------------------


class _Metadata(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.seen.append(self.path)  # type: ignore[attr-defined]
        if self.server.faults > 0:  # type: ignore[attr-defined]
            self.server.faults -= 1  # type: ignore[attr-defined]
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            self.connection.close()
            return
        body = b'{"access_token": "real", "expires_in": "3600", "resource": "r", "token_type": "B"}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The metadata service of a machine; ``faults`` is how many connections it breaks first."""

    class Server(ThreadingHTTPServer):
        faults = 0
        seen: list[str] = []  # noqa: RUF012 - of this one class

        def handle_error(self, *_: object) -> None:
            """Broken connections are what this is for."""

    server = Server(("127.0.0.1", 0), _Metadata)
    with served(server) as url:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", url)
        yield server


def _on_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZ_BATCH_NODE_ID", "tvm1")
    monkeypatch.setenv("AZURE_CLIENT_ID", "00000000-0000-0000-0000-000000000001")
    monkeypatch.delenv("AZURE_TOKEN_CREDENTIALS")


def _narrowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")


@pytest.mark.parametrize("place", [_on_a_node, _narrowed])
def test_a_metadata_service_that_breaks_off_once_gives_a_token(
    metadata: Any, place: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    place(monkeypatch)
    metadata.faults = 1
    tokens = identities.identity()
    assert {tokens.get_token(SCOPE).token for _ in range(20)} == {"real"}
    assert len(metadata.seen) == 2
    assert ("client_id=0000" in metadata.seen[-1]) == (place is _on_a_node)


def test_a_node_asks_its_managed_identity_and_no_chain(
    monkeypatch: pytest.MonkeyPatch, metadata: Any
) -> None:
    _on_a_node(monkeypatch)
    assert type(identities.identity()._credential).__name__ == "ManagedIdentityCredential"
    assert not metadata.seen
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    assert type(identities.identity()._credential).__name__ == "DefaultAzureCredential"


def test_another_identity_in_the_environment_is_another_one(
    monkeypatch: pytest.MonkeyPatch, metadata: Any
) -> None:
    """A notebook goes on as somebody else: neither tokens nor clients of the first one are used."""
    _on_a_node(monkeypatch)
    place = Login("a", "a.dfs.core.windows.net", "https://a.blob.core.windows.net", None)
    first, its_client = identities.identity(), service(place)
    assert identities.identity() is first
    assert service(place) is its_client
    monkeypatch.setenv("AZURE_CLIENT_ID", "00000000-0000-0000-0000-000000000002")
    assert identities.identity() is not first
    assert service(place) is not its_client


def test_no_test_asks_everybody() -> None:
    assert os.environ["AZURE_TOKEN_CREDENTIALS"] == "EnvironmentCredential"
    with pytest.raises(NoPermission, match="no identity was found"):
        identities.identity().get_token(SCOPE)
    assert issubclass(CredentialUnavailableError, ClientAuthenticationError)
