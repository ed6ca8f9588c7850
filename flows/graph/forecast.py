"""What would become of each stage if the graph were brought up to date now: current, restored from the cache, or run.

A restored stage's outputs are known beforehand, by its entry in DVC's cache of runs; so the key of the next stage can
be looked up too, though its inputs are not on disk yet, and so on. What follows a stage that must run is unknown.
"""

import copy
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from flows.graph.reasons import Met, input_reasons, is_params, reasons


@dataclass(frozen=True)
class Status:
    """`current`, or the reasons why a stage is not; `restored` when cache or remote hold exactly what it would make."""

    reasons: tuple[str, ...] = ()
    restored: bool = False

    @property
    def current(self) -> bool:
        return not self.reasons

    @property
    def action(self) -> str:
        """What `plumb align` would do: current (nothing), restore or run."""
        return "current" if self.current else "restore" if self.restored else "run"


@dataclass(frozen=True)
class _Coming:
    """An output that is not on disk as it will be: DVC's object for it (None: unknown) and the stage that makes it."""

    out: Any
    maker: str | None


class Forecast:
    """Asked for one stage after the other, upstream first; reads hashes of what is on disk once.

    pulled: DVC's stages of the *.dvc files that are pulled before any stage starts. far: DVC's store of a remote from
    which stages are restored, too. The working directory must be the project: DVC's cache of runs takes it for that.
    """

    def __init__(self, repo, pulled: Iterable[Any], far: Any = None):
        self._repo, self._far = repo, far
        self._on_disk: dict[str, Met] = {}
        self._coming: dict[str, _Coming] = {}
        for out in (out for pointer in pulled for out in pointer.outs):
            if _would_be_pulled(out):
                self._coming[out.fs_path] = _Coming(out, None)

    def of(self, stage) -> Status:
        """The status of this stage of DVC's, when all stages before it have been asked for."""
        why = tuple(reasons(stage, self.meet))
        if not why:
            return Status()
        outs = self._cached_outs(stage)
        known = {out.def_path: out for out in outs or ()}
        for out in stage.outs:
            self._coming[out.fs_path] = _Coming(known.get(out.def_path), stage.name)
        return Status(why, restored=outs is not None)

    def _cached_outs(self, stage) -> list[Any] | None:
        """DVC's outputs, with their hashes, that it would restore; None if the stage must run."""
        if not stage.changed_stage() and all(out.hash_info for out in stage.outs):
            if not any(input_reasons(stage, self.meet)):
                # DVC then restores what dvc.lock names, and does not ask its cache of runs.
                return list(stage.outs) if self._has(stage) else None
        twin = self._as_it_will_be(stage)
        return self._recorded_outs(twin) if twin else None

    def _recorded_outs(self, stage) -> list[Any] | None:
        from dvc.exceptions import DvcException
        from dvc.stage.cache import _can_hash

        cache = self._repo.stage_cache
        try:
            entry = cache._load(stage) if _can_hash(stage) else None
            recorded = cache._create_stage(entry, wdir=stage.wdir) if entry else None
            return list(recorded.outs) if recorded and self._has(recorded) else None
        except (DvcException, OSError):
            # A cache that cannot be read restores nothing.
            return None

    def _has(self, stage) -> bool:
        """Whether the cache, or the remote, holds all outputs. A remote that has the listing of a folder has it all."""
        return stage.outs_cached() or all(out.use_cache and self._has_out(out) for out in stage.outs)

    def _has_out(self, out) -> bool:
        if not out.changed_cache():
            return True
        try:
            return self._far is not None and self._far.exists(out.hash_info.value)
        except OSError:  # a remote that does not answer restores nothing
            return False

    def _as_it_will_be(self, stage):
        """A copy of the stage whose dependencies have the hashes that it would meet; None if one is unknown."""
        from dvc_data.hashfile.meta import Meta

        twin = copy.copy(stage)
        twin.deps = [copy.copy(dep) for dep in stage.deps]
        for dep in twin.deps:
            content = _params_now(dep) if is_params(dep) else self.meet(dep).content
            if content is None:
                return None
            # The old meta holds the old hash, and DVC would write that one into the key.
            dep.hash_info, dep.meta = content, Meta()
            # DVC asks the disk otherwise, where the input need not be yet.
            dep.get_hash = lambda content=content: content
        return twin

    def meet(self, dep) -> Met:
        """What a stage would find at this dependency of DVC's, a file, when all before it have been asked for."""
        path = dep.fs_path
        for place in (path, *map(str, PurePath(path).parents)):
            if place in self._coming:
                coming = self._coming[place]
                return Met(_content(coming.out, path), coming.maker)
        below = [coming for place, coming in self._coming.items() if place.startswith(path + os.sep)]
        if below:
            # A folder of which a part is still to come.
            return Met(None, below[0].maker)
        if path not in self._on_disk:
            self._on_disk[path] = meet_on_disk(dep)
        return self._on_disk[path]


def meet_on_disk(dep) -> Met:
    """What is there now, whatever upstream stages would do."""
    return Met(dep.get_hash() if dep.exists else None)


def pulled_before(root: Path, stages: Iterable[Any]) -> list[Any]:
    """DVC's stages of the *.dvc files that `plumb align` pulls (see `flows.storage.data.pointers`)."""
    return [stage for stage in stages if not stage.cmd and (root / "data") in Path(stage.path).parents]


def _would_be_pulled(out) -> bool:
    """Missing, or an older state of the data that the cache holds too; edited data stays as it is."""
    if not out.exists:
        return True
    content = out.get_hash()
    return content != out.hash_info and out.cache.exists(content.value)


def _content(out, path: str):
    """DVC's hash of `path`, which is the output or lies in it."""
    # Only old projects name their contents otherwise; such a name says nothing about today's.
    if out is None or not out.hash_info or out.hash_info.name != "md5":
        return None
    if path == out.fs_path:
        return out.hash_info
    listing = out.get_obj(filter_info=path)
    return listing.hash_info if listing else None


def _params_now(dep):
    from dvc.dependency.param import MissingParamsError

    try:
        return dep.get_hash()
    except MissingParamsError:
        return None
