"""dvc.yaml as the one place where paths stand: binds a stage's function to its files.

A dependency's name is the name of the parameter that receives it:
`artifacts/sft` → `sft`; `artifacts/data/rl_prompts.jsonl` → `rl_prompts`; `metrics/gate.json` → `gate_metrics`;
`${model.path}` → `model`; `${item.policy}` → `policy`. Code binds to nothing. What a stage reads of several models
is one mapping (`grouped`).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Collection, Mapping

from tasks.common.errors import ConfigError
from tasks.common.plain_yaml import parse_yaml

TEMPLATE = re.compile(r"\$\{([\w.]+)\}")
CODE_FOLDERS = ("models", "tasks", "flows")


@dataclass(frozen=True)
class Binding:
    """One stage of dvc.yaml: what it reads, by name, and what it writes."""

    stage: str
    inputs: Mapping[str, Path]
    code: tuple[str, ...]
    params: tuple[str, ...]
    outs: tuple[Path, ...]
    metrics: Path

    @property
    def out(self) -> Path:
        """The one out, or the folder that all outs share."""
        return self.outs[0] if len(self.outs) == 1 else Path(os.path.commonpath(self.outs))


def is_code(dep: str) -> bool:
    """Whether a path of dvc.yaml is a module, or a package of them."""
    return dep.endswith(".py") or PurePosixPath(dep).parts[0] in CODE_FOLDERS


def artifact_name(dep: str) -> str:
    """The parameter name of a dependency as it is written in dvc.yaml."""
    template = re.fullmatch(r"\$\{(\w+)\.(\w+)\}", dep)
    if template:
        section, key = template.groups()
        return section if key == "path" else key
    path = PurePosixPath(dep)
    name = path.name.split(".")[0]
    return f"{name}_metrics" if path.parts[0] == "metrics" else name


def grouped(inputs: Mapping[str, Path], parameters: Collection[str]) -> dict[str, Any]:
    """Inputs as the arguments of a stage's function, which has these parameters.

    What no parameter is named after is part of a mapping: `dpo_answers` is answers["dpo"], `gate_metrics` metrics["gate"];
    all others are policies["dpo"] and so on.
    """
    arguments: dict[str, Any] = {}
    for name, path in inputs.items():
        key, _, group = name.rpartition("_")
        if name in parameters:
            arguments[name] = path
        elif key and group in parameters:
            arguments.setdefault(group, {})[key] = path
        else:
            arguments.setdefault("policies", {})[name] = path
    return arguments


def _look_up(context: Mapping[str, Any], dotted: str) -> str:
    value: Any = context
    for part in dotted.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise ConfigError(f"dvc.yaml uses ${{{dotted}}}, which params.yaml does not have")
        value = value[part]
    return str(value)


def _fill(text: str, context: Mapping[str, Any]) -> str:
    return TEMPLATE.sub(lambda match: _look_up(context, match.group(1)), text)


def _paths(entries: list[Any]) -> list[str]:
    """dvc allows `- path` and `- path: {options}`."""
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def stage_names(pipeline: Mapping[str, Any]) -> list[str]:
    """All stages in dvc.yaml's order; those of a `foreach` as `name@key`."""
    names = []
    for name, entry in pipeline["stages"].items():
        names += [f"{name}@{key}" for key in entry["foreach"]] if "foreach" in entry else [name]
    return names


def bind(pipeline: Mapping[str, Any], params: Mapping[str, Any], stage: str) -> Binding:
    """Resolve one stage (`sft`, `answers@dpo`) of a parsed dvc.yaml.

    Raises ConfigError for a stage that dvc.yaml does not have.
    """
    name, _, key = stage.partition("@")
    if stage not in stage_names(pipeline):
        raise ConfigError(f"dvc.yaml has no stage {stage!r}; it has {', '.join(stage_names(pipeline))}")
    entry, context = pipeline["stages"][name], dict(params)
    if key:
        item = {k: _fill(v, params) for k, v in entry["foreach"][key].items()}
        entry, context = entry["do"], {**params, "item": item, "key": key}
    deps = _paths(entry.get("deps", []))
    return Binding(
        stage=stage,
        inputs={artifact_name(d): Path(_fill(d, context)) for d in deps if not is_code(d)},
        code=tuple(filter(is_code, deps)),
        params=tuple(entry.get("params", [])),
        outs=tuple(Path(_fill(o, context)) for o in _paths(entry["outs"])),
        metrics=Path(_fill(_paths(entry["metrics"])[0], context)),
    )


def load_pipeline(path: Path) -> Mapping[str, Any]:
    return parse_yaml(path.read_text(encoding="utf-8"), str(path))
