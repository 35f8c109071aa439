"""The command line: one command per step.

Commands read params.yaml in the working directory and write to the paths that `crayon.pipeline.plan` defines. Each
command imports only its own step, so that `--help` is fast.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from crayon.cli.common import BenchmarkName, plan_of, show
from crayon.cli.platforms import labelstudio, mturk
from crayon.utils.errors import CrayonError
from crayon.utils.log import log_to, report, show_progress
from crayon.utils.text import unknown
from crayon.utils.version import __version__

if TYPE_CHECKING:
    from crayon.pipeline.job import Job

app = typer.Typer(
    help="Guide the attention of an image classifier with yes-no answers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

annotations_app = typer.Typer(help="Look at the answers, and add others.", no_args_is_help=True)
app.add_typer(annotations_app, name="annotations")
app.add_typer(mturk, name="mturk")
app.add_typer(labelstudio, name="labelstudio")

RunNames = Annotated[list[str], typer.Argument(metavar="RUN...", help="methods, controls, or variations of a study")]
Seeds = Annotated[
    list[int] | None, typer.Option("--seed", help="repeat for several seeds; without it, all seeds of the suite")
]
Token = Annotated[
    Path | None, typer.Option(metavar="FILE", help="only what Snakemake's sentinel file names as out of date; else all")
]
From = Annotated[
    Path | None, typer.Option("--from", metavar="PATH", help="a folder or a file to use instead of a download")
]
Kind = Annotated[str, typer.Argument(metavar="KIND", help="attention or neurons")]


def batch(
    context: typer.Context, rule: str, benchmark: str, runs: list[str], seeds: list[int] | None, token: Path | None
) -> list[Job]:
    """The jobs of some runs and seeds; with `token`, those of them that this sentinel file names, see `to_run`."""
    from crayon.pipeline.validity import to_run

    jobs = plan_of(context, only=[benchmark]).select(rule, benchmark, runs, seeds)
    return jobs if token is None else to_run(token, jobs)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"crayon {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    params: Annotated[Path, typer.Option(help="the params file")] = Path("params.yaml"),
    log: Annotated[Path | None, typer.Option(help="write progress to this file too")] = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    if log is not None:
        log_to(log)
    context.obj = params


@app.command()
def check(
    context: typer.Context,
    benchmark: Annotated[str | None, typer.Argument(help="check this benchmark and its images only")] = None,
) -> None:
    """Validate params.yaml, the networks and the checkpoints. With BENCHMARK, check the benchmark's images as well."""
    plan = plan_of(context)
    from crayon.pipeline.steps.networks import check as check_networks

    check_networks(plan, [benchmark] if benchmark is not None else plan.params.active.benchmarks)
    if benchmark is not None:
        from crayon.pipeline.steps.download import check as check_images
        from crayon.pipeline.steps.map_size import check as check_maps

        job = plan.find("download", benchmark=benchmark)
        text, size = check_images(job)
        print(text)
        for line in check_maps(job, size):
            print(line)
        return
    suite = plan.params.active
    print(f"{context.obj}: suite {plan.suite}: {', '.join(suite.benchmarks)}; {len(plan.jobs)} jobs.")


@app.command()
def schema() -> None:
    """Print the JSON Schema of params.yaml, with which editors complete, explain and check the file."""
    from crayon.pipeline.schema import params_schema

    print(json.dumps(params_schema(), indent=1, ensure_ascii=False))


