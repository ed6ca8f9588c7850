"""What judges that are language models are told: a template of ours, or a YAML file that params name with its hash.

A file holds any of the four texts `pair_system`, `pair_user`, `rate_system`, `rate_user`, and `criteria`, which are
names with a line of words each: ours in other words, or more. What it leaves out is as in ours.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.judges.base import checked_weights
from models.judges.template_fields import check_template
from models.judges.templates import BUILT_IN, Template
from tasks.common.errors import ConfigError
from tasks.common.plain_yaml import parse_yaml
from tasks.config.judges import CRITERION_NAME, OURS

TEXTS = ("pair_system", "pair_user", "rate_system", "rate_user")
KEYS = (*TEXTS, "criteria")


def with_template(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A judge of params as `tasks.judging.making` takes it: with the template that it is told; one that is told nothing
    stays as it is. Raises what `template_of` does."""
    if "template" not in spec:
        return dict(spec)
    rest = {key: value for key, value in spec.items() if key != "template_sha256"}
    return {**rest, "template": template_of(spec)}


def check_templates(params: Mapping[str, Any], root: Path) -> None:
    """What `template_of` raises, raised before any stage has run, for whichever judge params name.

    params: All of params.yaml; sections that are not there name no judge.
    """
    specs = [*params.get("compare", {}).get("judges", ()), params.get("gold", {}).get("judge")]
    for spec in specs:
        if spec and "template" in spec:
            template_of(spec, root)


def template_of(spec: Mapping[str, Any], root: Path = Path()) -> Template:
    """The template that a judge of kind openai or hf is told; a file is named from `root`.

    Raises ConfigError with one line for a file that is not there, not the one whose hash params state, no YAML or holds
    something else than texts and criteria; ValueError for a field that it lacks or that nothing fills, and for weights
    of criteria that it does not have.
    """
    ours = BUILT_IN[spec["kind"]]
    if spec["template"] == OURS:
        return ours
    path, judge = root / spec["template"], f"judge {spec['name']!r}"
    owner = f"{judge}: its template {path}"
    if not path.is_file():
        raise ConfigError(f"{owner} does not exist; correct template in params.yaml, or set it to {OURS}")
    content = path.read_bytes()
    actual, stated = hashlib.sha256(content).hexdigest(), spec.get("template_sha256")
    if actual != stated:
        raise ConfigError(
            f"{owner} has sha256 {actual}, params.yaml says {stated or 'null'}; set the judge's template_sha256 to the "
            "one found, so that a judge that is told something else is asked anew"
        )
    template = _read(_decoded(content, owner), ours, owner)
    check_template(template, spec["kind"], owner)
    checked_weights(spec["weights"], tuple(template.criteria), owner)
    return template


def _decoded(content: bytes, owner: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{owner} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None


def _read(text: str, ours: Template, owner: str) -> Template:
    values = parse_yaml(text, owner)
    if not isinstance(values, Mapping) or not values:
        raise ConfigError(f"{owner} must be a mapping that holds some of {', '.join(KEYS)}")
    if unknown := [key for key in values if key not in KEYS]:
        raise ConfigError(f"{owner} has the unknown key {unknown[0]!r}; known are {', '.join(KEYS)}")
    texts = {key: value for key, value in values.items() if key in TEXTS}
    if wrong := [key for key, value in texts.items() if not isinstance(value, str)]:
        raise ConfigError(f"{owner}: {wrong[0]} must be a text, found {type(texts[wrong[0]]).__name__}")
    return replace(ours, **texts, criteria={**ours.criteria, **_criteria(values.get("criteria", {}), owner)})


def _criteria(given: Any, owner: str) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise ConfigError(f"{owner}: criteria must be names with a text each, found {type(given).__name__}")
    for name, words in given.items():
        if not isinstance(name, str) or not re.fullmatch(CRITERION_NAME, name):
            raise ConfigError(f"{owner}: criterion {name!r} must be named in small letters, digits and _")
        if not isinstance(words, str) or not words.strip():
            raise ConfigError(f"{owner}: criterion {name} must say in words what is judged, found {words!r}")
    return dict(given)
