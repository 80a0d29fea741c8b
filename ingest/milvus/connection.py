"""Connections to Milvus by pymilvus: retries, and actionable error messages."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ...schemas.errors import StoreError
from ..shards.home import EMBEDDED, Place

OLDEST_SERVER = (2, 3)
"""The oldest supported Milvus: 2.3.5 is the oldest that is tested, and 2.2 lacks ``count(*)``."""

OPEN_PATIENCE_S = 3.0
"""Seconds of retries while opening an unresponsive server: its address may be wrong."""

QUERY_PATIENCE_S = 4.0
WRITE_PATIENCE_S = 30.0
"""Seconds of retries of a failing call: for an interactive query, and for hours of work."""

_CONNECT_S = 10.0
_CALL_S = 10.0
"""Time limit of one call in seconds, or its patience if that is longer. Within it pymilvus itself
retries an unavailable server; without a limit it would do so for minutes."""

_LITE_CALL_S = 300.0
"""The same for Lite, which cannot become unreachable and is slow with many rows."""

_CHANNEL_OPTIONS = {
    # Each connection retries on its own; by default one that follows a dead one shares its backoff
    # of up to two minutes, even once the server is back.
    "grpc.use_local_subchannel_pool": 1,
    "grpc.max_reconnect_backoff_ms": 2000,
}

_UNREACHABLE = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})
_REFUSED = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})

_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
"""OpenSSL's name for an untrusted certificate; the cause follows it."""

_CONNECT_FAILED = 2
"""Milvus' "service unavailable", and pymilvus' own code for a failed connection."""

_PASSING_CODES = frozenset({_CONNECT_FAILED, 4, 8, 101, 103, 106, 503, 901, 902, 905})
"""Milvus' codes of transient states (``pkg/util/merr``): too many requests, rate limit, collection
not loaded (101, as a server says that has just started again: `Server.has` loads what it uses), not
loaded yet or recovering, channel or node not available yet."""

_PASSING_WORDS = ("service not ready", "empty grpc client", "collection not loaded")
"""What a server says, under a code for anything, while its parts do not know each other yet, or not
their collections (2.3.5, when it was killed and has started again)."""

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Connection:
    """An open Milvus; created by `open_client`.

    Attributes:
        client: A pymilvus ``MilvusClient``.
        lite: Whether it is Milvus Lite, in this process or behind a port.
        about: Its location, without secrets.
        version: Version that it reports.
        patience_s: Seconds for which `call` retries.
    """

    client: Any
    lite: bool
    about: str
    version: str
    patience_s: float

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """The exceptions that methods of `client` raise."""
        from grpc import RpcError
        from pymilvus.exceptions import MilvusException

        return MilvusException, RpcError

    @property
    def maps_files(self) -> bool:
        """Whether collections can be left on disk and mapped into memory (Milvus 2.4)."""
        found = re.match(r"v?(\d+)\.(\d+)", self.version)
        return found is not None and tuple(map(int, found.groups())) >= (2, 4)

    def call(
        self,
        action: str,
        function: Callable[..., _Answer],
        *args: object,
        **options: object,
    ) -> _Answer:
        """Call a method of the client, and retry transient failures.

        Args:
            action: What it does, for the error message: ``write 3 rows to vidsim_...``.
            function: A method of `client` that can be repeated.
            *args: Its arguments.
            **options: Its keyword arguments; ``timeout`` where the default one is too short.

        Raises:
            StoreError: It still failed after the retries.
        """
        from tenacity import (
            Retrying,
            retry_if_exception,
            stop_after_delay,
            wait_random_exponential,
        )

        limit_s = _LITE_CALL_S if self.lite else max(_CALL_S, self.patience_s)
        options.setdefault("timeout", limit_s)
        retrying = Retrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_after_delay(self.patience_s),
            wait=wait_random_exponential(multiplier=0.1, max=3),
            reraise=True,
        )
        try:
            return retrying(function, *args, **options)
        except self.errors as error:
            raise StoreError(self._explain(action, error)) from error

    def _explain(self, action: str, error: Exception) -> str:
        kind = _kind(error)
        if kind in _REFUSED:
            return (
                f"Milvus at {self.about} does not let this token {action}; "
                "set VIDSIM_TOKEN to user:password of one who may."
            )
        if kind == "DEADLINE_EXCEEDED":
            return (
                f"Milvus at {self.about} took too long to {action}; it may be starting, or busy: "
                "run the same command again a little later."
            )
        if kind in _UNREACHABLE:
            return (
                f"Milvus at {self.about} went away ({reason(error)}) and could not {action}; "
                "start it and run the same command again."
            )
        return f"Milvus could not {action} ({reason(error)}); run 'vidsim reindex' if this stays."


