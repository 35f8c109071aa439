"""Commands for answers collected on other platforms: `crayon mturk` and `crayon labelstudio`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crayon.cli.common import BenchmarkName, plan_of

Kind = Annotated[str, typer.Option(help="attention or neurons")]
Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="exported files; they may overlap")]
Out = Annotated[Path, typer.Option(metavar="DIR", help="where to write; must not exist")]
Url = Annotated[str | None, typer.Option(metavar="PREFIX", help="address of the folder that the pictures will be in")]
Salt = Annotated[
    Path | None,
    typer.Option(help="file with the salt of pseudonyms; without it, .crayon/salt, which the first import creates"),
]
RejectInvalid = Annotated[
    bool, typer.Option("--reject-invalid", help="save rows with unknown words or items as rejected, and continue")
]

mturk = typer.Typer(
    help="Have Amazon Mechanical Turk's workers answer.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
labelstudio = typer.Typer(
    help="Have people answer in Label Studio.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)


@mturk.command("export")
def export_mturk(context: typer.Context, benchmark: BenchmarkName, kind: Kind, out: Out, url: Url = None) -> None:
    """Write a batch: batch.csv, the HIT's design, and the pictures to upload."""
    plan = plan_of(context)
    from crayon.pipeline.steps.export_items import export_mturk as run

    run(plan, benchmark, kind, out, url)


@mturk.command("import")
def import_mturk(
    context: typer.Context,
    benchmark: BenchmarkName,
    files: Files,
    kind: Kind,
    answer_column: Annotated[
        str | None,
        typer.Option(
            help="column Answer.* with the answer or one of its radio buttons; without it, Answer.category.label"
        ),
    ] = None,
    items: Annotated[
        Path | None, typer.Option(help="CSV with the columns image_url and item, if the results do not name the items")
    ] = None,
    salt_file: Salt = None,
    reject_invalid: RejectInvalid = False,
) -> None:
    """Add the answers in batch results (CSV) to the answers of the benchmark."""
    plan = plan_of(context)
    from crayon.pipeline.steps.import_answers import import_mturk as run

    run(
        plan,
        benchmark,
        kind,
        files,
        answer_column=answer_column,
        items=items,
        salt=salt_file,
        reject_invalid=reject_invalid,
    )


@labelstudio.command("export")
def export_labelstudio(context: typer.Context, benchmark: BenchmarkName, kind: Kind, out: Out, url: Url = None) -> None:
    """Write a project: its tasks, its labelling interface, and the pictures."""
    plan = plan_of(context)
    from crayon.pipeline.steps.export_items import export_labelstudio as run

    run(plan, benchmark, kind, out, url)


@labelstudio.command("import")
def import_labelstudio(
    context: typer.Context,
    benchmark: BenchmarkName,
    files: Files,
    kind: Kind,
    choices: Annotated[
        str | None, typer.Option(metavar="NAME", help="the <Choices> with the answer; without it, `answer`")
    ] = None,
    salt_file: Salt = None,
    reject_invalid: RejectInvalid = False,
) -> None:
    """Add the answers in a project's exports (JSON or JSON_MIN) to the answers of the benchmark."""
    plan = plan_of(context)
    from crayon.pipeline.steps.import_answers import import_labelstudio as run

    run(plan, benchmark, kind, files, choices=choices, salt=salt_file, reject_invalid=reject_invalid)
