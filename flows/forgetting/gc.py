"""`plumb gc`: free what no kept run needs.

What would go is said first. Whatever goes, goes so that a kill half-way only means that the next time frees the rest.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from flows.alignment.local import Prefect, only_one
from flows.forgetting.keeping import Kept, expanded, is_kept, what_to_keep
from flows.forgetting.purge import Purge
from flows.forgetting.tombstones import tombstones
from flows.history.recorded import Recorded, recorded_runs
from flows.incoming import intake
from flows.storage import gc_lock
from flows.storage.objects import FOLDER_ENDING, Objects
from flows.storage.removing import Item, folder_item, left_over, remove
from flows.storage.workspace import project_in, repository
from tasks.common import file_lock

CLONES_NOT_OURS = ("intake", "promotions")  # come and go with the command that made them
RUN_CACHE, OBJECTS, CLONES, CHECKPOINTS, LOGS, MODELS, LEFT_OVER = (
    "run-cache entries", "objects in the cache", "clones", "checkpoints", "logs of stages", "fetched models",
    "left over by a gc that was killed",
)  # fmt: skip


@dataclass
class Plan:
    """What is kept and why, what would go, by kind in the order in which it goes; and what is purged on request."""

    kept: Kept
    items: dict[str, list[Item]] = field(default_factory=dict)
    purge: Purge | None = None
    shared_cache: bool = False

    @property
    def bytes(self) -> int:
        return sum(item.bytes for items in self.items.values() for item in items)

    def as_document(self) -> dict[str, Any]:
        """As JSON."""
        free = {kind: {"count": len(items), "bytes": sum(item.bytes for item in items),
                       "paths": [str(item.path) for item in items]} for kind, items in self.items.items()}  # fmt: skip
        return {"kept": self.kept.reasons, "free": free, "purge": self.purge.as_document() if self.purge else None}

    @property
    def empty(self) -> bool:
        return not any(self.items.values()) and (self.purge is None or self.purge.empty)


def clones_in(root: Path, state: Path) -> list[Path]:
    """The clones of the project below PLUMB_STATE, in which runs with other params or at other commits happened."""
    clones = [path.parent for path in sorted(state.glob("[!.]*/[!.]*/.git")) if path.parts[-3] not in CLONES_NOT_OURS]
    return [place for place in (project_in(root, clone) for clone in clones) if (place / ".dvc").is_dir()]


@contextlib.contextmanager
def nobody_else(root: Path, state: Path) -> Iterator[list[Path]]:
    """The clones; meanwhile no run, promotion or intake of this machine begins.

    Raises ValueError where one is under way.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(gc_lock.no_run_under_way(state))
        clones = clones_in(root, state)
        for folder in (root, *clones):
            stack.enter_context(only_one(folder))
        stack.enter_context(intake.alone(intake.clone_place(state)))
        yield clones


def make_plan(
    root: Path, state: Path, clones: list[Path], client, name: str, last: int, remotes: list[str],
    prefect: Prefect | None = None,
) -> Plan:  # fmt: skip
    """What would go; `prefect` is asked where a row was forgotten.

    Raises ValueError where it is not known what must stay, or for a remote that does not exist.
    """
    runs = list(recorded_runs(client))
    kept = what_to_keep(root, clones, client, name, last, runs)
    objects = Objects(root)
    plan = Plan(kept, shared_cache=not objects.cache_folder.is_relative_to(root.resolve()))
    if runs:
        plan.items = _unneeded(plan, state, clones, objects, runs)
    else:  # an empty store is more often the wrong one than that of a project without runs
        kept.reasons.append("all the rest: MLflow knows no run of plumb align (is MLFLOW_TRACKING_URI the right one?)")
    stones = tombstones(root)
    if stones:
        plan.purge = Purge.look(root, state, kept.folders, client, objects, stones, remotes, prefect)
    return plan


def carry_out(plan: Plan) -> None:
    """Free it. Killed half-way, the next plan holds what is left."""
    if plan.purge is not None:
        plan.purge.carry_out()  # first: what it finds the rows by is among what else goes
    for items in plan.items.values():
        for item in items:
            remove(item.path)


# --- by kind ---


