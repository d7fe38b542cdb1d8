"""Linked services of storage accounts, in every way that Data Factory lets one be written."""

from __future__ import annotations

import itertools
import json

import pytest

from batchjobs import adf, linked
from engine import BadSetting
from tests.azurite import KEY as STORAGE_KEY
from tests.batchjobs.test_adf import lay, work
from tests.engine.running import run, write_source

__all__ = ["work"]

KEY = "planted+key/not/to/be/seen=="
SAS = "sv=2024-11-04&sr=c&sp=rwl&sig=cGxhbnRlZA%3D%3D"
HOST = "acc.dfs.core.windows.net"
BLOB = "https://acc.blob.core.windows.net"
STRING = "DefaultEndpointsProtocol=https;AccountName=acc;EndpointSuffix=core.windows.net"
VAULT = {"type": "AzureKeyVault", "typeProperties": {"baseUrl": "https://kv.vault.azure.net/"}}
IN_VAULT = "keyvault:https://kv.vault.azure.net/secrets/name"


def plain(text):
    return text


def secure(text):
    return {"type": "SecureString", "value": text}


def in_vault(_=None, version=None):
    store = {"referenceName": "vault", "type": "LinkedServiceReference"}
    reference = {"type": "AzureKeyVaultSecret", "store": store, "secretName": "name"}
    return reference | ({"secretVersion": version} if version else {})


def account(kind="AzureBlobStorage", **properties):
    services = {"it": {"type": kind, "typeProperties": properties}, "vault": VAULT}
    return linked.account_of("it", services)


# What opens an account: name of the pair in its connection string, and of the property beside it.
WITH_SECRET = {
    "key in the string": ({"connectionString": f"{STRING};AccountKey={KEY}"}, KEY),
    "SAS in the string": ({"connectionString": f"{STRING};SharedAccessSignature={SAS}"}, SAS),
    "SAS URI of the account": ({"sasUri": f"{BLOB}/?{SAS}"}, SAS),
    "SAS URI of a container": ({"sasUri": f"{BLOB}/in?{SAS}"}, SAS),
}
BESIDE = {
    "a key beside the string": ({"connectionString": STRING}, "accountKey", KEY),
    "a SAS beside the URI": ({"sasUri": f"{BLOB}/"}, "sasToken", f"?{SAS}"),
    "a key beside the URL": ({"url": f"https://{HOST}/"}, "accountKey", KEY),
    "a key beside the endpoint": ({"serviceEndpoint": BLOB}, "accountKey", KEY),
}


@pytest.mark.parametrize("way", [plain, secure])
@pytest.mark.parametrize("name", WITH_SECRET)
def test_a_secret_in_an_address_opens_the_account(name, way):
    given, secret = WITH_SECRET[name]
    got = account("AzureStorage", **{key: way(text) for key, text in given.items()})
    assert got.host == HOST
    assert secret in got.connection_string
    assert "AccountName=acc" in got.connection_string
    assert not got.credential
    assert secret not in repr(got) + str(got)


@pytest.mark.parametrize("way", [plain, secure, in_vault])
@pytest.mark.parametrize("name", BESIDE)
def test_a_secret_beside_an_address_opens_the_account(name, way):
    given, key, secret = BESIDE[name]
    got = account(**given, **{key: way(secret)})
    assert got.url("/in/a b.parquet").startswith("abfss://in@acc.")
    if way is in_vault:
        assert (got.credential, got.connection_string) == (IN_VAULT, "")
    else:
        assert f"={secret.removeprefix('?')}" in got.connection_string
        assert not got.credential


@pytest.mark.parametrize("place", ["in/a/b", "/in/a/b/", "in//a///b", "in/a/b//"])
def test_folders_may_end_in_a_slash(place):
    assert account(url=f"https://{HOST}").url(place) == f"abfss://in@{HOST}/a/b"


