"""Read params.yaml and validate its structure."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from crayon.config.problems import first_problem
from crayon.config.suite import Params
from crayon.utils.errors import ParamsError
from crayon.utils.tables import read_text
from crayon.utils.text import composed

if TYPE_CHECKING:
    SafeLoader = yaml.SafeLoader
else:  # the loader written in C is faster, but PyYAML may be built without it
    SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(SafeLoader):
    """Safe YAML loader that refuses a repeated key; YAML itself would silently keep the last value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        own = [
            composed(k.value)
            for k, _ in node.value
            if k.tag != "tag:yaml.org,2002:merge" and isinstance(k, yaml.ScalarNode)
        ]
        if repeated := {key for key in own if own.count(key) > 1}:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {sorted(repeated)[0]!r} is given twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


def load(path: str | Path = "params.yaml", suite: str | None = None) -> Params:
    """Read and validate params.yaml.

    Args:
        path: the file.
        suite: name of the active suite; None takes the suite that the file names.

    Raises:
        ParamsError: the file is missing or invalid; the message names the file, the key and the fix.
    """
    path = Path(path)
    if not path.exists():
        raise ParamsError(f"{path}: there is no such file; run the command in the folder of params.yaml.")
    text = read_text(path, ParamsError)
    try:
        content = yaml.load(text, _Loader)
    except yaml.reader.ReaderError as error:
        control = yaml.reader.Reader.NON_PRINTABLE.search(text)
        where = f", line {text.count(chr(10), 0, control.start()) + 1}" if control else ""
        raise ParamsError(f"{path}{where}: has a control character, which YAML does not allow; remove it.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise ParamsError(f"{path}{where}: is not YAML ({getattr(error, 'problem', None) or error}).") from error
    if not isinstance(content, dict):
        raise ParamsError(f"{path}: must be a mapping with the keys suite and suites, but is empty or something else.")
    try:
        return Params.model_validate(content if suite is None else content | {"suite": suite})
    except ValidationError as error:
        raise ParamsError(f"{path}: {first_problem(error, content)}") from error
