"""The runs of `plumb align` that MLflow remembers, each with the dvc.lock that was logged when it ended."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from flows.history import experiments
from flows.history.evidence import KIND

LOCK_FILE = "dvc.lock"
MADE_FROM = "plumb.made_from"  # tag of a run of align: the hash of the data, code and params that it began with


@dataclass(frozen=True)
class Made:
    """One stage as a dvc.lock has it: path to md5 of what it read and made, code included."""

    name: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class Recorded:
    """One run; `lock` is its dvc.lock, `started_ms` since 1970."""

    run: str
    name: str
    started_ms: int
    lock: Mapping[str, Any]

    @property
    def stages(self) -> list[Made]:
        """Upstream first."""
        return made_stages(self.lock)


def made_stages(lock: Mapping[str, Any]) -> list[Made]:
    """The stages of a dvc.lock, upstream first."""
    waiting = [
        Made(name, _hashes(entry.get("deps", [])), _hashes(entry.get("outs", [])))
        for name, entry in (lock.get("stages") or {}).items()
    ]
    ordered: list[Made] = []
    while waiting:
        left = {path for stage in waiting for path in stage.outputs}
        ready = [stage for stage in waiting if not any(owner(path, left) for path in stage.inputs)]
        ordered += ready or waiting  # a circle there is none, but a torn file may say so
        waiting = [stage for stage in waiting if stage not in ordered]
    return ordered


def owner(path: str, outputs: Iterable[str]) -> str | None:
    """The output that `path` is, or lies in; None where it lies in none."""
    return next((out for out in outputs if path == out or path.startswith(f"{out}/")), None)


def _hashes(entries: list[Mapping[str, Any]]) -> dict[str, str]:
    return {entry["path"]: entry["md5"] for entry in entries if entry.get("md5")}


def read_lock(client, run_id: str) -> Mapping[str, Any] | None:
    """The dvc.lock that a run logged; None where it logged none."""
    if LOCK_FILE not in experiments.listed(client, run_id):
        return None
    with tempfile.TemporaryDirectory() as folder:
        return yaml.safe_load(experiments.fetch(client, run_id, LOCK_FILE, folder).read_text(encoding="utf-8"))


def recorded_runs(client, deleted: bool = False) -> Iterator[Recorded]:
    """The runs that logged a dvc.lock, the newest first; deleted: also those that were deleted in MLflow."""
    for run in experiments.all_runs(client, f"tags.`{KIND}` = 'flow'", deleted=deleted):
        lock = read_lock(client, run.info.run_id)
        if lock is not None:
            yield Recorded(run.info.run_id, run.info.run_name, run.info.start_time, lock)
