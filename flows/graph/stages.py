"""The graph of stages as dvc.yaml draws it, and what DVC says about each: current, or would run and why.

Everything is read through DVC's own loader, in this process: a whole status costs milliseconds where the `dvc`
command costs most of a second per stage. Reading takes no DVC lock: the flow holds the project's own (see
`flows/alignment/local.py`), and the worst that a half-written dvc.lock can do is to send a current stage to
`dvc repro`, which then finds it current.
"""

import contextlib
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from flows.graph.forecast import Forecast, Status, meet_on_disk, pulled_before
from flows.graph.inputs import absent_inputs
from flows.graph.reasons import flatten, is_params, reasons

T = TypeVar("T")


@dataclass(frozen=True)
class Output:
    """One output of a stage: `path` relative to the project, `md5` and `size` (bytes) once it was made."""

    path: str
    kind: str
    md5: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class Stage:
    """One stage of dvc.yaml; `upstream` are the names of the stages whose outputs it reads."""

    name: str
    cmd: str
    upstream: tuple[str, ...]
    deps: tuple[str, ...]
    outs: tuple[Output, ...]
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """What dvc.yaml expects it to take."""
        return float(self.meta.get("seconds", 30))

    @property
    def timeout(self) -> float | None:
        """Seconds after which this stage is stopped, where dvc.yaml says so; else the params' limit holds."""
        return float(self.meta["timeout"]) if "timeout" in self.meta else None


