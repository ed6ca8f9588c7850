"""What the stages read that nothing brings: refused before any stage starts, with the setting that names it."""

import os
from pathlib import Path
from typing import Any

from flows.graph.reasons import flatten
from tasks.judging.templates import check_templates


def check_inputs(root: Path, graph) -> None:
    """Refuse a graph that would fail at a file or folder that is not there and that no stage or pull brings.

    The same for a judge's template that is not there, or not the one meant: it is first read after hours of training.

    graph: a `flows.graph.stages.Graph`. Raises ValueError with one line naming the setting, else the place in dvc.yaml.
    """
    check_templates(_params(root), root)
    for path, stages in graph.absent_inputs().items():
        readers = ", ".join(stages[:2]) + (f" and {len(stages) - 2} more" if len(stages) > 2 else "")
        reads = f"{readers} read{'s' if len(stages) == 1 else ''} it"
        pointer = f"{path}.dvc"
        if (root / pointer).exists():
            raise ValueError(f"{path} is not here ({reads}) and plumb pulls data/ alone; fetch it: dvc pull {pointer}")
        setting = _setting(root, path)
        if setting:
            raise ValueError(f"{setting}: {path} does not exist ({reads}); set {setting} to a file or folder that does")
        raise ValueError(f"{path} does not exist ({reads}, by dvc.yaml); put it there, or take it out of dvc.yaml")


def absent_inputs(stages: list[Any], pulled: list[Any]) -> dict[str, tuple[str, ...]]:
    """Path to the names of the stages that read it, of what is neither on disk, nor made by a stage, nor pulled.

    stages, pulled: DVC's own; of the *.dvc files that are pulled the latter.
    """
    coming = [out.fs_path for stage in [*stages, *pulled] for out in stage.outs]
    absent: dict[str, tuple[str, ...]] = {}
    for stage in stages:
        for dep in stage.deps:
            if not dep.exists and not any(_overlap(dep.fs_path, path) for path in coming):
                absent[dep.def_path] = (*absent.get(dep.def_path, ()), stage.name)
    return absent


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(other + os.sep) or other.startswith(one + os.sep)


def _setting(root: Path, path: str) -> str | None:
    """The param, by its dotted name, whose value is this path."""
    for name, value in flatten(_params(root)).items():
        if isinstance(value, str) and os.path.normpath(root / value) == os.path.normpath(root / path):
            return name
    return None


def _params(root: Path) -> dict[str, Any]:
    import yaml

    return yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8")) or {}
