"""Runs that vary a method: their names, batches, answers and training inputs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from crayon.annotations.controls import control, subset
from crayon.annotations.sampling import ORDERS, Pool
from crayon.config.annotation import Propagation
from crayon.config.load import load
from crayon.config.studies import CRAYON
from crayon.config.suite import Params
from crayon.methods.problem import Problem
from crayon.methods.settings import settings_of
from crayon.pipeline.plan import Plan
from crayon.pipeline.runs import TRANSFERRED, Run, batches, evaluations, heads, quick, studies
from crayon.pipeline.snakemake import Workflow
from crayon.pipeline.steps.refine import varied
from crayon.report.build import build_plan, load_plan
from crayon.utils.errors import MethodError, ParamsError

from .. import problems, tiny

ORDER = tiny.params()["suites"]["mini"]["studies"]["order"]


def plan(**changes) -> Plan:
    content = tiny.params()
    content["suites"]["mini"]["studies"] |= changes
    return build_plan(Params.model_validate(content))


@given(st.lists(st.integers(-1, 1), min_size=1, max_size=40), st.integers(-1, 1), st.data())
def test_a_subset_keeps_the_answers_of_its_items_and_no_other(given_codes, otherwise, data):
    codes = np.array(given_codes, np.int8)
    kept = np.array(data.draw(st.permutations(range(len(codes))))[: data.draw(st.integers(0, len(codes)))], np.int64)
    found = subset(codes, kept, otherwise)
    assert all(found[place] == (codes[place] if place in kept else otherwise) for place in range(len(codes)))
    assert codes.tolist() == given_codes


def test_variation_scales_only_its_own_weight():
    found = plan()
    benchmark = found.params.active.benchmark("waterbirds")
    training, own = settings_of("crayon_attention", benchmark)
    lone = found.run("crayon_attention-beta-0").settings(benchmark)
    assert lone == (training, dataclasses.replace(own, beta=0.0))
    tenth = found.run("crayon_attention-alpha-0.1").settings(benchmark)[1]
    assert (tenth.alpha, tenth.beta) == (own.alpha / 10, own.beta)
    job = found.find("refine", benchmark="waterbirds", run="crayon_attention-alpha-0.1", seed=0)
    assert job.steering["settings"]["alpha"] == own.alpha / 10


def test_a_control_has_the_settings_of_its_method_and_its_own_changes():
    content = tiny.params()
    methods = content["suites"]["mini"]["benchmarks"]["waterbirds"]["methods"]
    methods["shuffled_answers"] = {"beta": 7.0, "learning_rate": 0.25}
    found = build_plan(Params.model_validate(content))
    training, own = settings_of("crayon_attention", found.params.active.benchmark("waterbirds"))
    job = found.find("refine", benchmark="waterbirds", run="shuffled_answers", seed=0)
    assert (job.params.training, job.params.method) == (
        dataclasses.replace(training, learning_rate=0.25),
        dataclasses.replace(own, beta=7.0),
    )
    elsewhere = found.find("refine", benchmark="digits", run="shuffled_answers", seed=0)
    assert elsewhere.params.method == settings_of("crayon_attention", found.params.active.benchmark("digits"))[1]
    methods["shuffled_answers"] = {"betta": 7.0}
    with pytest.raises(ParamsError, match=r"waterbirds\.methods\.shuffled_answers: .*did you mean 'beta'"):
        build_plan(Params.model_validate(content))


def test_studies_do_not_change_the_jobs_of_plain_methods():
    content = tiny.params()
    content["suites"]["mini"]["studies"] = {}
    alone = build_plan(Params.model_validate(content))
    found = plan()
    for name, job in alone.jobs.items():
        if job.rule in ("refine", "evaluate", "original", "pretrain"):
            assert found.jobs[name] == job


def test_answers_of_a_study_are_counted_where_the_method_asks():
    found = plan()
    assert found.run("crayon_pruning-answers-2").sampled == "neurons"
    assert found.run("crayon_pruning_attention-answers-10").sampled == "attention"
    job = found.find("refine", benchmark="waterbirds", run="crayon_pruning-answers-2", seed=1)
    assert job.steering["answers"] == 2


def with_further(**changes):
    """The content of params.yaml in which the transfer study has a second network."""
    content = tiny.params()
    found = tiny.further()
    found["small"] |= {"seeds": [0]} | changes
    content["suites"]["mini"]["studies"]["transfer"]["further"] = found
    return content


def test_a_further_network_of_the_transfer_leaves_the_first_one_as_it_is():
    before, found = plan(), build_plan(Params.model_validate(with_further()))
    job = found.find("refine", benchmark="waterbirds", run="crayon_attention-transfer-4", seed=0)
    assert job.steering["network"]["name"] == "mini_vit"
    assert job.steering["placed"]["name"] == "mini_resnet"
    original = found.find("original", benchmark="waterbirds", original=4)
    assert job.inputs["model"] == original.outputs["model"] == "models/mini/waterbirds/transfer/4/original.safetensors"
    assert original.steering["training"]["epochs"] == original.params.training.epochs == 2
    assert original.inputs["pretrained"] == "models/mini/transfer/small/pretrained.safetensors"
    assert found.find("pretrain", network="small").steering["network"]["name"] == "mini_vit"
    evaluation = found.find("evaluate", benchmark="waterbirds", run=TRANSFERRED, seed=4)
    assert evaluation.params.network.name == "mini_vit"
    own = {"refine waterbirds crayon_attention-transfer-4 0", "evaluate waterbirds crayon_attention-transfer-4 0"}
    own |= {"evaluate waterbirds transfer_original 4", "original waterbirds 4", "pretrain small"}
    assert found.jobs.keys() - before.jobs.keys() == own
    for name, job in before.jobs.items():
        assert found.jobs[name].outputs == job.outputs
        if job.rule in ("pretrain", "original", "refine", "evaluate"):
            assert found.jobs[name].steering == job.steering


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"originals": [1]}, r"further\.small\.originals: 1 is an Original of another network; choose other numbers"),
        ({"benchmarks": ["digits"]}, r"further\.small\.benchmarks: digits is not in `benchmarks` of the study; add it"),
        ({"original": {"epoch": 2}}, r"studies\.transfer\.further\.small\.original.*did you mean 'epochs'"),
    ],
)
def test_a_wrong_further_network_is_refused(tmp_path, changes, words):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(with_further(**changes)), encoding="utf-8")
    with pytest.raises(ParamsError, match=words):
        load_plan(tmp_path / "params.yaml")


def test_transfer_run_has_own_network_and_the_suites_annotations():
    """A transfer run refines another Original with the suite's maps and answers."""
    found = plan()
    job = found.find("refine", benchmark="waterbirds", run="crayon_attention-transfer-1", seed=0)
    assert job.inputs["model"] == "models/mini/waterbirds/transfer/1/original.safetensors"
    assert job.inputs["maps"] == "interpretations/mini/waterbirds/maps.npy"
    assert job.inputs["attention"] == "labels/mini/waterbirds/attention.csv"
    assert job.steering["network"]["name"] == "mini_convnext"
    assert found.find("evaluate", benchmark="waterbirds", run=TRANSFERRED, seed=1).inputs["last"] == job.inputs["model"]
    assert "refine digits crayon_attention-transfer-1 0" not in found.jobs  # not a benchmark of the study


