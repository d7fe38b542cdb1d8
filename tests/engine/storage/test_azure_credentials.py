"""Who opens an account, and that no secret is ever seen."""

from __future__ import annotations

import base64
import io
import json
import logging
import pickle
import subprocess
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.storage.blob import ContainerSasPermissions, generate_container_sas

import engine
from engine.errors import BadSetting, EvensplitError
from engine.executors import Resources, run_parts
from engine.model import SourceFile
from engine.settings import Access
from engine.storage import open_storage
from engine.storage.access import using
from engine.storage.azure import client, credentials, requests, urls
from engine.storage.azure.credentials import Secret, login, vault_secret
from tests.azurite import ACCOUNT, KEY, Azurite, running
from tests.azurite.proxy import Fault, before
from tests.engine.running import run, write_source
from tests.serving import served

HOST = "account.dfs.core.windows.net"
PLANTED_KEY = base64.b64encode(b"planted-account-key-0123456789").decode()
PLANTED_SAS = "sv=2024-11-04&ss=b&srt=sco&sp=rwl&sig=cGxhbnRlZC1zaWduYXR1cmU%3D"
PLANTED = (PLANTED_KEY, "cGxhbnRlZC1zaWduYXR1cmU", "planted-signature", "planted-account-key")


@pytest.fixture(autouse=True)
def no_secret_is_kept() -> None:
    credentials.kept_secret.cache_clear()


# -- which account, which credential --------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        f"abfss://data@{HOST}/in/a b.parquet",
        f"abfs://data@{HOST}/in/a b.parquet",
        "abfss://data@account/in/a b.parquet",
        "abfs://data/in/a b.parquet",
        "az://data/in/a b.parquet",
        "https://account.blob.core.windows.net/data/in/a%20b.parquet",
        "https://account.dfs.core.windows.net/data/in/a%20b.parquet",
    ],
)
def test_all_forms_of_a_url_are_one_place(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", PLANTED_KEY)
    assert urls.is_azure(url)
    store, path = open_storage(url)
    assert path == f"abfss://data@{HOST}/in/a b.parquet"
    assert open_storage(path)[1] == path
    assert store._blob(path).url == (  # type: ignore[attr-defined]
        "https://account.blob.core.windows.net/data/in/a%20b.parquet"
    )


@pytest.mark.parametrize(
    "url",
    ["abfss://data@evil.example.com/a", "abfs:///a", "abfss://data@a.dfs.core.windows.net.evil/a"],
)
def test_no_credential_is_sent_to_a_stranger(url: str) -> None:
    with pytest.raises(BadSetting):
        open_storage(url)
    assert not urls.is_azure("https://evil.example.com/data/a")
    assert not urls.is_azure("https://a.blob.core.windows.net.evil/data/a")


@pytest.mark.parametrize("path", ["out\\2024", "a\\b/c.parquet", "a\\"])
@pytest.mark.parametrize(
    "form", ["abfss://data@account/", "https://account.blob.core.windows.net/data/"]
)
def test_a_backslash_is_not_taken_for_a_slash(form: str, path: str) -> None:
    with pytest.raises(BadSetting, match="write /"):
        open_storage(form + path)


def test_a_url_without_an_account_needs_one() -> None:
    with pytest.raises(BadSetting, match="AZURE_STORAGE_ACCOUNT_NAME"):
        open_storage("abfs://data/a.parquet")


def login_of(url: str, credential: str = "auto") -> credentials.Login:
    return login(urls.parse(url), Access(credential))


def test_a_secret_of_the_environment_comes_before_the_identity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = f"abfss://data@{HOST}/a"
    assert login_of(url).secret is None
    with pytest.raises(BadSetting, match="no secret"):
        login_of(url, "environment")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", PLANTED_KEY)
    assert login_of(url).secret == Secret("account key", PLANTED_KEY)
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", f"?{PLANTED_SAS}")
    assert login_of(url).secret == Secret("SAS", PLANTED_SAS)
    assert login_of(url, "identity").secret is None


def test_a_secret_of_another_account_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    other = f"AccountName=other;AccountKey={PLANTED_KEY};EndpointSuffix=core.windows.net"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", other)
    assert login_of(f"abfss://data@{HOST}/a").secret is None
    assert login_of(f"abfss://data@{HOST}/a").endpoint == "https://account.blob.core.windows.net"
    assert login_of("abfs://data/a").account == "other"


@pytest.mark.parametrize("text", [PLANTED_KEY, PLANTED_SAS, "keyvault:https://evil.example/s/n"])
def test_a_secret_given_as_an_option_is_refused_and_not_repeated(text: str) -> None:
    ended = run("profile", "abfs://data/a.parquet", "--credential", text)
    assert ended.code == 2
    assert text not in ended.out + ended.err
    assert "AZURE_STORAGE_CONNECTION_STRING" in ended.err


@pytest.mark.parametrize("tail", [f"/?{PLANTED_SAS}", f"?{PLANTED_SAS}", "@user:word/"])
def test_a_secret_in_an_endpoint_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, tail: str
) -> None:
    endpoint = f"https://{HOST}{tail}" if tail[0] != "@" else f"https://user:word@{HOST}/"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"AccountName=a;BlobEndpoint={endpoint}")
    ended = run("profile", f"abfss://data@{HOST}/a.parquet")
    assert (ended.code, "BlobEndpoint has a query" in ended.err) == (2, True)
    assert PLANTED_SAS not in ended.out + ended.err
    assert "word@" not in ended.out + ended.err


