"""Whose turn it is: one retraining on a machine, one run of stages in a workspace."""

import signal
import subprocess
import sys
import threading

import pytest

from flows.alignment import local
from flows.forgetting import gc
from flows.schedule import retraining
from tests.support import toy


def test_one_at_a_time_and_a_dead_one_holds_nothing(tmp_path):
    code = f"""
import time
from pathlib import Path
from flows.schedule import retraining
with retraining.my_turn(Path({str(tmp_path)!r})):
    print("held", flush=True)
    time.sleep(600)
"""
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=toy.ROOT, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        waited = []

        def waiting():
            waited.append(True)
            other.kill()

        with retraining.my_turn(tmp_path, waiting):
            assert waited == [True] and other.wait() == -signal.SIGKILL, "it did not end by itself, ten minutes later"
    finally:
        other.kill()
        other.wait()


def test_a_workspace_is_waited_for(tmp_path):
    """Stages that were sent here by a retraining that died are still at work when the next one sends them again."""
    came = threading.Event()

    def second():
        with local.only_one(tmp_path, wait=True):
            came.set()

    with local.only_one(tmp_path):
        waiting = threading.Thread(target=second)
        waiting.start()
        assert not came.wait(0.3)
    waiting.join(60)
    assert came.is_set()


def test_nothing_is_freed_while_a_retraining_is_at_work(tmp_path):
    """Also between two of its steps, when no clone is held; and none begins meanwhile."""
    state, began = tmp_path / "state", threading.Event()
    with retraining.my_turn(state), pytest.raises(ValueError, match="a run is under way that uses PLUMB_STATE="):
        with gc.nobody_else(tmp_path, state):
            pass

    def retrain():
        with retraining.my_turn(state):
            began.set()

    with gc.nobody_else(tmp_path, state):
        waiting = threading.Thread(target=retrain)
        waiting.start()
        assert not began.wait(0.3)
    waiting.join(60)
    assert began.is_set()
