"""Where a stage keeps what must survive its own death: resume checkpoints, outside dvc's outs.

The folder is named after the stage, its parameters, and the bytes of all its dependencies, code included; so a
checkpoint made by other code, data or parameters of ours is never found. Versions of libraries are not in the name, and
not in DVC's key either: after an upgrade, a half-finished training goes on from where the older version left it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Mapping

from tasks.common import file_lock
from tasks.common.hashes import content_hash
from tasks.runner.pipeline import Binding

STATE_VARIABLE = "PLUMB_STATE"
STORE_FILE = "verdicts.sqlite"  # of all that judges answered
KEY_LENGTH = 32


def state_root(project: Path = Path(".")) -> Path:
    """PLUMB_STATE, or `plumb-state` beside the DVC cache, which clones of one project share."""
    configured = os.environ.get(STATE_VARIABLE)
    if configured:
        return Path(configured)
    return _cache_folder(project).parent / "plumb-state"


def _cache_folder(project: Path) -> Path:
    """dvc's cache folder, read from its config as dvc reads it, without importing dvc."""
    from configobj import ConfigObj

    for name in ("config.local", "config"):
        file = project / ".dvc" / name
        if not file.is_file():
            continue
        configured = ConfigObj(str(file), encoding="utf-8", interpolation=False).get("cache", {}).get("dir")
        if configured:
            return (file.parent / configured).resolve()
    return (project / ".dvc" / "cache").resolve()


def stage_key(binding: Binding, params: Mapping[str, Any]) -> str:
    """The key of one stage's result: its name, parameters, code and inputs."""
    parts = {
        "stage": binding.stage,
        "params": {section: params[section] for section in binding.params},
        "code": {path: content_hash(Path(path)) for path in binding.code},
        "inputs": {name: content_hash(path) for name, path in binding.inputs.items()},
    }
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def checkpoint_path(stage: str, key: str) -> Path:
    return state_root() / "checkpoints" / f"{stage}-{key}"


@contextmanager
def checkpoint_folder(stage: str, key: str) -> Iterator[Path]:
    """The folder for this stage's resume checkpoints, held alone; it goes when the stage has succeeded.

    Another clone may run the very same stage at the same time: it waits, and then finds the result in the cache or
    trains again, but never writes beside us.
    """
    folder = checkpoint_path(stage, key)
    with file_lock.held(state_root() / "locks" / folder.name):
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)