@pytest.mark.parametrize(
    ("changes", "quickest", "others"),
    [
        ({}, [(0,), (1,)], [(0, 1)]),
        ({"seeds_per_job": 1}, [(0,), (1,)], [(0,), (1,)]),
        ({"seeds": [0]}, [(0,)], [(0,)]),
        ({"seeds": [3, 4, 5, 6, 7]}, [(3,), (4, 5), (6, 7)], [(3, 4), (5, 6), (7,)]),
    ],
)
def test_each_run_and_seed_is_trained_by_one_process(changes, quickest, others):
    """The first seed of the runs of `quick` is apart from their other seeds, as far as one process trains several."""
    content = tiny.params()
    content["suites"]["mini"] |= changes
    content["suites"]["mini"]["studies"] = {}
    found = build_plan(Params.model_validate(content))
    suite = found.params.active
    made: dict[tuple[str, str], list[tuple[int, ...]]] = {}
    for batch in batches(suite):
        for key in [(benchmark, run) for benchmark in batch.benchmarks for run in batch.runs]:
            made.setdefault(key, []).append(batch.seeds)
    assert {key: [seed for part in parts for seed in part] for key, parts in made.items()} == {
        (benchmark, run): list(suite.seeds) for benchmark in suite.benchmarks for run in found.runs
    }
    assert made["waterbirds", "erm"] == made["waterbirds", "crayon_pruning"] == quickest
    assert made["waterbirds", "jtt"] == made["digits", "erm"] == made["digits", "shuffled_answers"] == others
    last = str(suite.seeds[-1])
    trained, evaluated = heads(suite, "refine"), heads(suite, "evaluate")
    assert trained["waterbirds", "crayon_pruning", last] == ("erm", str(quickest[-1][0]))
    assert trained["digits", "erm", last] == ("crayon_attention", str(others[-1][0]))
    alone = heads(suite.model_copy(update={"runs_per_job": 1}), "refine")
    assert alone["waterbirds", "crayon_pruning", last] == ("crayon_pruning", str(quickest[-1][0]))
    assert alone["digits", "erm", last] == ("erm", str(others[-1][0]))
    assert evaluated.keys() == trained.keys() == alone.keys()
    assert evaluated["digits", "erm", last] == (suite.methods[0], str(others[-1][0]))


