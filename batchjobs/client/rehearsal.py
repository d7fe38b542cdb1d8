"""A rehearsal: requests that read are sent, those that would change something are noted instead.

So a dry run goes through the very code that a real one does, and sees what is there. What was
"made" in it answers as if it were there and empty.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import requests
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import BaseAdapter

NOWHERE = "https://account.region.batch.azure.com"
_READING = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Noted:
    """A request that a rehearsal did not send; its body is JSON."""

    method: str
    path: str
    body: Any = None
    num_bytes: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"method": self.method, "path": self.path, "body": self.body}


class Rehearsal(requests.Session):
    """The SDK's session; ``noted`` has what would have been sent, ``num_read`` counts the others.

    Args:
        is_offline: send nothing at all; the account is empty.
    """

    def __init__(self, *, is_offline: bool = False) -> None:
        super().__init__()
        self.noted: list[Noted] = []
        self.num_read = 0
        self._is_offline = is_offline

    def transport(self) -> RequestsTransport:
        """Return what the SDK's client takes."""
        return RequestsTransport(session=self, session_owner=False)

    def get_adapter(self, url: str) -> BaseAdapter:
        """Return what sends a request to an address: this, or the ordinary one."""
        return _Adapter(self, super().get_adapter(url))

    def answer(self, request: requests.PreparedRequest, usual: BaseAdapter, **how: Any) -> Any:
        """Send a request that reads, or note it; return an answer to it."""
        path = urlsplit(request.url or "").path
        if request.method in _READING:
            self.num_read += 1
            if self._is_made(path):
                return _answered(request, 200, {"value": []})
            if self._is_offline:
                code = "JobNotFound" if path.startswith("/jobs/") else "PoolNotFound"
                return _answered(request, 404, {"code": code})
            return usual.send(request, **how)
        raw = request.body or b""
        body = json.loads(raw) if raw else None
        self.noted.append(Noted(request.method or "", path, body, len(raw)))
        return _answered(request, *_success(request.method or "", path, body))

    def _is_made(self, path: str) -> bool:
        made = {f"{note.path}/{note.body['id']}" for note in self.noted if _makes(note)}
        return any(path.startswith(f"{place}/") for place in made)


class _Adapter(BaseAdapter):
    def __init__(self, rehearsal: Rehearsal, usual: BaseAdapter) -> None:
        super().__init__()
        self._rehearsal, self._usual = rehearsal, usual

    def send(self, request: requests.PreparedRequest, *_: Any, **how: Any) -> requests.Response:
        found: requests.Response = self._rehearsal.answer(request, self._usual, **how)
        return found

    def close(self) -> None:
        self._usual.close()


def _makes(note: Noted) -> bool:
    return note.method == "POST" and note.path in ("/jobs", "/pools")


def _success(method: str, path: str, body: Any) -> tuple[int, Any]:
    if path.endswith("/addtaskcollection"):
        added = [{"taskId": task["id"], "status": "success"} for task in body["value"]]
        return 200, {"value": added}
    if method == "PATCH":
        return 200, None
    if method == "POST" and path.endswith("/reactivate"):
        return 204, None
    return 201 if method == "POST" else 202, None


def _answered(request: requests.PreparedRequest, status: int, data: Any) -> requests.Response:
    answer = requests.Response()
    answer.status_code = status
    answer.request = request
    answer.url = request.url or ""
    answer.headers.update(_HEADERS)
    answer.raw = BytesIO(b"" if data is None else json.dumps(data).encode())
    return answer


_HEADERS: Mapping[str, str] = {"Content-Type": "application/json"}
