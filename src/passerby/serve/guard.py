"""Stands before every route: judges host, origin, token and length of a request before any of it is parsed.

It also counts, writes the audit log, and gives every answer the headers that keep a page from loading or running
anything that is not ours.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from passerby.serve.faults import fault
from passerby.serve.metrics import Metrics
from passerby.serve.settings import Settings, is_loopback
from passerby.serve.static_files import STATIC
from passerby.serve.tokens import Tokens

#: Largest body of a request in bytes: one picture of 20 MB and what a form writes around it.
MAX_BODY = 21_000_000
#: Paths that answer without a token: none of them says anything about the gallery.
OPEN = frozenset({"/health", "/login"}) | STATIC
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_POLICY = (
    "default-src 'none'; img-src 'self' blob:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # With "no-referrer" a browser would hide the origin of our own forms too, and those of strangers look the same.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"private, no-store"),
)
_LOG = logging.getLogger("passerby.serve")


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, settings: Settings, tokens: Tokens, metrics: Metrics) -> None:
        """Wrap an application."""
        self._app = app
        self._settings = settings
        self._tokens = tokens
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500
        scope["passerby.asked"] = {}

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = {name.lower() for name, _ in message["headers"]}
                extra = [header for header in _HEADERS if header[0] not in given]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        try:
            refused = self._refusal(scope)
            if refused is not None:
                await refused(scope, receive, answer)
            else:
                await self._app(scope, _within(receive, self._settings.timeout_s), answer)
        finally:
            seconds = time.perf_counter() - started
            # Whoever was refused has matched no route, and must not be able to make up new ones to count.
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in (*_SAFE, "POST", "DELETE") else "other"
            self._metrics.saw(method, route, status, seconds)
            self._audit(scope, route, status, seconds)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        # A page of a stranger may give its own name the address of this machine; the name then tells.
        if not self._tokens.wanted and not is_loopback(_host_name(host)):
            return fault(421, f"this service answers at localhost only, not at {host!r}")
        if scope["method"] not in _SAFE and not _same_origin(headers, host):
            return fault(403, "the request comes from a page of another site")
        if scope["path"] not in OPEN and not self._tokens.allows(headers):
            if scope["path"] == "/" and "text/html" in headers.get("accept", ""):
                return _to_login
            return fault(401, "the token is missing or wrong", {"WWW-Authenticate": "Bearer"})
        return _length_refusal(scope["method"], headers)

    def _audit(self, scope: Scope, route: str, status: int, seconds: float) -> None:
        if self._settings.audit is None:
            return
        asked: dict[str, Any] = scope["passerby.asked"] if self._settings.audit_queries else {}
        client = scope.get("client") or ("",)
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": now, "client": client[0], "method": scope["method"], "route": route, "status": status}
        line |= {"ms": round(1000 * seconds, 1)} | ({"asked": asked} if asked else {})
        try:
            with self._settings.audit.open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
        except OSError as error:
            _LOG.error("the audit log %s cannot be written: %s", self._settings.audit, error.strerror)


def _length_refusal(method: str, headers: dict[str, str]) -> ASGIApp | None:
    length = headers.get("content-length")
    if "transfer-encoding" in headers or (length is None and method not in (*_SAFE, "DELETE")):
        return fault(411, "the request does not say how long it is; send Content-Length")
    if length is not None and not (length.isascii() and length.isdigit()):
        return fault(400, "Content-Length is no number")
    if int(length or 0) > MAX_BODY:
        return fault(413, f"the request has {int(length or 0) / 1e6:.0f} MB; at most {MAX_BODY / 1e6:.0f} MB are read")
    return None


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _same_origin(headers: dict[str, str], host: str) -> bool:
    """Whether a browser sent a request from our own page; programs send neither header."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.split("://", 1)[-1] == host


def _within(receive: Receive, timeout_s: float) -> Receive:
    """A body that arrives drop by drop must not hold a connection for ever."""
    ends = time.monotonic() + timeout_s
    complete = False

    async def receive_in_time() -> Message:
        nonlocal complete
        if complete:  # what follows is only the news that the client has gone
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), max(0.0, ends - time.monotonic()))
        except TimeoutError:
            return {"type": "http.disconnect"}
        complete = not message.get("more_body", False)
        return message

    return receive_in_time


async def _to_login(scope: Scope, receive: Receive, send: Send) -> None:
    del scope, receive
    await send({"type": "http.response.start", "status": 303, "headers": [(b"location", b"/login")]})
    await send({"type": "http.response.body", "body": b""})
