"""The plan, and the Snakemake rules that must define the same jobs."""

from __future__ import annotations

import pytest

from crayon.config.load import load
from crayon.config.sections import Augmentation, OriginalAugmentation
from crayon.methods import IN_PAPER
from crayon.report.build import build_plan
from crayon.utils.errors import ParamsError, RecordError

from .. import tiny


@pytest.fixture(scope="module")
def plan():
    return build_plan(load(tiny.ROOT / "params.yaml"))


def test_each_output_has_one_producer_and_each_input_has_one(plan):
    outputs = [path for job in plan.jobs.values() for path in (*job.outputs.values(), job.record)]
    assert len(outputs) == len(set(outputs))
    for job in plan.jobs.values():
        assert all(path in plan.producers for path in job.inputs.values()), job.name


def test_mini_table1_covers_16_methods_5_seeds_4_benchmarks(plan):
    below = plan.below("results/table1.csv")
    assert sum(job.rule == "refine" for job in below) == 16 * 5 * 4
    assert set(plan.params.active.methods) == set(IN_PAPER)
    assert sum(job.rule == "auxiliary" for job in below) == 4  # one for SoftCon and FLAC
    assert sum(job.rule == "stage_one" for job in below) == 4  # one for JtT and CnC
    assert sum(job.rule == "original" for job in below) == 4
    assert sum(job.rule == "pretrain" for job in below) == 1
    assert below[-1].rule == "table1"
    seen = set()
    for job in below:  # each after what it reads
        assert all(path in seen for path in job.inputs.values() if path in plan.producers)
        seen |= {*job.outputs.values(), job.record}


def test_a_method_reads_what_it_needs_and_nothing_else(plan):
    def extra(run):
        inputs = plan.find("refine", benchmark="waterbirds", run=run, seed=0).inputs
        return set(inputs) - {"manifest", "images", "masks", "model"}

    assert extra("erm") == set()
    assert extra("crayon_attention") == {"maps", "attention"}
    assert extra("crayon_pruning") == {"neurons"}
    assert extra("crayon_pruning_attention") == {"maps", "attention", "neurons"}
    assert extra("random_pruning") == {"neurons"}
    assert extra("jtt") == extra("cnc") == {"stage_one"}
    assert extra("lff") == extra("lc") == {"pretrained"}
    assert extra("softcon") == extra("flac") == {"bias_features"}
    assert extra("gradia") == {"logits", "attention"}
    assert extra("rrr") == extra("bounding_box") == set()


def test_a_method_beyond_table_1_is_added_by_name_and_settings(tmp_path):
    """RES trains on both benchmarks of a suite, with the masks, the settings and the placement of each."""
    content = tiny.params()
    suite = content["suites"]["mini"]
    suite["methods"].append("res")
    suite["benchmarks"]["waterbirds"]["methods"]["res"] = {"imputation": "learned", "slack": 0.2, "learning_rate": 1e-3}
    suite["benchmarks"]["digits"]["methods"]["res"] = {"imputation": "gaussian", "pixel": "first"}
    plan = build_plan(load(tiny.write(tmp_path, content) / "params.yaml"))
    below = plan.below("results/table1.csv")
    jobs = {job.name: job for job in below if job.wildcards.get("run") == "res" and job.rule == "refine"}
    assert set(jobs) == {f"refine {name} res {seed}" for name in ("waterbirds", "digits") for seed in (0, 1)}
    drawn, real = jobs["refine waterbirds res 0"], jobs["refine digits res 0"]
    assert set(drawn.inputs) == {"manifest", "images", "masks", "model"}
    common = {"attention_weight": 1.0, "slack": 0.1, "pixel": "centre"}
    assert drawn.steering["settings"] == common | {"imputation": "learned", "slack": 0.2}
    assert real.steering["settings"] == common | {"imputation": "gaussian", "pixel": "first"}
    assert drawn.steering["training"]["learning_rate"] == 1e-3
    assert drawn.steering["placement"] == "measured"
    suite["benchmarks"]["digits"]["methods"]["res"] = {"imputation": "blurred"}
    with pytest.raises(ParamsError, match=r"digits\.methods\.res\.imputation: must be 'learned' or 'gaussian'"):
        build_plan(load(tiny.write(tmp_path / "wrong", content) / "params.yaml"))


def test_the_words_of_a_question_steer_nothing(plan):
    asked = {benchmark.questions.attention for benchmark in plan.params.active.benchmarks.values()}
    assert len(asked) == 4
    for job in plan.jobs.values():
        assert not any(question in str(job.steering) for question in asked), job.name


