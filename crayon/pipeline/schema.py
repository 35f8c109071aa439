"""params.yaml as a JSON Schema, with which editors complete, explain and check the file.

The schema is made from the types that validate the file, with the descriptions in their docstrings. It does not compare
keys with each other, as `crayon check` does. It is stricter in one respect: numbers must not be written as text.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from crayon.config.sections import Training
from crayon.config.source import COMPOSED, KINDS
from crayon.config.suite import Params
from crayon.methods import METHODS, method_class

Schema = dict[str, Any]

_ATTRIBUTES = re.compile(r"^ {4}((?:\w+, )*\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
"""An entry of `Attributes:` in a docstring: names of fields, and their description."""

_KEYS = re.compile(r"((?:`\w+`, )*`\w+(?:: [^`]*)?`)(?: (\([^)]*\)))?: ")
"""The start of a description in a section's docstring: the keys in backticks, perhaps with a remark in parentheses."""

_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
"""pydantic's name of a bound, which it leaves in the schema of a type with its own validator -> JSON Schema's name."""


def params_schema() -> Schema:
    """Return the JSON Schema (draft 2020-12) of params.yaml."""
    kinds: dict[str, Any] = {"params": Params, "training": Training}
    kinds |= {f"method {name}": method_class(name) for name in METHODS}
    kinds |= {f"source {kind}": _options(module) for kind, module in KINDS.items()}
    kinds |= {f"compose {kind}": _options(module) for kind, module in COMPOSED.items()}
    references, definitions = TypeAdapter.json_schemas(
        [(name, "validation", TypeAdapter(kind)) for name, kind in kinds.items()], schema_generator=_Generator
    )
    refer = {name: reference for (name, _), reference in references.items()}
    sections: dict[str, Schema] = definitions["$defs"]
    named = {name: sections[reference["$ref"].rpartition("/")[2]] for name, reference in refer.items()}

    suite, benchmark = sections["Suite"]["properties"], sections["Benchmark"]["properties"]
    del sections["Benchmark"]["required"]  # a benchmark's keys may be in `defaults`
    suite["defaults"] = _in_place_of(suite["defaults"], {"$ref": "#/$defs/Benchmark"})
    suite["benchmarks"]["type"] = ["object", "null"]  # as long as there are none
    known = {"enum": list(METHODS)}
    suite["methods"]["items"] = sections["Needs"]["properties"]["methods"]["items"] = known
    sections["Tuning"]["properties"]["spaces"]["propertyNames"] = known
    for section in ("Metric", "Space"):
        sections[section] |= {"minProperties": 1, "maxProperties": 1}

    training = {key: {"$ref": f"#/$defs/Training/properties/{key}"} for key in named["training"]["properties"]}
    changes = {"type": "object", "properties": training, "additionalProperties": False}
    for name in ("Transfer", "OtherNetwork"):
        other = sections[name]["properties"]
        other |= {key: _in_place_of(other[key], changes) for key in ("original", "refinement")}
    for name in METHODS:  # the entry of a method may also change its training
        named[f"method {name}"]["properties"] = training | named[f"method {name}"].get("properties", {})
    benchmark["methods"]["properties"] = {name: refer[f"method {name}"] for name in METHODS}
    benchmark["methods"]["additionalProperties"] = {"type": "object"}  # a control's changes

    for name, options in named.items():
        if name.startswith(("source ", "compose ")):
            options["properties"]["kind"] = {"const": name.partition(" ")[2]}
            options |= {"title": name, "additionalProperties": False}
    named["source csv"]["properties"]["compose"] = _by_kind("compose", COMPOSED, refer)
    benchmark["source"] = _in_place_of(benchmark["source"], _by_kind("source", KINDS, refer))

    root = named["params"]
    others = {name: section for name, section in sections.items() if section is not root}
    return _standard({"$schema": GenerateJsonSchema.schema_dialect, **root, "title": "params.yaml", "$defs": others})


class _Generator(GenerateJsonSchema):
    """pydantic's generator, with the docstrings' descriptions, and without titles that only repeat the key."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: Any) -> Schema:
        return _described(super().model_schema(schema), schema["cls"])

    def dataclass_schema(self, schema: Any) -> Schema:
        return _described(super().dataclass_schema(schema), schema["cls"])

    def dict_schema(self, schema: Any) -> Schema:
        content = super().dict_schema(schema)
        return content | {"additionalProperties": False} if "patternProperties" in content else content


def _options(module: str) -> type[Any]:
    """The class with the options of a data source."""
    options: type[Any] = import_module(f"crayon.data.{module}").Options
    return options


def _described(content: Schema, cls: type[Any]) -> Schema:
    """The schema of a section with the descriptions of the section and of its fields."""
    fields: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        fields |= descriptions(inspect.cleandoc(base.__doc__ or ""))
    for key, field in content.get("properties", {}).items():
        if key in fields:
            field["description"] = fields[key]
    summary = " ".join(inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0].split())
    return content | {"description": summary, "title": cls.__name__}


def descriptions(docstring: str) -> dict[str, str]:
    """The descriptions of fields in a docstring, with `Attributes:` or with keys in backticks: field -> description."""
    prose, _, listed = docstring.partition("Attributes:\n")
    found = [(names.split(", "), text) for names, text in _ATTRIBUTES.findall(listed)]
    for paragraph in prose.split("\n\n"):
        _, *parts = _KEYS.split(" ".join(paragraph.split()))
        for keys, remark, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
            found.append((re.findall(r"`(\w+)", keys), f"{remark} {text}" if remark else text))
    return {name: " ".join(text.split()) for names, text in found for name in names}


def _in_place_of(field: Schema, content: Schema) -> Schema:
    """A schema with the description of the one that it replaces."""
    return content | {key: field[key] for key in ("description",) if key in field}


def _by_kind(name: str, kinds: Iterable[str], refer: Mapping[str, Schema]) -> Schema:
    """The schema of a section whose other keys depend on its key `kind`."""
    return {
        "type": "object",
        "properties": {"kind": {"enum": list(kinds)}},
        "required": ["kind"],
        "allOf": [
            {"if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]}, "then": refer[f"{name} {kind}"]}
            for kind in kinds
        ],
    }


def _standard(content: Any) -> Any:
    """The schema with JSON Schema's names of the bounds."""
    if isinstance(content, list):
        return [_standard(item) for item in content]
    if not isinstance(content, dict):
        return content
    return {_BOUNDS.get(key, key): _standard(value) for key, value in content.items()}
