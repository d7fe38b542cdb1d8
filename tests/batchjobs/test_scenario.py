"""The whole story at a size that fits `make test`; :mod:`tests.batchjobs.scenario` tells it."""

from __future__ import annotations

import sys

import pytest

from tests.batchjobs.fake_batch import ACCOUNT, BIN, KEY, serving
from tests.batchjobs.packages import delegating, make_package
from tests.batchjobs.scenario import SPAN, Scenario

NUM_FILES = 10  # `make proof` takes fifty


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_files_and_all_that_goes_wrong(tmp_path, azurite, monkeypatch):
    (tmp_path / "package").mkdir()
    package = make_package(tmp_path / "package", delegating(BIN / "evensplit"))
    with serving(tmp_path / "azure", azurite.client()) as fake:
        variables = {
            "AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string,
            "AZURE_BATCH_ENDPOINT": fake.url,
            "AZURE_BATCH_ACCOUNT": ACCOUNT,
            "AZURE_BATCH_ACCESS_KEY": KEY,
            "EVENSPLIT_PYTHON": sys.executable,
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        told = Scenario(
            *(tmp_path, azurite, fake, package),
            total_bytes=16_000_000,
            target_size="1MB",
            num_files=NUM_FILES,
        ).play()
    assert told["num_parts"] >= NUM_FILES
    assert told["largest_bytes"] >= 0.99 * SPAN * told["smallest_bytes"]
