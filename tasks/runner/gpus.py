"""One GPU, one stage: each GPU of a machine is held by a file lock that the stage's own process keeps.

The kernel frees the lock with the process, however that ends. A machine setting and no parameter: which GPU a stage
gets changes no result. Nothing here imports torch, which must be told before it looks which GPUs are there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.common import file_lock
from tasks.common.errors import ConfigError
from tasks.common.progress import live_folder

VISIBLE, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
COUNT_VARIABLE = "PLUMB_GPUS"  # how many there are, where nvidia-smi cannot say
FOLDER_VARIABLE = "PLUMB_GPU_LOCKS"  # a folder that all users and containers of the machine share
FILE = "gpus.json"  # in PLUMB_LIVE: what the stage waited for and got, for the ledger
POLL_SECONDS = 0.5
_held: list[int] = []  # open for as long as this process lives


def wanted_gpus(pipeline: Mapping[str, Any], stage: str) -> int:
    """`meta.gpus` of a stage in a parsed dvc.yaml; 0 where nothing is said."""
    entry = pipeline["stages"][stage.partition("@")[0]]
    meta = entry.get("do", entry).get("meta") or {}
    return int(meta.get("gpus", 0))


def take(count: int) -> list[str]:
    """Wait for `count` GPUs (or all, where there are fewer), hold them, and let this process see no others.

    A CUDA_VISIBLE_DEVICES that is set says which may be taken. A stage that wants none sees none. Under `accelerate
    launch` the first process of the machine holds what all of them see. Where there is no GPU nothing happens. Returns
    the GPUs that are held.
    """
    devices = present()
    visible = chosen(devices, os.environ.get(VISIBLE))
    if not visible:
        return []
    together = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if together > 1 and os.environ.get("LOCAL_RANK", "0") != "0":
        return []
    if together > 1:
        visible = visible[:together]  # each process takes the one of its LOCAL_RANK
        count = together
    count = min(count, len(visible))
    _note({"since": time.time()} if count else None)
    started = time.time()
    held = _hold(visible, count)
    if together == 1:
        os.environ[VISIBLE] = ",".join(held)
        os.environ.setdefault(ORDER, "PCI_BUS_ID")  # as nvidia-smi counts, and we with it
    _note({"gpus": held, "waited": time.time() - started} if count else None)
    return held


def present() -> list[tuple[str, str]]:
    """(index, uuid) of every GPU of this machine, in nvidia-smi's order.

    Raises ConfigError for a PLUMB_GPUS that is no number.
    """
    given = os.environ.get(COUNT_VARIABLE)
    if given is not None:
        if not given.isdigit():
            raise ConfigError(f"{COUNT_VARIABLE}={given!r} is not the number of GPUs; set it to 0 or more, or unset it")
        return [(str(index), str(index)) for index in range(int(given))]
    command = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    parts = (row.partition(",") for row in answer.stdout.splitlines())
    return [(index.strip(), uuid.strip()) for index, _, uuid in parts]


def chosen(devices: Sequence[tuple[str, str]], visible: str | None) -> list[str]:
    """The uuids that CUDA_VISIBLE_DEVICES names, as CUDA reads it: up to the first entry that is no GPU."""
    if visible is None:
        return [uuid for _, uuid in devices]
    visible_gpus: list[str] = []
    for name in (part.strip() for part in visible.split(",")):
        if devices and name.startswith("MIG-"):
            match = [name]
        else:
            match = [uuid for index, uuid in devices if name == index or (name and uuid.startswith(name))]
        if len(match) != 1:
            break
        visible_gpus += [uuid for uuid in match if uuid not in visible_gpus]
    return visible_gpus


def lock_folder() -> Path:
    """Where the locks of this machine lie: not in PLUMB_STATE, which machines may share and projects do not."""
    folder = Path(os.environ.get(FOLDER_VARIABLE) or Path(tempfile.gettempdir()) / "plumb-gpu-locks")
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o1777)
    return folder


def _hold(devices: Sequence[str], count: int) -> list[str]:
    """Hold `count` of the devices: one as soon as any is free, several one after the other.

    Whoever wants several waits in a queue, and keeps what it has got: of those who hold a part only one can wait.
    """
    if not count:
        return []
    folder = lock_folder()
    queue = _open(folder / "queue") if count > 1 else None
    if queue is not None:
        while not file_lock.take(queue):
            time.sleep(POLL_SECONDS)
    held: list[str] = []
    announced = False
    while len(held) < count:
        for device in devices:
            if device not in held and len(held) < count and _try(folder / device):
                held.append(device)
        if len(held) < count:
            if not announced:
                print(f"waiting for {count - len(held)} GPU: {', '.join(devices)} are held by others", file=sys.stderr)
                announced = True
            time.sleep(POLL_SECONDS)
    if queue is not None:
        os.close(queue)
    return sorted(held, key=list(devices).index)


def _try(path: Path) -> bool:
    handle = _open(path)
    if not file_lock.take(handle):
        os.close(handle)
        return False
    _held.append(handle)
    return True


def _open(path: Path) -> int:
    """To be read only, and without O_CREAT where it is there: a sticky folder forbids that with another user's file."""
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)


# --- for the ledger ---


def note_peak() -> None:
    """Add the most GPU memory that torch held in this process, in bytes, to what the flow reads."""
    torch = sys.modules.get("torch")
    if not _held or torch is None or not torch.cuda.is_available():
        return
    peak = sum(torch.cuda.max_memory_reserved(index) for index in range(torch.cuda.device_count()))
    _note({**_noted(), "peak_bytes": int(peak)})


def _noted() -> dict[str, Any]:
    folder = live_folder()
    try:
        return json.loads((folder / FILE).read_text(encoding="utf-8")) if folder else {}
    except (OSError, ValueError):
        return {}


def _note(document: Mapping[str, Any] | None) -> None:
    """Write gpus.json where the flow looks; nowhere without a flow."""
    folder = live_folder()
    if folder is None or document is None:
        return
    path = folder / FILE
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(document), encoding="utf-8")
    partial.replace(path)
