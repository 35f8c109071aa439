"""Access control of the annotation page: checks every request, and sets security headers in every response."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import secrets
import socket
import time
from collections.abc import Collection, Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crayon.annotations.ui.refusals import refuse
from crayon.utils.errors import OutputError

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}

TOKEN_HEADER = "X-Crayon-Token"

NO_TOKEN = (
    "The address has no valid token. Open the whole link that you were sent: it ends in ?token= and 32 letters and "
    "digits. If a mail program cut it at the end of a line, copy both parts."
)
OVERVIEW = ("/overview", "/api/overview")
"""The paths that only the operator's token opens."""

NO_OVERVIEW = (
    "The overview is for the person who started the page. Open the link that was printed there, with its token."
)
UNKNOWN_HOST = (
    "The page has another address; open the link exactly as you were sent it, or as it was printed at the start."
)


class Guard:
    """ASGI middleware that refuses requests for unknown hosts, from other origins, or without a required token.

    A page of another site cannot read this server's responses, but it could send answers (CSRF), or reach the server
    through a host name that resolves to this machine (DNS rebinding). Requests must therefore name a known host, and
    POST requests must be JSON and come from this page.

    Args:
        app: the application behind the guard.
        hosts: host names of the server. If tokens are required, IP addresses are allowed, too.
        tokens: token -> its annotator; None as annotator lets the user choose a name. Empty: no token is required.
        operator: the token of the overview, which is always required there. It does not allow answers.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], tokens: Mapping[str, str | None], operator: str) -> None:
        self.app, self.hosts, self.tokens, self.operator = app, {host.lower() for host in hosts}, dict(tokens), operator
        self.cookie = _cookie("crayon", *sorted(tokens))
        self.operator_cookie = _cookie("crayon_overview", operator)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request and pass it on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        request = Request(scope)
        cookie = ""

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-store")
                headers["Server-Timing"] = f"app;dur={1000 * (time.perf_counter() - started):.2f}"
                if cookie and scope["path"] in ("/", "/overview"):
                    headers.append("Set-Cookie", f"{cookie}; Path=/; HttpOnly; SameSite=Strict")
            await send(message)

        refusal = self._refusal(request)
        if refusal is None and scope["path"] in OVERVIEW:
            if self._token(request, self.operator_cookie, [self.operator]) is None:
                refusal = 403, NO_OVERVIEW
            cookie = f"{self.operator_cookie}={self.operator}"
        elif refusal is None and self.tokens:
            token = self._token(request, self.cookie, self.tokens)
            if token is not None:
                scope.setdefault("state", {})["annotator"] = self.tokens[token]
                cookie = f"{self.cookie}={token}"
            elif scope["path"].startswith("/api/") or not self._token(request, self.operator_cookie, [self.operator]):
                refusal = 403, NO_TOKEN
        if refusal is not None:
            cookie = ""
            response = refuse(request, *refusal)
            await response(scope, receive, send_guarded)
            return
        await self.app(scope, receive, send_guarded)

    def _refusal(self, request: Request) -> tuple[int, str] | None:
        """Status and message for a request that is not allowed, or None."""
        host = request.headers.get("host", "")
        if not self._is_known(host):
            return 421, UNKNOWN_HOST
        if request.method in ("GET", "HEAD"):
            return None
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return 403, "The request comes from another page."
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            return 415, "The request is not JSON (Content-Type: application/json)."
        return None

    def _is_known(self, host: str) -> bool:
        """Whether a Host header names this server."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        if name in self.hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return bool(self.tokens)

    def _token(self, request: Request, cookie_name: str, tokens: Iterable[str]) -> str | None:
        """The one of `tokens` that is in a request's header, query or cookie, in this order; or None."""
        try:
            cookie = SimpleCookie(request.headers.get("cookie", "")).get(cookie_name)
        except CookieError:
            cookie = None
        in_query = next(iter(parse_qs(request.url.query).get("token", [])), None)
        for given in (request.headers.get(TOKEN_HEADER), in_query, cookie.value if cookie else None):
            if given:
                equal = [own for own in tokens if hmac.compare_digest(own.encode(), given.encode())]
                return equal[0] if equal else None
        return None


def _cookie(name: str, *tokens: str) -> str:
    """The name of a cookie: it depends on the tokens, since servers on other ports share cookies."""
    return f"{name}_{hashlib.sha256(''.join(tokens).encode()).hexdigest()[:8]}"


def operator_token(of: str, key_file: str | Path = ".crayon/page.key") -> str:
    """The token of the overview, see `tokens_for`.

    Raises:
        OutputError: the key file cannot be written, or contains no key.
    """
    return next(iter(tokens_for([], f"{of}/overview", key_file)))


def is_loopback(address: str) -> bool:
    """Whether an address is a loopback address, which other machines cannot reach."""
    return ipaddress.ip_address(address.split("%")[0]).is_loopback


def names_of(host: str, local: bool) -> set[str]:
    """Host names by which browsers may address the server.

    Args:
        host: value of `--host`.
        local: whether only this machine can reach the server.
    """
    own = {host, "localhost", "127.0.0.1", "::1"}
    return own if local else own | {socket.gethostname(), socket.getfqdn()}


def tokens_for(
    annotators: Collection[str], of: str, key_file: str | Path = ".crayon/page.key"
) -> dict[str, str | None]:
    """Return a token for each annotator, or one for all if no annotator is named.

    The tokens are the same at each start, so that links stay valid.

    Args:
        annotators: their names.
        of: suite, benchmark and kind that are annotated; the tokens depend on them.
        key_file: the project's secret key, created at the first call and readable by its owner only. Deleting it
            invalidates all links.

    Returns:
        Token -> annotator, or None for the token that all share.

    Raises:
        OutputError: the key file cannot be written, or contains no key.
    """
    path = Path(key_file)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_hex(32).encode())
        key = path.read_bytes()
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); check the folder's rights.") from error
    if len(key) < 64:
        raise OutputError(f"{path}: contains no key; delete it, and the next start creates another.")
    owners: list[str | None] = list(annotators) or [None]
    return {
        hmac.new(key, f"{of}\0{annotator or ''}".encode(), hashlib.sha256).hexdigest()[:32]: annotator
        for annotator in owners
    }
