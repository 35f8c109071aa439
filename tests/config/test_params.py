"""params.yaml: which content is accepted, and the error message for the rest."""

import copy
import re
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from importlib import import_module
from types import GenericAlias, UnionType
from typing import Annotated, ClassVar, get_args, get_origin, get_type_hints

import pytest
import yaml
from pydantic import Field

from crayon.config.load import SafeLoader, load
from crayon.config.sections import Metric, Section, Training
from crayon.config.source import COMPOSED, KINDS, OWN_KEYS, MaskPixels, expected
from crayon.config.suite import Params
from crayon.config.types import NUMBER, Count, Share
from crayon.data.user import folder, table
from crayon.methods import METHODS, method_class
from crayon.methods.settings import reason_left_out, settings_of
from crayon.report.build import load_plan
from crayon.utils.errors import ParamsError

from .. import tiny

LITE0 = {"name": "efficientnet_lite0", "weights": "package:weights/lite0.pth"}


@pytest.fixture
def content():
    return tiny.params()


def refused(tmp_path, content) -> str:
    path = tmp_path / "params.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ParamsError) as caught:
        load_plan(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_the_projects_own_file_is_valid():
    params = load(tiny.ROOT / "params.yaml")
    assert params.suite == "mini"
    assert set(params.suites) == {"mini", "paper", "own", "photos", "scenes", "vit"}
    assert list(params.active.benchmarks) == ["waterbirds", "biased_celeba", "backgrounds", "digits"]


def test_method_inherits_and_overrides_benchmark_training(tmp_path, content):
    benchmark = content["suites"]["mini"]["benchmarks"]["waterbirds"]
    benchmark["refinement"] |= {"learning_rate": 0.5, "batch_size": 7}
    benchmark["methods"]["crayon_pruning"] = {"batch_norm": "drifting", "batch_size": 3}
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(content))
    training, method = settings_of("crayon_pruning", load(path).active.benchmark("waterbirds"))
    assert (training.learning_rate, training.batch_size, method.batch_norm) == (0.5, 3, "drifting")


def test_numbers_written_as_text_are_converted(tmp_path, content):
    """YAML reads 1e-3, without a dot, as text."""
    benchmark = content["suites"]["mini"]["benchmarks"]["waterbirds"]
    benchmark["refinement"] |= yaml.safe_load("{weight_decay: 1e-4, batch_size: '32'}")
    benchmark["methods"]["crayon_attention"] |= yaml.safe_load("{learning_rate: 1e-3, alpha: 1e3}")
    assert benchmark["methods"]["crayon_attention"]["learning_rate"] == "1e-3"
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(content))
    training, method = settings_of("crayon_attention", load(path).active.benchmark("waterbirds"))
    values = (training.learning_rate, training.weight_decay, training.batch_size, method.alpha)
    assert values == (0.001, 0.0001, 32, 1000.0)
    assert [type(value) for value in values] == [float, float, int, float]
    assert expected({"kind": "celeba", "counts": {"train": "8"}, "size": "64"}) == ({"train": 8}, (64, 64))


def numbers(annotation, within: str = "") -> Iterator[str]:
    """The places in a type at which a number may stand without a check that refuses booleans."""
    if annotation in (int, float):
        yield within
    for part in get_args(annotation):
        if isinstance(part, type | GenericAlias | UnionType) or get_origin(part) is not None:
            checked = get_origin(annotation) is Annotated and NUMBER in annotation.__metadata__
            yield from () if checked else numbers(part, within)


def sections() -> list[type]:
    """All types whose fields params.yaml sets."""
    found = [Section]
    for section in found:
        found += section.__subclasses__()
    options = [import_module(f"crayon.data.{name}").Options for name in (KINDS | COMPOSED).values()]
    return [*found, Training, MaskPixels, *map(method_class, METHODS), *options]