@pytest.mark.parametrize("key", ["connectionString", "sasUri"])
def test_an_address_that_is_itself_in_a_vault_is_found_there(key):
    got = account(**{key: in_vault(version="0a1b")})
    assert got == linked.Account("", "", f"{IN_VAULT}/0a1b")
    assert got.url("in/a.parquet") == "abfss://in/a.parquet"


@pytest.mark.parametrize(
    "properties",
    [
        {"url": f"https://{HOST}"},
        {"serviceEndpoint": f"{BLOB}/"},
        {"connectionString": STRING},
        {"connectionString": f"{STRING};AccountKey=**********"},
        {"connectionString": STRING, "accountKey": secure("**********")},
        {"url": f"https://{HOST}", "servicePrincipalId": "x", "servicePrincipalKey": secure(KEY)},
        {"connectionString": STRING, "encryptedCredential": "eyJ"},
    ],
)
def test_what_holds_no_secret_is_left_to_the_identity(properties):
    got = account(**properties)
    assert (got.connection_string, got.credential) == ("", "")
    assert got.url("in/a").startswith("abfss://in@acc.")


@pytest.mark.parametrize(
    ("properties", "told"),
    [
        ({"connectionString": {"type": "Expression", "value": f"@concat('{KEY}')"}}, "computed"),
        ({"connectionString": "@{linkedService().text}" + KEY}, "computed"),
        ({"connectionString": f"AccountKey={KEY}"}, "names no account"),
        ({"connectionString": f"UseDevelopmentStorage=true;AccountKey={KEY}"}, "no account"),
        ({"sasUri": f"acc?{SAS}"}, "no URL"),
        ({"url": f"https://[acc?{SAS}"}, "no URL"),
        ({"connectionString": f"BlobEndpoint=https://[acc;AccountKey={KEY}"}, "no URL"),
        ({"url": 7}, "computed"),
        ({"url": f"https://{HOST}", "accountKey": {"type": "Secret", "value": KEY}}, "accountKey"),
        ({"connectionString": in_vault() | {"store": {"referenceName": "other"}}}, "'other'"),
        ({"connectionString": in_vault() | {"secretName": {"value": "@x"}}}, "computed"),
    ],
)
def test_what_cannot_be_read_is_named_and_not_repeated(properties, told):
    with pytest.raises(BadSetting, match=told) as caught:
        account(**properties)
    assert KEY not in str(caught.value)
    assert "cGxhbnRlZA" not in str(caught.value)


def service(name, **properties):
    content = {"type": "AzureBlobStorage", "typeProperties": properties}
    return {"name": name, "properties": content}


KEYED = service("keyed", connectionString=f"{STRING};AccountKey={KEY}")
VAULTED = service("vaulted", connectionString=STRING, accountKey=in_vault())
LAKE = service("lake", serviceEndpoint="https://lake.blob.core.windows.net")
OTHER = service("other", sasUri=f"https://other.blob.core.windows.net/?{SAS}")
THE_VAULT = {"name": "vault", "properties": VAULT}
DATASETS = [
    {
        "name": f"in {name}",
        "properties": {
            "linkedServiceName": {"referenceName": name, "type": "LinkedServiceReference"},
            "typeProperties": {"location": {"container": "c", "fileName": "a.parquet"}},
        },
    }
    for name in ("keyed", "vaulted", "lake", "other")
]
SERVICES = [THE_VAULT, LAKE, KEYED, VAULTED, OTHER]


def activity(folder, source, destination, **given):
    given = {"source": source, "destination": destination} | given
    return adf.read_activity(lay(folder, given, SERVICES, DATASETS))


