"""`crayon annotate`: start the page's server, say where it is, and say at the end what was given."""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode

import torch
import uvicorn

from crayon.annotations.ui.app import build
from crayon.annotations.ui.items import load_asked
from crayon.annotations.ui.security import Guard, is_loopback, names_of, tokens_for
from crayon.annotations.ui.session import NAME, NAMED, Page
from crayon.annotations.ui.store import Store
from crayon.pipeline.plan import KINDS, Plan
from crayon.pipeline.steps.annotation_order import order_of
from crayon.utils.errors import AnnotationError, ParamsError
from crayon.utils.log import report
from crayon.utils.text import unknown


def run(
    plan: Plan,
    name: str,
    kind: str,
    annotators: Collection[str],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    order: str | None = None,
) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        ParamsError: an unknown benchmark, kind, order or host, a taken port, a name that is none, or a benchmark whose
            answers are not people's.
        AnnotationError, DataError: what is asked, or what was answered, is missing or malformed.
    """
    benchmark = plan.params.active.benchmark(name)
    if kind not in KINDS:
        raise ParamsError(unknown("kind", kind, KINDS))
    for annotator in annotators:
        if not NAME.fullmatch(annotator):
            raise ParamsError(f"--annotator {annotator!r}: {NAMED}")
    annotators = list(dict.fromkeys(annotators))
    if len({annotator.casefold() for annotator in annotators}) < len(annotators):
        raise ParamsError(
            f"--annotator: {', '.join(annotators)} differ by upper and lower case only; give other names."
        )
    answers = plan.answers_file(name, kind)
    source = benchmark.annotation.source
    if source != "people":
        aside = f", and move {answers} away" if Path(answers).exists() else ""
        raise ParamsError(
            f"suites.{plan.suite}.benchmarks.{name}.annotation: its source is {source}, and people's answers are not "
            f"mixed with others; set `annotation: {{ source: people }}` in params.yaml{aside}."
        )
    torch.set_num_threads(1)  # pictures are small, and made several at once
    asked, asks = load_asked(plan, name, kind), order_of(plan, name, kind, order)
    store = Store(answers, asked.known, asked.digest, asked.shown, allow_stale=benchmark.annotation.allow_stale)
    try:
        for annotator in annotators:
            if (why := store.refuse(annotator)) is not None:
                raise AnnotationError(why)
        of = f"{plan.suite}/{name}/{kind}"
        wanted = benchmark.consensus.minimum_answers if kind == "attention" else 1
        page = Page(asked, store, benchmark.title, annotators, asks, of, _commands(plan, name, kind), wanted)
        with _listen(host, port) as listening:
            address, port = listening.getsockname()[:2]
            local = is_loopback(address)
            tokens = {} if local else tokens_for(annotators, of)
            app = Guard(build(page), names_of(host, local), tokens)
            for line in _links(host, port, annotators, tokens):
                report(line, secret=bool(tokens))
            _serve(app, listening)
        report(f"{store.given} answer{'s' * (store.given != 1)} given; {answers} holds {_held(store)}.")
    finally:
        store.close()


def _commands(plan: Plan, name: str, kind: str) -> list[str]:
    """What is to be run after the last answer."""
    other = KINDS[1 - KINDS.index(kind)]
    missing = not Path(plan.answers_file(name, other)).exists()
    return [*([f"crayon annotate {name} --kind {other}"] if missing else []), "snakemake --cores 2 results/table1.csv"]


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (socket.gaierror, UnicodeError) as error:
        raise ParamsError(f"--host {host}: is no address of this machine ({error}).") from error
    family, kind, protocol, _, address = found[0]
    listening = socket.socket(family, kind, protocol)  # asyncio sends at once (TCP_NODELAY) if the protocol is named
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise ParamsError(
                f"--port {port}: is taken by another program; choose another, or 0 for any that is free."
            ) from error
        raise ParamsError(f"--host {host} --port {port}: cannot be listened to ({error.strerror}).") from error
    return listening


def _links(host: str, port: int, annotators: Collection[str], tokens: dict[str, str | None]) -> list[str]:
    shown = _address(host) if host in ("0.0.0.0", "::") else host
    base = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/"
    if tokens:
        links = [(who, f"{base}?{urlencode({'token': token})}") for token, who in tokens.items()]
    elif len(annotators) > 1:
        links = [(who, f"{base}?{urlencode({'annotator': who})}") for who in annotators]
    else:
        links = [(next(iter(annotators), None), base)]
    return [*(f"{who}: {link}" if who else link for who, link in links), "Every answer is kept at once. Ctrl-C ends."]


def _address(host: str) -> str:
    """How other machines reach this one, if it listens everywhere: its full name, or else its address."""
    name = socket.getfqdn()
    if "." in name and not name.startswith("localhost"):
        return name
    family, elsewhere = (socket.AF_INET, "192.0.2.1") if host == "0.0.0.0" else (socket.AF_INET6, "2001:db8::1")
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as route:  # no packet is sent
        route.connect((elsewhere, 9))
        return route.getsockname()[0]
    return socket.gethostname()


def _serve(app: Guard, listening: socket.socket) -> None:
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, lifespan="off", timeout_graceful_shutdown=2
    )
    ends = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: None) for number in ends}  # uvicorn raises them once more
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _held(store: Store) -> str:
    counts = store.counts()
    if not counts:
        return "none"
    return f"{sum(counts.values())}: " + ", ".join(f"{who} {count}" for who, count in sorted(counts.items()))
