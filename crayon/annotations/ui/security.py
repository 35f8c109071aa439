"""Who may talk to the page: what is refused before a request is looked at, and the headers of every response."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import secrets
import socket
import time
from collections.abc import Collection, Mapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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


class Guard:
    """Refuses foreign hosts, pages of other origins, and, where tokens are given, whoever has none.

    A page of another site cannot read answers of this server, but it could send some, or reach it under a name of its
    own that resolves to this machine: so a request must name a host that is ours, and a POST must be JSON and come
    from our own page.

    Args:
        app: what it stands before.
        hosts: names that the server is known by; addresses are always allowed where tokens are demanded.
        tokens: token -> annotator whose it is, or None if whoever has it says their name; empty: none is demanded.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], tokens: Mapping[str, str | None]) -> None:
        self.app, self.hosts, self.tokens = app, {host.lower() for host in hosts}, dict(tokens)
        self.cookie = (
            f"crayon_{hashlib.sha256(''.join(sorted(tokens)).encode()).hexdigest()[:8]}"  # ports share cookies
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        request = Request(scope)
        token = None

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-store")
                headers["Server-Timing"] = f"app;dur={1000 * (time.perf_counter() - started):.2f}"
                if token is not None and scope["path"] == "/":
                    headers.append("Set-Cookie", f"{self.cookie}={token}; Path=/; HttpOnly; SameSite=Strict")
            await send(message)

        refusal = self._refusal(request)
        if refusal is None and self.tokens:
            token = self._token(request)
            if token is None:
                refusal = 403, "Open the link that `crayon annotate` printed: it ends in a token, and yours has none."
            else:
                scope.setdefault("state", {})["annotator"] = self.tokens[token]
        if refusal is not None:
            response = JSONResponse({"error": refusal[1]}, refusal[0])
            await response(scope, receive, send_guarded)
            return
        await self.app(scope, receive, send_guarded)

    def _refusal(self, request: Request) -> tuple[int, str] | None:
        host = request.headers.get("host", "")
        if not self._ours(host):
            return 421, "This server is not known by the host name of the request."
        if request.method in ("GET", "HEAD"):
            return None
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return 403, "The request comes from another page."
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            return 415, "The request is not JSON (Content-Type: application/json)."
        return None

    def _ours(self, host: str) -> bool:
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

    def _token(self, request: Request) -> str | None:
        """The token of a request, as the server has it: of the header, the address, or the cookie."""
        try:
            cookie = SimpleCookie(request.headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            cookie = None
        asked = parse_qs(request.url.query).get("token", [None])[0]
        for given in (request.headers.get(TOKEN_HEADER), asked, cookie.value if cookie else None):
            if given:
                found = [ours for ours in self.tokens if hmac.compare_digest(ours.encode(), given.encode())]
                return found[0] if found else None
        return None


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's own, which no other can reach."""
    return ipaddress.ip_address(address.split("%")[0]).is_loopback


def names_of(host: str, local: bool) -> set[str]:
    """The names by which a browser may know a server that was started with `--host`, for this machine alone or not."""
    own = {host, "localhost", "127.0.0.1", "::1"}
    return own if local else own | {socket.gethostname(), socket.getfqdn()}


def tokens_for(
    annotators: Collection[str], of: str, key_file: str | Path = ".crayon/page.key"
) -> dict[str, str | None]:
    """A token for each annotator, or one for all if none is named: the same at each start, so that links keep.

    Args:
        of: what is annotated; another has other tokens.
        key_file: the project's secret, made at the first call and readable by its owner only; without it, all links
            become void.
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
        raise OutputError(f"{path}: holds no key; delete it, so that it is made anew.")
    return {
        hmac.new(key, f"{of}\0{annotator or ''}".encode(), hashlib.sha256).hexdigest()[:32]: annotator
        for annotator in (annotators or [None])
    }
