"""Acquisition: which items to ask about first."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crayon.annotations.sampling import DEFAULTS, ORDERS, Pool, at_random, diverse, in_proportion, uncertain
from crayon.config.studies import OrderName
from crayon.pipeline.steps import annotation_order
from crayon.pipeline.steps.annotation_order import order_items
from crayon.report.build import load_plan
from crayon.saliency.patches import Patch, write_patches
from crayon.utils.errors import AnnotationError, DataError, ParamsError
from crayon.utils.files import write_csv, write_npy

from .. import tiny


def pool_of(count: int, classes: int = 2, seed: int = 0) -> Pool:
    generator = np.random.default_rng(seed)
    return Pool(
        maps=generator.random((count, 3, 2)).astype(np.float32),
        labels=generator.integers(0, classes, count),
    )


def test_params_know_the_same_orders():
    assert set(get_args(OrderName)) == set(ORDERS)


@pytest.mark.parametrize("name", ORDERS)
@settings(max_examples=15, deadline=None)
@given(count=st.integers(1, 40), classes=st.integers(2, 3), seed=st.integers(0, 9))
def test_an_order_is_a_permutation_and_the_same_again(name, count, classes, seed):
    pool = pool_of(count, classes, seed)
    found = ORDERS[name](pool, seed)
    assert found.dtype == np.int64
    assert sorted(found.tolist()) == list(range(count))
    assert (ORDERS[name](pool, seed) == found).all()


@pytest.mark.parametrize("name", ORDERS)
def test_the_seed_and_nothing_drawn_elsewhere_decides(name):
    pool = pool_of(60)
    first = ORDERS[name](pool, 0)
    np.random.seed(1)
    np.random.random(5)
    assert (ORDERS[name](pool, 0) == first).all()
    if name != "uncertain":  # which leaves to chance only how the classes are merged
        assert (ORDERS[name](pool, 1) != first).any()


@pytest.mark.parametrize("name", ["uncertain", "diverse"])
@given(seed=st.integers(0, 20))
@settings(max_examples=10, deadline=None)
def test_every_prefix_holds_each_class_in_proportion(name, seed):
    pool = pool_of(80)
    share = pool.labels.mean()
    found = pool.labels[ORDERS[name](pool, seed)]
    strata = 2 if name == "uncertain" else 20
    for count in range(1, 81):
        assert abs(found[:count].sum() - share * count) <= strata / 2


def test_random_gives_the_permutation_of_the_first_results():
    assert at_random(6, 1).tolist() == np.random.default_rng([1, 3]).permutation(6).tolist()
    assert (ORDERS["random"](pool_of(30), 4) == at_random(30, 4)).all()


def test_entropies_by_hand():
    maps = np.array([[[1, 1], [1, 1]], [[1, 0], [0, 0]], [[1, 1], [0, 0]], [[0, 0], [0, 0]], [[1, 0.5], [0.5, 0]]])
    found = Pool(maps, np.zeros(5, np.int64)).entropies()
    assert found == pytest.approx([np.log(4), 0, np.log(2), 0, 1.5 * np.log(2)])  # the last: 1/2, 1/4, 1/4


def test_uncertain_starts_with_the_most_spread_out_maps():
    maps = np.array([[[1, 0, 0]], [[1, 0.2, 0]], [[1, 1, 1]], [[0, 1, 1]]], np.float16)
    for seed in range(3):
        assert uncertain(Pool(maps, np.zeros(4, np.int64)), seed).tolist() == [2, 3, 1, 0]
        strong = Pool(maps * np.float16(0.25), np.zeros(4, np.int64))  # how strong a map is does not matter
        assert uncertain(strong, seed).tolist() == [2, 3, 1, 0]


def test_equal_maps_are_left_to_chance():
    pool = Pool(np.ones((9, 1, 1), np.float32), np.zeros(9, np.int64))
    assert len({tuple(uncertain(pool, seed)) for seed in range(5)}) == 5


def test_strata_take_turns_by_their_size():
    strata = [np.array([10, 11, 12, 13]), np.array([20, 21])]
    for seed in range(10):
        found = in_proportion(strata, seed).tolist()
        assert [item for item in found if item < 20] == [10, 11, 12, 13]
        assert [item for item in found if item >= 20] == [20, 21]
        # turns (rank + start) / size: one of the two lies in each half, two of the four do
        assert {sum(item < 20 for item in found[:3]), sum(item < 20 for item in found[3:])} == {2}


def test_diverse_asks_about_every_kind_of_map_and_each_class():
    kinds = np.eye(4, dtype=np.float32).reshape(4, 2, 2)
    kind = np.repeat(np.arange(4), 20)
    label = np.tile([0, 1], 40)
    strength = np.linspace(0.2, 1, 80, dtype=np.float32)[:, None, None]  # a map counts by its shape
    pool = Pool(kinds[kind] * strength, label)
    for seed in range(5):
        asked = diverse(pool, seed)[:8]
        assert {(kind[place], label[place]) for place in asked} == {(k, c) for k in range(4) for c in range(2)}


def test_maps_that_are_all_alike_or_blank_are_one_kind(recwarn):
    for value in (0.0, 1.0):
        pool = Pool(np.full((12, 2, 2), value, np.float32), np.arange(12) % 2)
        assert sorted(diverse(pool, 0).tolist()) == list(range(12))
    assert not recwarn.list


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A tiny project with what is shown of eight training images, and of three patches of two neurons."""
    tiny.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    plan = load_plan()
    job = plan.find("interpret", benchmark="waterbirds")
    pool = pool_of(8)
    rows = [(f"i{n}", "train", ("landbird", "waterbird")[pool.labels[n]], "land") for n in range(8)]
    write_csv(job.inputs["manifest"], ("image", "split", "label", "group"), [*rows, ("v", "test", "landbird", "land")])
    write_npy(job.inputs["images"], np.zeros((9, 4, 4, 3), np.uint8))
    write_npy(job.inputs["masks"], np.zeros((0, 4, 4), bool))
    write_npy(job.outputs["maps"], pool.maps.astype(np.float16))
    patches = [(0, 1, "i0"), (0, 2, "i1"), (1, 1, "i0"), (1, 2, "i2")]
    write_patches(
        job.outputs["patches"],
        [Patch(f"{image}@0,0", neuron, rank, image, 0, 0, 1.0, 0, 0, 2, 2) for neuron, rank, image in patches],
    )
    return plan, pool


