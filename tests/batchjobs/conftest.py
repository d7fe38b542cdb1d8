"""No test of a fan-out sees this user's jobs, or settings of the machine it runs on."""

import pytest


@pytest.fixture(autouse=True)
def apart(tmp_path, monkeypatch):
    monkeypatch.setenv("EVENSPLIT_BATCH_FOLDER", str(tmp_path / "jobs"))
    for name in ("AZ_BATCH_TASK_WORKING_DIR", "EVENSPLIT_TASK_SPEC", "EVENSPLIT_TARGET_SIZE"):
        monkeypatch.delenv(name, raising=False)
