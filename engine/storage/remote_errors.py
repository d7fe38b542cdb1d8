"""What drivers of fsspec raise, as errors of ours: one table, by what stores and libraries call it.

A driver's own message is never passed on: it may hold a URL with a signature, or a header. What is
told is the path without secrets, a sentence of ours and, at most, the store's code for it. Drivers
wrap errors of theirs in others (HTTP's takes a refused connection for a missing file), so that all
causes of an error are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from engine.errors import (
    BadSetting,
    EvensplitError,
    NoPermission,
    NoSource,
    SourceChanged,
    StorageFailed,
)
from engine.storage.base import redacted
from engine.storage.local import translated

_CODE = re.compile(r"[A-Za-z0-9]{1,60}")
_OPTION = re.compile(r"unexpected keyword argument '(\w+)'|multiple values for.* '(\w+)'")

# The first row that names one of an error's signs says what it is. Signs are names of classes,
# codes of S3 and statuses of HTTP.
_ROWS: tuple[tuple[str, type[EvensplitError], str], ...] = (
    (
        "NoSuchBucket",
        BadSetting,
        "there is no such bucket, and none is made; check the name, and endpoint_url",
    ),
    (
        "NoCredentialsError PartialCredentialsError CredentialRetrievalError TokenRetrievalError "
        "SSOTokenLoadError UnauthorizedSSOTokenError DefaultCredentialsError",
        NoPermission,
        "no credentials were found; set them in the environment, name a profile, or say "
        "--storage-option anon=true (gs: token=anon) for data that is public",
    ),
    ("ProfileNotFound", BadSetting, "the profile is in no configuration of AWS here"),
    ("ConfigParseError", BadSetting, "the configuration of AWS here cannot be read: mend the file"),
    (
        "InvalidAccessKeyId InvalidClientTokenId SignatureDoesNotMatch ExpiredToken InvalidToken "
        "TokenRefreshRequired AuthFailure RefreshError OAuthError AuthenticationException "
        "BadAuthenticationType PasswordRequiredException 401",
        NoPermission,
        "the store does not take the credentials: they are wrong, or have expired",
    ),
    (
        "RequestTimeTooSkewed",
        NoPermission,
        "the store does not take the request: the clock of this machine is wrong",
    ),
    (
        "BadHostKeyException",
        NoPermission,
        "the host has another key than is known of it; see that it is the right one",
    ),
    (
        "SSLError ClientConnectorCertificateError ClientConnectorSSLError SSLCertVerificationError",
        NoPermission,
        "the host's certificate is not trusted here; check the URL and the installed authorities",
    ),
    (
        "EndpointConnectionError ConnectTimeoutError ProxyConnectionError ClientConnectorError "
        "ConnectionRefusedError gaierror NoValidConnectionsError ClientConnectorDNSError",
        StorageFailed,
        "the store cannot be reached; check host, port and endpoint_url, or try again",
    ),
    (
        "PermissionError AccessDenied Forbidden AllAccessDisabled AccountProblem 403",
        NoPermission,
        "access is denied; see that the credentials are right, and may read, write and list there",
    ),
    (
        "FileExpired FileExistsError PreconditionFailed ConditionalRequestConflict 412",
        SourceChanged,
        "it changed while it was in use",
    ),
    (
        "InvalidBucketName InvalidURL InvalidUrlClientError LocationParseError "
        "ParamValidationError InvalidRegionError InvalidEndpointConfigurationError UnicodeError "
        "NonHttpUrlClientError",
        BadSetting,
        "the URL, or a storage option, cannot be: check bucket, host and region",
    ),
    (
        "500 502 503 504 429 SlowDown ServiceUnavailable InternalError TimeoutError "
        "ReadTimeoutError ServerDisconnectedError",
        StorageFailed,
        "the store failed, or is busy; run the same command again",
    ),
    ("FileNotFoundError NoSuchKey 404", NoSource, "no such file"),
)
# Of classes that have many reasons the driver's own text tells.
_TEXTS: tuple[tuple[str, type[EvensplitError], str], ...] = (
    (
        "Invalid endpoint",
        BadSetting,
        "the endpoint is no URL; write http://HOST:PORT or https://HOST",
    ),
    (
        "No authentication methods available",
        NoPermission,
        "there is nothing to log in with; say --storage-option key_filename=PATH or "
        "password=env:NAME, or let ssh's agent hold a key",
    ),
    (
        "not found in known_hosts",
        NoPermission,
        "the host is not known here; log in once by ssh, and see that it is the right one",
    ),
    (
        "private key file|OpenSSH key|base64 decoding",
        NoPermission,
        "the file of --storage-option key_filename is no private key that can be read",
    ),
    (
        "Socket is closed|Server connection dropped|SSH session not active",
        StorageFailed,
        "the connection was lost; run the same command again",
    ),
    (
        "libjvm|libhdfs",
        BadSetting,
        "its driver needs Java and Hadoop's library here: set JAVA_HOME, HADOOP_HOME and CLASSPATH",
    ),
)
_WITH_TEXTS = ("ValueError", "SSHException", "OSError")
_SIGNS = tuple((frozenset(names.split()), kind, sentence) for names, kind, sentence in _ROWS)


@contextmanager
def store_errors(path: str) -> Iterator[None]:
    """Turn whatever a driver raises into an error of the tree."""
    try:
        yield
    except EvensplitError:
        raise
    except Exception as error:
        raise told(error, path) from error


def told(error: Exception, path: str) -> EvensplitError:
    """Return the error of the tree that a driver's stands for."""
    where = redacted(path)
    causes = list(_causes(error))
    signs = {sign for cause in causes for sign in _signs(cause)}
    for names, kind, sentence in _SIGNS:
        if names & signs:
            return kind(f"{where}: {sentence}")
    texts = [str(cause) for cause in causes if type(cause).__name__ in _WITH_TEXTS]
    for pattern, kind, sentence in _TEXTS:
        if any(re.search(pattern, text) for text in texts):
            return kind(f"{where}: {sentence}")
    for cause in causes:
        option = _OPTION.search(str(cause)) if isinstance(cause, TypeError) else None
        if option:
            return BadSetting(
                f"{where}: the driver does not take {option[1] or option[2]} as a storage option"
            )
    code = next((code for cause in causes for code in _codes(cause)), "")
    if code:
        return StorageFailed(f"{where}: the store answered {code}; run the same command again")
    if isinstance(error, OSError) and error.errno:
        return translated(OSError(error.errno, ""), where, "use")
    return StorageFailed(
        f"{where}: its driver failed ({type(error).__name__}); run the same command again, and if "
        "that does not help, look at URL and storage options"
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    this: BaseException | None = error
    while this is not None and id(this) not in seen:
        seen.add(id(this))
        yield this
        this = this.__cause__ or (None if this.__suppress_context__ else this.__context__)


def _signs(error: BaseException) -> Iterator[str]:
    yield from (kind.__name__ for kind in type(error).__mro__)
    yield from _codes(error)


def _codes(error: BaseException) -> Iterator[str]:
    """Yield what a store answered: its code, and the status of HTTP."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        found = response.get("Error", {}).get("Code")
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        found, status = None, getattr(error, "status", None)
        if status is None:
            status = getattr(error, "code", None)
    for item in (found, status):
        if item is not None and _CODE.fullmatch(str(item)):
            yield str(item)