@pytest.mark.parametrize("section", sections(), ids=lambda section: f"{section.__module__}.{section.__name__}")
def test_every_number_refuses_booleans(section):
    hints = get_type_hints(section, include_extras=True)
    assert [name for name, hint in hints.items() for _ in numbers(hint) if get_origin(hint) is not ClassVar] == []


def test_a_bare_number_is_found():
    assert list(numbers(tuple[Annotated[int, Field(ge=0)], float] | None)) == ["", ""]
    assert list(numbers(tuple[Count, Share] | None)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        *(
            (
                lambda s, key=key: s["benchmarks"]["waterbirds"]["refinement"].update({key: True}),
                [f"refinement.{key}: is True"],
            )
            for key in ("batch_size", "epochs", "learning_rate", "weight_decay")
        ),
        (
            lambda s: s["benchmarks"]["waterbirds"]["methods"]["crayon_attention"].update(alpha=False, passes=True),
            ["methods.crayon_attention.alpha: is False, which is no number; write a number (and 1 more)"],
        ),
        (lambda s: s.update(seeds=[True]), ["seeds.0: is True"]),
        (lambda s: s["compute"].update(micro_batch=True), ["compute.micro_batch: is True"]),
        (lambda s: s["benchmarks"]["waterbirds"]["source"].update(noise=True), ["source.noise: is True"]),
        (lambda s: s["benchmarks"]["waterbirds"]["refinement"].update(epochs="1e1"), ["refinement.epochs", "'1e1'"]),
        (lambda s: s["benchmarks"]["waterbirds"].update(sorce=1), ["benchmarks.waterbirds", "'sorce'", "'source'"]),
        (
            lambda s: s["benchmarks"]["waterbirds"]["methods"]["crayon_attention"].update(alhpa=1),
            ["benchmarks.waterbirds.methods.crayon_attention", "'alhpa'", "'alpha'"],
        ),
        (
            lambda s: s["benchmarks"]["waterbirds"]["methods"]["crayon_attention"].pop("beta"),
            ["methods.crayon_attention.beta", "missing"],
        ),
        (
            lambda s: s["benchmarks"]["waterbirds"]["methods"]["crayon_attention"].update(alpha=-1),
            ["methods.crayon_attention.alpha", "-1"],
        ),
        (
            lambda s: s["benchmarks"]["waterbirds"].update(
                imported={"original": {"file": "one.pt"}, "maps": {"file": "maps.json"}},
                interpret={"target": "label", "patches": 3, "cells": 1, "map": "legrad"},
            ),
            ["interpret.map: people are asked about the maps in `imported.maps`; remove one of the two"],
        ),
        (
            lambda s: s["benchmarks"]["waterbirds"].update(augmentation={"jiter": 0.1}),
            ["benchmarks.waterbirds.augmentation", "'jiter'", "'jitter'"],
        ),
        (
            lambda s: s["benchmarks"]["waterbirds"].update(augmentation={"jitter": 1.1}),
            ["benchmarks.waterbirds.augmentation.jitter", "1.1"],
        ),
        (
            lambda s: s["benchmarks"]["waterbirds"].update(augmentation={"flip": True}),  # maps would no longer match
            ["benchmarks.waterbirds.augmentation", "'flip'"],
        ),
        (
            lambda s: s["benchmarks"]["waterbirds"].update(original_augmentation={"crop": [1.0, 0.7]}),
            ["benchmarks.waterbirds.original_augmentation", "crop: the least share"],
        ),
        (
            lambda s: s["benchmarks"]["waterbirds"].update(selection={"adjusted_average": "validation"}),
            ["benchmarks.waterbirds", "selection: adjusted_average is for `metrics` only"],
        ),
        (
            lambda s: s["benchmarks"]["waterbirds"].update(augmentation={"lighting": -0.1}),
            ["benchmarks.waterbirds.augmentation.lighting", "-0.1"],
        ),
        (
            lambda s: s["benchmarks"]["waterbirds"]["methods"]["crayon_attention"].update(passes=3),
            ["methods.crayon_attention.passes", "3"],
        ),
        (
            lambda s: s["benchmarks"]["waterbirds"]["methods"]["erm"].update(reduction="summ"),
            ["methods.erm.reduction", "'summ'"],
        ),
        (lambda s: s["benchmarks"]["waterbirds"]["source"].update(blnd=1), ["'blnd'", "'blend'"]),
        (lambda s: s["benchmarks"]["waterbirds"]["source"].update(kind="waterbird"), ["'waterbirds'"]),
        (lambda s: s["benchmarks"]["digits"]["source"]["compose"].update(kind="digit"), ["'digits'"]),
        (lambda s: s.update(methods=["erm", "crayon_atention"]), ["'crayon_atention'", "'crayon_attention'"]),
        (lambda s: s.update(seeds=[1, 1]), ["seeds", "twice"]),
        (lambda s: s.update(seeds=[]), ["seeds"]),
        (lambda s: s["compute"].update(threads=0), ["compute.threads"]),
        (lambda s: s["network"].pop("kernels"), ["kernels"]),
        (lambda s: s["network"].update(name="resnet50"), ["resnet50", "remove"]),
        (lambda s: s["benchmarks"]["waterbirds"]["metrics"].update(WGA={}), ["exactly one"]),
        (lambda s: s["benchmarks"]["waterbirds"]["annotation"].pop("seed"), ["simulated needs seed"]),
        (lambda s: s["controls"].update(erm={"method": "crayon_attention", "labels": "invert"}), ["'erm'"]),
        (
            lambda s: s["methods"].remove("crayon_attention"),
            ["controls.shuffled_answers: its method crayon_attention is not in methods; add it, or remove"],
        ),
        (lambda s: s["benchmarks"]["waterbirds"]["methods"].pop("erm"), ["'erm'"]),
        (
            lambda s: s["benchmarks"]["digits"]["methods"].update(shufled_answers={"alpha": 1.0}),
            [
                "benchmarks.digits.methods",
                "no method or control of the suite 'shufled_answers'; did you mean 'shuffled_answers'",
            ],
        ),
        (
            lambda s: s.update(auxiliary=None),
            ["methods", "flac needs an auxiliary network", "add the section auxiliary"],
        ),
        (lambda s: s["auxiliary"]["network"].pop("stem"), ["auxiliary.network", "bagnet18 needs stem"]),
        (lambda s: s["auxiliary"]["network"].update(kernels=[3]), ["bagnet18 takes no kernels; remove"]),
        (lambda s: s["network"].update(frozen_blocks=9), [".network", "frozen_blocks is 9, but mini_resnet has"]),
        (
            lambda s: (s["network"].update(frozen_blocks=1), s.update(pretraining=None)),
            ["network.frozen_blocks: keeps pretrained weights, but the suite has no pretraining; add the section"],
        ),
        (
            lambda s: s["auxiliary"]["network"].update(frozen_blocks=1),
            ["auxiliary.network", "bagnet18 takes no frozen_blocks; remove"],
        ),
        (lambda s: s.update(network=LITE0 | {"stem": 32}), [".network", "efficientnet_lite0 takes no stem; remove"]),
        (lambda s: s.update(network=LITE0 | {"frozen_blocks": 17}), ["network.frozen_blocks", "17", "16"]),
        (lambda s: s.update(network={"name": "efficientnet_lite0", "frozen_blocks": 3}), ["add weights, or remove"]),
        (lambda s: s.update(network=LITE0 | {"weights": "IMAGENET1K_V1"}), ["'IMAGENET1K_V1'; give a path"]),
        (lambda s: s["benchmarks"]["digits"]["methods"]["jtt"].update(mode="copy"), ["methods.jtt.mode", "'resample'"]),
        (
            lambda s: s["benchmarks"]["digits"].update(questions={"neurons": "On the {klass}?"}),
            ["digits.questions.neurons", "no placeholder '{klass}'; did you mean '{class}'"],
        ),
        (lambda s: s["benchmarks"]["digits"].update(questions={"attention": "On {"}), ["no placeholder '{'"]),
        (lambda s: s["benchmarks"]["digits"].update(questions={"attention": " "}), ["questions.attention", "empty"]),
        (lambda s: s["benchmarks"]["digits"].update(questions={"atention": "?"}), ["'atention'", "'attention'"]),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_the_mend(tmp_path, content, change, words):
    change(content["suites"]["mini"])
    message = refused(tmp_path, content)
    for word in words:
        assert word in message


def test_a_question_names_the_images_class_where_it_asks_so(content):
    benchmarks = Params.model_validate(content).active.benchmarks
    asked = benchmarks["waterbirds"].questions
    assert asked.ask("attention", "landbird") == "Is the strong highlight mainly on the bird?"
    content["suites"]["mini"]["benchmarks"]["digits"].pop("questions")
    asked = Params.model_validate(content).active.benchmarks["digits"].questions
    assert asked.ask("neurons", "wheeled_vehicle") == "Is the red rectangle mainly on the wheeled vehicle?"


def test_an_unknown_suite_names_the_known_ones(tmp_path, content):
    content["suite"] = "papr"
    assert "'paper'" in refused(tmp_path, content)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("suite: a\nb: \x07\n", r"params.yaml, line 2: has a control character, which YAML does not allow; remove it."),
        ("", "mapping"),
        ("- a\n", "mapping"),
        ("suite: [mini\n", "is not YAML"),
        ("suite: mini\nsuite: paper\nsuites: {}\n", "given twice"),
    ],
)
def test_a_malformed_file_is_named(tmp_path, text, words):
    assert words in refused(tmp_path, text)


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("latin-1", "line 2: is not UTF-8 (byte 0xe9, which would be 'é' in cp1252 or Latin-1); save it in UTF-8"),
        ("utf-16", "is in UTF-16, as its byte order mark says; save it in UTF-8"),
        ("utf-16-le", "line 1: contains a NUL byte. The file is damaged, or in UTF-16 without a byte order mark; "),
    ],
)
def test_a_file_in_another_encoding_is_to_be_saved_as_utf8(tmp_path, encoding, words):
    (tmp_path / "params.yaml").write_bytes("suite: own\ntitle: café\n".encode(encoding))
    with pytest.raises(ParamsError) as caught:
        load(tmp_path / "params.yaml")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_left_out(tmp_path, content):
    (tmp_path / "params.yaml").write_text("\ufeff" + yaml.safe_dump(content), encoding="utf-8")
    assert load(tmp_path / "params.yaml").suite == "mini"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ParamsError, match="there is no such file"):
        load(tmp_path / "params.yaml")


