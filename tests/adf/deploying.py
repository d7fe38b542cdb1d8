"""``batch deploy`` against a stand-in of Azure Resource Manager, and the Batch emulator."""

import base64
import json

import pytest
from azure.core.credentials import AccessToken
from azure.core.pipeline.policies import SansIOHTTPPolicy

from batchjobs import client
from batchjobs.cli.doors import Doors
from batchjobs.client.arm import BatchAccount
from batchjobs.client.deployments import Deployments
from engine import hooks
from tests.adf.factory import ROOT
from tests.adf.manager import OPERATOR, managing
from tests.batchjobs.packages import make_package
from tests.engine.running import run

CONF = ROOT.parent


class Login:
    """A person's credential: who it is stands in the token."""

    def __init__(self):
        self.claims = {"oid": OPERATOR, "scp": "user_impersonation"}

    def get_token(self, *scopes, **options):
        middle = base64.urlsafe_b64encode(json.dumps(self.claims).encode()).decode().rstrip("=")
        return AccessToken(f"a.{middle}.b", 4_000_000_000)


@pytest.fixture
def arm(monkeypatch, tmp_path, fake):
    """Azure, empty but for a group; ``fake`` is its Batch service. Uploads are only noted."""
    with managing() as manager:
        # The SDKs as they are, but that no token may be sent in the clear.
        options = {
            "base_url": manager.url,
            "authentication_policy": SansIOHTTPPolicy(),
            "retry_total": 0,
        }
        login = Login()
        for module in ("arm", "deployments"):
            monkeypatch.setattr(f"batchjobs.client.{module}.token", lambda *_: login)
        monkeypatch.setattr(
            Doors, "deployments", lambda self, *where: Deployments(*where, "cli", {}, **options)
        )
        monkeypatch.setattr(
            Doors, "account", lambda self, id_: BatchAccount(id_, "cli", {}, **options)
        )
        monkeypatch.setattr(
            Doors, "cloud", lambda self, endpoint: client.connect(fake.url, "key", fake.login)
        )

        def put_file(url, data, **how):
            manager.events.append(("uploaded", url))

        def has_file(self, url):
            return ("uploaded", url) in manager.events

        monkeypatch.setattr(Doors, "has_file", has_file)

        monkeypatch.setattr(hooks, "put_file", put_file)
        monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", "S")
        manager.login = login
        yield manager


def package_in(folder, program="pass"):
    """Make a package; another program is another package."""
    place = folder / f"package-{program}"
    if not place.exists():
        place.mkdir()
        make_package(place, program)
    return place


def deploy(folder, *words, program="pass", group="G"):
    package = package_in(folder, program)
    return run(
        "batch", "deploy", "--group", group, "--package", package, "--conf", CONF, *words
    )  # fmt: skip
