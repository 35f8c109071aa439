"""`crayon annotate`: let people answer on a local web page."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch

from crayon.annotations.ui.app import build
from crayon.annotations.ui.security import Guard, is_loopback, names_of, tokens_for
from crayon.annotations.ui.serve import _held, _links, _listen, _serve
from crayon.annotations.ui.session import NAME, NAMED, Page
from crayon.annotations.ui.store import Store
from crayon.pipeline.job import KINDS
from crayon.pipeline.plan import Plan
from crayon.pipeline.steps.annotation_order import order_of
from crayon.pipeline.steps.load_items import load_asked
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
