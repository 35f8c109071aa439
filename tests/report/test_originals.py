"""The study of several Originals: its benchmarks, its jobs, and its table by hand."""

from __future__ import annotations

import pytest

from crayon.config.suite import Params
from crayon.pipeline.job import TABLE1
from crayon.pipeline.runs import batches, evaluations
from crayon.report import originals
from crayon.report.build import build_plan
from crayon.report.comparison import paired
from crayon.utils.errors import ParamsError

from .. import tiny

STUDY = {
    "benchmarks": ["waterbirds", "digits"],
    "repeats": [2, 4, 7],  # 2 is the seed of waterbirds itself
    "runs": ["crayon_attention", "crayon_pruning", "erm", "shuffled_answers"],
}


def plan(suite=None, **changes):
    content = tiny.params()
    content["suites"]["mini"] |= suite or {}
    content["suites"]["mini"]["studies"] = {"originals": STUDY | changes}
    return build_plan(Params.model_validate(content))


def test_a_repetition_has_its_own_images_original_and_answers():
    suite = plan().params.active
    assert list(suite.benchmarks) == ["waterbirds", "digits"]
    assert list(suite.every) == [
        *("waterbirds", "digits"),
        *("waterbirds-4", "waterbirds-7"),
        *("digits-2", "digits-4", "digits-7"),
    ]
    first, other = suite.benchmark("waterbirds"), suite.benchmark("waterbirds-7")
    assert (first.source["seed"], first.original_seed, first.annotation.seed) == (2, 2, 2)
    assert (other.source["seed"], other.original_seed, other.annotation.seed) == (7, 7, 7)
    assert {**other.source, "seed": 2} == first.source
    composed = suite.benchmark("digits-4").source
    assert composed["compose"]["seed"] == 4
    assert composed["path"] == "data/mini/digits/folder-4"
    assert suite.benchmark("digits").source["path"] == "data/mini/digits/folder"


def test_a_changed_suite_has_changed_repetitions():
    suite = plan().params.active
    assert "waterbirds-4" in suite.every
    fewer = suite.model_copy(update={"benchmarks": {"digits": suite.benchmark("digits")}})
    assert list(fewer.every) == ["digits", "digits-2", "digits-4", "digits-7"]


def test_only_the_runs_of_the_study_are_trained_on_repetitions():
    made = plan()
    there = {(job.wildcards["benchmark"], job.wildcards["run"]) for job in made.jobs.values() if job.rule == "refine"}
    assert {run for name, run in there if name == "waterbirds-4"} == set(STUDY["runs"])
    assert {run for name, run in there if name == "waterbirds"} > set(STUDY["runs"])
    assert not [job for job in made.jobs.values() if job.rule in ("auxiliary", "stage_one") and "-4" in job.name]
    original = made.find("original", benchmark="waterbirds-4")
    assert original.steering["seed"] == 4
    assert made.find("original", benchmark="waterbirds").steering["seed"] == 2
    assert "seed" not in made.find("original", benchmark="digits").steering
    assert all("-4" not in job.name for job in made.below(TABLE1))
    assert {job.wildcards["benchmark"] for job in made.below("results/originals.csv") if job.rule == "original"} == set(
        made.params.active.every
    )


@pytest.mark.parametrize("runs_per_job", [1, 8])
def test_repetitions_have_seeds_of_their_own(runs_per_job):
    suite = {"runs_per_job": runs_per_job, "evaluate_together": runs_per_job > 1}
    made = plan(suite, seeds=[1])
    for rule, rule_batches in (("refine", batches), ("evaluate", evaluations)):
        jobs = {
            (job.wildcards["benchmark"], job.wildcards["run"], job.wildcards["seed"])
            for job in made.jobs.values()
            if job.rule == rule and "seed" in job.wildcards
        }
        assert {key for key in jobs if key[1] == "erm"} == {
            *((name, "erm", seed) for name in ("waterbirds", "digits") for seed in "01"),
            *((name, "erm", "1") for name in made.params.active.every if "-" in name),
        }
        found = rule_batches(made.params.active)
        planned = {(name, run, str(seed)) for b in found for name in b.benchmarks for run in b.runs for seed in b.seeds}
        assert jobs <= planned
        if runs_per_job > 1:  # one process for methods and controls of a repetition
            assert jobs == planned
            assert [set(b.runs) for b in found if b.benchmarks == ("digits-7",)] == [set(STUDY["runs"])]
    paths = made.find("originals").inputs
    assert [path for path in paths if path.startswith("waterbirds") and "/erm/" in path] == [
        *("waterbirds/erm/0", "waterbirds/erm/1", "waterbirds-4/erm/1", "waterbirds-7/erm/1"),
    ]


def test_other_results_do_not_wait_for_repetitions():
    made = plan()
    assert {key.split("/")[0] for key in made.find("before_after").inputs} == {"waterbirds", "digits"}
    waiting = {name for name, job in made.jobs.items() if any("waterbirds-4" in path for path in job.inputs.values())}
    assert {name for name in waiting if "waterbirds-4" not in name} == {"originals"}


def test_the_seeds_of_repetitions_are_among_those_of_the_suite():
    with pytest.raises(ValueError, match=r"studies.originals.seeds: 5 is not in `seeds` of the suite"):
        plan(seeds=[0, 5])


