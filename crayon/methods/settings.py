"""The settings of a method on a benchmark of params.yaml, and reasons why it cannot run there."""

from __future__ import annotations

from dataclasses import fields

from pydantic import ValidationError

from crayon.config.levels import unknown_key
from crayon.config.problems import first_problem
from crayon.config.sections import Training, adapter
from crayon.config.source import has_masks
from crayon.config.suite import Benchmark
from crayon.data.splits import without_validation
from crayon.methods import method_class
from crayon.methods.base import Method
from crayon.utils.errors import ParamsError
from crayon.utils.text import unknown


def settings_of(method: str, benchmark: Benchmark, control: str | None = None) -> tuple[Training, Method]:
    """Return the training and the hyper-parameters of a method on a benchmark.

    The benchmark's entry `methods.<method>` contains the method's hyper-parameters. It may also contain training keys,
    which override the benchmark's `refinement`. The settings of a control are those of its method, and an entry
    `methods.<control>`, if there is one, overrides them.

    Raises:
        ParamsError: the benchmark has no entry for the method, or the entry is invalid.
    """
    if method not in benchmark.methods:
        raise ParamsError(f"methods has no entry {method!r}. {unknown('method', method, benchmark.methods)}")
    own = (benchmark.methods[method] or {}) | ((benchmark.methods.get(control) or {}) if control else {})
    entry, cls = control or method, method_class(method)
    of_training, of_method = {f.name for f in fields(Training)}, {f.name for f in fields(cls)}
    for key in own:
        if key not in of_training | of_method:
            raise ParamsError(f"methods.{entry}: {unknown_key(key, sorted(of_method) + sorted(of_training))}")
    base = adapter(Training).dump_python(benchmark.refinement)
    training = base | {key: value for key, value in own.items() if key in of_training}
    try:
        return (
            adapter(Training).validate_python(training),
            adapter(cls).validate_python({key: value for key, value in own.items() if key in of_method}),
        )
    except ValidationError as error:
        raise ParamsError(f"methods.{entry}.{first_problem(error, own)}") from error


def reason_left_out(method: str, benchmark: Benchmark) -> str | None:
    """Return why a method cannot run on a benchmark, according to params.yaml; None if it can."""
    needs = method_class(method).needs
    if "masks" in needs and not has_masks(benchmark.source):
        return "it needs masks, and the source has none"
    if "groups" in needs and len(benchmark.groups) == 1:
        return "it needs groups, and the benchmark has none"
    if "validation" in needs and without_validation(benchmark) is not None:
        return "it needs a validation split, and `selection` names none"
    if {"attention", "neurons"} & set(needs) and benchmark.annotation.source == "none":
        return "it needs answers, and nobody answers (annotation: none)"
    return None