def test_own_benchmark_needs_only_source_and_classes():
    content = yaml.safe_load((tiny.ROOT / "params.yaml").read_text(encoding="utf-8"))
    own = content["suites"]["own"]
    assert own["methods"]
    own["benchmarks"] = {
        "pets": {"source": {"kind": "folder", "path": "pets"}, "classes": ["Golden Retriever", "cat"]},
        "birds": {
            "source": {"kind": "csv", "path": "birds", "masks": True},
            "classes": ["a", "b"],
            "groups": ["in", "out"],
            "methods": {"erm": {"epochs": 3}},
            "refinement": own["defaults"]["refinement"] | {"epochs": 7},
        },
    }
    pets, birds = Params.model_validate(content | {"suite": "own"}).active.benchmarks.values()
    assert (pets.title, pets.groups, list(pets.metrics)) == ("pets", ("all",), ["Accuracy"])
    assert (list(birds.metrics), birds.selection.kind) == (["WGA", "MGA"], "worst_group")
    assert settings_of("erm", birds)[0].epochs == 3  # the benchmark's, its methods' and the suite's, in this order
    assert settings_of("jtt", birds)[0].epochs == 7
    assert settings_of("jtt", pets)[0].epochs == own["defaults"]["refinement"]["epochs"]
    assert reason_left_out("rrr", pets) == "it needs masks, and the source has none"
    assert reason_left_out("rwg", pets) == "it needs groups, and the benchmark has none"
    assert [reason_left_out(method, birds) for method in ("rrr", "rwg", "dfr")] == [None, None, None]
    unsplit = birds.model_copy(update={"selection": Metric(worst_group="test")})
    assert reason_left_out("dfr", unsplit) == "it needs a validation split, and `selection` names none"
    for method in METHODS:  # any of them may be added
        settings_of(method, birds)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"annotation": {"source": "simulated"}}, "needs seed, attention and neurons"),
        ({"annotation": {"source": "published"}}, "the section published go together"),
        ({"classes": ["a/b", "c"]}, "classes.0"),
        ({"source": {"kind": "folder", "path": "x", "sise": 3}}, "key 'sise'; did you mean 'size'"),
    ],
)
def test_a_wrong_benchmark_of_ones_own_is_named(tmp_path, change, words):
    content = yaml.safe_load((tiny.ROOT / "params.yaml").read_text(encoding="utf-8"))
    entry = {"source": {"kind": "folder", "path": "pets"}, "classes": ["a", "b"]} | change
    content["suites"]["own"]["benchmarks"] = {"pets": entry}
    with pytest.raises(ParamsError, match=words):
        load_plan(tiny.write(tmp_path / "project", content | {"suite": "own"}) / "params.yaml")


