"""params.yaml as it is read: unknown and missing keys fail here, in one line that names the key, the file and the
nearest right name, before anything heavy is imported."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Mapping

from pydantic import ValidationError

from tasks.config.base import Section
from tasks.config.comparisons import CompareConfig, GoldConfig
from tasks.config.sections import SHARED, STAGES, known_sections, own_fields, shared_sections
from tasks.errors import ConfigError
from tasks.plain_yaml import parse_yaml
from tasks.same_judge import gold_by_params, refusal


def read_params(path: Path) -> dict[str, Any]:
    """Read and check a whole params file; returns it as plain mappings.

    Raises ConfigError naming the key, the file and the nearest right name.
    """
    try:
        params = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; copy the project's params.yaml and edit it") from None
    if not isinstance(params, dict):
        raise ConfigError(f"{path} must be a mapping of sections, found {type(params).__name__}")
    for section in params:
        if section not in known_sections():
            raise ConfigError(f"{path}: unknown section {section!r}{_nearest(str(section), known_sections())}")
    for section, model in SHARED.items():
        _validate(model, _section(params, section, path), section, path)
    stages = {stage: stage_config(params, stage, path) for stage in STAGES}
    _check_judges_are_two(stages["gold"], stages["compare"], path)
    return params


def _check_judges_are_two(gold: GoldConfig, compare: CompareConfig, path: Path) -> None:
    judges = [judge.model_dump() for judge in compare.judges] if compare.given != "only" else []
    same = gold_by_params(gold.kind, judges, gold.judge and gold.judge.model_dump())
    if same and not gold.allow_same_judge:
        raise ConfigError(f"{path}: {refusal(same, gold.kind)}")


def stage_config(params: Mapping[str, Any], stage: str, path: Path = Path("params.yaml")) -> Any:
    """The typed config of one stage (`answers` for `answers@dpo`)."""
    name = stage.partition("@")[0]
    values = {shared: _section(params, shared, path) for shared in shared_sections(name)}
    if own_fields(name):
        own = _section(params, name, path)
        clash = [key for key in own if key in values]
        if clash:
            raise ConfigError(f"{path}: unknown key {name}.{clash[0]}; {clash[0]!r} is a section of its own")
        values.update(own)
    return _validate(STAGES[name], values, name, path)


def _section(params: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    if name not in params:
        raise ConfigError(f"{path}: section {name!r} is missing")
    if not isinstance(params[name], Mapping):
        raise ConfigError(f"{path}: section {name!r} must be a mapping, found {type(params[name]).__name__}")
    return params[name]


def _validate(model: type[Section], values: Mapping[str, Any], section: str, path: Path) -> Section:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_explain(error, model, section)}") from None


def _explain(error: ValidationError, model: type[Section], section: str) -> str:
    """The first problem of a validation, as one line about one key."""
    unknown_first = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    first = unknown_first[0]
    location, beside = _without_tags(model, first["loc"])
    if location and location[0] in SHARED and location[0] in model.model_fields:
        dotted = ".".join(location)
    else:
        dotted = ".".join([section, *location])
    if first["type"] == "extra_forbidden":
        return f"unknown key {dotted}{_nearest(location[-1], list(beside.model_fields))}"
    if first["type"] == "missing":
        return f"missing key {dotted}"
    if first["type"] == "union_tag_not_found":
        return f"missing key {dotted}.kind"
    found = "" if first["type"] in ("value_error", "union_tag_invalid") else f", found {first['input']!r}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{dotted}: {message[0].lower()}{message[1:]}{found}"


def _without_tags(model: type[Section], place: tuple[str | int, ...]) -> tuple[list[str], type[Section]]:
    """(the keys of a place as they stand in the file, the section that the last of them belongs to).

    Where sections are told apart by their kind, pydantic puts the kind into the place.
    """
    keys: list[str] = []
    options: list[type[Section]] = []
    for part in place:
        tagged = [option for option in options if part in _tags(option)]
        if tagged:
            model, options = tagged[0], []
            continue
        if len(options) == 1 and not isinstance(part, int):
            model = options[0]
        keys.append(str(part))
        if not isinstance(part, int):
            field = model.model_fields.get(part)
            options = [] if field is None else _sections_in(field.annotation)
    return keys, model


def _tags(option: type[Section]) -> tuple[str, ...]:
    """The kinds by which a section is told apart from others."""
    field = option.model_fields.get("kind")
    return getattr(field.annotation, "__args__", ()) if field is not None else ()


def _sections_in(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in _sections_in(part)]


def _nearest(name: str, right: list[str]) -> str:
    close = difflib.get_close_matches(name, right, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(right)}"