@pytest.mark.parametrize("name", ORDERS)
def test_the_order_of_what_is_shown_is_made_of_the_chains_files(project, name):
    plan, pool = project
    kept = Pool(pool.maps.astype(np.float16).astype(np.float32), pool.labels)
    assert (order_items(plan, "waterbirds", "attention", name, 3) == ORDERS[name](kept, 3)).all()


def test_where_no_order_is_asked_for_the_kinds_own_is_taken(project):
    plan, _ = project
    for kind, name in DEFAULTS.items():
        own = order_items(plan, "waterbirds", kind, None, 3)
        assert (own == order_items(plan, "waterbirds", kind, name, 3)).all()


def test_patches_are_asked_about_at_random_or_by_the_neurons_order(project, monkeypatch):
    """Neuron 1 first: the patches of i0, which both neurons share, and of i2; then that of i1."""
    plan, _ = project
    monkeypatch.setattr(annotation_order, "_implicated", lambda plan, benchmark: np.array([1, 0]))
    assert order_items(plan, "waterbirds", "neurons", "implicated", 3).tolist() == [0, 2, 1]
    with pytest.raises(ParamsError, match="implicated is of neurons; for maps, use random, uncertain, diverse"):
        order_items(plan, "waterbirds", "attention", "implicated", 3)
    assert (order_items(plan, "waterbirds", "neurons", "random", 3) == at_random(3, 3)).all()
    with pytest.raises(ParamsError, match=r"'diverse' is computed from the maps of images.*order random or implicated"):
        order_items(plan, "waterbirds", "neurons", "diverse", 3)


def test_the_order_of_neurons_needs_labels_of_maps(project):
    plan, _ = project
    with pytest.raises(AnnotationError, match=r"attention.csv: does not exist, .*`crayon ingest waterbirds attention`"):
        order_items(plan, "waterbirds", "neurons", "implicated", 3)


def test_an_unknown_order_or_benchmark_is_named(project):
    plan, _ = project
    with pytest.raises(ParamsError, match="no order 'diverze'; did you mean 'diverse'"):
        order_items(plan, "waterbirds", "attention", "diverze", 0)
    with pytest.raises(ParamsError, match="no benchmark 'waterbird'; did you mean 'waterbirds'"):
        order_items(plan, "waterbird", "attention", "random", 0)


def test_what_was_computed_of_other_images_is_refused(project):
    plan, pool = project
    write_npy(plan.find("interpret", benchmark="waterbirds").outputs["maps"], pool.maps[:5])
    with pytest.raises(DataError, match=r"maps\.npy: has 5 maps, but there are 8 training images"):
        order_items(plan, "waterbirds", "attention", "uncertain", 0)
