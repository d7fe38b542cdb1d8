"""A factory that works on Azurite and on the Batch emulator."""

import copy

import pytest

from tests.adf.factory import load
from tests.adf.runner import Runner
from tests.adf.world import LocalWorld
from tests.azurite import ACCOUNT
from tests.batchjobs.conftest import apart, azurite, fake, no_identity
from tests.batchjobs.fake_batch import ACCOUNT as BATCH
from tests.batchjobs.fake_batch import KEY

__all__ = ["apart", "azurite", "fake", "no_identity"]


@pytest.fixture
def place(azurite, fake, monkeypatch):
    """A runner, its world, and a container for the data; nodes have evensplit, and no identity."""
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string)
    monkeypatch.setenv("EVENSPLIT_BATCH_LOGIN", "key")
    monkeypatch.setenv("EVENSPLIT_POLL_SECONDS", "0.2")
    fake.environment = {"AZURE_BATCH_ACCOUNT": BATCH, "AZURE_BATCH_ACCESS_KEY": KEY}
    factory = copy.deepcopy(load())
    url = f"https://{ACCOUNT}.dfs.core.windows.net"
    factory["linkedService"]["lake"]["properties"]["typeProperties"]["url"] = url
    world = LocalWorld(factory, azurite, fake)
    container = azurite.client().get_container_client(azurite.new_container())
    runner = Runner(factory, world, batchEndpoint=fake.url, pool="nodes", targetSize="40kB")
    with fake.working():
        yield runner, world, container
