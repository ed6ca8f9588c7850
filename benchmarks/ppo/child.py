"""`python -m benchmarks.ppo.child TASK OUT WORKLOAD...`: one measurement in a process of its own, as JSON in OUT."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmarks.ppo.workload import Workload

SEEDS = (0, 1, 2)


def _curves(train: Callable[[Workload], dict[str, Any]], work: Workload) -> dict[str, Any]:
    return {"curves": [train(replace(work, seed=seed))["scores"] for seed in SEEDS]}


def _side(task: str) -> Callable[[Workload], dict[str, Any]]:
    """The function behind `train-ours`, `sampler-theirs`, `curves-ours` and so on; TRL is imported for theirs alone."""
    what, _, side = task.partition("-")
    if side == "ours":
        from benchmarks.ppo import ours as module
    else:
        from benchmarks.ppo import theirs as module
    return (lambda work: _curves(module.train, work)) if what == "curves" else getattr(module, what)


def _run(task: str, work: Workload) -> dict[str, Any]:
    if task == "losses":
        from benchmarks.ppo.losses import compare

        return compare(work)
    if task in ("peaks", "prepare"):
        from benchmarks.ppo import material

        return getattr(material, task)(work)
    if task in ("sft", "dpo"):
        from benchmarks.ppo.utilisation import measure

        return measure(task, work)
    return _side(task)(work)


def main() -> None:
    task, out, given = sys.argv[1:]
    work = Workload(**json.loads(given))
    torch.set_num_threads(work.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    Path(out).write_text(json.dumps(_run(task, work)), encoding="utf-8")


if __name__ == "__main__":
    main()