def test_one_process_evaluates_all_methods_of_a_benchmark_and_one_all_controls():
    content = tiny.params()
    content["suites"]["mini"]["studies"] = {}
    suite = build_plan(Params.model_validate(content)).params.active
    first = set(quick(suite).runs)
    assert [(batch.benchmarks, set(batch.runs), batch.seeds) for batch in evaluations(suite)] == [
        (("waterbirds",), first, (0,)),
        (("waterbirds",), first, (1,)),
        (("waterbirds",), set(suite.methods) - first, (0, 1)),
        (("waterbirds",), set(suite.controls), (0, 1)),
        (("digits",), set(suite.methods), (0, 1)),
        (("digits",), set(suite.controls), (0, 1)),
    ]
    apart = suite.model_copy(update={"evaluate_together": False})
    assert evaluations(apart) == batches(apart)


def test_one_process_evaluates_the_variations_of_a_study_on_a_benchmark():
    suite = plan().params.active.model_copy(update={"evaluate_together": True})
    found = [set(batch.runs) for batch in evaluations(suite) if batch.benchmarks == ("waterbirds",)]
    known, shared = set[str](), set[str]()
    for part in studies(suite).values():
        own = {run.name for run in part if "waterbirds" in run.benchmarks}
        assert own <= known or own - known in found
        shared |= own & known
        known |= own
    assert "crayon_attention-answers-10" in shared  # of Figure 4 and of the orders: it belongs to the first
    evaluated = [
        (on, run, seed) for b in evaluations(suite) for on in b.benchmarks for run in b.runs for seed in b.seeds
    ]
    assert len(evaluated) == len(set(evaluated))
    assert {TRANSFERRED} in [set(batch.runs) for batch in evaluations(suite)]  # before the runs that refine them


def test_one_process_trains_several_methods_dealt_in_turn():
    """Seven methods, two for each process; a control, which Table 1 does not need, has another one."""
    content = tiny.params()
    content["suites"]["mini"] |= {"studies": {}, "runs_per_job": 2}
    suite = build_plan(Params.model_validate(content)).params.active
    assert suite.methods == (*CRAYON, "jtt", "lff", "flac", "erm")
    assert [batch.runs for batch in batches(suite) if batch.benchmarks == ("digits",)] == [
        ("crayon_attention", "lff"),
        ("crayon_pruning", "flac"),
        ("crayon_pruning_attention", "erm"),
        ("jtt",),
        ("shuffled_answers",),
    ]


def test_a_process_of_a_study_refines_one_original():
    found = plan()
    for batch in batches(found.params.active):
        assert len({found.run(name).original for name in batch.runs if name != TRANSFERRED}) <= 1
    holders = [batch for batch in batches(found.params.active) if "crayon_attention-transfer-1" in batch.runs]
    assert [batch.seeds for batch in holders] == [(0, 1)]


