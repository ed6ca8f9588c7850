"""One measurement of the comparison, in a child of its own (`benchmarks/child.py`)."""

from __future__ import annotations

from dataclasses import asdict
from importlib import import_module
from typing import Any

from benchmarks import child
from benchmarks.child import Peer
from benchmarks.ppo.workload import Workload

NEEDS_TRL = ("theirs", "losses")


def run(task: str, work: Workload, peer: Peer, **more: Any) -> Any:
    """What a function of this package returns for a workload in a fresh process; `task`: "ours.train".

    Raises ValueError where it needs TRL and there is none, RuntimeError where it fails.
    """
    environment = peer.environment() if task.partition(".")[0] in NEEDS_TRL else {}
    arguments = {"task": task, "work": asdict(work), **more}
    return child.run("benchmarks.ppo.tasks:measure", arguments, environment | {"OMP_NUM_THREADS": str(work.threads)})


def measure(task: str, work: dict[str, Any], **more: Any) -> Any:
    """In the child."""
    import torch
    import transformers

    torch.set_num_threads(work["threads"])
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    module, _, function = task.partition(".")
    return getattr(import_module(f"benchmarks.ppo.{module}"), function)(Workload(**work), **more)
