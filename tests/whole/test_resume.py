"""A training stage killed for real goes on from its checkpoint, in another clone too, and never from a foreign one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.import_closure import ROOT
from tests.support.small_project import bytes_below, hearth_project

PATIENCE_SECONDS = 120


def start(project: Path, stage: str, state: Path, live: Path) -> subprocess.Popen:
    live.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PLUMB_STATE": str(state), "PLUMB_LIVE": str(live)}
    return subprocess.Popen([sys.executable, "-m", "tasks", stage], cwd=project, env=environment,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen) -> None:
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, errors.decode()


def kill_at_checkpoint(process: subprocess.Popen, state: Path, pattern: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not list(state.glob(pattern)):
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


def first_step(live: Path) -> int:
    return json.loads((live / "live.jsonl").read_text().splitlines()[0])["done"]


@pytest.mark.slow
def test_sft_killed_goes_on_in_another_clone(tmp_path):
    sections = {"sft": {"epochs": 12.0, "checkpoint_every": 4}}
    clones = [hearth_project(tmp_path / name, **sections) for name in ("a", "b", "c")]
    other = hearth_project(tmp_path / "other", sft={**sections["sft"], "learning_rate": 5e-4})
    state = tmp_path / "state"
    for clone in (*clones, other):
        finish(start(clone, "prepare", state, clone / "live0"))
    killed = start(clones[0], "sft", state, clones[0] / "live")
    kill_at_checkpoint(killed, state, "checkpoints/sft-*/checkpoint-*/complete")
    assert not (clones[0] / "artifacts" / "sft").exists() and not (clones[0] / "metrics" / "sft.json").exists()
    finish(start(other, "sft", state, other / "live"))
    assert first_step(other / "live") == 1, "another learning rate must not resume this checkpoint"
    finish(start(clones[1], "sft", state, clones[1] / "live"))
    assert first_step(clones[1] / "live") > 1, "it began anew instead of resuming"
    finish(start(clones[2], "sft", tmp_path / "fresh", clones[2] / "live"))
    assert first_step(clones[2] / "live") == 1
    assert bytes_below(clones[1] / "artifacts" / "sft") == bytes_below(clones[2] / "artifacts" / "sft")
