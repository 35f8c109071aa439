"""Read params.yaml and validate its structure."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from crayon.config.sections import first_problem
from crayon.config.suite import Params
from crayon.utils.errors import ParamsError


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Safe YAML that refuses a key given twice, where YAML itself would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        own = [k.value for k, _ in node.value if k.tag != "tag:yaml.org,2002:merge" and isinstance(k, yaml.ScalarNode)]
        if repeated := {key for key in own if own.count(key) > 1}:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {sorted(repeated)[0]!r} is given twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


def load(path: str | Path = "params.yaml", suite: str | None = None) -> Params:
    """Read and validate params.yaml.

    Args:
        suite: take this suite, whichever the file says.

    Raises:
        ParamsError: one sentence with the file, the key and the mend.
    """
    path = Path(path)
    try:
        content = yaml.load(path.read_bytes(), _Loader)
    except FileNotFoundError:
        raise ParamsError(f"{path}: there is no such file; run the command where params.yaml lies.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise ParamsError(f"{path}{where}: is not YAML ({getattr(error, 'problem', None) or error}).") from error
    if not isinstance(content, dict):
        raise ParamsError(f"{path}: must be a mapping with the keys suite and suites; it is empty or something else.")
    try:
        return Params.model_validate(content if suite is None else content | {"suite": suite})
    except ValidationError as error:
        raise ParamsError(f"{path}: {first_problem(error)}") from error
