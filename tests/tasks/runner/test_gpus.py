"""One GPU, one stage: who may see which GPU, and locks that real processes hold, wait for, and lose by `kill -9`."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from flows.costs.gpu_use import GpuUse, forget_use, read_use
from tasks.runner import gpus
from tests.support import toy

TWO = [("0", "GPU-aaaa"), ("1", "GPU-abbb")]
HOLDER = """
import os, sys, time
from tasks.runner import gpus
gpus.take(int(sys.argv[1]))
print(os.environ.get("CUDA_VISIBLE_DEVICES", "unset"), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        (None, ["GPU-aaaa", "GPU-abbb"]),
        ("1", ["GPU-abbb"]),
        ("1,0", ["GPU-abbb", "GPU-aaaa"]),
        ("GPU-ab", ["GPU-abbb"]),  # a beginning that is unique
        ("GPU-a", []),
        ("0,7,1", ["GPU-aaaa"]),  # CUDA reads up to the first that is none
        ("", []),
        ("-1", []),
        ("0,0", ["GPU-aaaa"]),
        ("MIG-x", ["MIG-x"]),
    ],
)
def test_visible_devices_as_cuda_reads_them(visible, found):
    assert gpus.chosen(TWO, visible) == found


def test_no_gpu_is_none_whatever_is_visible():
    assert gpus.chosen([], "MIG-x") == gpus.chosen([], "0") == gpus.chosen([], None) == []


def test_gpus_of_a_stage_stand_in_its_meta():
    pipeline = {"stages": {"a": {"meta": {"gpus": 2}}, "b": {}, "c": {"foreach": {}, "do": {"meta": {"gpus": 1}}}}}
    assert [gpus.wanted_gpus(pipeline, name) for name in ("a", "b", "c@x")] == [2, 0, 1]


def test_a_number_of_gpus_that_is_none(monkeypatch):
    monkeypatch.setenv("PLUMB_GPUS", "two")
    with pytest.raises(ValueError, match="PLUMB_GPUS='two' is not the number of GPUs; set it to 0 or more"):
        gpus.present()


def test_without_a_gpu_nothing_happens(monkeypatch, tmp_path):
    monkeypatch.setenv("PLUMB_GPUS", "0")
    monkeypatch.setenv("PLUMB_GPU_LOCKS", str(tmp_path / "locks"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus.take(1) == [] and "CUDA_VISIBLE_DEVICES" not in os.environ and not (tmp_path / "locks").exists()


class Holders:
    """Processes that take GPUs of a machine that is said to have some."""

    def __init__(self, folder, count):
        self.folder, self.count, self.started = folder, count, []

    def start(self, wanted, **more):
        environment = toy.toy_environment(self.folder) | {
            "PLUMB_GPUS": str(self.count), "PLUMB_GPU_LOCKS": str(self.folder / "locks"), **more,
        }  # fmt: skip
        environment = {name: value for name, value in environment.items() if value is not None}
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(wanted)], env=environment, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.PIPE, cwd=self.folder,
        )  # fmt: skip
        self.started.append(process)
        return process

    def waits(self, process):
        """Whether it says that it waits, and has no GPU a little later."""
        said = process.stderr.readline()
        time.sleep(2 * gpus.POLL_SECONDS)
        os.set_blocking(process.stdout.fileno(), False)
        nothing = process.stdout.read(1) in (None, "")
        os.set_blocking(process.stdout.fileno(), True)
        return "waiting for" in said and nothing and process.poll() is None


@pytest.fixture()
def holders(tmp_path):
    made = []

    def make(count):
        made.append(Holders(tmp_path, count))
        return made[0]

    yield make
    for process in made[0].started:
        process.kill()
        process.communicate()


def seen(process):
    return process.stdout.readline().strip()


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_gpu_is_held_until_its_process_dies(holders):
    two = holders(2)
    first, second = two.start(1, CUDA_VISIBLE_DEVICES=None), two.start(1, CUDA_VISIBLE_DEVICES=None)
    assert sorted([seen(first), seen(second)]) == ["0", "1"]
    third = two.start(1)
    assert two.waits(third)
    kill(second)
    assert seen(third) in ("0", "1")


def test_what_is_visible_is_respected(holders):
    two = holders(2)
    assert seen(two.start(1, CUDA_VISIBLE_DEVICES="1")) == "1"
    second = two.start(1, CUDA_VISIBLE_DEVICES="1")
    assert two.waits(second), "the other one is free, and not for this process"
    assert seen(two.start(5, CUDA_VISIBLE_DEVICES="0")) == "0", "as many as there are"
    assert seen(two.start(0)) == "", "a stage without a GPU sees none"
    assert seen(two.start(1, CUDA_VISIBLE_DEVICES="")) == ""


def test_two_that_want_both_take_turns(holders):
    two = holders(2)
    first = two.start(2)
    assert seen(first) == "0,1"
    second, third = two.start(2), two.start(2)
    time.sleep(1)
    kill(first)
    both = {}
    toy.wait_for(lambda: both.update({p: p.stdout for p in (second, third) if _readable(p)}) or both, 60)
    (winner,) = both
    assert seen(winner) == "0,1"
    kill(winner)
    assert seen(next(p for p in (second, third) if p is not winner)) == "0,1"


def _readable(process):
    import select

    return bool(select.select([process.stdout], [], [], 0)[0])


def test_under_accelerate_the_first_process_holds_them_all(holders):
    three = holders(3)
    main = three.start(1, LOCAL_WORLD_SIZE="2", LOCAL_RANK="0")
    helper = three.start(1, LOCAL_WORLD_SIZE="2", LOCAL_RANK="1")
    assert [seen(main), seen(helper)] == ["unset", "unset"], "each takes the one of its rank"
    assert seen(three.start(3, CUDA_VISIBLE_DEVICES="2")) == "2"
    assert three.waits(three.start(1, CUDA_VISIBLE_DEVICES="0,1"))


def test_what_was_held_is_noted_for_the_ledger(holders, tmp_path):
    assert read_use(tmp_path) == GpuUse()
    one = holders(1)
    first = one.start(1)
    assert seen(first) == "0"
    second = one.start(1, PLUMB_LIVE=str(tmp_path))
    assert one.waits(second)
    waiting = read_use(tmp_path)
    assert waiting.gpus == 0 and waiting.waited > 0
    kill(first)
    assert seen(second) == "0"
    use = read_use(tmp_path)
    assert use.gpus == 1 and use.waited >= waiting.waited and use.seconds(use.waited + 3) == pytest.approx(3)
    (tmp_path / "gpus.json").write_text(json.dumps({"gpus": ["a", "b"], "waited": 1.0, "peak_bytes": 7}))
    assert read_use(tmp_path) == GpuUse(2, 1.0, 7) and read_use(tmp_path).seconds(5.0) == 8.0
    (tmp_path / "gpus.json").write_text("{torn")
    assert read_use(tmp_path) == GpuUse()
    forget_use(tmp_path)
    assert not (tmp_path / "gpus.json").exists()
