"""What a graph's results follow from, and getting back what was made from exactly that."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.graph.stages import Graph

CHAMPION = "data/champion"  # the package of who serves, which evaluate and gate read


def inputs(root: Path) -> dict[str, Any]:
    """What determines every result: commands and params by stage, and the md5 of each file that no stage makes.

    Data that a .dvc file tracks goes by that pointer, so it need not be here. Raises ValueError as `Graph` does.
    """
    from dvc.repo import Repo

    graph = Graph(root)
    loaded = Repo(str(root)).index.stages
    outs = [(out.fs_path, stage, out) for stage in loaded for out in stage.outs]
    files: dict[str, str | None] = {}
    for dep in [dep for stage in loaded if stage.cmd for dep in stage.deps if not hasattr(dep, "params")]:
        owner, out = next(((stage, out) for path, stage, out in outs if _lies_in(dep.fs_path, path)), (None, None))
        if dep.def_path not in files and not (owner and owner.cmd):
            files[dep.def_path] = _content(dep, out)
    stages = {name: {"cmd": stage.cmd, "params": graph.params(name)} for name, stage in graph.stages.items()}
    return {"stages": stages, "files": files}


def inputs_hash(inputs: Mapping[str, Any]) -> str:
    """One hash of what `inputs` says; who is champion is left out, since that is compared apart."""
    files = {path: md5 for path, md5 in inputs["files"].items() if path != CHAMPION}
    text = json.dumps({**inputs, "files": files}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def restore(root: Path, name: str, remote: str | None = None) -> bool:
    """Restore the outputs of exactly this command, code, data and params, from the cache or the remote (else: default).

    False when neither has them, or the cache of runs here does not know of them.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    # DVC's cache of runs takes the working directory for the project.
    with contextlib.chdir(root):
        repo = Repo(str(root), _wait_for_lock=True, config={"core": {"remote": remote}} if remote else None)
        stage = repo.stage.load_one(name=name)
        try:
            with repo.lock:
                repo.stage_cache.restore(stage, pull=True)
        except (DvcException, OSError):
            return False
        return True


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def _content(dep, tracked) -> str | None:
    """The md5 of a source; `tracked` is the output of the .dvc file that it lies in, if it lies in one."""
    if tracked is not None and tracked.fs_path == dep.fs_path:
        return tracked.hash_info.value
    if dep.exists:
        return dep.get_hash().value
    return f"in {tracked.hash_info.value}" if tracked is not None else None
