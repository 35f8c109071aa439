"""Describe a failed validation of params in one sentence, with YAML's terms instead of Python's."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from crayon.config.types import LABEL, NAME

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_NO_KEY = re.compile(r"int|float|str|bool|none|date|[a-z-]+\[.*\]|(function|constrained)-.*")
"""Pattern of the parts that pydantic adds to an error's location to tell which type of a union it tried."""

_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping (lines `key: value`)",
    "mapping_type": "a mapping (lines `key: value`)",
    "model_type": "a mapping (lines `key: value`)",
    "model_attributes_type": "a mapping (lines `key: value`)",
    "dataclass_type": "a mapping (lines `key: value`)",
    "none_required": "null",
}
"""pydantic's type of an error -> what the value must be."""

_PATTERNS = {
    NAME: "a name of lower-case letters (a to z), digits and underscores, which does not begin with an underscore",
    LABEL: "a name without `/`, comma or line break, which does not begin with a blank",
}
"""Regular expression -> what the value must be."""


def first_problem(error: ValidationError, data: Any) -> str:
    """Describe the first error of a failed validation in one sentence, with the key and the invalid value.

    Args:
        error: the error.
        data: the data that were validated.
    """
    problems: dict[str, list[ErrorDetails]] = {}
    for problem in error.errors(include_url=False):
        key, too_short = _key(problem, data), _is_too_short(problem)
        problems[key] = [*([] if too_short else problems.get(key, [])), problem]
    names = [key for key, (first, *_) in problems.items() if first["loc"][-1:] == ("[key]",)]
    # Of a value that may be of several types, the errors within one of them are the most specific.
    deepest = [key for key in problems if not any(other.startswith(f"{key}.") for other in problems)]
    keys = list(dict.fromkeys([*names, *deepest]))
    key, own = keys[0], problems[keys[0]]
    must = [wanted for problem in own if (wanted := _must(problem))]
    if len(must) == len(own):
        message = f"must be {' or '.join(dict.fromkeys(must))}, got {shown(own[0]['input'])}{_quotes(own)}"
    else:
        message = _sentence(next(problem for problem in own if not _must(problem)))
    more = f" (and {len(keys) - 1} more)" if len(keys) > 1 else ""
    return f"{key}: {message}{more}" if key else f"{message}{more}"


def shown(value: Any) -> str:
    """A value as it is written in YAML, cut to 100 characters."""
    try:
        text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError):  # a key that JSON does not have, such as a date; or a list that contains itself
        text = str(value)
    return text if len(text) <= 100 else f"{text[:100]} ..."


def _key(problem: ErrorDetails, data: Any) -> str:
    """The path of the key that an error is about, without the parts that pydantic adds."""
    parts: list[str] = []
    for part in problem["loc"]:
        inside = isinstance(data, Mapping) and part in data
        if part == "[key]":
            parts[-1] = problem["input"] if isinstance(problem["input"], str) else shown(problem["input"])
            continue
        if isinstance(part, str) and not inside and _NO_KEY.fullmatch(part):
            continue
        parts.append(str(part))
        if inside or (isinstance(data, Sequence) and isinstance(part, int) and part < len(data)):
            data = data[part]
        else:
            data = None
    return ".".join(parts[:-1] if _is_too_short(problem) else parts)


def _is_too_short(problem: ErrorDetails) -> bool:
    """Whether a list of a fixed length lacks a value."""
    return problem["type"] == "missing" and isinstance(problem["loc"][-1], int)


def _must(problem: ErrorDetails) -> str:
    """What a value must be, such as `a number`; an empty string for errors that `_sentence` describes."""
    kind, context = problem["type"], problem.get("ctx", {})
    if _is_too_short(problem):
        return f"a list of {int(problem['loc'][-1]) + 1} values"
    if kind == "literal_error":
        return str(context["expected"])
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], f"text of the form {context['pattern']}")
    if kind in ("too_short", "too_long"):
        word, count = ("at least", "min_length") if kind == "too_short" else ("at most", "max_length")
        return f"a list of {word} {context[count]} value{'s' * (context[count] != 1)}"
    return _KINDS.get(
        kind, problem["msg"].removeprefix("Input should be ") if "Input should be " in problem["msg"] else ""
    )


def _sentence(problem: ErrorDetails) -> str:
    """Describe an error that does not concern the type or the range of a value, such as a missing key."""
    if problem["type"] == "missing":
        return "is missing; add it"
    if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return "there is no such key; correct or remove it"
    message = problem["msg"].removeprefix("Value error, ")
    return message if problem["type"] == "value_error" else f"{message}, got {shown(problem['input'])}"


def _quotes(problems: Sequence[ErrorDetails]) -> str:
    """The remedy for an unquoted text that YAML reads as a boolean, a number, a date or null; else an empty string."""
    value = problems[0]["input"]
    if not any(problem["type"] == "string_type" for problem in problems):
        return ""
    if isinstance(value, bool):
        return "; write it in quotes, since YAML reads yes, no, on and off as true and false"
    if isinstance(value, int | float | date):
        kind = "a date" if isinstance(value, date) else "a number"
        return f"; write it in quotes, since YAML reads it as {kind}"
    return "; write it in quotes" if value is None else ""