@app.command("plan")
def forecast(
    context: typer.Context,
    suite: Annotated[str | None, typer.Option(metavar="NAME", help="this suite instead of the active one")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Count the jobs to do, and forecast their time and disk space.

    The forecast is made from the records of finished jobs. Nothing is downloaded, and no result is written.
    """
    plan = plan_of(context, suite)
    from crayon.pipeline.steps.forecast import run

    show(run(plan), as_json)


@app.command()
def example(
    folder: Annotated[Path, typer.Argument(help="where to write; must not exist")],
    masks: Annotated[Path | None, typer.Option(help="also write the masks to this folder")] = None,
    groups: Annotated[
        bool, typer.Option("--groups", help="add a level of folders for the group (the background)")
    ] = False,
) -> None:
    """Write an example folder of images to try Crayon with."""
    from crayon.pipeline.steps.example import run

    run(folder, masks, groups)


@app.command()
def weights(context: typer.Context) -> None:
    """Download torchvision's weights, if trainings of the suite start from them, into torchvision's cache."""
    plan = plan_of(context)
    from crayon.pipeline.steps.networks import fetch

    for line in fetch(plan) or ["No training of this suite starts from weights of torchvision."]:
        print(line)


@app.command()
def pretrain(
    context: typer.Context,
    transfer: Annotated[
        bool, typer.Option("--transfer", help="train the backbone of the transfer study's network instead")
    ] = False,
    further: Annotated[
        str | None, typer.Option(help="train the backbone of this further network of the transfer study instead")
    ] = None,
) -> None:
    """Train the backbone on figures and textures (stands in for ImageNet)."""
    plan = plan_of(context, only=[])
    from crayon.pipeline.steps.pretrain import run

    other = "transfer" if transfer else further
    run(plan.find("pretrain", **({} if other is None else {"network": other})))


@app.command()
def compose(context: typer.Context, benchmark: BenchmarkName, local: From = None) -> None:
    """Compose a benchmark's folder of images from pictures of Python packages or Debian packages."""
    plan = plan_of(context, only=[benchmark])
    from crayon.pipeline.steps.compose import run

    run(plan.find("compose", benchmark=benchmark), local)


@app.command()
def download(context: typer.Context, benchmark: BenchmarkName, local: From = None) -> None:
    """Generate, read, compose or download a benchmark's images, and pack them into one data set."""
    plan = plan_of(context, only=[benchmark])
    from crayon.pipeline.steps.download import run

    job = plan.find("download", benchmark=benchmark)
    if "compose" in plan.params.active.benchmark(benchmark).source:
        composition = plan.find("compose", benchmark=benchmark)
        if local is not None or not Path(composition.outputs["manifest.csv"]).exists():
            from crayon.pipeline.steps.compose import run as compose_run

            compose_run(composition, local)
            local = None
    run(job, local)


@app.command()
def original(
    context: typer.Context,
    benchmark: BenchmarkName,
    transfer: Annotated[
        list[int] | None, typer.Option(help="one of the transfer study's Originals instead; repeat for several")
    ] = None,
) -> None:
    """Train the Original, or import it."""
    plan = plan_of(context, only=[benchmark])
    if plan.params.active.benchmark(benchmark).imported is not None and not transfer:
        from crayon.pipeline.steps.published import run_original

        run_original(plan.find("original", benchmark=benchmark))
        return
    from crayon.pipeline.steps.original import run

    if transfer:
        run([plan.find("original", benchmark=benchmark, original=number) for number in transfer])
    else:
        run([plan.find("original", benchmark=benchmark)])


@app.command()
def import_original(
    context: typer.Context,
    benchmark: BenchmarkName,
    checkpoint: Annotated[
        Path, typer.Argument(help="the published checkpoint, or one with torchvision's names of weights")
    ],
    maps: Annotated[Path | None, typer.Option(help="the published maps of this Original, a JSON list")] = None,
) -> None:
    """Import a published Original, and its maps if you have them, instead of training an Original."""
    plan = plan_of(context)
    from crayon.pipeline.steps.published import import_original as run_import

    run_import(plan, benchmark, checkpoint, maps)


@app.command()
def interpret(context: typer.Context, benchmark: BenchmarkName) -> None:
    """Compute the Original's maps and its neuron concept patches."""
    plan = plan_of(context, only=[benchmark])
    from crayon.pipeline.steps.interpret import run

    run(plan.find("interpret", benchmark=benchmark))


@app.command()
def annotate(
    context: typer.Context,
    benchmark: BenchmarkName,
    kind: Annotated[str, typer.Option(metavar="KIND", help="attention or neurons")],
    annotator: Annotated[
        list[str] | None, typer.Option(help="who answers; repeat for several; the page asks if left out")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8765,
    host: Annotated[str, typer.Option(help="an address other than this machine's own requires a token")] = "127.0.0.1",
    order: Annotated[
        str | None,
        typer.Option(
            help="what comes first: random, uncertain, diverse; of patches random, implicated; without it, uncertain "
            "for maps, random for patches"
        ),
    ] = None,
    goal: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="answers that are enough for a first try; 0: no goal; without it, 100 for maps, no goal for patches",
        ),
    ] = None,
    min_seconds: Annotated[
        float, typer.Option(min=0, max=60, help="how long a screen must be shown before an answer is accepted")
    ] = 0.5,
    grid: Annotated[
        int | None,
        typer.Option(min=2, max=60, metavar="N", help="show up to N similar items together; one key answers all"),
    ] = None,
    rounds: Annotated[
        bool, typer.Option("--rounds", help="ask about a few maps, refine, choose the next ones; see `crayon rounds`")
    ] = False,
    static: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="write the page as a folder for any web host instead; must not exist"),
    ] = None,
) -> None:
    """Show maps or neurons' patches to people on a local web page, and collect their answers."""
    plan = plan_of(context)
    from crayon.pipeline.steps.annotate import run

    run(
        plan,
        benchmark,
        kind,
        annotator or (),
        host=host,
        port=port,
        order=order,
        goal=goal,
        shortest=min_seconds,
        grid=grid,
        rounds=context.obj if rounds else None,
        folder=static,
    )


