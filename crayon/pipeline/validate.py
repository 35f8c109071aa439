"""Checks of params.yaml beyond its structure: methods, sources and studies exist and are compatible."""

from __future__ import annotations

from dataclasses import fields

from crayon.config.sections import Training, changed
from crayon.config.source import has_masks
from crayon.config.studies import studied
from crayon.config.suite import Params, Suite
from crayon.data import registry
from crayon.methods import METHODS, method_class
from crayon.methods.settings import reason_left_out, settings_of
from crayon.utils.errors import ParamsError
from crayon.utils.text import unknown


def validate(params: Params) -> None:
    """Check every suite.

    Raises:
        ParamsError: a check fails; the message begins with the key, `suites.NAME...`.
    """
    for name, suite in params.suites.items():
        try:
            _validate_methods(suite)
            _validate_benchmarks(suite)
            _validate_studies(suite)
        except ParamsError as error:
            raise ParamsError(f"suites.{name}.{error}") from error


def _validate_methods(suite: Suite) -> None:
    """Check the names of methods, controls and search spaces, and that the methods' inputs are available."""
    for key, methods in (("methods", suite.methods), ("studies.needs.methods", suite.further)):
        for method in methods:
            if method not in METHODS:
                raise ParamsError(f"{key}: {unknown('method', method, METHODS)}")
            if suite.auxiliary is None and "bias_features" in method_class(method).needs:
                raise ParamsError(f"{key}: {method} needs an auxiliary network; add the section auxiliary")
    if twice := set(suite.methods) & set(suite.further):
        raise ParamsError(f"studies.needs.methods: {sorted(twice)[0]} is in methods of the suite, too; remove one")
    if clash := set(suite.controls) & set(METHODS):
        raise ParamsError(f"controls: {sorted(clash)[0]!r} is a method's name; choose another")
    for name, control in suite.controls.items():
        if (method := control.method) not in suite.methods:
            raise ParamsError(f"controls.{name}: its method {method} is not in methods; add it, or remove {name}")
    for method, space in suite.tuning.spaces.items() if suite.tuning is not None else ():
        if method not in METHODS:
            raise ParamsError(f"tuning.spaces: {unknown('method', method, METHODS)}")
        known = [field.name for cls in (method_class(method), Training) for field in fields(cls)]
        for key in space:
            if key not in known:
                raise ParamsError(f"tuning.spaces.{method}: {unknown('key', key, known)}")


def _validate_benchmarks(suite: Suite) -> None:
    """Check each benchmark's source, its source of answers, and the settings of its methods."""
    for name, benchmark in suite.benchmarks.items():
        try:
            registry.check(benchmark.source)
            if benchmark.annotation.source == "simulated" and not has_masks(benchmark.source):
                raise ParamsError(
                    "annotation: simulated annotators need masks, but the source has none; use people's answers "
                    "(source: people) or no answers (source: none)."
                )
            needs = suite.studies.needs
            further = suite.further if needs is not None and name in needs.benchmarks else ()
            runs = (method for method in (*suite.methods, *further) if reason_left_out(method, benchmark) is None)
            for method in (*benchmark.methods, *runs):
                if method not in (*METHODS, *suite.controls):
                    known = [*METHODS, *suite.controls]
                    wrong = unknown("method or control of the suite", method, known)
                    raise ParamsError(f"methods: {wrong} Remove its settings here, or add it to the suite's controls.")
                control = method if method in suite.controls else None
                settings_of(suite.controls[control].method if control else method, benchmark, control)
        except ParamsError as error:
            raise ParamsError(f"benchmarks.{name}.{error}") from error


def _validate_studies(suite: Suite) -> None:
    """Check the params of the studies, and that the suite has the methods that they compare."""
    for name, study in suite.studies:
        if study is None:
            continue
        for benchmark in study.benchmarks:
            if benchmark not in suite.benchmarks:
                raise ParamsError(f"studies.{name}.benchmarks: {unknown('benchmark', benchmark, suite.benchmarks)}")
            if name in ("annotations", "order") and suite.benchmarks[benchmark].propagation is not None:
                raise ParamsError(
                    f"studies.{name}.benchmarks: {benchmark} has derived labels, but the study counts given ones; "
                    "leave it out of the study, or remove its `propagation`."
                )
        for method in studied(name, study):
            if method not in suite.methods:
                raise ParamsError(f"studies.{name}: needs {method}; add it to methods, or leave the study out")
            for benchmark in study.benchmarks:
                if (why := reason_left_out(method, suite.benchmarks[benchmark])) is not None:
                    others = [
                        other
                        for other, study in suite.studies
                        if study is not None and method in studied(other, study) and benchmark in study.benchmarks
                    ]
                    raise ParamsError(
                        f"studies.{name}.benchmarks: {method} cannot run on {benchmark}: {why}; leave {benchmark} out "
                        f"of `benchmarks` of {', '.join(others)}"
                    )
    if (originals := suite.studies.originals) is not None:
        known = [*suite.methods, *suite.controls, *suite.further]
        for run in originals.runs:
            if run not in known:
                raise ParamsError(f"studies.originals.runs: {unknown('method or control of the suite', run, known)}")
    for name, other in suite.studies.others.items():
        where = "studies.transfer" if name == "transfer" else f"studies.transfer.further.{name}"
        for benchmark in other.benchmarks:
            trainings = {
                "original": suite.benchmarks[benchmark].original,
                "refinement": settings_of("crayon_attention", suite.benchmarks[benchmark])[0],
            }
            for key, training in trainings.items():
                try:
                    changed(training, getattr(other, key))
                except ParamsError as error:
                    raise ParamsError(f"{where}.{key}.{error}") from error
