"""Each GPU of this machine belongs to one stage at a time: by a file lock that the stage's process holds.

The kernel frees a lock with its process, however that ends, so nobody clears anything up. Stages of other projects and
other runs wait as well: the locks lie in the machine's temporary folder, named by the GPU's own id.
"""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

VISIBLE = "CUDA_VISIBLE_DEVICES"
FOLDER_VARIABLE = "PLUMB_GPU_LOCKS"  # for containers that share a machine's GPUs: a folder that they share, too
POLL_SECONDS = (0.2, 1.0)
QUERY_SECONDS = 60.0


def wanted_gpus(pipeline: Mapping[str, Any], stage: str) -> int:
    """How many GPUs dvc.yaml's `meta` gives a stage (`answers@dpo` too)."""
    entry = pipeline["stages"].get(stage.partition("@")[0], {})
    return int(((entry.get("do") or entry).get("meta") or {}).get("gpus", 0))


def visible_gpus() -> list[str]:
    """The ids of the GPUs that this process may use; none where there is no driver or CUDA_VISIBLE_DEVICES is empty."""
    named = os.environ.get(VISIBLE)
    if named == "" or shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=QUERY_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return []
    if answer.returncode != 0:
        return []
    rows = [[part.strip() for part in line.split(",")] for line in answer.stdout.splitlines() if "," in line]
    by_name = {name: uuid for index, uuid in rows for name in (index, uuid)}
    if named is None:
        return [uuid for _, uuid in rows]
    return [by_name[name.strip()] for name in named.split(",") if name.strip() in by_name]


def hold(pipeline: Mapping[str, Any], stage: str) -> list[str]:
    """Wait for the GPUs of a stage, hold them until this process ends, and let torch see no others; returns their ids.

    Of `accelerate launch`'s processes the main one holds the GPUs of all, which are the first that are visible. Before
    torch is imported: it reads CUDA_VISIBLE_DEVICES then.
    """
    wanted, visible = wanted_gpus(pipeline, stage), visible_gpus()
    if not wanted or not visible or os.environ.get("RANK", "0") != "0":
        return []
    together = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if together > 1:
        return _wait(visible[:together], together)
    held = _wait(visible, min(wanted, len(visible)))
    os.environ[VISIBLE] = ",".join(held)
    return held


_locks: list[Any] = []  # open until the process ends


def _wait(candidates: Sequence[str], number: int) -> list[str]:
    """Hold `number` of these GPUs, all at once or none, so that two who want several never wait for each other."""
    said = False
    while True:
        locks = {gpu: lock for gpu in candidates if (lock := _try(gpu)) is not None}
        for gpu in list(locks)[number:] if len(locks) >= number else list(locks):
            locks.pop(gpu).close()
        if locks:
            _locks.extend(locks.values())
            return list(locks)
        if not said:
            print(f"waiting for {number} GPU{'s' * (number > 1)}: other stages hold them", flush=True)
            said = True
        time.sleep(random.uniform(*POLL_SECONDS))


def _try(gpu: str) -> Any:
    """The lock of a GPU, held; None where somebody else holds it."""
    folder = Path(os.environ.get(FOLDER_VARIABLE) or Path(tempfile.gettempdir()) / "plumb-gpus")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / gpu
    if not path.exists():
        path.touch()
    lock = path.open("rb")  # to be locked by other users as well, a file need only be readable
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock
