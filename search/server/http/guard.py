"""The guard before every route: whose request it is, and what a browser may do with the answer.

A page of another site must neither read a library nor change it through the browser of a person who
runs vidsim on the same machine: by naming it in a form (CSRF), or by a domain name that is pointed
to this machine (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import time
from urllib.parse import unquote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ....schemas.serve import ServeOptions
from .refusals import refused

COOKIE = "vidsim"
"""Name of the cookie that holds the token, which pictures and players cannot send otherwise."""

TRUSTED = "vidsim.trusted"
"""Key of the scope: whether a request came by the home's own socket, which only its owner opens."""

_OPEN = ("/", "/healthz", "/v1/session")
_OPEN_BELOW = "/page/"
"""What is answered without the token: the page itself, which asks for it, and whether it lives."""

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""Of every answer, as OWASP's list of security headers has them."""

_MB = 1_000_000

_MOST_BYTES = _MB
"""Size of what is asked for, as JSON; a filter may have 4 kB."""

_SILENCE_S = 20.0
_MOST_S = 900.0
"""Seconds that a body may be silent, and take in all: it holds a place."""

_SAFE = ("GET", "HEAD", "OPTIONS")

_ENCODED = ("%25", "%2F", "%2f")


class Guard:
    """Refuses requests of other sites and of strangers; adds the headers that browsers obey."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: frozenset[str] = frozenset(),
        token: str = "",
        trusted: bool = False,
        max_upload_mb: int = ServeOptions.max_upload_mb,
    ) -> None:
        """Stand before `app`.

        Args:
            app: What answers.
            hosts: Names by which the server may be asked for, besides those of this machine.
            token: What every request must bring; "" for none.
            trusted: Whether all requests come by the home's own socket: then all pass.
            max_upload_mb: Size of an upload, in MB.
        """
        self._app = app
        self._hosts = {host.lower() for host in hosts} | {"localhost"}
        self._token = token
        self._trusted = trusted
        self._most_bytes = max_upload_mb * _MB

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope[TRUSTED] = self._trusted
        scope["path"] = _whole_ids(scope)
        why = "" if self._trusted else self._why_not(scope)
        began = False

        async def send_guarded(message: Message) -> None:
            nonlocal began
            began = True
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        if why:
            status = 401 if why == _UNKNOWN else 403
            await refused("ForbiddenError", why, status)(scope, receive, send_guarded)
            return
        most = _MOST_BYTES + _brings_clip(scope) * self._most_bytes
        try:
            await self._app(scope, _bounded(receive, most), send_guarded)
        except asyncio.CancelledError:  # the server ends, and has waited for it
            if not began:
                await refused("WorkerError", _ENDS, 503)(scope, receive, send_guarded)

    def _why_not(self, scope: Scope) -> str:
        """Return why a request is refused; "" where it is not."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_ours(host):
            return (
                "This server does not go by that name; ask for localhost, or start it with "
                "--allow-host NAME."
            )
        if not _same_site(headers, host, scope["method"]):
            return "Pages of other sites may not ask this server."
        path: str = scope["path"]
        if not self._token or path in _OPEN or path.startswith(_OPEN_BELOW):
            return ""
        return "" if self._brings_token(headers) else _UNKNOWN

    def _is_ours(self, host: str) -> bool:
        """Return whether a Host header names this server; numbers cannot be rebound."""
        try:
            parts = urlsplit(f"//{host}")
            name = parts.hostname or ""
        except ValueError:
            return False
        if parts.netloc != host or parts.username is not None:
            return False  # more than a name: it would lead elsewhere where it is told again
        if name in self._hosts:
            return True
        try:
            return ipaddress.ip_address(name).is_loopback or name in self._hosts
        except ValueError:
            return False

    def _brings_token(self, headers: Headers) -> bool:
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        given = [bearer] if kind.lower() == "bearer" else []
        # Other servers of this machine set cookies, too, which need not be in order.
        given.append(cookie_parser(headers.get("cookie", "")).get(COOKIE, ""))
        return any(same_token(each, self._token) for each in given)


_UNKNOWN = (
    "The token is missing or wrong; send 'Authorization: Bearer TOKEN', or open the address that "
    "'vidsim serve' printed."
)


_ENDS = "The server ended before it had answered; ask again once it runs."


def _bounded(receive: Receive, most: int) -> Receive:
    """Return a way to receive a body that is neither too large nor too slow; it holds a place."""
    left, whole, until = most, False, time.monotonic() + _MOST_S

    async def bounded() -> Message:
        nonlocal left, whole
        if whole:  # what comes now is that the client has gone, which may take long
            return await receive()
        try:
            wait_s = max(0.0, min(_SILENCE_S, until - time.monotonic()))
            message = await asyncio.wait_for(receive(), wait_s)
        except TimeoutError:
            raise HTTPException(408, "The request came too slowly") from None
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(413, f"The body has more than {most:,} bytes")
        whole = not message.get("more_body", False)
        return message

    return bounded


def is_form(headers: Headers) -> bool:
    """Return whether a body is a form, which may have a file in it."""
    return headers.get("content-type", "").lower().startswith("multipart/form-data")


def _brings_clip(scope: Scope) -> bool:
    """Return whether a clip may come with a request; other bodies are held in memory."""
    path: str = scope["path"]
    return path == "/v1/uploads" or (path == "/v1/query" and is_form(Headers(scope=scope)))


def same_token(given: str, token: str) -> bool:
    """Return whether two tokens are equal, in a time that tells nothing of how far."""
    return hmac.compare_digest(given.encode(), token.encode())


def _same_site(headers: Headers, host: str, method: str) -> bool:
    """Return whether a request comes from the server's own page, or from no page at all.

    ``Sec-Fetch-Site`` is what browsers say and pages cannot forge; a link on another site may lead
    here, but not fetch from here.
    """
    site = headers.get("sec-fetch-site", "none")
    led = headers.get("sec-fetch-mode") == "navigate" and method in _SAFE
    if site not in ("same-origin", "none") and not led:
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc == host
    except ValueError:
        return False


def _whole_ids(scope: Scope) -> str:
    """Return the path with slashes within a segment still encoded: a video id is one segment."""
    raw = scope.get("raw_path")
    if raw is None:
        path: str = scope["path"]
        return path
    text = raw.partition(b"?")[0].decode("ascii", "replace")
    for code in _ENCODED:
        text = text.replace(code, f"%25{code[1:]}")
    return unquote(text)


def decoded(segment: str) -> str:
    """Return the id that a segment of a path stands for."""
    return segment.replace("%2F", "/").replace("%2f", "/").replace("%25", "%")
