"""Validity of results: each way in which a result can become stale, on a whole plan with dummy outputs."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
import yaml

from crayon.pipeline import fingerprint
from crayon.pipeline.record import Digests, Recording, read_record
from crayon.pipeline.snakemake import Workflow
from crayon.pipeline.validity import OLD_NS, Ledger, to_run
from crayon.report.build import load_plan
from crayon.utils.errors import DataError, OutputError, RecordError
from crayon.utils.files import write_bytes, write_text

from .. import tiny

TABLE = "results/mini/table1.csv"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A tiny project all of whose jobs ran, each writing its own name."""
    folder = tiny.write(tmp_path_factory.mktemp("finished"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        digests = Digests()
        for job in load_plan().below(TABLE):
            execute(job, digests)
    return folder


@pytest.fixture
def project(finished, tmp_path, monkeypatch):
    """A copy of the finished project, as the working directory."""
    shutil.copytree(finished, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(tmp_path / "project")


def execute(job, digests=None, **told):
    def writer(path):
        if Path(path).suffix == "" and "folder" in path:
            Path(path).mkdir(exist_ok=True)
            write_text(f"{path}/a.png", job.name)
        else:
            write_text(path, f"{job.name} {path}")

    Recording(job, digests or Digests()).publish(dict.fromkeys(job.outputs, writer), **told)


def broken(target=TABLE) -> dict[str, list[str]]:
    plan = load_plan()
    ledger = Ledger(plan)
    return {job.name: ledger.breaks(job) for job in plan.below(target) if ledger.breaks(job)}


def own(found) -> dict[str, list[str]]:
    """Jobs with a reason of their own; jobs that are only stale because of an upstream job are left out."""
    rest = {name: [r for r in reasons if not r.startswith("follows:")] for name, reasons in found.items()}
    return {name: reasons for name, reasons in rest.items() if reasons}


def edit(path, text="edited", same_mtime=True):
    status = Path(path).stat()
    Path(path).write_text(text)
    if same_mtime:
        os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))


def change_params(change):
    content = yaml.safe_load(Path("params.yaml").read_text())
    change(content["suites"]["mini"])
    Path("params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def test_all_holds_after_all_ran(project):
    assert broken() == {}


def test_a_fresh_project_has_nothing_that_holds(tmp_path, monkeypatch):
    tiny.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    plan = load_plan()
    assert set(broken()) == {job.name for job in plan.below(TABLE)}


def test_changed_param_makes_its_runs_and_dependants_stale(project):
    change_params(lambda s: s["benchmarks"]["waterbirds"]["methods"]["crayon_attention"].update(alpha=7.0))
    found = broken()
    assert own(found) == {
        f"refine waterbirds crayon_attention {seed}": ["stale: params settings.alpha 3000.0 -> 7.0"] for seed in (0, 1)
    }
    assert set(found) - set(own(found)) == {
        "evaluate waterbirds crayon_attention 0",
        "evaluate waterbirds crayon_attention 1",
        "provenance table1",
        "table1",
    }


def test_two_swapped_params_are_noticed(project):
    def swap(suite):
        training = suite["benchmarks"]["waterbirds"]["refinement"]
        training["learning_rate"], training["weight_decay"] = training["weight_decay"], training["learning_rate"]

    change_params(swap)
    assert "refine waterbirds erm 0" in own(broken())


def test_the_number_of_seeds_breaks_the_table_alone(project):
    change_params(lambda s: s.update(seeds=[0]))
    assert set(broken()) == {"table1", "provenance table1"}


def test_threads_and_device_make_nothing_stale(project):
    change_params(lambda s: s["compute"].update(threads=2, device="auto"))
    assert broken() == {}


def test_only_enabling_compile_makes_trainings_stale(project):
    change_params(lambda s: s["compute"].update(compile=False))
    assert broken() == {}
    change_params(lambda s: s["compute"].update(compile=True))
    found = own(broken())
    trained = {"original", "auxiliary", "stage_one", "refine"}
    assert {name.split()[0] for name in found} == trained  # no map, and no evaluation of its own accord
    assert all(len(reasons) == 1 and "compile" in reasons[0] for reasons in found.values())


def test_an_input_changed_under_an_old_time_is_noticed(project):
    path = "labels/mini/waterbirds/neurons.csv"
    edit(path)
    found = broken()
    assert own(found) == {"ingest waterbirds neurons": [f"edited: {path}"]}  # what follows is not named as a fault
    assert {name for name in found if name.startswith("refine")} == {
        f"refine waterbirds {method} {seed}"
        for method in ("crayon_pruning", "crayon_pruning_attention")
        for seed in (0, 1)
    }


def test_an_edited_result_is_noticed(project):
    edit(TABLE, "99.9")
    assert broken() == {"table1": [f"edited: {TABLE}"]}


def test_a_missing_output_is_noticed_though_the_result_stands(project):
    Path("models/mini/waterbirds/original.safetensors").unlink()
    assert own(broken())["original waterbirds"] == ["missing: models/mini/waterbirds/original.safetensors"]


def test_a_changed_file_in_a_folder_is_noticed(project):
    edit("data/mini/digits/folder/images/a.png")
    assert "compose digits" in own(broken())


@pytest.mark.parametrize(
    "spoil", [lambda path: Path(path).unlink(), lambda path: Path(path).write_text("{"), lambda path: edit(path, "[]")]
)
def test_outputs_without_a_readable_record_do_not_hold(project, spoil):
    spoil(Path("models/mini/pretrained.record.json"))
    (reason,) = own(broken())["pretrain"]
    assert reason.startswith("unrecorded: models/mini/pretrained.record.json")


def test_changed_code_breaks_the_jobs_that_run_it(project, monkeypatch):
    real = fingerprint.digest
    monkeypatch.setattr(
        fingerprint, "digest", lambda modules: "new" if "crayon.methods.erm" in modules else real(modules)
    )
    assert set(own(broken())) == {
        *(f"{rule} {name}" for rule in ("original", "stage_one", "auxiliary") for name in ("waterbirds", "digits")),
        *(f"refine {name} erm {seed}" for name in ("waterbirds", "digits") for seed in (0, 1)),
    }


def test_an_edited_annotation_is_kept_and_what_follows_is_stale(project):
    path = "annotations/mini/waterbirds/attention.csv"
    before = Path(path).read_text()
    edit(path)
    found = broken()
    assert own(found) == {}
    assert found["ingest waterbirds attention"] == found["answers"] == [f"follows: {path} (edited by hand)"]
    follows = {name.split()[2] for name in found if name.startswith("refine")}
    assert follows == {"crayon_attention", "crayon_pruning_attention"}
    assert not any("digits" in name for name in found)
    plan = load_plan()
    assert Ledger(plan).edited(plan.find("annotate", benchmark="waterbirds", kind="attention")) == path
    edit(path, before)
    assert broken() == {}


def test_an_edited_annotation_is_never_overwritten(project):
    path = "annotations/mini/waterbirds/attention.csv"
    edit(path)
    change_params(lambda s: s["benchmarks"]["waterbirds"]["original"].update(epochs=9))
    assert "original waterbirds" in broken()  # the audit goes on
    with pytest.raises(RecordError, match=f"{path}: was edited after it was simulated.*Delete the file"):
        Workflow(load_plan())


def test_sentinel_is_old_for_a_valid_job_and_new_for_a_stale_one(project):
    edit(TABLE)
    ledger = Ledger(load_plan())
    table, original = ledger.plan.find("table1"), ledger.plan.find("original", benchmark="digits")
    before = time.time_ns()
    held, fresh = Path(ledger.token([original], "original digits")), Path(ledger.token([table], "table1"))
    assert held.stat().st_mtime_ns == OLD_NS
    assert fresh.stat().st_mtime_ns >= before - 10**9
    first = fresh.read_text()
    ledger.token([table], "table1")
    assert fresh.read_text() != first  # or Snakemake would take it for the file it remembers


def test_of_a_batch_only_the_jobs_that_do_not_hold_run(project):
    """All seeds of two methods are one job for Snakemake."""
    plan = load_plan()
    jobs = [plan.find("refine", benchmark="waterbirds", run=run, seed=0) for run in ("erm", "crayon_attention")]
    name = "refine waterbirds erm 0"
    Path(jobs[1].outputs["last"]).unlink()
    token = Ledger(plan).token(jobs, name)
    assert to_run(token, jobs) == [jobs[1]]
    execute(jobs[1])
    assert Path(Ledger(plan).token(jobs, name)).read_text() == "holds\n"
    assert to_run(token, jobs) == jobs  # Snakemake was told to run them all the same


def test_the_file_that_stands_for_a_batch_is_written_if_all_of_it_holds(project):
    """A second clone has the outputs, by `dvc pull`, but not this file."""
    ledger = Workflow(load_plan()).ledger
    job = ledger.plan.find("refine", benchmark="waterbirds", run="erm", seed=0)
    done = {ledger.done[path] for path in (*job.outputs.values(), job.record)}
    assert len(done) == 1
    assert "results/mini/table1.csv" not in ledger.done
    (stands,) = map(Path, done)
    newest = max(Path(path).stat().st_mtime_ns for path in job.inputs.values())
    assert stands.read_text() == ""
    assert stands.stat().st_mtime_ns >= newest


def test_a_batch_without_one_of_its_files_gets_none(project):
    job = load_plan().find("refine", benchmark="waterbirds", run="erm", seed=0)
    Path(job.outputs["history"]).unlink()
    ledger = Workflow(load_plan()).ledger
    assert not Path(ledger.done[job.record]).exists()


def test_cluster_job_process_leaves_sentinels_and_times_alone(project):
    """It takes no lock either: the workflow process that the user started is still running."""

    def times():
        folders = (Path(".crayon/tokens"), Path("models"), Path("results"))
        return {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*")}

    workflow = Workflow(load_plan())  # the process that the user started, still at work
    before = times()
    edit("models/mini/waterbirds/original.safetensors")  # another job is writing
    edited = times()
    assert Workflow(load_plan(), enforce=False).token("table1")({}) == workflow.token("table1")({})
    assert times() == edited
    assert edited.keys() == before.keys()
    with pytest.raises(RecordError, match="runs the workflow in this folder"):
        Workflow(load_plan())


def test_valid_outputs_get_later_times_than_their_inputs(project):
    """The times that a checkout left do not matter."""
    plan = load_plan()
    for job in plan.jobs.values():
        if not Path(job.record).exists():
            execute(job)
    files = [path for job in plan.jobs.values() for path in job.outputs.values()]
    for number, path in enumerate(reversed(files)):  # results get the oldest times
        os.utime(path, ns=(OLD_NS + number * 10**9,) * 2)
    workflow = Workflow(load_plan())
    for jobs in workflow._groups().values():  # what one Snakemake job runs: each output above each input of all
        newest = max((Path(path).stat().st_mtime_ns for job in jobs for path in job.inputs.values()), default=0)
        assert all(Path(path).stat().st_mtime_ns >= newest for job in jobs for path in job.outputs.values())


def test_a_failing_writer_leaves_no_output_rather_than_a_mixture(project):
    job = load_plan().find("refine", benchmark="waterbirds", run="erm", seed=0)

    def full(path):
        raise OutputError(f"{path}: the disk is full")

    with pytest.raises(OutputError):
        Recording(job).publish({"last": lambda path: write_bytes(path, b"new"), "selected": full, "history": full})
    assert not any(Path(path).exists() for path in (*job.outputs.values(), job.record))


def test_a_job_whose_input_changes_while_it_runs_is_refused(project):
    job = load_plan().find("refine", benchmark="waterbirds", run="erm", seed=0)
    recording = Recording(job)
    edit("data/mini/waterbirds/images.npy", "other", same_mtime=False)
    with pytest.raises(RecordError, match=r"images\.npy: was changed while"):
        recording.publish(dict.fromkeys(job.outputs, lambda path: write_text(path, "x")))


def test_a_missing_input_is_named_with_the_command_that_makes_it(tmp_path, monkeypatch):
    tiny.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    job = load_plan().find("original", benchmark="waterbirds")
    with pytest.raises(RecordError, match=r"no such file.*snakemake --cores 2 data/mini/waterbirds"):
        Recording(job)


def test_weights_in_a_package_are_an_input_by_their_name(tmp_path, monkeypatch):
    tiny.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    name = "package:lite_weights/a.pth"

    def from_package(suite):
        suite |= {"network": {"name": "efficientnet_lite0", "weights": name}, "pretraining": None}

    change_params(from_package)
    site = tmp_path / "site"
    write_text(site / "lite_weights/a.pth", "weights")
    monkeypatch.syspath_prepend(site)
    digests = Digests()
    for job in load_plan().below("models/mini/waterbirds/original.safetensors"):
        execute(job, digests)
    plan = load_plan()
    job = plan.find("original", benchmark="waterbirds")
    read = read_record(job.record)["inputs"]
    assert read[name] == "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
    assert not broken("models/mini/waterbirds/original.safetensors")
    paths = Workflow(plan).inputs("original")({"benchmark": "waterbirds"})
    assert paths == [path for path in job.inputs.values() if path != name]  # Snakemake knows no such file
    Ledger(plan).token([job], job.name)
    write_text(site / "lite_weights/a.pth", "others")
    assert own(broken(job.outputs["model"])) == {job.name: [f"stale: {name} has changed"]}
    (site / "lite_weights").rename(site / "gone")
    assert not broken(job.outputs["model"])  # the checkpoint suffices for all that follows
    with pytest.raises(DataError, match=rf"^{name}: .*`original waterbirds` reads it; the package lite_weights"):
        Recording(job)


def test_record_states_inputs_outputs_params_and_environment(project):
    job = load_plan().find("refine", benchmark="waterbirds", run="crayon_attention", seed=1)
    record = read_record(job.record)
    assert record["rule"] == "refine"
    assert record["wildcards"] == {"benchmark": "waterbirds", "run": "crayon_attention", "seed": "1"}
    assert record["params"]["settings"]["alpha"] == 3000.0
    assert set(record["inputs"]) == set(job.inputs.values())
    assert set(record["outputs"]) == set(job.outputs.values())
    assert "crayon.methods.crayon_attention" in record["code"]["modules"]
    assert {"crayon", "python", "packages", "wall_seconds", "cpu_seconds", "peak_memory_mb", "commit", "dirty"} <= set(
        record["told"]
    )


def test_digests_are_cached_except_for_just_changed_files(tmp_path):
    memory = tmp_path / "memory.json"
    old, new = tmp_path / "old", tmp_path / "new"
    for path in (old, new):
        path.write_text("a")
    os.utime(old, ns=(OLD_NS, OLD_NS))
    digests = Digests(memory)
    first = digests.of(old)
    assert first == digests.of(new)
    digests.save()
    assert list(Digests(memory).known) == [str(old)]
    assert Digests(memory).of(old) == first
    assert digests.of(tmp_path / "none") is None


def test_runtime_is_stale_after_a_rerun_with_equal_outputs(project):
    plan, times = load_plan(), "results/mini/runtime.csv"
    for job in plan.below(times):
        if not Path(job.record).exists():
            execute(job)
    assert broken(times) == {}
    again = plan.find("refine", benchmark="digits", run="erm", seed=1)
    execute(again, device="another")
    assert broken(times) == {"runtime": [f"stale: {again.record} has changed"]}
    execute(plan.find("runtime"))
    assert broken(times) == {}
