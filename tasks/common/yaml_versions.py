"""What two versions of YAML read differently: the stages read 1.1 (PyYAML), DVC reads 1.2 (ruamel.yaml).

A learning rate of `1e-4` is text for the one and a number for the other; `012` is 10 and 12. What a run does would then
not be what DVC keys it by. Nothing here knows which scalars those are: both readers are asked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import yaml

UNREADABLE = object()
Key = tuple[str, ...]  # a dotted name, part by part


@dataclass(frozen=True)
class TwoReadings:
    """A scalar `text` at the dotted name `key` (list items by number), and its values by YAML 1.1 and 1.2."""

    key: str
    line: int
    text: str
    older: Any
    newer: Any

    def __str__(self) -> str:
        older, newer = (_written(value, self.text) for value in (self.older, self.newer))
        return (
            f"{self.key}: {self.text} is {older} for the stages, which read YAML 1.1, and {newer} for DVC, which reads "
            f"YAML 1.2; write {older} or {newer}, whichever is meant"
        )


def two_readings(root: yaml.Node) -> Iterator[TwoReadings]:
    """The scalars at or below `root`, keys among them, that the two read differently, in their order."""
    loader, newer = yaml.SafeLoader(""), _reader()
    for key, node in nodes(root, (), set()):
        plain = isinstance(node, yaml.ScalarNode) and node.style is None
        if plain and node.tag == loader.resolve(yaml.ScalarNode, node.value, (True, False)):
            readings = _reading(loader.construct_object, node), _reading(newer, node)
            if not _same(*readings):
                yield TwoReadings(".".join(key), node.start_mark.line + 1, node.value, *readings)


def _reader() -> Callable[[yaml.ScalarNode], Any]:
    """What DVC makes of a scalar without quotes and tag."""
    from ruamel.yaml import YAML
    from ruamel.yaml.nodes import ScalarNode

    reader = YAML(typ="safe")

    def read(node: yaml.ScalarNode) -> Any:
        tag = reader.resolver.resolve(ScalarNode, node.value, (True, False))
        return reader.constructor.construct_object(ScalarNode(tag, node.value))

    return read


def _reading(read: Callable[[yaml.ScalarNode], Any], node: yaml.ScalarNode) -> Any:
    from ruamel.yaml import YAMLError

    try:
        return read(node)
    except (YAMLError, yaml.YAMLError, ValueError):  # ValueError: a date that is none
        return UNREADABLE


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and (one == other or one != one and other != other)


def nodes(node: yaml.Node, key: Key, seen: set[int]) -> Iterator[tuple[Key, yaml.Node]]:
    """(dotted key, node) of all nodes at or below one, in their order; what several aliases name comes once.

    seen: ids of those that have come.
    """
    if not isinstance(node, yaml.ScalarNode):
        if id(node) in seen:
            return
        seen.add(id(node))
    yield key, node
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from nodes(item, (*key, str(number)), seen)
    elif isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            below = (*key, str(name.value) if isinstance(name, yaml.ScalarNode) else "?")
            yield from nodes(name, below, seen)
            yield from nodes(value, below, seen)


def _written(value: Any, text: str) -> str:
    """The value so that both read it alike; a number with an exponent as `text` has one."""
    if isinstance(value, float) and "e" in text.lower():
        digits, _, exponent = f"{Decimal(repr(value)).normalize():E}".partition("E")
        return f"{digits}{'' if '.' in digits else '.0'}e{exponent}"
    return json.dumps(value, ensure_ascii=False, default=str)
