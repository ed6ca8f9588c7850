"""What a stage costs whatever it does: sft on a handful of rows as the flow runs it, against a bare script.

Ours is a fresh version of the stage every time: the supervisor and `dvc repro -s`, DVC's hashing and caching, the
stage's process with its imports, and its MLflow run with params, curves, metrics and artifacts, under a parent run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from benchmarks.material import Material
from benchmarks.measure import Comparison, alternate, seconds_above_at_most, timed
from flows import environment
from flows.alignment.session import Session
from flows.alignment.tracking import Tracker
from flows.graph import running
from flows.graph.stages import Graph
from flows.settings import read_settings
from flows.storage import workspace
from tasks.common.rows import write_jsonl

BARE_SCRIPT = Path(__file__).with_name("bare_sft.py")
LIMIT_SECONDS = 5.0
STAGE, ROWS, STEPS = "sft", 8, 2


def fixed_cost(material: Material, repeats: int) -> Comparison:
    """The flow's sft stage against `bare_sft.py`, both training for two steps. In a clone with a cache of its own."""
    place = _clone(material)
    with patch.dict(os.environ):
        for name in [n for n in os.environ if n.startswith(("PLUMB_", "MLFLOW_"))]:
            del os.environ[name]
        environment.prepare(place)
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        run, bare = _stage_way(place), _bare_way(place)
        run()
        bare()
        costs = alternate(lambda: timed(run), lambda: timed(bare), repeats)
    note = f"{ROWS} rows, {STEPS} steps; ours with dvc repro and MLflow run, theirs a script that trains and saves"
    return Comparison("one sft stage in the flow / bare script", *costs, seconds_above_at_most(LIMIT_SECONDS), note)


def _clone(material: Material) -> Path:
    """The working tree as it is, with the base and a few demonstrations in place."""
    changes = {
        "model.path": "data/hearth-base", "sft.epochs": "1.0", "sft.batch_size": str(ROWS // STEPS), "sft.lora": "null",
        "sft.max_length": "100000",
    }  # fmt: skip
    text = workspace.params_text(material.root, None, changes)
    place = workspace.open_workspace(material.root, material.folder / "clone", text)
    (place / "params.yaml").write_text(text, encoding="utf-8")
    (place / ".dvc" / "config.local").unlink()
    shutil.copytree(material.base, place / "data" / "hearth-base", dirs_exist_ok=True)
    write_jsonl(place / "artifacts" / "data" / "demonstrations.jsonl", material.demonstrations[:ROWS])
    return place


def _stage_way(place: Path) -> Callable[[], None]:
    """Runs the stage with another seed each time, so that there is always something to run."""
    template, seeds = (place / "params.yaml").read_text(encoding="utf-8"), iter(range(1, 10**6))
    state = environment.state_dir(place)

    def run() -> None:
        text = workspace.change_params(template, {"runtime.seed": str(next(seeds))})
        (place / "params.yaml").write_text(text, encoding="utf-8")
        session = Session(place, state, Graph(place), read_settings(place), 1, [])
        tracker = Tracker(session)
        session.listeners.append(tracker)
        session.opens("benchmark")
        version = session.graph.version(STAGE)
        folder = running.folder(state, STAGE, version)
        session.begins(STAGE, version, folder)
        stage = running.run_stage(place, STAGE, version, folder, 600.0, session.processes)
        session.ends(stage)
        tracker.close(finished=True)
        assert stage.outcome == "ran" and not tracker.problems, (stage, tracker.problems)

    return run


def _bare_way(place: Path) -> Callable[[], None]:
    """Runs the bare script in a process of its own."""
    demonstrations, out = place / "artifacts" / "data" / "demonstrations.jsonl", place.parent / "bare"
    script = [str(place / "data" / "hearth-base"), str(demonstrations), str(out), str(ROWS // STEPS)]

    def run() -> None:
        shutil.rmtree(out, ignore_errors=True)
        command = [sys.executable, str(BARE_SCRIPT), *script]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    return run