def test_a_sas_suffices(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    container = azurite.new_container()
    permission = ContainerSasPermissions(read=True, write=True, create=True, list=True, delete=True)
    expiry = datetime.now(UTC) + timedelta(hours=1)
    sas = generate_container_sas(
        ACCOUNT, container, account_key=KEY, permission=permission, expiry=expiry
    )
    only_sas = f"BlobEndpoint={azurite.endpoint};AccountName={ACCOUNT};SharedAccessSignature={sas}"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", only_sas)
    store, path = open_storage(f"abfs://{container}/a.parquet")
    store.put(path, bytes(range(256)) * 8192)
    with using(Access(transfer="server")):
        store, part = open_storage(f"abfs://{container}/part.parquet")
        sink = store.create(part, durable=True)
        sink.copy(store.open(store.stat(path)), 0, 2 << 20)
        sink.commit()
    assert store.get(part) == store.get(path)


# -- identity and vault ---------------------------------------------------------------------------


class _Answers(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        body = json.dumps(self.server.answer(self)).encode()  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def answering(answer: Any) -> Iterator[str]:
    """An endpoint on loopback that answers with JSON."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    server.answer = answer  # type: ignore[attr-defined]
    with served(server) as url:
        yield url


def unsigned_token() -> str:
    """A token as Azurite's basic check wants it: right names and times, no signature."""

    def part(data: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")

    now = int(datetime.now(UTC).timestamp())
    claims = {
        "aud": "https://storage.azure.com",
        "iss": "https://sts.windows.net/00000000-0000-0000-0000-000000000000/",
        "nbf": now - 60,
        "iat": now - 60,
        "exp": now + 3600,
    }
    return ".".join((part({"alg": "RS256", "typ": "JWT"}), part(claims), "c2lnbmF0dXJl"))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext"
    words = [*command.split(), "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*words, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    return files


@pytest.fixture
def managed_identity(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The identity of an App Service, answered on loopback; every other one is left out."""
    token = unsigned_token()

    def answer(_: Any) -> dict[str, Any]:
        expires = int(datetime.now(UTC).timestamp()) + 3600
        return {"access_token": token, "expires_on": str(expires), "token_type": "Bearer"}

    with answering(answer) as url:
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "header")
        yield


@pytest.mark.usefixtures("managed_identity")
def test_a_managed_identity_splits(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cert, key = certificate
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(cert))
    monkeypatch.setattr("engine.storage.azure.sink._refused", {})
    source = write_source(tmp_path / "s.parquet", 60_000)
    with running("--cert", str(cert), "--key", str(key), "--oauth", "basic") as azurite:
        # A connection string without a key: only where the account is.
        where = f"AccountName={ACCOUNT};BlobEndpoint={azurite.endpoint}"
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", where)
        service = client.service(login_of("abfs://data/a"))
        service.create_container("data")
        service.get_blob_client("data", "s.parquet").upload_blob(source.read_bytes())
        found = engine.split(
            "abfs://data/s.parquet", "abfs://data/parts", parts=3, credential="identity"
        )
        assert engine.verify("abfs://data/parts").num_rows == 60_000
        # Azurite knows no bearer token as authorization of a source: it refuses, and that is told.
        service.get_blob_client("data", "long").upload_blob(bytes(2 << 20))
        store, path = open_storage("abfs://data/long")
        sink = store.create("abfs://data/copy", durable=True)
        sink.copy(store.open(store.stat(path)), 0, 2 << 20)
        sink.commit()
        assert store.get("abfs://data/copy") == bytes(2 << 20)
    assert len(found.manifest.parts) == 3
    assert "CannotVerifyCopySource" in sink.notes[0]


def test_an_identity_goes_by_https_only(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string)
    with using(Access("identity")), pytest.raises(BadSetting, match="https"):
        open_storage("abfs://data/a.parquet")


class _Token:
    def get_token(self, *_: str, **__: Any) -> AccessToken:
        return AccessToken("token", 2**40)


def test_a_vault_secret_is_read_with_the_identity(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import ssl

    asked: list[tuple[str, str]] = []

    def answer(request: Any) -> dict[str, str]:
        asked.append((request.path, request.headers["Authorization"]))
        return {"value": PLANTED_SAS}

    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    server.answer = answer  # type: ignore[attr-defined]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with served(server):
        url = f"https://127.0.0.1:{server.server_port}/secrets/name"
        text = vault_secret(url, _Token(), connection_verify=str(cert))  # type: ignore[arg-type]
    assert text == PLANTED_SAS
    assert asked == [("/secrets/name?api-version=7.4", "Bearer token")]
    monkeypatch.setattr(credentials, "identity", _Token)
    monkeypatch.setattr(credentials, "vault_secret", lambda *_: text)
    found = login_of(f"abfss://data@{HOST}/a", "keyvault:https://v.vault.azure.net/secrets/name")
    assert found.secret == Secret("SAS", PLANTED_SAS)


AKEY = Secret("account key", PLANTED_KEY)
ASAS = Secret("SAS", PLANTED_SAS)
STRING = f"AccountName=account;AccountKey={PLANTED_KEY}"
CHINA = f"https://account.blob.core.chinacloudapi.cn/c?{PLANTED_SAS}"


@pytest.mark.parametrize(
    ("secret", "url", "here", "found"),
    [
        (STRING, "abfs://data/a", "", AKEY),  # the vault alone knows the account
        (STRING, f"abfss://data@{HOST}/a", "other", AKEY),
        (f"https://account.blob.core.windows.net/data?{PLANTED_SAS}", "abfs://data/a", "", ASAS),
        (CHINA, "abfs://data/a", "", ASAS),
        (PLANTED_KEY, f"abfss://data@{HOST}/a", "", AKEY),
        (PLANTED_KEY, f"abfss://data@{HOST}/a", "other", AKEY),
        (f"?{PLANTED_SAS}", "abfs://data/a", "account", ASAS),
    ],
)
def test_a_vault_secret_of_any_form_opens_its_account(
    monkeypatch: pytest.MonkeyPatch, secret: str, url: str, here: str, found: Secret
) -> None:
    monkeypatch.setattr(credentials, "identity", _Token)
    monkeypatch.setattr(credentials, "vault_secret", lambda *_: secret)
    if here:
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", here)
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "b3RoZXI=")
    got = login_of(url, "keyvault:https://v.vault.azure.net/secrets/name")
    assert (got.account, got.secret) == ("account", found)
    suffix = "core.chinacloudapi.cn" if secret == CHINA else "core.windows.net"
    assert got.endpoint == f"https://account.blob.{suffix}"


def test_a_vault_is_asked_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(url: str, _: object) -> str:
        asked.append(url)
        return STRING

    monkeypatch.setattr(credentials, "identity", _Token)
    monkeypatch.setattr(credentials, "vault_secret", answer)
    clock = [1e6]
    monkeypatch.setattr(credentials.time, "monotonic", lambda: clock[-1])
    for _ in range(2):
        clock.append(clock[-1] + credentials.KEPT_SECONDS)
        for name in ("one", "two"):
            for _ in range(100):
                login_of("abfs://data/a", f"keyvault:https://v.vault.azure.net/secrets/{name}")
    assert len(asked) == 4


@pytest.mark.parametrize(
    ("secret", "url", "told"),
    [
        (STRING, "abfss://data@other.dfs.core.windows.net/a", "not of account other"),
        ("AccountName=account;", "abfs://data/a", "no key, SAS or connection string"),
        ("", f"abfss://data@{HOST}/a", "no key, SAS or connection string"),
        (PLANTED_KEY, "abfs://data/a", "no storage account"),
    ],
)
def test_a_vault_secret_that_does_not_fit_is_refused(
    monkeypatch: pytest.MonkeyPatch, secret: str, url: str, told: str
) -> None:
    monkeypatch.setattr(credentials, "identity", _Token)
    monkeypatch.setattr(credentials, "vault_secret", lambda *_: secret)
    with pytest.raises(BadSetting, match=told) as caught:
        login_of(url, "keyvault:https://v.vault.azure.net/secrets/name")
    assert PLANTED_KEY not in str(caught.value)


# -- nothing is shown -----------------------------------------------------------------------------


@pytest.fixture(params=["key", "SAS"])
def planted(
    request: pytest.FixtureRequest, azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """A store behind a proxy, opened with a secret that it refuses."""
    monkeypatch.setattr(requests, "FIRST_WAIT_SECONDS", 0.001)
    secret = {"key": f"AccountKey={PLANTED_KEY}", "SAS": f"SharedAccessSignature={PLANTED_SAS}"}
    with before(azurite.port) as proxy:
        where = f"AccountName={ACCOUNT};BlobEndpoint={azurite.through(proxy.port).endpoint}"
        text = f"{where};{secret[request.param]}"
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
        yield proxy


def check_clean(text: str) -> None:
    for secret in PLANTED:
        assert secret not in text


@pytest.fixture
def every_log() -> Iterator[io.StringIO]:
    """All that any library logs, on its lowest level."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


ANSWERS: dict[str, dict[str, Any]] = {
    "refused": {"kind": "status", "status": 403, "code": "AuthenticationFailed"},
    "throttled": {"kind": "status", "status": 503},
    "reset": {"kind": "reset"},
    "changed": {"kind": "status", "status": 412, "code": "ConditionNotMet"},
    "forbidden": {"kind": "status", "status": 400, "code": "Strange"},
    "real": {"kind": "slow"},  # Azurite itself: the signature is wrong
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_no_failure_shows_a_secret(planted: Any, every_log: io.StringIO, answer: str) -> None:
    planted.fail(Fault(when=lambda _: True, times=10**6, **ANSWERS[answer]))
    shown, chained = io.StringIO(), []
    store, path = open_storage("abfs://data/folder/a.parquet")
    described = SourceFile(path, 100, "etag:0x1")
    for action in (
        lambda: store.stat(path),
        lambda: store.expand(path),
        lambda: store.open(described),
        lambda: store.create(path, durable=True),
        lambda: store.get(path),
        lambda: store.put(path, b"x"),
        lambda: store.put_if_absent(path, b"x"),
        lambda: store.files(path),
        lambda: store.remove(path),
        lambda: pickle.dumps(store),
    ):
        try:
            action()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is searched
            traceback.print_exc(file=shown)
            with suppress(TypeError, AttributeError):
                shown.write(pickle.dumps(error).decode("latin-1"))
            shown.write(repr(vars(error)))
            if isinstance(error, EvensplitError):  # nothing of the SDK hangs on it
                chained += [error.__cause__, error.__context__]
    shown.write(repr(store) + str(vars(store)) + repr(store._login))  # type: ignore[attr-defined]
    text = shown.getvalue() + every_log.getvalue()
    assert "Traceback" in text
    assert "127.0.0.1" in every_log.getvalue()  # urllib3 does tell of requests
    check_clean(text)
    assert not [error for error in chained if not isinstance(error, EvensplitError | None)]


def test_no_command_shows_a_secret(planted: Any, tmp_path: Path) -> None:
    source = write_source(tmp_path / "s.parquet", 2_000)
    for words in (
        ("profile", "abfs://data/a.parquet"),
        ("plan", "abfs://data/a.parquet", "--json"),
        ("split", source, "abfs://data/parts"),
        ("split", "abfs://data/a.parquet", tmp_path / "parts", "--json"),
        ("verify", "abfs://data/parts"),
    ):
        ended = run(*words)
        assert ended.code in (2, 5), ended.err
        check_clean(ended.out + ended.err)


def test_nothing_that_is_kept_or_sent_holds_a_secret(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, every_log: io.StringIO
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string)
    container = azurite.new_container()
    source = write_source(tmp_path / "s.parquet", 20_000)
    blobs = azurite.client().get_container_client(container)
    blobs.upload_blob("s.parquet", source.read_bytes())
    sent: list[Any] = []
    real = run_parts

    def spied(tasks: Any, resources: Resources, **options: Any) -> None:
        sent.extend(tasks)
        real(tasks, resources, **options)

    monkeypatch.setattr("engine.splitter.run_parts", spied)
    ended = run("split", f"abfs://{container}/s.parquet", f"abfs://{container}/p", "--parts", "3")
    assert ended.code == 0, ended.err
    kept = [blobs.download_blob(item.name).readall() for item in blobs.list_blobs("p/")]
    assert len(kept) == 3 + 3 + 3  # plan, manifest and run
    text = b"\n".join([*kept, *map(pickle.dumps, sent)]).decode("latin-1")
    for where in (text, repr(sent), ended.out + ended.err, every_log.getvalue()):
        assert KEY not in where
        assert "AccountKey" not in where
        assert "sig=" not in where.replace("sig=...", "")


def test_a_secret_has_no_readable_form() -> None:
    secret = Secret("account key", PLANTED_KEY)
    assert (str(secret), repr(secret)) == ("<account key>", "<account key>")
    with pytest.raises(TypeError):
        pickle.dumps(secret)
