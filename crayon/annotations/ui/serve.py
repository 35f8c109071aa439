"""The server of `crayon annotate`: opens the port, prints the links, serves the page, and summarises the answers."""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Collection
from contextlib import suppress
from urllib.parse import urlencode

import uvicorn

from crayon.annotations.ui.security import Guard
from crayon.annotations.ui.store import Store
from crayon.utils.errors import ParamsError


def _listen(host: str, port: int) -> socket.socket:
    """Open a listening socket; raises ParamsError if that is impossible."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (socket.gaierror, UnicodeError) as error:
        raise ParamsError(f"--host {host}: is not an address of this machine ({error}).") from error
    family, kind, protocol, _, address = addresses[0]
    listening = socket.socket(family, kind, protocol)  # asyncio sets TCP_NODELAY only if the protocol is explicit
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise ParamsError(
                f"--port {port}: is used by another program; choose another port, or 0 for any free one."
            ) from error
        raise ParamsError(f"--host {host} --port {port}: cannot be opened ({error.strerror}).") from error
    return listening


def _links(
    host: str, port: int, annotators: Collection[str], tokens: dict[str, str | None], operator: str
) -> list[str]:
    """The lines to print: the link of each annotator, the link of the overview, and how to stop."""
    name = _address(host) if host in ("0.0.0.0", "::") else host
    base = f"http://{f'[{name}]' if ':' in name else name}:{port}/"
    links: list[tuple[str | None, str]]
    if tokens:
        links = [(who, f"{base}?{urlencode({'token': token})}") for token, who in tokens.items()]
    elif len(annotators) > 1:
        links = [(who, f"{base}?{urlencode({'annotator': who})}") for who in annotators]
    else:
        links = [(next(iter(annotators), None), base)]
    return [
        *(f"{who}: {link}" if who else link for who, link in links),
        f"Overview, for you alone: {base}overview?{urlencode({'token': operator})}",
        "Every answer is saved at once. Ctrl-C ends.",
    ]


def _address(host: str) -> str:
    """Name or address by which other machines reach this one, for a server that listens on all interfaces."""
    name = socket.getfqdn()
    if "." in name and not name.startswith("localhost"):
        return name
    family, elsewhere = (socket.AF_INET, "192.0.2.1") if host == "0.0.0.0" else (socket.AF_INET6, "2001:db8::1")
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as route:  # no packet is sent
        route.connect((elsewhere, 9))
        return route.getsockname()[0]
    return socket.gethostname()


def _serve(app: Guard, listening: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, lifespan="off", timeout_graceful_shutdown=2
    )
    ends = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: None) for number in ends}  # uvicorn raises them again
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _held(store: Store) -> str:
    """A text with the number of answers in the file, in total and for each annotator."""
    counts = store.counts()
    if not counts:
        return "none"
    return f"{sum(counts.values())}: " + ", ".join(f"{who} {count}" for who, count in sorted(counts.items()))