@pytest.mark.parametrize(
    ("methods", "annotation", "shown"),
    [
        (["jtt", "crayon_pruning", "erm"], {}, ("erm", "crayon_pruning")),
        (["jtt", "crayon_pruning", "erm"], {"source": "none"}, ("erm",)),
        (["jtt", "crayon_pruning"], {"source": "none"}, None),
    ],
)
def test_quick_shows_erm_and_the_variants_that_can_run(methods, annotation, shown):
    content = tiny.params()
    suite = content["suites"]["mini"]
    suite |= {"methods": methods, "controls": {}, "studies": {}, "seeds": [5, 6]}
    for benchmark in suite["benchmarks"].values():
        benchmark["annotation"] = annotation or benchmark["annotation"]
    found = build_plan(Params.model_validate(content))
    first = quick(found.params.active)
    assert (first and first.runs) == shown
    assert ("quick" in found.jobs) == (shown is not None)
    if first is not None:
        assert (first.seeds, first.benchmarks) == ((5,), ("waterbirds",))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"ablation": {"benchmarks": ["waterbird"], "seeds": [0]}}, "did you mean 'waterbirds'"),
        ({"ablations": {}}, "did you mean 'ablation'"),
        (
            {"order": ORDER | {"orders": ["random", "divers"]}},
            r"studies\.order\.orders.*'random', 'uncertain' or 'diverse'",
        ),
        ({"order": ORDER | {"maps": [10, 20, 10]}}, r"studies\.order\.maps: names 10 twice"),
        (
            {"order": ORDER | {"maps": {"waterbirds": [1], "digits": [1]}}},
            "order: maps: has lists for .* one for each of",
        ),
        ({"ablation": {"benchmarks": ["waterbirds"], "seeds": []}}, "studies.ablation.seeds"),
        ({"runtime": {"benchmarks": ["waterbirds"], "sizes": [0.5], "repeats": 1}}, "studies.runtime.sizes"),
        (
            {
                "order": {
                    "benchmarks": ["waterbirds"],
                    "seeds": [0],
                    "maps": [5],
                    "orders": ["random"],
                    "shuffled": True,
                }
            },
            "shuffled: is a control of derived labels; add `propagation`, or remove it",
        ),
    ],
)
def test_a_wrong_study_is_refused_before_anything_is_computed(changes, sentence, tmp_path):
    content = tiny.params()
    content["suites"]["mini"]["studies"] |= changes
    path = tiny.write(tmp_path, content) / "params.yaml"
    with pytest.raises(ParamsError, match=sentence):
        load_plan(path)


def test_a_wrong_key_of_the_transfers_training_is_refused(tmp_path):
    content = tiny.params()
    content["suites"]["mini"]["studies"]["transfer"]["refinement"] = {"learning_rat": 1.0}
    with pytest.raises(ParamsError, match=r"studies\.transfer\.refinement.*did you mean 'learning_rate'"):
        load_plan(tiny.write(tmp_path, content) / "params.yaml")


def test_a_study_needs_the_methods_it_compares(tmp_path):
    content = tiny.params()
    content["suites"]["mini"]["methods"].remove("crayon_pruning")
    content["suites"]["mini"]["controls"] = {}
    with pytest.raises(ParamsError, match=r"studies\.annotations: needs crayon_pruning"):
        load_plan(tiny.write(tmp_path, content) / "params.yaml")


def problem_of(run: Run, asked: int = 24) -> Problem:
    """A problem with 24 images, the first `asked` of them answered, and 6 answered neurons, varied as `run` says."""
    found = problems.problem(24)
    found.attention[:] = -2
    found.attention[:asked] = 0
    found.neurons[:] = 0
    varied(found, run, seed=1)
    return found


def run_of(method: str, **changes) -> Run:
    return Run(name="varied", method=method, benchmarks=("waterbirds",), seeds=(1,), **changes)


def test_answers_left_out_are_unused_maps_and_kept_neurons():
    attention = problem_of(run_of("crayon_attention", answers=10))
    assert sorted(attention.attention.unique().tolist()) == [-1, 0]
    assert int((attention.attention == 0).sum()) == 10
    pruning = problem_of(run_of("crayon_pruning", answers=2))
    assert int((pruning.neurons == 0).sum()) == 2
    assert int((pruning.neurons == 1).sum()) == 4
    both = problem_of(run_of("crayon_pruning_attention", answers=10))
    assert int((both.attention == 0).sum()) == 10
    assert int((both.neurons == 0).sum()) == 6  # all answers to neurons are kept


def test_answers_are_kept_only_for_items_that_were_asked():
    found = problem_of(run_of("crayon_attention", answers=3), asked=5)
    assert int((found.attention == 0).sum()) == 3
    assert set(np.flatnonzero(found.attention.numpy() == 0)) < set(range(5))
    with pytest.raises(MethodError, match=r"needs 6 annotated items, but there are 5"):
        problem_of(run_of("crayon_attention", answers=6), asked=5)


