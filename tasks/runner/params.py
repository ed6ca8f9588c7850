"""params.yaml as it is read: unknown and missing keys fail here, all at once, each in one line that names the key and
the nearest right name, before anything heavy is imported."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

from pydantic import ValidationError

from tasks.common.errors import ConfigError, ManyErrors
from tasks.common.plain_yaml import parse_yaml
from tasks.config.compare import CompareConfig
from tasks.config.gold import GoldConfig
from tasks.config.same_judge import gold_by_params, refusal
from tasks.config.sections import SHARED, STAGES, config_type, known_sections, own_fields, shared_sections
from tasks.config.shared import STAGES_OF_OTHERS, Section, check_plugins, is_here



def read_params(path: Path) -> dict[str, Any]:
    """Read and check a whole params file; returns it as plain mappings.

    Raises ConfigError naming the key, the file and the nearest right name; several mistakes stand on a line each.
    """
    try:
        params = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; copy the project's params.yaml and edit it") from None
    if not isinstance(params, dict):
        raise ConfigError(f"{path} must be a mapping of sections, found {type(params).__name__}")
    mistakes = _mistakes(params, path)
    if len(mistakes) == 1:
        raise ConfigError(f"{path}: {mistakes[0]}")
    if mistakes:
        raise ManyErrors("\n".join([f"{path} has {len(mistakes)} mistakes:", *(f"- {line}" for line in mistakes)]))
    return params


def _mistakes(params: Mapping[str, Any], path: Path) -> list[str]:
    """All that is wrong with params, each in one line about one key; a section that is missing stands there once."""
    others = [str(name) for name in params if name not in known_sections()]
    unknown = [name for name in others if not is_here(name) and not STAGES_OF_OTHERS.has(name)]
    mistakes = [f"unknown section {name!r}{_nearest(name, known_sections())}" for name in unknown]
    for section, model in SHARED.items():
        mistakes += _mistakes_of(lambda: _validate(model, _section(params, section), section))
    for stage in (*STAGES, *(name for name in others if name not in unknown)):
        mistakes += _mistakes_of(lambda: _stage_config(params, stage))
    if not mistakes:
        gold, compare = (_stage_config(params, stage) for stage in ("gold", "compare"))
        mistakes += _mistakes_of(lambda: _check_judges_are_two(gold, compare))
    return list(dict.fromkeys(mistakes))


class _Mistakes(ConfigError):
    """What is wrong with one section, a line each."""

    def __init__(self, *lines: str) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


def _mistakes_of(check: Callable[[], object]) -> tuple[str, ...]:
    try:
        check()
    except _Mistakes as error:
        return error.lines
    return ()


def _check_judges_are_two(gold: GoldConfig, compare: CompareConfig) -> None:
    judges = [judge.model_dump() for judge in compare.judges] if compare.given != "only" else []
    same = gold_by_params(gold.kind, judges, gold.judge and gold.judge.model_dump())
    if same and not gold.allow_same_judge:
        raise _Mistakes(refusal(same, gold.kind))


def shared_config(params: Mapping[str, Any], section: str, path: Path | str) -> Section:
    """One of the sections that stages share or none reads. Raises ConfigError as `read_params` does."""
    try:
        return _validate(SHARED[section], _section(params, section), section)
    except _Mistakes as error:
        raise ConfigError(f"{path}: {error}") from None


def stage_config(params: Mapping[str, Any], stage: str, path: Path = Path("params.yaml")) -> Any:
    """The typed config of one stage (`answers` for `answers@dpo`). Raises ConfigError as `read_params` does."""
    try:
        return _stage_config(params, stage.partition("@")[0])
    except _Mistakes as error:
        raise ConfigError(f"{path}: {error}") from None


def _stage_config(params: Mapping[str, Any], name: str) -> Any:
    values = {shared: _section(params, shared) for shared in shared_sections(name)}
    if own_fields(name):
        own = _section(params, name)
        clash = [key for key in own if key in values]
        if clash:
            raise _Mistakes(f"unknown key {name}.{clash[0]}; {clash[0]!r} is a section of its own")
        if not is_here(name):
            own = _without_plugins(name, own)
        values.update(own)
    return _validate(config_type(name), values, name)


def _without_plugins(stage: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """The params of a stage of another package, which that package is stated beside."""
    try:
        check_plugins(own.get("plugins", {}), STAGES_OF_OTHERS.packages([stage]))
    except ValueError as error:
        raise _Mistakes(f"{stage}: {error}") from None
    return {key: value for key, value in own.items() if key != "plugins"}


def _section(params: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    if name not in params:
        raise _Mistakes(f"section {name!r} is missing")
    if not isinstance(params[name], Mapping):
        raise _Mistakes(f"section {name!r} must be a mapping, found {type(params[name]).__name__}")
    return params[name]


def _validate(model: type[Section], values: Mapping[str, Any], section: str) -> Section:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _Mistakes(*(_explain(problem, model, section) for problem in _in_order(error.errors()))) from None


def _in_order(problems: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """A misspelt key comes before the right one that it leaves missing; a list is not blamed for what stands in it."""
    places = [problem["loc"] for problem in problems]
    own = [one for one in problems if not any(place[: len(one["loc"])] == one["loc"] != place for place in places)]
    return sorted(own, key=lambda problem: problem["type"] != "extra_forbidden")


def _explain(problem: Mapping[str, Any], model: type[Section], section: str) -> str:
    """One problem of a validation, as one line about one key."""
    location, beside = _without_tags(model, problem["loc"])
    if location and location[0] in SHARED and location[0] in model.model_fields:
        dotted = ".".join(location)
    else:
        dotted = ".".join([section, *location])
    if problem["type"] == "extra_forbidden":
        return f"unknown key {dotted}{_nearest(location[-1], list(beside.model_fields))}"
    if problem["type"] == "missing":
        return f"missing key {dotted}"
    if problem["type"] == "union_tag_not_found":
        return f"missing key {dotted}.kind"
    value = "" if problem["type"] in ("value_error", "union_tag_invalid") else f", found {problem['input']!r}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{dotted}: {message[0].lower()}{message[1:]}{value}"


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
    return [section for part in getattr(annotation, "__args__", ()) for section in _sections_in(part)]


def _nearest(name: str, right: list[str]) -> str:
    close = difflib.get_close_matches(name, right, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(right)}"