@app.command()
def rounds(
    context: typer.Context,
    benchmark: BenchmarkName,
    again: Annotated[bool, typer.Option("--check", help="make all rounds again, and compare")] = False,
    compare: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="compare what chooses the maps, over N rounds of the existing answers"),
    ] = None,
    chooser: Annotated[
        list[str] | None, typer.Option(help="with --compare: this one only, as `random`; can be repeated")
    ] = None,
) -> None:
    """Refine with the answers so far, say whether more answers pay, and choose the maps to ask about next."""
    plan = plan_of(context, only=[benchmark])
    from crayon.pipeline.steps.rounds import advance, check, lines
    from crayon.utils.errors import AnnotationError, ParamsError

    if chooser and compare is None:
        raise ParamsError("--chooser: is for --compare; `rounds.acquisition` of the benchmark chooses the maps.")
    if compare is not None:
        from crayon.pipeline.steps.compare_rounds import CHOOSERS, run
        from crayon.report.figure_rounds import draw

        for name in chooser or ():
            if name not in CHOOSERS:
                raise ParamsError(f"--chooser: {unknown('chooser', name, CHOOSERS)}")
        print(run(plan, benchmark, compare, [name for name in CHOOSERS if name in (chooser or CHOOSERS)]))
        print(draw(plan))
    elif again:
        if differences := check(plan, benchmark):
            raise AnnotationError("\n".join(differences))
        print(f"{benchmark}: all rounds are the same when made again.")
    else:
        print("\n".join(lines(plan, benchmark, advance(plan, benchmark))))


@app.command()
def answer(context: typer.Context, benchmark: BenchmarkName, kind: Kind) -> None:
    """Simulate answers to maps or neurons' patches, or take published ones; for people's, print how to start."""
    plan = plan_of(context, only=[benchmark])
    if plan.params.active.benchmark(benchmark).annotation.source == "people":
        report(f"{plan.answers(benchmark, kind)}: has people's answers")
        return
    if plan.params.active.benchmark(benchmark).annotation.source == "published":
        from crayon.pipeline.steps.published import run_answers

        run_answers(plan.find("annotate", benchmark=benchmark, kind=kind))
        return
    from crayon.pipeline.steps.simulate import run

    run(plan.find("annotate", benchmark=benchmark, kind=kind))


@app.command()
def ingest(context: typer.Context, benchmark: BenchmarkName, kind: Kind) -> None:
    """Validate the answers and turn them into labels."""
    plan = plan_of(context, only=[benchmark])
    from crayon.pipeline.record import Digests, keep_edited
    from crayon.pipeline.steps.ingest import run
    from crayon.utils.log import report

    job = plan.find("ingest", benchmark=benchmark, kind=kind)
    plan.answers(benchmark, kind)  # raises an error if people have to answer first
    for sentence in keep_edited(job, Digests()):
        report(sentence)
    run(job)


@annotations_app.command()
def stats(
    context: typer.Context,
    benchmark: BenchmarkName,
    kind: Annotated[str | None, typer.Option(help="attention or neurons; both if left out")] = None,
) -> None:
    """Print how well annotators agree, and which ones answer at random or always give the same answer."""
    plan = plan_of(context)
    from crayon.pipeline.steps.agreement import run

    print(run(plan, benchmark, kind))


@annotations_app.command()
def add(
    context: typer.Context,
    benchmark: BenchmarkName,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="answers CSVs; they may overlap")],
    kind: Annotated[str, typer.Option(metavar="KIND", help="attention or neurons")],
) -> None:
    """Add answers CSVs, such as those downloaded from the page on a web host; the latest answer to an item counts."""
    plan = plan_of(context)
    from crayon.pipeline.steps.import_answers import add as run

    run(plan, benchmark, kind, files)


@app.command()
def auxiliary(context: typer.Context, benchmark: BenchmarkName) -> None:
    """Train the biased network that SoftCon and FLAC take features from."""
    plan = plan_of(context, only=[benchmark])
    from crayon.pipeline.steps.auxiliary import run

    run(plan.find("auxiliary", benchmark=benchmark))