def test_places_in_any_two_accounts_are_opened_or_refused(tmp_path):
    """Of what each linked service needs follows what both do; nothing else decides."""
    for source, to in itertools.product(("keyed", "vaulted", "lake", "other"), repeat=2):
        secrets = {"keyed", "vaulted", "other"} & {source, to}
        if len(secrets) > 1 or ("vaulted" in secrets and source != to):
            with pytest.raises(BadSetting, match="takes one") as caught:
                activity(tmp_path, f"in {source}", f"in {to}")
            assert KEY not in str(caught.value)
            continue
        got = activity(tmp_path, f"in {source}", f"in {to}")
        assert got.settings == ({"credential": IN_VAULT} if "vaulted" in secrets else {})
        text = got.environment.get(linked.CONNECTION_STRING, "")
        assert (KEY in text, SAS in text) == ("keyed" in secrets, "other" in secrets)
        assert KEY not in repr(got)


def test_a_vault_is_not_asked_for_an_account_that_a_url_names(tmp_path):
    for place in (
        f"abfss://c@{HOST}/a",
        "abfss://c@acc/a",
        "abfss://c@acc.blob.core.windows.net/a",
    ):
        got = activity(tmp_path, place, "in vaulted")
        assert (got.source, got.settings) == (place, {"credential": IN_VAULT})
    with pytest.raises(BadSetting, match="takes one"):
        activity(tmp_path, "abfss://c@lake.dfs.core.windows.net/a", "in vaulted")


def test_what_the_activity_says_comes_first(tmp_path):
    got = activity(tmp_path, "in keyed", "in keyed", credential="identity")
    assert (got.environment, got.settings) == ({}, {"credential": "identity"})
    got = activity(tmp_path, "in keyed", "in other", storage_sas_token=secure("sig=x"))
    assert got.environment == {"AZURE_STORAGE_SAS_TOKEN": "sig=x"}
    got = activity(tmp_path, "in keyed", "in keyed", storage_account_key=in_vault())
    assert (got.environment, got.settings) == ({}, {"credential": IN_VAULT})


def test_the_tasks_of_a_job_get_references_and_no_secrets(tmp_path):
    job = {"action": "submit", "pool": "p", "endpoint": "https://b"}
    with pytest.raises(BadSetting, match="Key Vault"):
        activity(tmp_path, "in keyed", "in keyed", **job)
    got = activity(tmp_path, "in vaulted", "in vaulted", **job)
    assert (got.environment, got.settings) == ({}, {"credential": IN_VAULT})


@pytest.mark.parametrize("way", [plain, secure])
def test_a_connection_string_splits(work, tmp_path, azurite, way):
    container = azurite.new_container()
    data = write_source(tmp_path / "a.parquet", 2_000).read_bytes()
    azurite.client().get_container_client(container).upload_blob("in/a.parquet", data)
    given = {"source": f"{container}/in/a.parquet", "destination": f"{container}/out/"}
    given |= {"parts": 2, "done_folder": f"{container}/done"}
    lay(work, given, [service("work", connectionString=way(azurite.connection_string))])
    ended = run("batch", "activity")
    assert (ended.code, ended.err) == (0, "")
    told = json.loads((work / "outputs.json").read_text())
    assert (told["num_rows"], told["num_parts"]) == (2_000, 2)
    names = [item.name for item in azurite.client().get_container_client(container).list_blobs()]
    assert {"out/part-00001.parquet", "done/a.parquet"} <= set(names)
    seen = [path for path in work.iterdir() if path.name != "linkedServices.json"]
    left = "".join(path.read_text() for path in seen)
    assert STORAGE_KEY not in ended.out + ended.err + left


def test_nothing_that_fails_shows_a_secret(work):
    string = f"{STRING};AccountKey={KEY};BlobEndpoint=http://127.0.0.1:9/acc?{SAS}"
    for properties in ({"connectionString": string}, {"sasUri": f"https://acc.example.com/?{SAS}"}):
        lay(work, {"source": "c/a", "destination": "c/p"}, [service("it", **properties)])
        ended = run("batch", "activity")
        assert ended.code == 2, ended.err
        assert "Traceback" not in ended.err
        assert KEY not in ended.out + ended.err
        assert "cGxhbnRlZA" not in ended.out + ended.err
