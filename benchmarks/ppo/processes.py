"""Runs a measurement in a fresh process, so that its peak memory is its own; TRL 1.12.0 is on theirs' path alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.ppo.workload import Workload

ROOT = Path(__file__).parents[2]
NEEDS_TRL = ("train-theirs", "sampler-theirs", "curves-theirs", "losses")


def run(task: str, work: Workload, trl: Path) -> dict[str, Any]:
    """The result of `python -m benchmarks.ppo.child TASK`; `trl` is the folder that TRL 1.12.0 was installed into.

    Raises:
        ValueError: no TRL there. RuntimeError: the process failed; the message ends with what it wrote.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(work.threads)}
    if task in NEEDS_TRL:
        if not (trl / "trl" / "experimental" / "ppo").is_dir():
            raise ValueError(f"{trl} holds no TRL with PPOTrainer; `make bench-ppo` installs TRL 1.12.0 there")
        environment["PYTHONPATH"] = str(trl)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        command = [sys.executable, "-m", "benchmarks.ppo.child", task, str(out), json.dumps(asdict(work))]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{task} failed:\n{done.stderr[-3000:]}")
        return json.loads(out.read_text(encoding="utf-8"))