@app.command()
def stage_one(context: typer.Context, benchmark: BenchmarkName) -> None:
    """Train the first stage, a network whose mistakes JtT and CnC use."""
    plan = plan_of(context, only=[benchmark])
    from crayon.pipeline.steps.stage_one import run

    run(plan.find("stage_one", benchmark=benchmark))


@app.command()
def refine(
    context: typer.Context, benchmark: BenchmarkName, run: RunNames, seed: Seeds = None, token: Token = None
) -> None:
    """Refine the Original with a method."""
    jobs = batch(context, "refine", benchmark, run, seed, token)
    from crayon.pipeline.steps.refine import run as refine_run

    refine_run(jobs)


@app.command()
def evaluate(
    context: typer.Context, benchmark: BenchmarkName, run: RunNames, seed: Seeds = None, token: Token = None
) -> None:
    """Measure refined networks, or the Original."""
    jobs = batch(context, "evaluate", benchmark, run, seed, token)
    from crayon.pipeline.steps.evaluate import run as evaluate_run

    evaluate_run(jobs)


@app.command()
def export(
    context: typer.Context,
    benchmark: BenchmarkName,
    method: Annotated[str, typer.Argument(metavar="METHOD", help="a method, a control, or `original`")],
    seed: Annotated[int | None, typer.Option(help="the seed of the run; `original` has none")] = None,
    output: Annotated[
        Path | None, typer.Option(help="the file: *.safetensors, *.pt2 or *.onnx; in exports/ if left out")
    ] = None,
    selected: Annotated[
        bool, typer.Option("--selected", help="the epoch with the best validation metric instead of the last one")
    ] = False,
) -> None:
    """Write a refined network, after checking that its logits there are the same.

    As a state dict for torchvision (.safetensors), or as a graph that runs without Crayon: torch.export (.pt2) or ONNX.
    """
    plan = plan_of(context, only=[benchmark])
    from crayon.pipeline.steps.export import run

    run(plan.one("evaluate", benchmark, method, seed), output, selected)


@app.command()
def card(
    context: typer.Context,
    benchmark: BenchmarkName,
    method: Annotated[str, typer.Argument(metavar="METHOD", help="a method, a control, or `original`")],
    seed: Annotated[int | None, typer.Option(help="the seed of the run; `original` has none")] = None,
    output: Annotated[Path | None, typer.Option(help="the file, *.md; in exports/ if left out")] = None,
    selected: Annotated[
        bool, typer.Option("--selected", help="the epoch with the best validation metric instead of the last one")
    ] = False,
) -> None:
    """Write a model card: data, answers, training, accuracy by group, where the network looks, and limits.

    `crayon audit FILE` checks it.
    """
    plan = plan_of(context)
    from crayon.report.card import Card, write

    report(str(write(plan, Card(benchmark, method, seed, "selected" if selected else "last"), output)))


@app.command()
def track(
    context: typer.Context,
    benchmark: Annotated[str | None, typer.Argument(help="only this benchmark")] = None,
    runs: Annotated[list[str] | None, typer.Argument(metavar="RUN...", help="only these methods or controls")] = None,
    *,
    to: Annotated[str, typer.Option(metavar="TRACKER", help="dvclive (files in dvclive/) or mlflow (mlflow.db)")],
) -> None:
    """Write training curves for DVCLive or MLflow, also of trainings that still run; a second call adds what is new."""
    from crayon.pipeline.trackers import dvclive, mlflow
    from crayon.pipeline.trackers.history import read_histories

    trackers = {"dvclive": dvclive.write, "mlflow": mlflow.write}
    if to not in trackers:
        raise typer.BadParameter(unknown("tracker", to, trackers))
    plan = plan_of(context, only=None if benchmark is None else [benchmark])
    histories = read_histories(plan, benchmark, runs or ())
    where = trackers[to](plan.suite, histories)
    running = sum(not history.finished for history in histories)
    print(f"{where}: the curves of {len(histories)} trainings" + (f", {running} of them unfinished" if running else ""))


@app.command()
def measure(context: typer.Context, benchmark: BenchmarkName) -> None:
    """Time the Crayon variants on training sets of several sizes."""
    plan = plan_of(context, only=[benchmark])
    from crayon.pipeline.steps.timing import run

    run(plan.find("measure", benchmark=benchmark))


@app.command()
def tune(
    context: typer.Context,
    benchmark: BenchmarkName,
    method: Annotated[
        list[str] | None,
        typer.Option(help="a method or control; repeat for several; without it, all methods with a search space"),
    ] = None,
) -> None:
    """Search hyper-parameters on the validation split, with the same number of trials for every method.

    The trials of a control have the settings of its method's trials.
    """
    plan = plan_of(context)
    from crayon.pipeline.steps.tune import run as tune_run

    print(tune_run(plan, benchmark, method or ()))


