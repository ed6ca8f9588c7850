"""YAML as the stages read it, with plain values.

Refused is a key that stands twice, where PyYAML takes the last, and what DVC reads as another value.
"""

from __future__ import annotations

from typing import Any

import yaml

from tasks.common.errors import ConfigError
from tasks.common.yaml_versions import nodes, two_readings


def parse_yaml(text: str, source: str) -> Any:
    """The values of a YAML text; `source` names it in errors.

    Raises ConfigError with one line that names the place.
    """
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        for _, node in nodes(root, (), set()):
            if isinstance(node, yaml.MappingNode):
                _refuse_repeated_keys(node)
        for reading in two_readings(root):
            raise ConfigError(f"{source}, line {reading.line}: {reading}")
        return loader.construct_document(root)
    except ConfigError:
        raise
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        raise ConfigError(f"{source} is not valid YAML: {_problem(error)}") from None


def _problem(error: yaml.YAMLError | ValueError) -> str:
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    text = " ".join(str(problem or error).split())
    return f"line {mark.line + 1}, column {mark.column + 1}: {text}" if mark else text


def _refuse_repeated_keys(mapping: yaml.MappingNode) -> None:
    first: dict[tuple[str, str], yaml.Mark] = {}
    for key, _ in mapping.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        name = (key.tag, key.value)
        if name in first:
            problem = f"the key {key.value!r} stands there twice, first in line {first[name].line + 1}"
            raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
        first[name] = key.start_mark
