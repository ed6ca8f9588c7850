"""Several processes train as one does: the same weights, metrics and checkpoints."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models.compute import processes
from models.lm.loading import load_policy
from models.reward.model import reward_model_from_policy
from tasks.__main__ import run_stage
from tasks.common.rows import read_jsonl, write_jsonl
from tests.import_closure import ROOT
from tests.support import ppo_worker
from tests.support.small_project import hearth_project

# With --cpu, accelerate starts one process only; --multi_gpu hands over to torchrun, which needs no GPU.
LAUNCH = [Path(sys.executable).with_name("accelerate"), "launch", "--multi_gpu", "--num_processes", "2",
          "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]


def launch(out, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [*LAUNCH, str(ROOT / "tests" / "support" / "ppo_worker.py"), str(out), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)


def weights_of(folder):
    return torch.cat([tensor.flatten() for _, tensor in sorted(load_file(folder / "weights.safetensors").items())])


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Where two processes have trained both kinds."""
    folder = tmp_path_factory.mktemp("two")
    done = launch(folder, "own,shared")
    assert done.returncode == 0, done.stderr[-2000:]
    # What torch warns of where autograd would see a collective; that a process waits for another's port is no fault.
    assert "autograd kernel" not in done.stderr
    return folder


@pytest.mark.parametrize("kind", ["own", "shared"])
def test_two_processes_train_as_one(tmp_path, two, kind):
    ppo_worker.run(tmp_path, kind)
    assert (weights_of(tmp_path) - weights_of(two / kind)).abs().max() < 1e-5
    histories = [json.loads((folder / "history.json").read_text()) for folder in (tmp_path, two / kind)]
    for mine, other in zip(*histories, strict=True):
        assert mine == pytest.approx(other, rel=1e-3, abs=1e-5)
    written = sorted(path.name for path in (two / kind).iterdir())
    assert written == ["checkpoints", "history.json", "told-0", "weights.safetensors"]


@pytest.mark.slow
def test_two_processes_run_the_stage(tmp_path, monkeypatch):
    """`accelerate launch -m tasks ppo` publishes what `python -m tasks ppo` does, once, and leaves nothing behind."""
    changes = {"value_backbone": "shared", "value_coefficient": 0.1, "snapshots": 1}
    folder = hearth_project(tmp_path / "project", ppo=changes)
    for name in ("sft", "reward"):
        shutil.copytree(folder / "base", folder / "artifacts" / name)
    reward_model_from_policy(load_policy(folder / "base")).save_pretrained(folder / "artifacts" / "reward")
    rows = read_jsonl(folder / "data" / "prompts.jsonl")
    write_jsonl(folder / "artifacts" / "data" / "rl_prompts.jsonl", [row for row in rows if row["split"] == "rl"])
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PLUMB_STATE", str(tmp_path / "state"))
    run_stage("ppo")
    Path("artifacts/ppo").rename("one")
    done = subprocess.run([*LAUNCH, "-m", "tasks", "ppo"], env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
                          capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    files = sorted(path.relative_to("one") for path in Path("one").rglob("*") if path.is_file())
    assert files == sorted(p.relative_to("artifacts/ppo") for p in Path("artifacts/ppo").rglob("*") if p.is_file())
    for file in (file for file in files if file.suffix == ".safetensors"):
        mine, other = load_file("one" / file), load_file("artifacts/ppo" / file)
        assert all((mine[name] - other[name]).abs().max() < 1e-5 for name in mine), file
    assert not list((tmp_path / "state" / "checkpoints").iterdir()) and not list(Path("artifacts").glob(".*"))


@pytest.mark.slow
def test_two_processes_resume(tmp_path, two):
    assert launch(tmp_path, "own", "2").returncode != 0
    assert [p.name for p in (tmp_path / "own" / "checkpoints").iterdir()] == ["checkpoint-00000002"]
    done = launch(tmp_path, "own")
    assert done.returncode == 0, done.stderr[-2000:]
    assert torch.equal(weights_of(tmp_path / "own"), weights_of(two / "own"))
    assert (tmp_path / "own" / "told-0").read_text().split() == ["1", "2", "3"]


def test_an_error_in_one_process_stops_all(monkeypatch):
    """Else the others would wait for it for ever."""
    def other_fails(outcomes, mine):
        outcomes[:] = [mine, FloatingPointError("in process 1")]

    for name, value in (("is_initialized", lambda: True), ("get_world_size", lambda: 2), ("get_rank", lambda: 0),
                        ("all_gather_object", other_fails)):
        monkeypatch.setattr(torch.distributed, name, value)
    with pytest.raises(FloatingPointError, match="in process 1"):
        processes.spread(lambda rows: rows, 4)


def test_alone_nothing_is_divided(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    processes.start()
    assert (processes.rank(), processes.count(), processes.is_main()) == (0, 1, True)
    assert processes.spread(lambda rows: [10 * row for row in rows], 3) == [0, 10, 20]
    tensor = torch.ones(2)
    processes.add_up([tensor])
    assert tensor.tolist() == [1, 1]
    processes.wait()
    processes.stop()


@pytest.mark.parametrize(
    "minibatch, count, message",
    [
        (8, 3, "minibatch_size=8 is not divisible by 3 processes; set minibatch_size to 6 or start 2$"),
        (8, 5, "minibatch_size=8 is not divisible by 5 processes; start 4$"),
        (4, 8, "minibatch_size=4 is not divisible by 8 processes; set minibatch_size to 8 or start 4$"),
    ],
)
def test_sizes_that_leave_a_process_without_rows_are_named(minibatch, count, message):
    batch = 24 if count != 5 else 16
    settings = dataclasses.replace(ppo_worker.SETTINGS, batch_size=batch, minibatch_size=minibatch)
    with pytest.raises(ValueError, match=message):
        settings.check_processes(count)


def test_every_process_needs_a_sample_to_normalise_by():
    settings = dataclasses.replace(ppo_worker.SETTINGS, normalise_samples=3)
    with pytest.raises(ValueError, match="normalise_samples=3 is less than one for each of 4 processes; set it to 4"):
        settings.check_processes(4)
