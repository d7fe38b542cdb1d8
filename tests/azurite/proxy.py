"""A proxy on loopback before Azurite: counts what passes, and makes it fail as networks do.

It forwards requests byte for byte (Host and signatures stay valid), one connection upstream each.
Azurite, asked to copy from a URL, fetches that URL itself, and so comes through here too: its
requests are told apart by their user agent.
"""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from xml.etree import ElementTree

from tests.serving import served

Kind = Literal["status", "reset", "reset-body", "truncate", "slow", "lost-answer", "flip"]
_CLIENT = "azsdk-python"
_DETAIL = "AuthenticationErrorDetail"


@dataclass
class Fault:
    """What goes wrong.

    Attributes:
        kind: ``status`` answers without asking; ``reset`` breaks off before, ``reset-body`` in the
            middle of, ``truncate`` cleanly within the answer; ``slow`` sends it in drops;
            ``lost-answer`` does what is asked and says nothing; ``flip`` changes a byte sent.
        when: which requests.
        times: how often.
        message: of the body, as the service words it; ``detail`` is why it knows nobody.
    """

    kind: Kind
    when: Callable[[Seen], bool]
    times: int = 1
    status: int = 503
    code: str = "ServerBusy"
    message: str = ""
    detail: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    before: Callable[[], None] = lambda: None


@dataclass
class Seen:
    """One request that passed."""

    method: str
    path: str
    headers: dict[str, str]
    sent_bytes: int
    seconds: float = field(default_factory=time.monotonic)
    status: int = 0
    received_bytes: int = 0

    @property
    def is_ours(self) -> bool:
        """Whether the client made it, not the store itself."""
        return _CLIENT in self.headers.get("user-agent", "")

    def asks(self, method: str, word: str = "") -> bool:
        return self.is_ours and self.method == method and word in self.path


class Proxy:
    """Counts and faults of one proxy."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.seen: list[Seen] = []
        self.faults: list[Fault] = []
        self.answer_headers: dict[str, str] = {}  # added to all that the store answers
        self.port = 0
        self._lock = threading.Lock()

    def fail(self, *faults: Fault) -> None:
        self.faults.extend(faults)

    def ours(self) -> list[Seen]:
        return [seen for seen in self.seen if seen.is_ours]

    def client_bytes(self) -> int:
        """Bodies that passed between the client and the store, both ways."""
        return sum(seen.sent_bytes + seen.received_bytes for seen in self.ours())

    def take(self, seen: Seen) -> Fault | None:
        with self._lock:
            self.seen.append(seen)
            for fault in self.faults:
                if fault.times and fault.when(seen):
                    fault.times -= 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def log_message(self, *_: object) -> None:
        pass

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): text for name, text in self.headers.items()}
        seen = Seen(self.command, self.path, headers, len(body))
        fault = self.proxy.take(seen)
        if fault is not None:
            fault.before()
        kind = fault.kind if fault else None
        if kind == "reset":
            self._reset()
        elif fault is not None and kind == "status":
            self._refuse(seen, fault)
        else:
            if kind == "flip" and body:
                body = bytes([body[0] ^ 1]) + body[1:]
            self._forward(seen, body, kind)

    do_GET = do_PUT = do_HEAD = do_DELETE = _any  # noqa: N815 - the base class looks for these

    def _forward(self, seen: Seen, body: bytes, kind: Kind | None) -> None:
        upstream = http.client.HTTPConnection("127.0.0.1", self.proxy.upstream, timeout=120)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, text in self.headers.items():
            if name.lower() != "connection":
                upstream.putheader(name, text)
        upstream.putheader("Connection", "close")
        upstream.endheaders(body or None)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        seen.status, seen.received_bytes = answer.status, len(content)
        if kind == "lost-answer":
            self._reset()
            return
        self._answer(answer, content, kind)

    def _answer(self, answer: Any, content: bytes, kind: Kind | None) -> None:
        self.send_response_only(answer.status, answer.reason)
        for name, text in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, text)
        for name, text in self.proxy.answer_headers.items():
            self.send_header(name, text)
        length = answer.getheader("content-length") if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(length or 0))
        self.end_headers()
        if kind in ("reset-body", "truncate"):
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self._reset() if kind == "reset-body" else self._hang_up()
        elif kind == "slow":
            for start in range(0, len(content), max(1, len(content) // 10)):
                self.wfile.write(content[start : start + max(1, len(content) // 10)])
                self.wfile.flush()
                time.sleep(0.05)
        else:
            self.wfile.write(content)

    def _refuse(self, seen: Seen, fault: Fault) -> None:
        seen.status = fault.status
        self.send_response_only(fault.status)
        self.send_header("x-ms-error-code", fault.code)
        for name, text in fault.headers.items():
            self.send_header(name, text)
        body = b"" if self.command == "HEAD" else _body(fault)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.close()


def _body(fault: Fault) -> bytes:
    """Return what the service sends, by Microsoft's page "Status and error codes"."""
    root = ElementTree.Element("Error")
    said = f"{fault.message}\nRequestId:8f2c3a5e-501e-0042-1a2b-c3d4e5f60708\nTime:2026-11-29"
    for name, text in (("Code", fault.code), ("Message", said), (_DETAIL, fault.detail)):
        if text:
            ElementTree.SubElement(root, name).text = text
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Broken connections are what this is for."""


@contextmanager
def before(upstream: int) -> Iterator[Proxy]:
    """Run a proxy before a port."""
    proxy = Proxy(upstream)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    server = _Server(("127.0.0.1", 0), handler)
    proxy.port = server.server_port
    with served(server):
        yield proxy
