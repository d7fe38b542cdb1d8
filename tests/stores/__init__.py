"""Stores on loopback for tests: S3 (moto), Google (an emulator), SFTP (asyncssh), HTTP (Python's).

Each runs in threads of the test's own process, and ends with it.
"""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from tests.serving import served

USER = "tester"
# Of servers that live as long as a test, on loopback: not a secret.
PASSWORD = "sftp-on-loopback"


class Asked(NamedTuple):
    """One request to a store."""

    method: str
    path: str
    query: str
    size_bytes: int
    condition: str
    is_copy: bool


class Recorder:
    """A WSGI application that remembers what it is asked, and may be held up or refuse.

    ``before`` is called with every request before it is answered; an integer that it returns is
    answered as the status.
    """

    def __init__(self, application: Any) -> None:
        self._application = application
        self.asked: list[Asked] = []
        self.before: Callable[[Asked], int | None] = lambda asked: None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        size = environ.get("HTTP_X_AMZ_DECODED_CONTENT_LENGTH") or environ.get("CONTENT_LENGTH")
        asked = Asked(
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"],
            environ.get("QUERY_STRING", ""),
            int(size or 0),
            environ.get("HTTP_IF_NONE_MATCH", "") or environ.get("HTTP_IF_MATCH", ""),
            "HTTP_X_AMZ_COPY_SOURCE" in environ,
        )
        self.asked.append(asked)
        status = self.before(asked) or self._unmet(environ)
        if status is None:
            return self._application(environ, start_response)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response(f"{status} Refused", [("Content-Length", "0")])
        return [b""]

    def _unmet(self, environ: dict[str, Any]) -> int | None:
        """Return the status where an upload is to replace another version: moto does not look."""
        wanted = environ.get("HTTP_IF_MATCH")
        if environ["REQUEST_METHOD"] != "POST" or wanted is None:
            return None
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        bucket, _, key = environ["PATH_INFO"].lstrip("/").partition("/")
        found = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].get_object(bucket, key)
        if found is None:
            return 404
        return None if found.etag == wanted else 412


@dataclass(frozen=True)
class S3:
    """A running moto; ``client`` is boto3's, to look at what others did."""

    endpoint: str
    client: Any
    recorder: Recorder

    def new_bucket(self) -> str:
        name = f"b-{uuid.uuid4().hex}"
        self.client.create_bucket(Bucket=name)
        return name

    def uploads(self, bucket: str) -> list[str]:
        """Return the keys of uploads that are under way."""
        found = self.client.list_multipart_uploads(Bucket=bucket).get("Uploads") or []
        return [upload["Key"] for upload in found]


@contextmanager
def running_s3() -> Iterator[S3]:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    recorder = server._server.app = Recorder(server._server.app)
    endpoint = f"http://{host}:{port}"
    login = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
    try:
        client = boto3.client("s3", "us-east-1", endpoint_url=endpoint, **login)
        yield S3(endpoint, client, recorder)
    finally:
        server.stop()


@dataclass(frozen=True)
class Google:
    """A running emulator of Google Cloud Storage."""

    endpoint: str
    storage: Any

    def new_bucket(self) -> str:
        name = f"b-{uuid.uuid4().hex}"
        self.storage.create_bucket(name, {"name": name})
        return name

    def uploads(self, bucket: str) -> list[str]:
        """Return the names of uploads that are under way."""
        return [f["name"] for f in self.storage.resumable.values() if f["bucket"] == bucket]


@contextmanager
def running_google() -> Iterator[Google]:
    from gcp_storage_emulator import server as emulator

    _complete(emulator)
    server = emulator.create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    server._api._httpd.handle_error = lambda *_: None  # clients that hang up
    port = server._api._httpd.server_port
    try:
        yield Google(f"http://127.0.0.1:{port}", server._storage)
    finally:
        server.stop()