@contextmanager
def open_client(place: Place, patience_s: float = QUERY_PATIENCE_S) -> Iterator[Connection]:
    """Open the server of `place` by pymilvus, and close it afterwards.

    Without one, pymilvus serves the Milvus Lite under the home in this process, for benchmarks.

    Args:
        place: Address and credentials of Milvus.
        patience_s: Seconds for which failing calls are retried.

    Raises:
        StoreError: It does not answer, is too old, or its address, token or certificate is wrong.
    """
    opened = _open_server(place, patience_s) if place.uri else _open_lite(place)
    with opened as connection:
        yield connection


@contextmanager
def _open_lite(place: Place) -> Iterator[Connection]:
    from milvus_lite import server_manager_instance
    from pymilvus import MilvusClient
    from pymilvus.exceptions import MilvusException

    _quieten_pymilvus()
    path = place.home / "milvus.db"
    try:
        client = MilvusClient(str(path))
    except MilvusException as error:
        raise StoreError(
            f"The store {path} cannot be opened ({reason(error)}); end what uses it, or set "
            "VIDSIM_HOME to another folder."
        ) from error
    try:
        yield Connection(client, True, str(path), "", 0.0)
    finally:
        client.close()
        server_manager_instance.release_server(str(path))


@contextmanager
def _open_server(place: Place, patience_s: float) -> Iterator[Connection]:
    from grpc import RpcError
    from pymilvus import MilvusClient
    from pymilvus.exceptions import MilvusException
    from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

    _quieten_pymilvus()
    address, token = _address(place)
    about = server_name(place)
    options = {"token": token, "timeout": _CONNECT_S, "dedicated": True, **_tls(place)}
    retrying = Retrying(
        retry=retry_if_exception(_may_pass),
        stop=stop_after_delay(OPEN_PATIENCE_S),
        wait=wait_fixed(0.3),
        reraise=True,
    )
    try:
        client = retrying(MilvusClient, address, grpc_options=_CHANNEL_OPTIONS, **options)
    except (MilvusException, RpcError) as error:
        raise StoreError(_explain_connecting(about, error)) from error
    try:
        first = Connection(client, False, about, "", patience_s)
        version = first.call("tell its version", client.get_server_version)
        _check_version(about, version)
        yield Connection(client, version.startswith("milvus_lite"), about, version, patience_s)
    finally:
        client.close()


def server_name(place: Place) -> str:
    """Return host and port of the server of `place`, or `EMBEDDED`; usable as a file name."""
    if not place.uri:
        return EMBEDDED
    parts = urlsplit(place.uri)
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 19530)}"


def _address(place: Place) -> tuple[str, str]:
    """Return the URI without its secrets, and the token.

    Raises:
        StoreError: It is not the URI of a server.
    """
    assert place.uri
    try:
        parts = urlsplit(place.uri)
        usable = parts.scheme in {"http", "https", "tcp"} and bool(parts.hostname)
        port = parts.port
    except ValueError:
        usable = False
    if not usable:  # the URI may hold a password: do not repeat it
        raise StoreError(
            "VIDSIM_URI is no address of a Milvus server; write one such as "
            "http://127.0.0.1:19530, or unset it to use the embedded Milvus."
        )
    token = place.token or ":".join(filter(None, (parts.username, parts.password)))
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}", token


