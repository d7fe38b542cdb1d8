"""Azure Resource Manager on 127.0.0.1 for the unmodified SDK: a Batch account's pools and packages.

Over TLS, since the SDK sends no token without it; the certificate is made for the occasion. Bodies
are checked by the description, as :mod:`tests.batchjobs.fake_batch` does.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
import re
import ssl
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from azure.core.credentials import AccessToken
from azure.mgmt.batch import models
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.batchjobs.request_check import problems
from tests.serving import served

ACCOUNT_ID = "/subscriptions/s1/resourceGroups/g1/providers/Microsoft.Batch/batchAccounts/b1"
TOKEN = "token-for-tests"


class Login:
    """A credential that gives a token at once."""

    token = TOKEN

    def get_token(self, *scopes, **options):
        self.scopes = scopes
        return AccessToken(self.token, 4_000_000_000)


class FakeManager:
    """Pools and application packages by their paths below the account, and what was asked."""

    def __init__(self, upload_url):
        self.upload_url = upload_url
        self.pools, self.packages, self.requests = {}, {}, []

    def answer(self, method, place, body, headers):
        self.requests.append((method, place))
        if found := re.fullmatch(r"/pools/([^/]+)", place):
            return self._pool(method, found[1], body, headers)
        if re.fullmatch(r"/applications/[^/]+", place):
            return 200, {"properties": {}}
        if found := re.fullmatch(r"/applications/([^/]+)/versions/([^/]+)(/activate)?", place):
            return self._package(method, f"{found[1]}:{found[2]}", body, bool(found[3]))
        return 404, error("NotFound")

    def _pool(self, method, name, body, headers):
        if method == "GET":
            found = self.pools.get(name)
            return (200, found) if found else (404, error("PoolNotFound"))
        wrong = problems(models.Pool, body)
        if wrong:
            return 400, error("InvalidRequestBody", "; ".join(wrong))
        if name in self.pools and headers.get("If-None-Match") == "*":
            return 412, error("PreconditionFailed")
        self.pools[name] = body
        return 200, body

    def _package(self, method, name, body, is_activated):
        if method == "GET":
            found = self.packages.get(name)
            return (200, found) if found else (404, error("ApplicationPackageNotFound"))
        if is_activated:
            wrong = problems(models.ActivateApplicationPackageParameters, body)
            if wrong or name not in self.packages:
                return 400, error("InvalidRequestBody", "; ".join(wrong))
            self.packages[name]["properties"]["state"] = "Active"
        else:
            about = {"state": "Pending", "storageUrl": self.upload_url}
            self.packages[name] = {"properties": about}
        return 200, self.packages[name]


def error(code, message="refused"):
    return {"error": {"code": code, "message": message}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        parts = urllib.parse.urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(raw) if raw else None
        place = parts.path.removeprefix(ACCOUNT_ID)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            status, answer = 401, error("AuthenticationFailed")
        elif place == parts.path or "api-version=" not in parts.query:
            status, answer = 404, error("ResourceNotFound")
        else:
            manager = self.server.manager
            status, answer = manager.answer(self.command, place, body, self.headers)
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


for verb in ("GET", "PUT", "POST"):
    setattr(Handler, f"do_{verb}", Handler.handle_any)


def make_certificate(folder):
    """Return the path of a certificate with its key, for 127.0.0.1 and a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = folder / "certificate.pem"
    path.write_bytes(text + made.public_bytes(serialization.Encoding.PEM))
    return path


@contextlib.contextmanager
def managing(folder, upload_url=""):
    """Serve an empty account; ``manager.environment`` leads the SDK there.

    ``upload_url`` is where application packages are to be put, with its SAS.
    """
    certificate = make_certificate(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    server.manager = manager = FakeManager(upload_url)
    manager.environment = {
        "AZURE_RESOURCE_MANAGER_URL": f"https://127.0.0.1:{server.server_port}",
        "REQUESTS_CA_BUNDLE": str(certificate),
    }
    with served(server):
        yield manager