def _unneeded(
    plan: Plan, state: Path, clones: list[Path], objects: Objects, runs: list[Recorded]
) -> dict[str, list[Item]]:
    """What goes, by kind, in the order in which it goes."""
    kept = plan.kept
    keep = set(expanded(kept.hashes, objects))
    known = None
    if plan.shared_cache:  # with other projects: only what our own runs are known to have made
        known = set(expanded((md5 for run in runs for md5 in _hashes(run)), objects))
    free = {md5 for md5 in objects.all() if md5 not in keep and (known is None or md5 in known)}
    return {
        RUN_CACHE: list(_run_cache(objects.run_cache, keep, free, plan.shared_cache)),
        OBJECTS: _objects(objects, free),
        CLONES: [folder_item(repository(clone)) for clone in clones if not is_kept(kept, clone)],
        CHECKPOINTS: list(_old(state / "checkpoints", kept.since, state / "locks")),
        LOGS: list(_old(state / "runs", kept.since)),
        MODELS: list(_models(state / "models", kept)),
        LEFT_OVER: list(left_over(state)),
    }


def _hashes(run: Recorded) -> Iterator[str]:
    for stage in run.stages:
        yield from stage.inputs.values()
        yield from stage.outputs.values()


def _run_cache(folder: Path, keep: set[str], free: set[str], shared: bool) -> Iterator[Item]:
    """Entries whose outputs go; they would promise what is no longer there."""
    for path in sorted(folder.glob("*/*/*")):
        try:
            entry = yaml.safe_load(path.read_text(encoding="utf-8"))
            outs = {out["md5"] for out in entry["outs"]}
        except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError):
            continue
        if outs & free or (not shared and not outs <= keep):
            yield Item(path, path.stat().st_size)


def _objects(objects: Objects, free: Iterable[str]) -> list[Item]:
    """Files first: a listing says which files there were, and is needed to find them again after a kill."""
    ordered = sorted(free, key=lambda md5: (md5.endswith(FOLDER_ENDING), md5))
    return [Item(path, path.stat().st_size) for path in map(objects.cache_path, ordered) if path.exists()]


def _old(folder: Path, since: float | None, locks: Path | None = None) -> Iterator[Item]:
    """Folders that nobody has written to since the oldest run that is kept began, nor holds now."""
    for path in sorted(folder.glob("[!.]*")) if since is not None else ():
        newest = max((p.lstat().st_mtime for p in (path, *path.rglob("*"))), default=0.0)
        if newest < since and not (locks and file_lock.is_held(locks / path.name)):
            yield folder_item(path) if path.is_dir() else Item(path, path.stat().st_size)


def _models(folder: Path, kept: Kept) -> Iterator[Item]:
    """Copies that plumb chat fetched of versions that are not kept."""
    wanted = {hashlib.sha256(f"{v.uri} {v.source}".encode()).hexdigest()[:16] for v in kept.versions}
    for path in sorted(folder.glob("[!.]*")):
        if path.name not in wanted:
            yield folder_item(path)


# --- as text ---


def show(plan: Plan, console) -> None:
    """Print what is kept and what would go."""
    say = partial(console.print, soft_wrap=True)
    say("Kept: " + "; ".join(plan.kept.reasons))
    if plan.shared_cache:
        say("The cache lies outside this project: only what its recorded runs made is freed there.")
    for kind, items in plan.items.items():
        if items:
            say(f"{len(items)} {kind}: {_size(sum(item.bytes for item in items))}")
            for item in items if kind not in (RUN_CACHE, OBJECTS) else ():  # their names are hashes
                say(f"  {item.path}", style="dim")
    if plan.purge is not None and not plan.purge.empty:
        _show_purge(plan.purge, say)
    if plan.empty:
        say("Nothing to free.")


def _show_purge(purge: Purge, say) -> None:
    rows = ", ".join(sorted({stone.row or "?" for stone in purge.stones}))
    say(f"Purged on request ({rows}):")
    counts = {
        "objects in the cache": len(purge.cached),
        **{f"objects in the remote {name}": len(hashes) for name, hashes in purge.far.items()},
        "files in working trees and logs": len(purge.files),
        "answers of judges": purge.answers,
        "files and traces in MLflow": len(purge.logged),
        "artifacts in Prefect": len(purge.shown),
    }
    for what, count in counts.items():
        if count:
            say(f"  {count} {what}")


def _size(number: int) -> str:
    return f"{number / 1e6:,.1f} MB"