def test_the_table_of_several_originals_by_hand():
    """Means of two seeds; Crayon-Attention 50, 60, 70 is best; the differences of ERM, -10, -20, -30, have std 10."""
    made = plan()
    base = {"original": 10, "crayon_attention": 50, "crayon_pruning": 45, "erm": 40, "shuffled_answers": 45}
    step = {"original": 0, "crayon_attention": 10, "crayon_pruning": 10, "erm": 0, "shuffled_answers": 10}
    evaluated = {
        (name, run): {seed: {"last": {"metrics": {"WGA": base[run] + step[run] * number + sign}}}}
        | ({} if run == "original" else {"1": {"last": {"metrics": {"WGA": base[run] + step[run] * number - sign}}}})
        for number, name in enumerate(("waterbirds", "waterbirds-4", "waterbirds-7"))
        for run in base
        for seed, sign in ((("-", 0),) if run == "original" else (("0", 1),))
    }
    rows = {row.run: row for row in originals.rows(made, evaluated, "waterbirds", "WGA")}
    assert list(rows) == ["original", *STUDY["runs"]]
    assert rows["crayon_attention"].means == (50, 60, 70)
    assert rows["crayon_attention"].compared is None
    assert (rows["crayon_attention"].seeds, rows["original"].seeds) == ((2, 2, 2), (1, 1, 1))
    erm = rows["erm"]
    assert (erm.against, erm.means) == ("crayon_attention", (40, 40, 40))
    assert erm.compared[:3] == pytest.approx((-20, -44.84, 4.84), abs=0.01)  # 4.303 * 10 / sqrt(3) = 24.84
    assert erm.compared[3] == pytest.approx(0.07418, abs=1e-4)  # the highest of four p-values: Holm's factor is 1
    assert (rows["crayon_pruning"].labels, erm.labels, rows["original"].labels) == ("as answered", "", "")
    shuffled = rows["shuffled_answers"]
    assert (shuffled.method, shuffled.labels, shuffled.against) == ("crayon_attention", "shuffle", "crayon_attention")
    assert shuffled.compared == (-5, -5, -5, 0)


def test_a_control_is_compared_with_its_own_method():
    made = plan(
        {"controls": {"random_pruning": {"method": "crayon_pruning", "labels": "shuffle"}}},
        runs=["crayon_attention", "crayon_pruning", "random_pruning"],
    )
    values = {"original": 1.0, "crayon_attention": 9.0, "crayon_pruning": 5.0, "random_pruning": 3.0}
    evaluated = {
        (name, run): {"0": {"last": {"metrics": {"WGA": value + number * (run == "random_pruning")}}}}
        for number, name in enumerate(("waterbirds", "waterbirds-4", "waterbirds-7"))
        for run, value in values.items()
    }
    rows = {row.run: row for row in originals.rows(made, evaluated, "waterbirds", "WGA")}
    assert rows["random_pruning"].against == "crayon_pruning"
    assert rows["random_pruning"].compared[0] == -1
    assert rows["crayon_pruning"].against == "crayon_attention"


def test_a_method_that_cannot_run_on_a_benchmark_is_named():
    content = tiny.params()
    suite = content["suites"]["mini"]
    suite["methods"], suite["controls"] = ["crayon_pruning", "erm"], {}
    suite["studies"] = {"originals": STUDY | {"benchmarks": ["digits"], "runs": ["crayon_pruning", "erm"]}}
    digits = suite["benchmarks"]["digits"]
    digits["annotation"] = {"source": "none"}
    digits["methods"] = {"erm": {}}
    made = build_plan(Params.model_validate(content))
    metrics = {"last": {"metrics": {"WGA": 50.0, "MGA": 60.0}}}
    evaluated = {
        (n, run): {"0": metrics} for n in ("digits", "digits-2", "digits-4", "digits-7") for run in ("original", "erm")
    }
    rows = originals.rows(made, evaluated, "digits", "WGA")
    assert [(row.run, row.against) for row in rows] == [("original", "erm"), ("erm", "")]
    text = originals._markdown(made, evaluated)
    assert text.count("Left out: Crayon-Pruning (") == 2  # below each of the two metrics


@pytest.mark.parametrize(
    ("differences", "found"),
    [
        ((1.0, 2.0, 3.0), (2.0, -0.484, 4.484, 0.0742)),
        ((2.0, 2.0, 2.0), (2.0, 2.0, 2.0, 0.0)),
        ((0.0, 0.0), (0.0, 0.0, 0.0, 1.0)),
    ],
)
def test_paired_differences_by_hand(differences, found):
    assert paired(differences) == pytest.approx(found, abs=1e-3)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"runs": ["jtd"]}, "studies.originals.runs: There is no method or control of the suite 'jtd'"),
        ({"benchmarks": ["ducks"]}, "studies.originals.benchmarks: There is no benchmark 'ducks'"),
        ({"repeats": [3, 3, 4]}, "names 3 twice"),
        ({"repeats": [3, 4]}, "at least 3"),
    ],
)
def test_wrong_settings_of_the_study_are_named(changes, says):
    with pytest.raises((ParamsError, ValueError), match=says):
        plan(**changes)


def test_a_benchmark_with_peoples_answers_is_not_repeated():
    content = tiny.params()
    suite = content["suites"]["mini"]
    suite["studies"] = {"originals": STUDY}
    suite["benchmarks"]["waterbirds"]["annotation"] = {"source": "people"}
    made = build_plan(Params.model_validate(content))
    assert list(made.params.active.every) == ["waterbirds", "digits", "digits-2", "digits-4", "digits-7"]
    assert {name for name, _ in originals._metrics(made)} == {"digits"}