@pytest.mark.parametrize("order", ORDERS)
def test_first_items_of_the_acquisition_order_are_answered(order):
    """Fewer answers are a subset of more answers."""
    chosen = None if order == "random" else order
    many, few = (problem_of(run_of("crayon_attention", answers=count, order=chosen)) for count in (10, 4))
    expected = ORDERS[order](Pool(many.maps.numpy(), many.labels.numpy()), 1)
    for found, count in ((many, 10), (few, 4)):
        assert set(np.flatnonzero(found.attention.numpy() == 0)) == set(expected[:count])


def test_acquisition_order_reads_maps_and_is_in_the_job_params():
    found = plan()
    job = found.find("refine", benchmark="waterbirds", run="crayon_attention-diverse-10", seed=1)
    assert job.inputs["maps"] == "interpretations/mini/waterbirds/maps.npy"
    assert job.inputs["manifest"] == "data/mini/waterbirds/manifest.csv"  # of the labels
    assert (job.steering["order"], job.steering["answers"]) == ("diverse", 10)
    own = found.find("refine", benchmark="waterbirds", run="crayon_attention-answers-10", seed=1)
    assert "order" not in own.steering


def test_labels_of_the_other_maps_are_derived_from_the_first_ones():
    """The maps of even images are relevant; those of the others, which are not asked, become like the nearest one."""
    found = problems.problem(24)
    found.attention[:] = 1
    found.attention[1::2] = 0
    found.maps[:], found.logits = 0.5, torch.zeros(24, 2)
    found.maps[1::2, 0, 0] = 1.0
    varied(found, run_of("crayon_attention", answers=6, propagation=Propagation()), seed=1)
    assert found.attention.tolist() == [1, 0] * 12
    one_kind = problems.problem(24)
    one_kind.attention[:], one_kind.logits = 1, torch.zeros(24, 2)
    with pytest.raises(MethodError, match="varied: labels can be derived only"):
        varied(one_kind, run_of("crayon_attention", answers=6, propagation=Propagation()), seed=1)


def test_shuffled_answers_of_maps_leave_those_of_neurons():
    """The labels derived from them are as shuffled; without fewer answers, both kinds are shuffled."""
    found = problems.problem(24)
    found.attention[:] = torch.arange(24) % 2
    found.neurons[:] = torch.arange(len(found.neurons)) % 2
    found.logits = torch.zeros(24, 2)
    before = found.neurons.clone()
    run = run_of("crayon_pruning_attention", labels="shuffle", answers=20, propagation=Propagation())
    varied(found, run, seed=1)
    expected = control((np.arange(24) % 2).astype(np.int8), "shuffle", 1)
    asked = np.random.default_rng([1, 3]).permutation(24)[:20]
    assert found.attention.numpy()[asked].tolist() == expected[asked].tolist()
    assert found.neurons.tolist() == before.tolist()


def test_runs_with_derived_labels_read_logits_and_stand_beside_those_without():
    study = tiny.params()["suites"]["mini"]["studies"]["order"]
    method = "crayon_pruning_attention"
    changes = {"propagation": {"learner": "logistic"}, "method": method, "shuffled": True, "neurons": None}
    found = plan(order=study | changes)
    names = [run.name for run in studies(found.params.active)["order"]]
    plain = [f"{method}-{order}-10" for order in ("answers", "uncertain", "diverse")]
    derived = [f"{method}-{order}-10-derived" for order in study["orders"]]
    assert names == [*plain, *derived, f"{method}-random-10-shuffled"]
    assert found.run(names[-1]).labels == "shuffle"
    names.pop()
    job = found.find("refine", benchmark="waterbirds", run=names[-1], seed=1)
    assert job.inputs["logits"] == "interpretations/mini/waterbirds/logits.npy"
    assert job.steering["propagation"]["learner"] == "logistic"
    assert job.steering["order"] == "diverse"
    without = found.find("refine", benchmark="waterbirds", run=names[2], seed=1)
    assert "propagation" not in without.steering
    assert "logits" not in without.inputs
    assert "waterbirds/crayon_pruning_attention/0" in found.find("figure_order").inputs


def test_random_runs_that_figure4_has_are_not_trained_again():
    found = plan()
    names = [run.name for run in studies(found.params.active)["order"] if run.propagation is None]
    ours = ["crayon_attention-uncertain-10", "crayon_attention-diverse-10"]
    assert names == ["crayon_attention-answers-10", *ours, "crayon_pruning-answers-2", "crayon_pruning-implicated-2"]
    assert "crayon_attention-random-10" not in found.runs


