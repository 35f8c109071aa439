"""`crayon rounds`: refine networks with the answers so far, see whether more answers pay, and choose the next maps."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from crayon.annotations.acquisition import ACQUISITIONS, State
from crayon.annotations.labels import CODES, LABELS
from crayon.annotations.propagation import propagate
from crayon.annotations.rounds import Gain, Round, Rounds
from crayon.annotations.sampling import DEFAULTS, ORDERS, Pool, to_ask
from crayon.config.annotation import Propagation
from crayon.config.annotation import Rounds as Options
from crayon.config.sections import Training, adapter, dump
from crayon.data.splits import without_validation
from crayon.methods import method_class
from crayon.methods.settings import reason_left_out, settings_of
from crayon.models.classifier import Classifier
from crayon.models.inference import features_in_batches
from crayon.pipeline.gain import gain
from crayon.pipeline.job import KINDS
from crayon.pipeline.plan import Plan
from crayon.pipeline.record import Digests
from crayon.pipeline.steps.context import Context
from crayon.pipeline.steps.ingest import choose, inferred, labels_of, read
from crayon.pipeline.steps.people import shown_digest
from crayon.pipeline.steps.refine import Reader
from crayon.saliency.gradcam import grad_cam, normalise
from crayon.training.fit import train
from crayon.utils.checks import required
from crayon.utils.errors import AnnotationError, DataError, ParamsError
from crayon.utils.log import report
from crayon.utils.packaged import located, remedy

BEFORE = "answered before"
"""`Round.chosen` of a first round that has the maps that were answered before."""


def path_of(plan: Plan, name: str) -> Path:
    """The rounds file of a benchmark, beside its answers."""
    return Path(plan.answers_file(name, "attention")).with_name("rounds.json")


@dataclass(frozen=True)
class Refined:
    """Networks that were refined with the same labels and different seeds.

    Attributes:
        validation: the validation metric in percent, one value for each seed.
        predictions: (S, M) int64, the predicted classes of the validation images.
        test: metric -> its value in percent for each seed; empty unless asked for.
        outputs: of the training images, (S, N, K) probabilities and (S, N, h, w) maps of their classes, float32 in
            [0, 1]; None unless asked for.
        derived: number of derived labels.
    """

    validation: list[float]
    predictions: np.ndarray
    test: dict[str, list[float]]
    outputs: tuple[np.ndarray, np.ndarray] | None
    derived: int


class Refinement:
    """Refines the Original of a benchmark with the labels of some maps.

    Args:
        plan: the plan of the active suite.
        name: the benchmark.

    Attributes:
        options: section `rounds` of the benchmark.
        images: ids of the training images.
        maps, logits, classes: of the training images, see `State`.

    Raises:
        ParamsError: the method cannot run on the benchmark.
        AnnotationError: the method needs labels of neurons, and there are none.
        DataError: the Original's maps or logits are missing or damaged.
    """

    def __init__(self, plan: Plan, name: str) -> None:
        self.plan, self.name = plan, name
        benchmark = plan.params.active.benchmark(name)
        self.options: Options = benchmark.rounds
        method, key = self.options.method, f"suites.{plan.suite}.benchmarks.{name}.rounds.method"
        if (why := reason_left_out(method, benchmark)) is not None:
            raise ParamsError(f"{key}: {method} cannot run here: {why}.")
        self.training, self.method = settings_of(method, benchmark)
        needs = [need for need in dict.fromkeys((*method_class(method).needs, "maps", "logits")) if need != KINDS[0]]
        self.job = plan.find("original", benchmark=name)
        self.paths = plan.needed(name, needs)
        for need, path in self.paths.items():
            if located(path).exists():
                continue
            if need == KINDS[1]:
                raise AnnotationError(
                    f"{path}: does not exist, but {key} is {method}, which needs labels of neurons; answer patches and "
                    f"run `crayon ingest {name} neurons`, or set it to crayon_attention."
                )
            raise DataError(f"{path}: {remedy(path) or f'does not exist; make it with `snakemake --cores 2 {path}`.'}")
        self.context = Context(self.job)
        self.reader = Reader(self.context, self.paths, needs)
        self.images = [self.context.data.image_ids[row] for row in self.context.data.rows("train")]
        problem = self.reader.problem(self.job.outputs["model"])
        self.maps = required(problem.maps, "maps").cpu().numpy()
        self.logits = required(problem.logits, "logits").cpu().numpy()
        self.classes = problem.labels.cpu().numpy()
        self.monitor = self.context.monitor(lambda line: None)

    @cached_property
    def original(self) -> tuple[float, tuple[int, ...]]:
        """The Original's validation metric in percent, and its predictions."""
        guesses = self.monitor.predict(self.context.trained(self.job.outputs["model"]))
        return self.monitor.of(guesses), tuple(guesses.tolist())

    @property
    def propagation(self) -> Propagation | None:
        """How labels of the other maps are derived, as in the benchmark."""
        return self.context.benchmark.propagation

    def steering(self, digests: Digests) -> dict[str, Any]:
        """The params and the digests of the files on which the rounds depend."""
        files = {key: self.paths[key] for key in ("maps", "logits", "neurons") if key in self.paths}
        benchmark = self.context.benchmark
        consensus = dump(benchmark.consensus)
        return {
            **{f"rounds.{key}": value for key, value in dump(self.options).items()},
            "propagation": None if self.propagation is None else dump(self.propagation),
            "consensus": consensus,
            "training": adapter(Training).dump_python(self.training, mode="json"),
            "method": adapter(type(self.method)).dump_python(self.method, mode="json"),
            "selection": dump(benchmark.selection),
            **{
                f"the file {path}": digests.of(path)
                for path in (self.job.outputs["model"], *files.values(), self.job.inputs["images"])
            },
        }

    def refine(
        self,
        codes: np.ndarray,
        seeds: Sequence[int],
        propagation: Propagation | None,
        *,
        outputs: bool,
        test: bool = False,
    ) -> Refined:
        """Refine the Original with these labels, once for each seed.

        Args:
            codes: (N,) int8, see `State.codes`.
            seeds: the seeds.
            propagation: how labels of the other maps are derived; None leaves them without one.
            outputs: also compute what acquisition functions need, a pass over the training images for each network.
            test: also measure the benchmark's metrics.
        """
        derived = 0
        if propagation is not None and {0, 1} <= set(codes.tolist()):
            made = propagate(codes, self.maps, self.logits, propagation)
            codes, derived = made.codes, int(made.derived.sum())
        validation, predictions, passed = [], [], []
        found: dict[str, list[float]] = {}
        for seed in seeds:
            problem = self.reader.problem(self.job.outputs["model"])
            problem.attention = torch.from_numpy(codes).to(problem.labels.device)
            outcome = train(problem, self.method, self.training, seed, self.monitor, f"{self.name}/rounds/{seed}")
            validation.append(outcome.history[-1]["validation"])
            predictions.append(self.monitor.predict(problem.network))
            for metric, value in self.context.metrics(problem.network).items() if test else ():
                found.setdefault(metric.removeprefix("test_"), []).append(value)
            if outputs:
                passed.append(self._outputs(problem.network))
        stacked = (np.stack([own[0] for own in passed]), np.stack([own[1] for own in passed])) if outputs else None
        return Refined(validation, np.stack(predictions), found, stacked, derived)

    def unrefined(self, seeds: Sequence[int]) -> Refined:
        """The Original, with its test metrics, once for each seed."""
        validation, predictions = self.original
        test = self.context.metrics(self.context.trained(self.job.outputs["model"]))
        return Refined(
            [validation] * len(seeds),
            np.array([predictions] * len(seeds)),
            {metric.removeprefix("test_"): [value] * len(seeds) for metric, value in test.items()},
            None,
            0,
        )

    def select(self, chooser: str, codes: np.ndarray, refined: Refined | None, count: int) -> tuple[str, np.ndarray]:
        """Choose the next maps.

        Args:
            chooser: an acquisition function or a fixed order.
            codes: (N,) int8, labels by the answers so far.
            refined: the networks refined with them; only acquisition functions need them.
            count: how many.

        Returns:
            What chose them, which is the default order if the answers so far do not suffice for the acquisition
            function; and the maps, (n,) int64 with n <= count.
        """
        if chooser in ACQUISITIONS:
            outputs = required(required(refined, "refined").outputs, "outputs")
            try:
                state = State(self.maps, self.logits, self.classes, codes, *outputs)
                return chooser, ACQUISITIONS[chooser](state, count)
            except ValueError as error:
                chooser = DEFAULTS["attention"]
                report(f"{self.name}/rounds  {error}; the next maps come in the order {chooser}")
        asked = np.flatnonzero(to_ask(self.maps))
        ordered = asked[ORDERS[chooser](Pool(self.maps[asked], self.classes[asked]), 0)]
        return chooser, ordered[codes[ordered] == CODES["unasked"]][:count]

    def compare(self, before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]) -> Gain:
        """The gain of the predictions `after` over those `before`, see `crayon.pipeline.gain`."""
        return gain(before, after, self.monitor.labels, self.monitor.groups, self.context.benchmark.selection)

    def _outputs(self, network: Classifier) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (N, K) and maps (N, h, w) of the training images."""
        count = len(self.classes)
        classes = self.context.labels("train")
        probabilities, maps = np.empty(self.logits.shape, np.float32), np.empty(self.maps.shape, np.float32)
        for batch, features in features_in_batches(network, self.context.images("train"), count):
            with torch.no_grad():
                probabilities[batch] = network.classify(features).float().softmax(1).cpu().numpy()
            own = grad_cam(network, features, classes[batch]).detach()
            maps[batch] = normalise(own.float()).cpu().numpy()
        return probabilities, maps


class Answers:
    """The answers about maps that there are now.

    Args:
        plan: the plan of the active suite.
        name: the benchmark.

    Attributes:
        count: image -> number of answers.

    Raises:
        AnnotationError: the answers file is malformed, or of other maps.
    """

    def __init__(self, plan: Plan, name: str) -> None:
        self.job = plan.find("ingest", benchmark=name, kind="attention")
        self.benchmark = required(self.job.params.benchmark, "job.params.benchmark")
        self.path = self.job.inputs["answers"]
        self.count: Counter[str] = Counter()
        if Path(self.path).exists():
            digest = shown_digest(self.job, required(Digests().of(self.job.inputs["shown"]), "maps"))
            self.answered = read(self.job, digest, self.benchmark.annotation.allow_stale)
            self.count = Counter(answer.item for answer in self.answered.answers)

    def complete(self, images: Iterable[str]) -> list[str]:
        """Those of these images that have as many answers as a label needs (`consensus.minimum_answers`)."""
        return [image for image in images if self.count[image] >= self.benchmark.consensus.minimum_answers]

    def codes(self, images: Sequence[str], asked: Collection[str]) -> np.ndarray:
        """The labels of all images by the answers to some of them, (N,) int8, see `State.codes`.

        Raises:
            AnnotationError: truth inference needs more annotators, or no answer is left without those who failed on
                gold items.
        """
        chosen = [answer for answer in self.answered.answers if answer.item in asked]
        used = choose(self.job, replace(self.answered, answers=chosen))
        truth = inferred(used.answers, self.benchmark.consensus, self.path)
        try:
            labels = labels_of(replace(self.answered, answers=used.answers), self.benchmark.consensus, self.path, truth)
        except AnnotationError:  # none of them has a label yet
            labels = dict.fromkeys(images, "unused")
        known = {image: "unused" if labels[image] == "unasked" else labels[image] for image in asked}
        return np.array([CODES[known.get(image, "unasked")] for image in images], np.int8)


def first(refinement: Refinement, answers: Answers) -> Round:
    """The first round: the maps that were answered before, or else the first ones of a fixed order."""
    if before := answers.complete(refinement.images):
        return Round(tuple(before), BEFORE, {})
    options = refinement.options
    chooser = options.acquisition if options.acquisition in ORDERS else DEFAULTS["attention"]
    unasked = np.full(len(refinement.images), CODES["unasked"], np.int8)
    return _next(refinement, unasked, None, chooser) or Round((), chooser, {})


def _next(refinement: Refinement, codes: np.ndarray, refined: Refined | None, chooser: str) -> Round | None:
    """The next round; None if all maps have been asked about."""
    chooser, positions = refinement.select(chooser, codes, refined, refinement.options.maps_per_round)
    return Round(tuple(refinement.images[position] for position in positions), chooser, {}) if len(positions) else None


def learn(refinement: Refinement, answers: Answers, rounds: Rounds, number: int) -> tuple[Round, Round | None]:
    """Refine networks with the answers up to a round, and choose the next one.

    Args:
        refinement: the benchmark.
        answers: the answers.
        rounds: the rounds.
        number: index of the round.

    Returns:
        The round, with what the networks reached; and the next one, None if all maps have been asked about.
    """
    options, one = refinement.options, rounds.rounds[number]
    asked = {item for past in rounds.rounds[: number + 1] for item in past.items}
    codes = answers.codes(refinement.images, asked)
    labels = {label: int((codes == CODES[label]).sum()) for label in LABELS[:2]}
    learned = replace(one, labels=labels, answers=hashlib.sha256(codes.tobytes()).hexdigest())
    if not any(labels.values()):
        return learned, _next(refinement, codes, None, DEFAULTS["attention"])
    refined = refinement.refine(
        codes, range(options.networks), refinement.propagation, outputs=options.acquisition in ACQUISITIONS
    )
    learned = replace(
        learned,
        derived=refined.derived,
        validation=tuple(refined.validation),
        predictions=tuple(map(tuple, refined.predictions.tolist())),
    )
    earlier = number - options.patience
    before = (rounds.original[1],) if earlier == -1 else rounds.rounds[earlier].predictions if earlier >= 0 else ()
    if before:
        learned = replace(learned, gain=refinement.compare(before, learned.predictions))
    return learned, _next(refinement, codes, refined, options.acquisition)


def advance(plan: Plan, name: str) -> Rounds:
    """Bring the rounds of a benchmark up to date: if the last round is answered, refine, and add the next one.

    The rounds file is written once, at the end; a run that is killed leaves it as it was, and the next run starts again
    from there.

    Raises:
        ParamsError: the method cannot run on the benchmark.
        AnnotationError: the answers or the rounds file are malformed, or belong to other maps or params; or labels are
            missing.
        DataError: maps, logits or images are missing or damaged.
    """
    refinement, path = Refinement(plan, name), path_of(plan, name)
    steering = refinement.steering(Digests())
    rounds = Rounds.read(path, steering) if path.exists() else Rounds(steering, refinement.original)
    answers = Answers(plan, name)
    past = rounds.rounds or (first(refinement, answers),)
    if not past[-1].answered and len(answers.complete(past[-1].items)) == len(past[-1].items):
        in_rounds = {item for one in past for item in one.items}
        further = [image for image in answers.complete(refinement.images) if image not in in_rounds]
        past = (*past[:-1], replace(past[-1], items=(*past[-1].items, *further)))
        learned, following = learn(refinement, answers, replace(rounds, rounds=past), len(past) - 1)
        past = (*past[:-1], learned, *(() if following is None else (following,)))
    rounds = replace(rounds, rounds=past)
    path.parent.mkdir(parents=True, exist_ok=True)
    rounds.write(path)
    return rounds


def recorded(plan: Plan, name: str) -> Rounds:
    """The rounds of a benchmark as they are in the rounds file, without comparing it with the present params.

    Raises:
        AnnotationError: there is no such file, or it is damaged.
    """
    path = path_of(plan, name)
    if not path.exists():
        raise AnnotationError(f"{path}: does not exist; `crayon annotate {name} --kind attention --rounds` starts it.")
    return Rounds.read(path, {})


def check(plan: Plan, name: str) -> list[str]:
    """Make all rounds again from the answers and the params, and compare.

    Returns:
        One sentence for each difference; empty if everything is the same.

    Raises:
        AnnotationError: there is no rounds file; and the errors of `advance`.
    """
    recorded(plan, name)  # raises an error before anything is computed
    refinement, path = Refinement(plan, name), path_of(plan, name)
    rounds = Rounds.read(path, refinement.steering(Digests()))
    answers, found = Answers(plan, name), []
    for number, one in enumerate(rounds.rounds):
        if not one.answered:
            continue
        again, following = learn(refinement, answers, rounds, number)
        where = f"{path}, round {number + 1}"
        if again.answers != one.answers:
            found.append(f"{where}: the answers have changed since.")
        elif again != one:
            found.append(f"{where}: the networks do not reach the same ({_percent(again)}, not {_percent(one)}).")
        kept = rounds.rounds[number + 1 :]
        if kept and again == one and following is not None:
            differ = set(following.items) - set(kept[0].items)
            if differ or following.chosen != kept[0].chosen:
                found.append(f"{where}: would choose other maps to follow, {min(differ, default=following.chosen)}.")
    return found


def lines(plan: Plan, name: str, rounds: Rounds) -> list[str]:
    """The rounds as a table, and what to do next."""
    benchmark = plan.params.active.benchmark(name)
    metric, options = benchmark.selection.kind.replace("_", " "), benchmark.rounds
    text = [f"{name}: {benchmark.selection.splits[0]} {metric}, mean over seeds; the Original {rounds.original[0]:.1f}"]
    if (sentence := without_validation(benchmark)) is not None:
        text.append(f"{sentence}.")
    over = f"gain over {options.patience} round{'s' * (options.patience > 1)}"
    text.append(
        f"{'round':>5} {'maps':>5} {'relevant':>8} {'irrelevant':>10} {'derived':>7} {metric:>12}  {over:24} chosen by"
    )
    for number, one in enumerate(rounds.rounds, start=1):
        counts = [str(one.labels[label]) for label in LABELS[:2]] if one.answered else ["", ""]
        derived = str(one.derived) if one.answered else ""
        gained = "" if one.gain is None else str(one.gain)
        reached = _percent(one) if one.answered else "open"
        text.append(
            f"{number:5} {len(one.items):5} {counts[0]:>8} {counts[1]:>10} {derived:>7} {reached:>12}  {gained:24} "
            f"{one.chosen}"
        )
    return [*text, _next_step(plan, name, rounds)]


def _percent(one: Round) -> str:
    return f"{fmean(one.validation):.1f}" if one.validation else "no label yet"


def _next_step(plan: Plan, name: str, rounds: Rounds) -> str:
    last = rounds.rounds[-1]
    learned = [one for one in rounds.rounds if one.answered]
    tables = "`snakemake --cores 2 results/table1.csv` makes the tables"
    if last.answered:
        return f"All maps have been asked about; {tables}."
    ask = f"`crayon annotate {name} --kind attention --rounds` asks about the next {len(last.items)} maps"
    if learned and not learned[-1].pays:
        return f"More answers are not shown to pay ({learned[-1].gain}): {tables}. To go on all the same: {ask}."
    return f"{ask[0].upper() if ask[0] != '`' else ask[0]}{ask[1:]}."