def _complete(emulator: Any) -> None:
    """Add what the emulator lacks: conditions on the generation, and uploads that are cancelled."""
    objects = emulator.objects

    def is_unmet(request: Any, storage: Any, name: str) -> bool:
        wanted = request.query.get("ifGenerationMatch")
        try:
            found = storage.get_file_obj(request.params["bucket_name"], name)["generation"]
        except objects.NotFound:
            found = 0
        return wanted is not None and str(found) != wanted[0]

    def insert(request: Any, response: Any, storage: Any) -> None:
        name = request.query.get("name", [""])[0]
        if not name and isinstance(request.data, dict):  # the body's first half is metadata
            name = request.data["meta"]["name"]
        is_middle = request.get_header("Content-Range", "").endswith("/*")
        if not is_middle and is_unmet(request, storage, name):
            response.status = HTTPStatus.PRECONDITION_FAILED
        else:
            objects.insert(request, response, storage)

    def delete(request: Any, response: Any, storage: Any) -> None:
        if is_unmet(request, storage, request.params["object_id"]):
            response.status = HTTPStatus.PRECONDITION_FAILED
        else:
            objects.delete(request, response, storage)

    def cancel(request: Any, response: Any, storage: Any) -> None:
        storage.delete_resumable_file_obj(request.query["upload_id"][0])
        response.status = HTTPStatus.NO_CONTENT

    for pattern, handlers in emulator.HANDLERS:
        if "upload" in pattern and "POST" in handlers:
            handlers |= {"POST": insert, "DELETE": cancel}
        elif handlers.get("DELETE") is objects.delete:
            handlers["DELETE"] = delete


@dataclass(frozen=True)
class Sftp:
    """A running SFTP server; ``root`` is the folder that it shows."""

    port: int
    root: Path

    @property
    def url(self) -> str:
        return f"sftp://{USER}@127.0.0.1:{self.port}"


async def _end(server: Any) -> None:
    server.close()
    await server.wait_closed()


@contextmanager
def running_sftp(root: Path) -> Iterator[Sftp]:
    import asyncssh

    class Login(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == (USER, PASSWORD)

    async def serve() -> Any:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=Login,
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            sftp_factory=partial(asyncssh.SFTPServer, chroot=str(root).encode()),
        )

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(serve(), loop).result()
    try:
        yield Sftp(server.get_port(), root)
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@dataclass
class Http:
    """A running HTTP server; ``asked`` has the requests: method, path and range."""

    url: str
    root: Path
    asked: list[tuple[str, str, str]] = field(default_factory=list)


class _Handler(SimpleHTTPRequestHandler):
    """Python's own, without a word on standard error; :attr:`ranges` adds ranges and ETags."""

    ranges = False
    status: int | None = None

    def __init__(self, *args: Any, asked: list[tuple[str, str, str]], **kwargs: Any) -> None:
        self._asked = asked
        super().__init__(*args, **kwargs)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        self._asked.append((self.command, self.path, self.headers.get("Range", "")))
        if self.status is not None:
            self.send_error(self.status)
        elif not self.ranges:
            super().do_GET() if with_body else super().do_HEAD()
        else:
            self._answer_range(with_body=with_body)

    def _answer_range(self, *, with_body: bool) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        etag = f'"{hashlib.sha256(data).hexdigest()}"'
        if self.headers.get("If-Match", etag) != etag:
            self.send_error(412)
            return
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        start, end = (int(found[1]), int(found[2]) + 1) if found else (0, len(data))
        self.send_response(206 if found else 200)
        if found:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        self.send_header("ETag", etag)
        self.send_header("Last-Modified", email.utils.formatdate(path.stat().st_mtime, usegmt=True))
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        if with_body:
            self.wfile.write(data[start:end])


@contextmanager
def running_http(root: Path, *, ranges: bool, status: int | None = None) -> Iterator[Http]:
    """Serve a folder; ``status`` answers everything with an error instead."""
    asked: list[tuple[str, str, str]] = []
    kind = type("Handler", (_Handler,), {"ranges": ranges, "status": status})
    handler = partial(kind, asked=asked, directory=str(root))
    with served(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as url:
        yield Http(url, root, asked)