def test_benchmarks_may_have_their_own_numbers_of_answers_and_factors():
    both = {"benchmarks": ["waterbirds", "digits"], "seeds": [0, 1]}
    numbers = {"waterbirds": [20, 10], "digits": [5, 10]}
    found = plan(
        annotations=both | {"maps": numbers, "neurons": [2]},
        order=both | {"maps": {"waterbirds": [10], "digits": [5, 10]}, "orders": ["random"]},
        sensitivity=both | {"alphas": {"waterbirds": [0.1], "digits": [10]}, "betas": [10]},
    )
    for count, there in ((5, ("digits",)), (10, ("waterbirds", "digits")), (20, ("waterbirds",))):
        assert found.run(f"crayon_attention-answers-{count}").benchmarks == there
    shared = [run.name for run in studies(found.params.active)["order"]]  # with Figure 4, where the benchmarks agree
    assert shared == ["crayon_attention-answers-5", "crayon_attention-answers-10"]
    read = {path.split("/")[2:4][1] for path in found.find("figure5").inputs.values() if "/digits/" in path}
    assert {"crayon_attention-alpha-10", "crayon_attention-beta-10"} < read
    assert "crayon_attention-alpha-0.1" not in read


@pytest.mark.parametrize(
    "other", [{"seeds": [0, 1, 2]}, {"seeds": [1, 0]}, {"maps": [5]}, {"benchmarks": ["waterbirds", "digits"]}]
)
def test_random_order_runs_that_differ_get_their_own_name(other):
    """They differ in seeds, benchmarks or number of answers from the runs of Figure 4."""
    study = tiny.params()["suites"]["mini"]["studies"]["order"] | other
    found = plan(order=study)
    count = study["maps"][0]
    run = found.run(f"crayon_attention-random-{count}")
    assert (run.seeds, run.benchmarks) == (tuple(study["seeds"]), tuple(study["benchmarks"]))
    assert found.run("crayon_attention-answers-10").seeds == (0, 1)


def test_a_name_stands_for_one_run_in_every_suite():
    params = load(tiny.ROOT / "params.yaml")
    for suite in params.suites.values():
        named = [run for part in studies(suite).values() for run in part]
        for run in named:
            assert all(run == other for other in named if other.name == run.name)
        assert not {run.name for run in named} & {*suite.methods, *suite.controls}


def test_more_answers_than_there_are_items_are_refused():
    with pytest.raises(MethodError, match=r"needs 25 annotated items, but there are 24"):
        problem_of(run_of("crayon_attention", answers=25))


def test_maps_are_brought_to_the_cells_of_another_network():
    found = problems.problem(4)
    found.maps = torch.rand(4, 5, 5)
    varied(found, run_of("crayon_attention", original=0), seed=0)
    assert tuple(found.maps.shape[1:]) == found.map_size()


@pytest.mark.parametrize("together", [True, False])
def test_the_jobs_that_run_together_come_after_all_that_they_read(tmp_path, monkeypatch, together):
    """In this order, outputs that hold are given the times of their inputs."""
    monkeypatch.chdir(tmp_path)
    content = tiny.params()
    content["suites"]["mini"]["evaluate_together"] = together
    found = build_plan(Params.model_validate(content))
    seen: set[str] = set()
    for jobs in Workflow(found, enforce=False)._groups().values():
        own = {path for job in jobs for path in (*job.outputs.values(), job.record)}
        for job in jobs:
            assert all(path in seen | own for path in job.inputs.values() if path in found.producers), job.name
        seen |= own
    assert set(found.producers) <= seen


def test_a_study_of_answers_that_nobody_gives_names_all_lists_to_shorten():
    content = tiny.params()
    suite = content["suites"]["mini"]
    suite["benchmarks"]["waterbirds"]["annotation"] = {"source": "none"}
    with pytest.raises(ParamsError) as caught:
        build_plan(Params.model_validate(content))
    assert str(caught.value) == (
        "suites.mini.studies.ablation.benchmarks: crayon_attention cannot run on waterbirds: it needs "
        "answers, and nobody answers (annotation: none); leave waterbirds out of `benchmarks` of ablation, transfer, "
        "annotations, order, sensitivity, runtime"
    )
