"""`crayon annotate`: serve the local web page on which people annotate."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch

from crayon.annotations.answers import refuse_mixed
from crayon.annotations.gold import read_gold
from crayon.annotations.sampling import DEFAULTS
from crayon.annotations.ui.app import build
from crayon.annotations.ui.security import Guard, is_loopback, names_of, operator_token, tokens_for
from crayon.annotations.ui.serve import _held, _links, _listen, _serve
from crayon.annotations.ui.session import NAME, NAMED, Page
from crayon.annotations.ui.static_page import write_page
from crayon.annotations.ui.store import Store
from crayon.config.annotation import Gold
from crayon.pipeline.job import KINDS, MADE
from crayon.pipeline.plan import Plan
from crayon.pipeline.steps.annotation_groups import groups_of
from crayon.pipeline.steps.annotation_order import order_of
from crayon.pipeline.steps.load_items import load_items
from crayon.utils.errors import AnnotationError, ParamsError
from crayon.utils.log import report
from crayon.utils.text import unknown

GOAL = 100
"""Number of maps after which an annotator has done enough for a first try (docs/results.md has the measurements)."""


def run(
    plan: Plan,
    name: str,
    kind: str,
    annotators: Collection[str],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    order: str | None = None,
    goal: int | None = None,
    shortest: float = 0.0,
    grid: int | None = None,
    rounds: Path | None = None,
    folder: Path | None = None,
) -> None:
    """Serve the page until Ctrl-C, or write it as a folder for a web host.

    Args:
        plan: the plan of the active suite.
        name: the benchmark.
        kind: `attention` or `neurons`.
        annotators: names of the annotators; empty to let the page ask for a name.
        host: address to listen on.
        port: port to listen on; 0 for any free one.
        order: acquisition strategy, see `crayon.annotations.sampling`; None for the default of the kind.
        goal: number of answers by one annotator that are enough for a first try; 0 for no goal, None for the default,
            see `default_goal`.
        shortest: seconds that a screen must have been shown before an answer is accepted.
        grid: maximum number of similar items that are shown together; None to show items one by one.
        rounds: the params file, to ask about maps in rounds; None to ask about all.
        folder: the folder to create; None to serve the page.

    Raises:
        ParamsError: the benchmark, kind, order or host is unknown; the port is taken; the name of an annotator is not
            allowed; or the benchmark does not take people's answers.
        AnnotationError: the answers file is malformed, contains simulated or published answers, or does not allow the
            name of an annotator (see `Store.refuse`); or the file of gold items is missing or malformed.
        DataError: the maps, patches or images are missing or malformed.
        OutputError: the folder exists or cannot be written.
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
            f"--annotator: {', '.join(annotators)} differ only in upper and lower case; give other names."
        )
    answers = plan.answers_file(name, kind)
    source = benchmark.annotation.source
    if source != "people":
        remedy = f", and move {answers} away" if Path(answers).exists() else ""
        raise ParamsError(
            f"suites.{plan.suite}.benchmarks.{name}.annotation: its source is {source}, but people's answers must not "
            f"be mixed with others; set `annotation: {{ source: people }}` in params.yaml{remedy}."
        )
    if rounds is not None:
        _check_rounds(name, kind, order, goal, folder)
    item_set = load_items(plan, name, kind)
    gold = gold_of(benchmark.consensus.gold, kind, item_set.known)
    live = None
    if rounds is not None:
        from crayon.pipeline.steps.live_rounds import (
            LiveRounds,
        )  # it imports what trains, which others need not wait for

        live = LiveRounds(plan, name, rounds)
    order_for = order_of(plan, name, kind, order, gold) if live is None else live.order
    group_of = None if grid is None else groups_of(plan, name, item_set, grid)
    task = f"{plan.suite}/{name}/{kind}"
    minimum = benchmark.consensus.minimum_answers if kind == "attention" else 1
    if live is not None:
        goal = 0
    goal = default_goal(kind, order, minimum) if goal is None else goal
    torch.set_num_threads(1)  # pictures are small, and several are drawn at the same time
    if folder is not None:
        write_page(
            folder,
            item_set,
            benchmark.title,
            order_for,
            task,
            annotators=annotators,
            goal=goal,
            shortest=shortest,
            group_of=group_of,
        )
        report(
            f"{name}/annotate {kind}  {len(item_set.items)} items -> {folder}: put it on any web host; what annotators "
            f"download there is for {answers}"
        )
        return
    allow_stale = benchmark.annotation.allow_stale
    store = Store(answers, item_set.known, item_set.digest, item_set.shown, allow_stale=allow_stale)
    try:
        refuse_mixed(store.sources(), MADE, answers)
        for annotator in annotators:
            if (reason := store.refuse(annotator)) is not None:
                raise AnnotationError(reason)
        page = Page(
            item_set,
            store,
            benchmark.title,
            annotators,
            order_for,
            task,
            _commands(plan, name, kind),
            wanted=minimum,
            goal=goal,
            shortest=shortest,
            gold=gold,
            group_of=group_of,
            rounds=live,
        )
        for line in () if live is None else live.told:
            report(line)
        with _listen(host, port) as listening:
            address, port = listening.getsockname()[:2]
            local = is_loopback(address)
            tokens = {} if local else tokens_for(annotators, task)
            operator = operator_token(task)
            app = Guard(build(page), names_of(host, local), tokens, operator)
            for line in _links(host, port, annotators, tokens, operator):
                report(line, secret="token=" in line)
            _serve(app, listening)
        if store.counts():
            report(page.next_step())
        report(f"{store.given} answer{'s' * (store.given != 1)} given; {answers} holds {_held(store)}.")
    finally:
        store.close()