def _tls(place: Place) -> dict[str, str]:
    """Return pymilvus' options for an encrypted connection.

    Raises:
        StoreError: A certificate cannot be read, or would not be used.
    """
    given = {
        "VIDSIM_CA_CERT": place.ca_cert,
        "VIDSIM_CLIENT_CERT": place.client_cert,
        "VIDSIM_CLIENT_KEY": place.client_key,
    }
    named = {name: path for name, path in given.items() if path}
    if named and not (place.uri or "").startswith("https:"):
        raise StoreError(
            f"{next(iter(named))} is set, but VIDSIM_URI asks for no encryption; "
            "begin it with https://."
        )
    for name, path in named.items():
        try:
            path.read_bytes()
        except OSError as error:
            raise StoreError(
                f"{name}={path} cannot be read ({error.strerror}); name a PEM file."
            ) from error
    if not place.client_cert and not place.client_key:
        return {"server_pem_path": str(place.ca_cert)} if place.ca_cert else {}
    if len(named) < len(given):
        raise StoreError(
            f"{next(name for name in given if name not in named)} is not set; a client's "
            "certificate needs its key and VIDSIM_CA_CERT too."
        )
    return {
        "ca_pem_path": str(place.ca_cert),
        "client_pem_path": str(place.client_cert),
        "client_key_path": str(place.client_key),
    }


def _check_version(about: str, version: str) -> None:
    found = re.match(r"v?(\d+)\.(\d+)", version)
    if found and tuple(map(int, found.groups())) < OLDEST_SERVER:
        oldest = ".".join(map(str, OLDEST_SERVER))
        raise StoreError(
            f"Milvus at {about} is version {version.removeprefix('v')}; vidsim needs {oldest} "
            "or later, so upgrade it or use another."
        )


def _explain_connecting(about: str, error: Exception) -> str:
    kind, why = _kind(error), reason(error)
    if kind in _REFUSED:
        return (
            f"Milvus at {about} does not accept the token; set VIDSIM_TOKEN to user:password, "
            "or to an API key."
        )
    if kind == "UNIMPLEMENTED":
        return (
            f"What answers at {about} is no Milvus, or one older than "
            f"{'.'.join(map(str, OLDEST_SERVER))}; check VIDSIM_URI, or upgrade it."
        )
    untrusted = re.search(f"{_UNTRUSTED}: ([^:]+)", why)
    if untrusted:
        return (
            f"The certificate of Milvus at {about} cannot be trusted ({untrusted[1].strip()}); "
            "renew it, or set VIDSIM_CA_CERT to the certificate of who signed it."
        )
    return (
        f"Milvus at {about} does not answer ({why}); start it, correct VIDSIM_URI, or unset it "
        "to use the embedded Milvus."
    )


def _may_pass(error: BaseException) -> bool:
    """Return whether the failure is transient, so that a retry may succeed."""
    kind = _kind(error)
    if kind in _REFUSED:  # pymilvus reports a wrong token as a failed connection
        return False
    if kind in _UNREACHABLE | {"ABORTED"}:
        return _UNTRUSTED not in reason(error)
    if getattr(error, "retriable", False) or getattr(error, "code", None) in _PASSING_CODES:
        return True
    said = str(getattr(error, "message", "") or error).lower()
    return any(words in said for words in _PASSING_WORDS)


def _kind(error: BaseException) -> str:
    """Return the name of the gRPC status behind `error`, "" without one."""
    from grpc import RpcError, StatusCode

    for cause in _causes(error):
        code = getattr(cause, "code", None)
        if isinstance(cause, RpcError) and callable(code):
            return str(code().name)
        if isinstance(code, StatusCode):  # how pymilvus hands one on
            return str(code.name)
    code = getattr(error, "code", None)
    return {_CONNECT_FAILED: "UNAVAILABLE", 1400: "UNAUTHENTICATED", 1401: "PERMISSION_DENIED"}.get(
        code if isinstance(code, int) else 0, ""
    )


def reason(error: BaseException) -> str:
    """Return what went wrong in one line, from the innermost cause."""
    from grpc import RpcError

    for cause in _causes(error):
        details = getattr(cause, "details", None)
        if isinstance(cause, RpcError) and callable(details) and details():
            return _one_line(str(details()))
    return _one_line(str(getattr(error, "message", "") or error)) or type(error).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        # pymilvus raises errors from themselves, which hides their origin.
        cause = cause.__cause__ if cause.__cause__ is not cause else cause.__context__


def _one_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0][:300] if lines else ""


def _quieten_pymilvus() -> None:
    """Keep pymilvus from logging errors that it also raises."""
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