def test_methods_share_an_auxiliary_network_and_a_first_stage(plan):
    def read(run, need):
        return plan.find("refine", benchmark="digits", run=run, seed=3).inputs[need]

    assert (
        read("softcon", "bias_features") == read("flac", "bias_features") == "auxiliary/mini/digits/bagnet/features.npy"
    )
    assert read("jtt", "stage_one") == read("cnc", "stage_one") == "auxiliary/mini/digits/stage_one/logits.npy"
    paper = build_plan(plan.params.model_copy(update={"suite": "paper"}))  # there they are the Original's mistakes
    logits = paper.find("refine", benchmark="waterbirds", run="jtt", seed=0).inputs["stage_one"]
    assert logits == "interpretations/paper/waterbirds/logits.npy"


def test_the_paper_suite_has_a_plan_of_its_own_files(plan):
    paper = build_plan(plan.params.model_copy(update={"suite": "paper"}))
    assert not set(plan.producers) & set(paper.producers)
    assert "annotate waterbirds attention" not in paper.jobs  # people answer
    assert (
        paper.find("download", benchmark="waterbirds").inputs == {}
    )  # what it downloads lies in raw/, and is no step's


def test_the_originals_own_augmentation_steers_no_other_training(plan):
    own = OriginalAugmentation(jitter=0.1, crop=(0.7, 1.0), flip=True)
    suite = plan.params.active
    changes = {"augmentation": Augmentation(jitter=0.2), "original_augmentation": own}
    content = suite.benchmarks["waterbirds"].model_copy(update=changes)
    suite = suite.model_copy(update={"benchmarks": suite.benchmarks | {"waterbirds": content}})
    changed = build_plan(plan.params.model_copy(update={"suites": plan.params.suites | {"mini": suite}}))
    found = {
        job.rule: job.steering["augmentation"]
        for job in changed.jobs.values()
        if job.wildcards.get("benchmark") == "waterbirds" and "augmentation" in job.steering
    }
    assert found.pop("original") == {"jitter": 0.1, "lighting": 0.0, "crop": [0.7, 1.0], "flip": True}
    assert set(found) == {"stage_one", "auxiliary", "refine", "measure"}
    assert all(value == {"jitter": 0.2, "lighting": 0.0} for value in found.values())


def test_augmentation_is_in_training_job_params_only_if_set(plan):
    def steered(plan):
        jobs = plan.jobs.values()
        return {job.rule for job in jobs if "augmentation" in job.steering and "waterbirds" in job.name}

    assert steered(plan) == set()
    suite = plan.params.active
    content = suite.benchmarks["waterbirds"].model_copy(update={"augmentation": Augmentation(jitter=0.1)})
    suite = suite.model_copy(update={"benchmarks": suite.benchmarks | {"waterbirds": content}})
    changed = build_plan(plan.params.model_copy(update={"suites": plan.params.suites | {"mini": suite}}))
    assert steered(changed) == {"original", "stage_one", "auxiliary", "refine", "measure"}
    job = changed.find("refine", benchmark="waterbirds", run="erm", seed=0)
    assert job.steering["augmentation"] == {"jitter": 0.1, "lighting": 0.0}
    own = {"waterbirds", *suite.repeated["waterbirds"]}
    for name, job in plan.jobs.items():
        if job.wildcards.get("benchmark") not in own:
            assert changed.jobs[name].steering == job.steering


def test_micro_batch_is_in_training_job_params_only_if_set(plan):
    small = plan.params.model_copy(deep=True)
    object.__setattr__(small.active.compute, "micro_batch", 8)
    for rule, wildcards in {"original": {}, "refine": {"run": "erm", "seed": 0}}.items():
        job, whole = (found.find(rule, benchmark="waterbirds", **wildcards) for found in (build_plan(small), plan))
        assert job.steering == whole.steering | {"micro_batch": 8}


def test_find_ignores_the_order_of_wildcards(plan):
    job = plan.find("refine", benchmark="waterbirds", run="erm", seed=0)
    assert plan.find("refine", seed=0, run="erm", benchmark="waterbirds") is job
    assert job.name == "refine waterbirds erm 0"


def test_an_unknown_job_or_target_names_the_nearest(plan):
    with pytest.raises(RecordError, match="did you mean 'results/mini/table"):
        plan.below("results/table.csv")
    with pytest.raises(RecordError, match="refine waterbirds erm"):
        plan.find("refine", benchmark="waterbirds", run="erm", seed=77)
    with pytest.raises(ParamsError, match="did you mean 'waterbirds'"):
        plan.find("refine", benchmark="waterbird", run="erm", seed=0)


@pytest.mark.parametrize("name", ["waterbirds", "digits-3"])
def test_the_plan_of_one_benchmark_has_the_same_jobs_as_the_whole_plan(plan, name):
    alone = build_plan(plan.params, only=[name])
    assert set(alone.jobs) == {
        *(key for key, job in plan.jobs.items() if job.rule == "pretrain" or job.wildcards.get("benchmark") == name),
    }
    assert all(job == plan.jobs[key] for key, job in alone.jobs.items())
