"""One GPU, one stage: locks between real processes. What the driver would say is said by a script."""

import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from tasks import gpus
from tests.import_closure import ROOT

GRAPH = {"stages": {"one": {"meta": {"gpus": 1}}, "two": {"meta": {"gpus": 2}}, "none": {"cmd": "x"},
                    "many": {"foreach": {"a": {}}, "do": {"meta": {"gpus": 1}}}}}  # fmt: skip
HOLDER = """
import os, sys, time
from tasks import gpus
graph = {"stages": {"s": {"meta": {"gpus": int(sys.argv[1])}}}}
print("held", ",".join(gpus.hold(graph, "s")), os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
time.sleep(60)
"""


@pytest.fixture()
def machine(tmp_path, monkeypatch):
    """A machine with two GPUs and its own locks."""
    script = tmp_path / "bin" / "nvidia-smi"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\nprintf '0, GPU-aaaa\\n1, GPU-bbbb\\n'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv(gpus.FOLDER_VARIABLE, str(tmp_path / "locks"))
    for name in (gpus.VISIBLE, "RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    yield script
    while gpus._locks:
        gpus._locks.pop().close()


def test_what_a_stage_wants():
    assert [gpus.wanted_gpus(GRAPH, name) for name in ("one", "two", "none", "many@a", "absent")] == [1, 2, 0, 1, 0]
    ours = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    assert gpus.wanted_gpus(ours, "ppo") == 1 and gpus.wanted_gpus(ours, "gate") in (0, 1)


@pytest.mark.parametrize(
    ("named", "seen"),
    [
        (None, ["GPU-aaaa", "GPU-bbbb"]),
        ("", []),
        ("-1", []),
        ("1", ["GPU-bbbb"]),
        ("GPU-bbbb,0", ["GPU-bbbb", "GPU-aaaa"]),
    ],
)
def test_what_is_visible(machine, monkeypatch, named, seen):
    if named is not None:
        monkeypatch.setenv(gpus.VISIBLE, named)
    assert gpus.visible_gpus() == seen


def test_without_a_driver_nothing_is_held(machine, monkeypatch):
    machine.write_text("#!/bin/sh\nexit 9\n")
    assert gpus.hold(GRAPH, "one") == [] and gpus.VISIBLE not in os.environ
    machine.unlink()
    monkeypatch.setenv("PATH", str(machine.parent))
    assert gpus.hold(GRAPH, "one") == []


def test_the_main_process_holds_for_all(machine, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert gpus.hold(GRAPH, "one") == ["GPU-aaaa", "GPU-bbbb"] and gpus.VISIBLE not in os.environ
    monkeypatch.setenv("RANK", "1")
    assert gpus.hold(GRAPH, "one") == []


def holder(number):
    return subprocess.Popen([sys.executable, "-c", HOLDER, str(number)], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_stages_take_turns_and_a_killed_one_frees_its_gpu(machine):
    """Three want one each, of two GPUs; the third gets that of the one that is killed, and then one wants both."""
    started = [holder(1), holder(1)]
    try:
        said = sorted(process.stdout.readline() for process in started)
        assert said == ["held GPU-aaaa GPU-aaaa\n", "held GPU-bbbb GPU-bbbb\n"]
        started.append(holder(1))
        assert started[2].stdout.readline() == "waiting for 1 GPU: other stages hold them\n"
        os.kill(started[0].pid, signal.SIGKILL)
        begun = time.monotonic()
        assert started[2].stdout.readline().startswith("held GPU-") and time.monotonic() - begun < 10
        started.append(holder(2))
        assert started[3].stdout.readline() == "waiting for 2 GPUs: other stages hold them\n"
        os.kill(started[1].pid, signal.SIGKILL)
        os.kill(started[2].pid, signal.SIGKILL)
        assert started[3].stdout.readline() == "held GPU-aaaa,GPU-bbbb GPU-aaaa,GPU-bbbb\n"
    finally:
        for process in started:
            process.kill()
            process.wait()
            process.stdout.close()