@cache
def _own() -> dict:
    return yaml.load((tiny.ROOT / "params.yaml").read_bytes(), SafeLoader)["suites"]["own"]


def own_suite() -> dict:
    """A params.yaml with the suite for own images alone."""
    return {"suite": "own", "suites": {"own": copy.deepcopy(_own())}}


SUITE = "suites.own"
PETS = "suites.own.benchmarks.pets"
HERE = "suites.SUITE.benchmarks.BENCHMARK"
NAME = "must be a name of lower-case letters (a to z), digits and underscores, which does not begin with an underscore"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        # YAML reads text without quotes as something else:
        *(
            (
                f"classes: [{yes}, cat]",
                f"{PETS}.classes.0: must be text, got {got}; write it in quotes, since YAML reads {why}",
            )
            for yes, got, why in [
                ("yes", "true", "yes, no, on and off as true and false"),
                ("off", "false", "yes, no, on and off as true and false"),
                ("0", "0", "it as a number"),
                (".nan", "NaN", "it as a number"),
                ("12:30", "750", "it as a number"),
                ("2024-01-31", '"2024-01-31"', "it as a date"),
            ]
        ),
        ("classes: [null, cat]", "classes.0: must be text, got null; write it in quotes"),
        ("groups: [in, no]", "groups.1: must be text, got false; write it in quotes"),
        ("title: 7", "pets.title: must be text, got 7; write it in quotes"),
        ("source: {kind: folder, path: 2024}", "source.path: must be text, got 2024; write it in quotes"),
        ("metrics: {no: {accuracy: test}}", "metrics.false: must be text, got false; write it in quotes"),
        # keys at another level:
        (
            "network: {name: resnet18}",
            f"{PETS}: There is no key 'network' here; it belongs to the suite (suites.SUITE.network).",
        ),
        ("compute: {threads: 1}", "it belongs to the suite (suites.SUITE.compute)."),
        ("seeds: [1]", "it belongs to the suite (suites.SUITE.seeds)."),
        ("threads: 1", "it belongs to the section compute (suites.SUITE.compute.threads)."),
        ("suite: own", "it belongs to the top of the file (suite)."),
        ("size: 8", f"it belongs to the section source ({HERE}.source.size)."),
        ("mean: [0, 0, 0]", f"it belongs to the section normalisation ({HERE}.normalisation.mean)."),
        ("epochs: 3", f"the section original ({HERE}.original.epochs) or the section stage_one ("),
        (
            "source: {kind: folder, path: x, classes: [a, b]}",
            f"it belongs to the benchmark, or `defaults` of the suite ({HERE}.classes).",
        ),
        (
            "methods: [erm]",
            "pets.methods: must be a mapping from each method to its settings; the list of methods belongs",
        ),
        ("methods: {erm: {seeds: [1]}}", "it belongs to the suite (suites.SUITE.seeds)."),
        # words of YAML, not of Python or pydantic:
        ("classes: cat", f"{PETS}.classes: must be a list, got 'cat'"),
        ("classes: [cat]", f'{PETS}.classes: must be a list of at least 2 values, got ["cat"]'),
        ("source: folder", f"{PETS}.source: must be a mapping (lines `key: value`), got 'folder'"),
        ("normalisation: {mean: 1, std: [1, 1, 1]}", "normalisation.mean: must be a list, got 1"),
        ("normalisation: {mean: [1], std: [1, 1, 1]}", "normalisation.mean: must be a list of 3 values, got [1]"),
        (
            "normalisation: {mean: [1, 1, 1, 1], std: [1, 1, 1]}",
            "mean: must be a list of at most 3 values, got [1, 1, 1, 1]",
        ),
        ("source: {kind: folder, path: x, size: [8]}", "source.size: must be a list of 2 values, got [8]."),
        ("views: [imag]", "views.0: must be 'image', 'overlaid' or 'red', got 'imag'"),
        (
            "consensus: {minimum_answers: 1.5, tie: relevant}",
            "consensus.minimum_answers: must be a whole number, got 1.5",
        ),
        ("augmentation: {jitter: x}", "augmentation.jitter: must be a number, got 'x'"),
        ("source: {kind: folder, path: x, size: a}", "pets.source.size: must be a whole number or a list, got 'a'."),
        ("source: {kind: folder, path: x, size: [a, 8]}", "pets.source.size.0: must be a whole number, got 'a'."),
        ("source: {kind: folder, path: x, masks: [m]}", 'source.masks: must be text, got ["m"].'),
        ("source: {kind: folder, path: x, on_error: skipp}", "source.on_error: must be 'fail' or 'skip', got 'skipp'."),
        (
            "classes: [a/b, c]",
            "classes.0: must be a name without `/`, comma or line break, which does not begin with a blank",
        ),
        ("questions: {2024-01-31: a}", "pets.questions: There is no key '2024-01-31'."),
        ("questions: {on: a}", "pets.questions: There is no key 'true'. Known: attention, neurons."),
        ("source: {kind: folder, path: {2024-01-31: a}}", "source.path: must be text, got {"),
        ("questions: &a [*a]", "pets.questions: must be a mapping (lines `key: value`), got [[...]]"),
        ("questions: [a]", "pets.questions: must be a mapping (lines `key: value`), got"),
    ],
)
def test_a_benchmark_is_corrected_in_the_words_of_yaml(tmp_path, text, words):
    content = own_suite()
    entry = {"source": {"kind": "folder", "path": "pets"}, "classes": ["a", "b"]} | yaml.safe_load(text)
    content["suites"]["own"]["benchmarks"] = {"pets": entry}
    message = refused(tmp_path, content)
    assert words in message
    assert not re.search(r"tuple|dict|\[key\]|\^\[|\.int\b|Input|Python|NoneType|True\b", message.partition(": ")[2])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("benchmarks: {My-Pets: {}}", f"{SUITE}.benchmarks.My-Pets: {NAME}, got 'My-Pets'"),
        ("benchmarks: {_pets: {}}", f"{SUITE}.benchmarks._pets: {NAME}, got '_pets'"),
        ("benchmarks: {no: {}}", f"{SUITE}.benchmarks.false: must be text, got false; write it in quotes"),
        ("benchmarks: [pets]", f'{SUITE}.benchmarks: must be a mapping (lines `key: value`), got ["pets"]'),
        ("benchmarks: {pets: cat}", f"{PETS}: must be a mapping (lines `key: value`), got 'cat'"),
        ("defaults: [a]", f'{SUITE}.defaults: must be a mapping (lines `key: value`), got ["a"]'),
        ("defaults: {network: {}}", f"{SUITE}: defaults: There is no key 'network' here; it belongs to the suite"),
        ("methods: {erm: {}}", f"{SUITE}: methods: must be the list of the suite's methods; settings of a method"),
        ("methods: erm", f"{SUITE}.methods: must be a list, got 'erm'"),
        ("seeds: 3", f"{SUITE}.seeds: must be a list, got 3"),
        ("classes: [a, b]", f"{SUITE}: There is no key 'classes' here; it belongs to the benchmark, or `defaults`"),
        ("network: {name: Resnet-18}", f"{SUITE}.network.name: {NAME}, got 'Resnet-18'"),
        (
            "compute: {device: cpu, threads: 1, precision: float32, micro_batch: half}",
            "compute.micro_batch: must be a whole number or 'auto', got 'half'",
        ),
    ],
)
def test_a_suite_is_corrected_in_the_words_of_yaml(tmp_path, text, words):
    content = own_suite()
    content["suites"]["own"] |= yaml.safe_load(text)
    message = refused(tmp_path, content)
    assert words in message
    assert not re.search(r"tuple|dict|\[key\]|\^\[|\.int\b|Input|Python", message.partition(": ")[2])