@app.command()
def provenance(
    context: typer.Context,
    result: Annotated[str, typer.Argument(metavar="TABLE", help="table1 or controls")],
) -> None:
    """Write the records of all jobs that a table depends on to one file, which is kept in git."""
    plan = plan_of(context)
    from crayon.report.provenance import run

    run(plan, result)


@app.command()
def render(
    context: typer.Context,
    what: Annotated[
        str, typer.Argument(metavar="RESULT", help="table1, figure4, ..., page; an unknown name lists all")
    ],
    show: Annotated[bool, typer.Option(help="print the table, too")] = False,
    partly: Annotated[
        bool, typer.Option("--partly", help="table1, runtime, page: leave cells of missing runs empty")
    ] = False,
) -> None:
    """Render a table or a figure of results/."""
    plan = plan_of(context)
    from crayon.report import render as results

    if show and not results.result_of(what).printed:
        results.text(plan, what)  # raises before anything is made
    results.render(plan, what, partly)
    if show:
        print(results.text(plan, what))


@app.command()
def stage(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="STAGE", help="sources, curves, or a stage that some suites have no job for")
    ],
) -> None:
    """For dvc.yaml: list the sources, collect training curves, or write into a stage's folder why it is empty."""
    plan = plan_of(context)
    from crayon.pipeline.stages import FOLDERS, collect_histories, complete, list_sources

    if name == "sources":
        list_sources(plan)
    elif name == "curves":
        collect_histories(plan)
    elif name in FOLDERS:
        complete(plan, name)
    else:
        raise typer.BadParameter(unknown("stage", name, ["sources", "curves", *FOLDERS]))


@app.command()
def audit(
    context: typer.Context,
    targets: Annotated[
        list[Path] | None, typer.Argument(help="paths of results; without any, all results that exist")
    ] = None,
    cell: Annotated[
        str | None, typer.Option(metavar="BENCHMARK/METHOD/METRIC", help="explain one number of the table")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="list every number that depends on this file (answers, data, a model)")
    ] = None,
    item: Annotated[str | None, typer.Option(help="with --from, one item's answers")] = None,
    annotator: Annotated[str | None, typer.Option(help="with --from, one annotator's answers")] = None,
    diff: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="REV1 REV2", help="list the causes of each changed number; `workspace`: the working directory"
        ),
    ] = None,
    ro_crate: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="export a result and everything it depends on as a Workflow Run RO-Crate"),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="read every file again, even if its digest is remembered")
    ] = False,
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="report uncommitted code without failing")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Check all jobs that results depend on; or explain, trace, compare or export a result.

    The check covers params, code, files, dvc.lock and numbers.

    Exit status 0: all valid. 1: broken; each cause is printed. 2: cannot be judged (a record is missing
    or unreadable).
    """
    from crayon.cli.audit import run

    asked = [
        name
        for name, value in {"--cell": cell, "--from": source, "--diff": diff, "--ro-crate": ro_crate}.items()
        if value
    ]
    if len(asked) > 1:
        raise typer.BadParameter(f"{' and '.join(asked)} exclude each other; use only one of them.")
    if (item or annotator) and source is None:
        raise typer.BadParameter("--item and --annotator belong to --from.")
    try:
        status = run(
            lambda: plan_of(context),
            [path.as_posix() for path in targets or []],
            cell=cell,
            source=source.as_posix() if source else None,
            item=item,
            annotator=annotator,
            diff=diff,
            ro_crate=ro_crate,
            full=full,
            allow_dirty=allow_dirty,
            as_json=as_json,
        )
    except CrayonError as error:  # the audit could not be made
        report(f"crayon: {error}")
        status = 2
    if status:
        raise typer.Exit(status)


def main(run: Callable[[], None] = app) -> None:
    """Run the command line; an error in the input prints one sentence on standard error and exits with status 1."""
    show_progress()
    try:
        run()
    except CrayonError as error:
        _fail(f"crayon: {error}")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(f"crayon: {error.filename or 'a file'}: {error.strerror or error}.")
    except Exception as error:
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(error, torch.OutOfMemoryError):
            _fail(
                f"crayon: there is no room on the GPU; end other programs that use it, or compute on the CPU. {error}"
            )
        raise


def _fail(line: str) -> NoReturn:
    report(line)
    sys.exit(1)


if __name__ == "__main__":
    main()