def _check_rounds(name: str, kind: str, order: str | None, goal: int | None, folder: Path | None) -> None:
    """Raise a ParamsError if an option does not go with rounds."""
    if kind != KINDS[0]:
        raise ParamsError(f"--rounds: maps are asked about in rounds, not {kind}; add --kind {KINDS[0]}.")
    for option, value in {"--order": order, "--goal": goal, "--static": folder}.items():
        if value is not None:
            why = "the maps are chosen by `rounds` in params.yaml" if folder is None else "choosing maps needs a server"
            raise ParamsError(f"--rounds and {option} exclude each other: {why}; leave one of them out of {name}.")


def gold_of(gold: Gold | None, kind: str, known: Collection[str]) -> dict[str, str]:
    """The gold items of a kind with their answers; empty if there are none.

    Args:
        gold: the section of params.yaml.
        kind: `attention` or `neurons`.
        known: all items.

    Raises:
        AnnotationError: the file of gold items is missing or malformed, or names an unknown item.
    """
    path = None if gold is None else getattr(gold, kind)
    return {} if path is None else read_gold(path, known)


def default_goal(kind: str, order: str | None, minimum: int) -> int:
    """Number of answers by one annotator that are enough for a first try; 0 if no number is known.

    There is no goal for patches, since pruning needs answers to nearly all neurons. In random order, annotators start
    with different maps; so there is no goal either if each map needs answers by several annotators.

    Args:
        kind: `attention` or `neurons`.
        order: acquisition strategy; None for the default of the kind.
        minimum: number of answers that each item needs.
    """
    if kind == "neurons" or (minimum > 1 and (order or DEFAULTS[kind]) == "random"):
        return 0
    return GOAL


def _commands(plan: Plan, name: str, kind: str) -> list[str]:
    """List the commands to run after the last answer."""
    other = KINDS[1 - KINDS.index(kind)]
    missing = other in plan.kinds(name) and not Path(plan.answers_file(name, other)).exists()
    return [*([f"crayon annotate {name} --kind {other}"] if missing else []), "snakemake --cores 2 results/table1.csv"]
