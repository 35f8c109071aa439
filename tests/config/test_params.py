"""params.yaml: which content is accepted, and the error message for the rest."""

import pytest
import yaml

from crayon.config.load import load
from crayon.config.suite import Params
from crayon.methods import METHODS
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
    assert set(params.suites) == {"mini", "paper", "own", "photos"}
    assert list(params.active.benchmarks) == ["waterbirds", "biased_celeba", "backgrounds", "digits"]


def test_method_inherits_and_overrides_benchmark_training(tmp_path, content):
    benchmark = content["suites"]["mini"]["benchmarks"]["waterbirds"]
    benchmark["refinement"] |= {"learning_rate": 0.5, "batch_size": 7}
    benchmark["methods"]["crayon_pruning"] = {"batch_norm": "drifting", "batch_size": 3}
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(content))
    training, method = settings_of("crayon_pruning", load(path).active.benchmark("waterbirds"))
    assert (training.learning_rate, training.batch_size, method.batch_norm) == (0.5, 3, "drifting")


@pytest.mark.parametrize(
    ("change", "words"),
    [
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
            lambda s: s["benchmarks"]["waterbirds"].update(augmentation={"jiter": 0.1}),
            ["benchmarks.waterbirds.augmentation", "'jiter'", "'jitter'"],
        ),
        (
            lambda s: s["benchmarks"]["waterbirds"].update(augmentation={"jitter": 1.1}),
            ["benchmarks.waterbirds.augmentation.jitter", "1.1"],
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
        (lambda s: s["benchmarks"]["waterbirds"]["methods"].pop("erm"), ["'erm'"]),
        (
            lambda s: s.update(auxiliary=None),
            ["methods", "flac needs an auxiliary network", "add the section auxiliary"],
        ),
        (lambda s: s["auxiliary"]["network"].pop("stem"), ["auxiliary.network", "bagnet18 needs stem"]),
        (lambda s: s["auxiliary"]["network"].update(kernels=[3]), ["bagnet18 takes no kernels; remove"]),
        (lambda s: s["network"].update(frozen_blocks=1), [".network", "mini_resnet takes no frozen_blocks; remove"]),
        (lambda s: s.update(network=LITE0 | {"stem": 32}), [".network", "efficientnet_lite0 takes no stem; remove"]),
        (lambda s: s.update(network=LITE0 | {"frozen_blocks": 17}), ["network.frozen_blocks", "17", "16"]),
        (lambda s: s.update(network={"name": "efficientnet_lite0", "frozen_blocks": 3}), ["add weights, or remove"]),
        (lambda s: s.update(network=LITE0 | {"weights": "IMAGENET1K_V1"}), ["'IMAGENET1K_V1'; give a file"]),
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
        ("", "mapping"),
        ("- a\n", "mapping"),
        ("suite: [mini\n", "is not YAML"),
        ("suite: mini\nsuite: paper\nsuites: {}\n", "given twice"),
    ],
)
def test_a_malformed_file_is_named(tmp_path, text, words):
    assert words in refused(tmp_path, text)


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
    assert reason_left_out("rrr", birds) is None
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
