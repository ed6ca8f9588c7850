"""What `plumb gc` keeps: all that a champion, the one before it, a pending version, the last runs, the working tree and
the branches need, and every evaluation set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from flows.costs.budget import run_file
from flows.git import git
from flows.history import registry
from flows.history.recorded import LOCK_FILE, Recorded, made_stages
from flows.storage.objects import Objects
from flows.storage.workspace import repository

EVALUATION_SETS = ("select_prompts", "gate_prompts", "heldout_demonstrations", "gold_preferences")
# What intake led to once, and what was trained: its runs are in MLflow.
OF_RUNS = ("refs/heads/run/", "refs/remotes/origin/run/", "refs/plumb/commits/")


@dataclass
class Kept:
    """`reasons` are lines for a person; `since` the second from which on everything unfinished is kept, None when
    nothing was recorded; `folders` are working trees."""

    reasons: list[str] = field(default_factory=list)
    locks: list[Mapping[str, Any]] = field(default_factory=list)
    hashes: set[str] = field(default_factory=set)
    versions: list[registry.Version] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    since: float | None = None

    def add(self, reason: str, lock: Mapping[str, Any]) -> None:
        self.reasons.append(reason)
        if lock not in self.locks:
            self.locks.append(lock)
        for stage in made_stages(lock):
            self.hashes.update(stage.inputs.values(), stage.outputs.values())


def what_to_keep(root: Path, clones: Iterable[Path], client, name: str, last: int, runs: list[Recorded]) -> Kept:
    """All of it, for the registered model `name` and the `last` runs that made something different.

    Raises ValueError when it is not known what a version that must be kept needs.
    """
    kept = Kept()
    _keep_versions(kept, client, name, {run.run: run for run in runs})
    _keep_runs(kept, runs, last)
    _keep_evaluation_sets(kept, runs)
    _keep_tree(kept, root, "the working tree")
    for clone in clones:
        if is_kept(kept, clone):
            _keep_tree(kept, clone, f"clone {repository(clone).name}")
    _keep_branches(kept, root)
    return kept


def _keep_versions(kept: Kept, client, name: str, runs: Mapping[str, Recorded]) -> None:
    state = registry.read(client, name)
    champion = state.champion
    wanted = {
        "champion": champion,
        "the champion before": state.versions.get(champion.replaces or 0) if champion else None,
        "pending": state.versions.get(state.aliases.get(registry.CHALLENGER, 0)),
    }
    for word, version in wanted.items():
        if version is None:
            continue
        kept.versions.append(version)
        run = version.tags.get(registry.RUN)
        if run is None:
            kept.reasons.append(f"{word} v{version.number}, which no run of this project made")
        elif run not in runs:
            raise ValueError(
                f"{version.uri} ({word}) was made in MLflow run {run}, which has no dvc.lock: what it needs is not "
                "known, so nothing is freed; restore the run, or move the alias"
            )
        else:
            kept.add(f"{word} v{version.number}", runs[run].lock)


def _keep_runs(kept: Kept, runs: list[Recorded], last: int) -> None:
    """Runs that made the same count as one."""
    seen: list[Mapping[str, Any]] = []
    for run in runs:
        if run.lock not in seen:
            if len(seen) == last:
                break
            seen.append(run.lock)
            kept.add(f"run {run.name} ({run.run[:8]})", run.lock)
        kept.since = run.started_ms / 1000


def _keep_evaluation_sets(kept: Kept, runs: list[Recorded]) -> None:
    sets = {
        md5
        for run in runs
        for stage in made_stages(run.lock)
        for path, md5 in stage.outputs.items()
        if Path(path).name.split(".")[0] in EVALUATION_SETS
    }
    kept.hashes |= sets
    if sets:
        kept.reasons.append(f"{len(sets)} evaluation sets of {len(runs)} runs")


def _keep_tree(kept: Kept, root: Path, reason: str) -> None:
    """A working tree: its dvc.lock and its pointers."""
    lock = root / LOCK_FILE
    kept.folders.append(root)
    kept.add(reason, _yaml(lock.read_text(encoding="utf-8")) if lock.exists() else {})
    for pointer in git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.dvc").split("\0"):
        if pointer and (root / pointer).is_file():
            kept.hashes |= _pointed((root / pointer).read_text(encoding="utf-8"))


def is_kept(kept: Kept, clone: Path) -> bool:
    """Whether a clone is that of a run that is kept, or was worked in since the oldest of them began."""
    lock = clone / LOCK_FILE
    if kept.since is None:
        return True
    if lock.exists() and _yaml(lock.read_text(encoding="utf-8")) in kept.locks:
        return True
    touched = (clone, lock, run_file(clone))  # the last: a run that was begun and has not finished
    return max(path.stat().st_mtime for path in touched if path.exists()) >= kept.since


def _keep_branches(kept: Kept, root: Path) -> None:
    """What the tips of all branches and tags point to."""
    listed = git(root, "for-each-ref", "--format=%(refname)").splitlines()
    refs = ["HEAD", *(ref for ref in listed if not ref.startswith(OF_RUNS))]
    blobs: dict[str, str] = {}
    for ref in refs:
        for line in git(root, "ls-tree", "-r", ref).splitlines():
            details, _, path = line.partition("\t")
            if path.endswith(".dvc") or path == LOCK_FILE:
                blobs[details.split()[2]] = path
    for blob, path in blobs.items():
        text = git(root, "cat-file", "-p", blob)
        if path == LOCK_FILE:
            kept.add("a committed dvc.lock", _yaml(text))
        else:
            kept.hashes |= _pointed(text)
    kept.reasons.append(f"data of {len(refs)} branches and tags")


def _pointed(text: str) -> set[str]:
    return {out["md5"] for out in _yaml(text).get("outs", []) if out.get("md5")}


def _yaml(text: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return document if isinstance(document, dict) else {}


def expanded(hashes: Iterable[str], objects: Objects) -> Iterator[str]:
    """The hashes, and those of the files of every folder among them."""
    for md5 in hashes:
        yield md5
        if md5.endswith(".dir"):
            yield from (objects.files("", md5) or {}).values()