class Graph:
    """dvc.yaml of the project at `root`, in the order in which its stages can run.

    Raises ValueError with one line when dvc.yaml or params.yaml cannot be read.
    """

    def __init__(self, root: Path):
        from dvc.repo import Repo

        logging.getLogger("dvc").setLevel(logging.CRITICAL)
        self.root = root
        self._lock = threading.RLock()
        self._repo = _one_line(lambda: Repo(str(root)))
        self._loaded: dict[str, Any] = {}
        self.stages: dict[str, Stage] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read dvc.yaml, params.yaml and dvc.lock again."""
        with self._lock:
            self._repo._reset()
            index = _patiently(lambda: self._repo.index)
            graph = _one_line(lambda: index.graph)
            self._loaded = {stage.name: stage for stage in index.stages if stage.cmd}
            order = _order(graph, list(self._loaded.values()))
            self.stages = {stage.name: self._describe(stage, graph) for stage in order}

    def status(self, name: str) -> Status:
        """Whether DVC would run the stage, and why, given what is on disk now (upstream stages are not asked)."""
        with self._lock:
            return Status(tuple(_patiently(lambda: list(reasons(self._loaded[name], meet_on_disk)))))

    def plan(self, remote: str | None = None) -> dict[str, Status]:
        """What would become of every stage now: whether it is current, else why not and whether the cache holds it.

        A stage that stands between is looked up by what the stages before it would restore. remote: a DVC remote that
        is asked, too, for what the cache of runs here knows of.
        """
        # DVC's cache of runs takes the working directory for the project.
        with self._lock, contextlib.chdir(self.root):
            return _patiently(lambda: self._forecast(remote))

    def hash_of_input(self, path: str) -> str | None:
        """DVC's hash of a file or folder that stages read, by its path in dvc.yaml as params fill it in: as it lies
        there, or as a pull would bring it. None where no stage reads it, or nothing does."""
        with self._lock:
            deps = [dep for stage in self._loaded.values() for dep in stage.deps if not is_params(dep)]
            dep = next((dep for dep in deps if os.path.normpath(dep.def_path) == os.path.normpath(path)), None)
            if dep is None:
                return None
            forecast = Forecast(self._repo, pulled_before(self.root, self._repo.index.stages))
            content = _patiently(lambda: forecast.meet(dep)).content
            return content.value if content else None

    def _forecast(self, remote: str | None) -> dict[str, Status]:
        far = self._repo.cloud.get_remote_odb(remote) if remote else None
        forecast = Forecast(self._repo, pulled_before(self.root, self._repo.index.stages), far)
        return {name: forecast.of(self._loaded[name]) for name in self.stages}

    def absent_inputs(self) -> dict[str, tuple[str, ...]]:
        """Path to the stages that read it, of what is not on disk and that neither a stage nor a pull would bring."""
        with self._lock:
            return absent_inputs(list(self._loaded.values()), pulled_before(self.root, self._repo.index.stages))

    def version(self, name: str) -> str | None:
        """The content hash of command, dependencies (code included) and params, as they are on disk now.

        None while a dependency is missing.
        """
        with self._lock:
            stage = self._loaded[name]
            if not all(dep.exists for dep in stage.deps):
                return None
            return _one_line(lambda: _version(stage, [dep.get_hash() for dep in stage.deps]))

    def made_version(self, name: str) -> str | None:
        """The version of what dvc.lock says was made last; None if nothing was."""
        stage = self._loaded[name]
        hashes = [dep.hash_info for dep in stage.deps]
        made = all(hashes) and all(out.hash_info for out in stage.outs)
        return _version(stage, hashes) if made else None

    def dependencies(self, name: str) -> dict[str, str]:
        """Path to md5 of the files that the stage was made from, as dvc.lock names them."""
        deps = self._loaded[name].deps
        return {dep.def_path: dep.hash_info.value for dep in deps if dep.hash_info and not is_params(dep)}

    def params(self, name: str) -> dict[str, Any]:
        """The values of the params that the stage reads, by their dotted names."""
        values: dict[str, Any] = {}
        with self._lock:
            for dep in self._loaded[name].params:
                values.update(flatten(dep.read_params()))
        return values

    def remote_url(self, md5: str, remote: str | None = None) -> str | None:
        """Where a remote keeps the object `md5`; None without a remote."""
        try:
            odb = self._repo.cloud.get_remote_odb(remote)
            return odb.fs.unstrip_protocol(odb.oid_to_path(md5))
        except Exception:  # noqa: BLE001  no remote, or one whose driver is not installed: there is no address to tell
            return None

    def _describe(self, stage, graph) -> Stage:
        upstream = {up.name for up in graph.successors(stage) if up.cmd}
        return Stage(
            name=stage.name,
            cmd=stage.cmd if isinstance(stage.cmd, str) else "\n".join(stage.cmd),
            upstream=tuple(name for name in self._loaded if name in upstream),
            deps=tuple(dep.def_path for dep in stage.deps if not is_params(dep)),
            outs=tuple(_output(out) for out in stage.outs),
            meta=dict(stage.meta or {}),
        )


def _order(graph, stages: list) -> list:
    """Upstream first; among those that could go next, the one that dvc.yaml names first."""
    import networkx

    position = {stage: index for index, stage in enumerate(stages)}
    reversed_graph = graph.subgraph(stages).reverse()
    return list(networkx.lexicographical_topological_sort(reversed_graph, key=position.__getitem__))


def _output(out) -> Output:
    kind = "metric" if out.metric else "plot" if out.plot else "out"
    size = out.meta.size if out.meta else None
    return Output(out.def_path, kind, out.hash_info.value if out.hash_info else None, size)


def _version(stage, hashes: list) -> str:
    keyed = {"cmd": stage.cmd, "deps": {dep.def_path: info.value for dep, info in zip(stage.deps, hashes, strict=True)}}
    return hashlib.sha256(json.dumps(keyed, sort_keys=True, default=str).encode()).hexdigest()


def _one_line(call: Callable[[], T]) -> T:
    from dvc.exceptions import DvcException

    try:
        return call()
    except DvcException as error:
        text = " ".join(str(error).split())
        raise ValueError(f"{text}; `dvc status` shows the place") from error


def _patiently(call: Callable[[], T], seconds: float = 2.0) -> T:
    """Read again for a while: another stage's dvc may be writing dvc.lock at this moment."""
    from dvc.exceptions import DvcException

    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except DvcException:
            if time.monotonic() > deadline:
                return _one_line(call)
            time.sleep(0.05)