def test_the_keys_of_sources_of_ones_own():
    for module in (folder, table):
        assert {"kind", *(field.name for field in fields(module.Options))} == set(OWN_KEYS)


def test_simulated_annotators_need_masks(tmp_path):
    content = yaml.safe_load((tiny.ROOT / "params.yaml").read_text(encoding="utf-8"))
    content["suites"]["mini"]["benchmarks"]["digits"]["source"]["masks"] = False
    assert "simulated annotators need masks, but the source has none" in refused(tmp_path, content)


def test_a_key_that_was_removed_is_named_with_the_remedy(tmp_path, content):
    content["suites"]["mini"]["compute"]["processes"] = 2
    message = refused(tmp_path, content)
    assert "suites.mini.compute: the key processes was removed" in message
    assert message.endswith("remove the key")
    content["suites"]["mini"]["compute"]["processes"] = 1  # as in files of version 0.1.0
    assert load_plan(tiny.write(tmp_path / "old", content) / "params.yaml").jobs


def test_a_benchmark_like_another_has_its_keys_and_methods_but_for_its_own(tmp_path):
    content = tiny.params()
    suite = content["suites"]["mini"]
    changed = {"like": "waterbirds", "original": suite["benchmarks"]["waterbirds"]["original"] | {"epochs": 9}}
    suite["benchmarks"]["strong"] = changed | {"methods": {"erm": {"learning_rate": 0.5}}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    found = load(tmp_path / "params.yaml").suites["mini"].benchmarks
    first, second = found["waterbirds"], found["strong"]
    assert (first.original.epochs, second.original.epochs) == (1, 9)
    assert second.methods == first.methods | {"erm": {"learning_rate": 0.5}}
    assert (second.title, second.like) == (f"{first.title}, strong", None)
    same = {"title", "original", "methods"}
    assert first.model_dump(exclude=same) == second.model_dump(exclude=same)


@pytest.mark.parametrize(
    ("like", "words"),
    [
        ({"b": {"like": "c"}}, "benchmarks.b.like: There is no other benchmark 'c'"),
        ({"b": {"like": "b"}}, "benchmarks.b.like: There is no other benchmark 'b'"),
        ({"b": {"like": "waterbirds"}, "c": {"like": "b"}}, "b is itself like waterbirds; name waterbirds here"),
    ],
)
def test_a_wrong_like_is_refused(tmp_path, like, words):
    content = tiny.params()
    content["suites"]["mini"]["benchmarks"] |= like
    assert words in refused(tmp_path, content)


def test_like_is_no_default(tmp_path):
    content = tiny.params()
    content["suites"]["mini"]["defaults"] = {"like": "waterbirds"}
    assert "defaults: like belongs to a benchmark" in refused(tmp_path, content)
