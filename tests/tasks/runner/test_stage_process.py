"""`python -m tasks STAGE` as a process: bad input ends in one line, nothing half-written, nobody left behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from models.lm.batching import by_length
from tasks import __main__ as runner
from tasks.common import errors
from tasks.runner import state
from tasks.runner.pipeline import bind
from tests.import_closure import ROOT
from tests.support.tiny_models import QWEN_TEMPLATE, tokenizer_with


@pytest.fixture()
def project(tmp_path):
    """A folder with our dvc.yaml and params.yaml and a minimal data folder."""
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["data"] |= {"path": "data/own", "prompts": "prompts.jsonl"}
    params["model"]["path"] = "data/base"
    tokenizer_with(QWEN_TEMPLATE).save_pretrained(tmp_path / "data" / "base")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    demos = [{"prompt": f"q{i}?", "completion": f"a{i}", "split": "sft"} for i in range(3)]
    prompts = [{"prompt": f"{s} {i}?", "split": s} for s in ("compare", "rl", "select", "gate") for i in range(3)]
    for name, rows in (("demonstrations", demos), ("prompts", prompts)):
        path = tmp_path / "data" / "own" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def run(project: Path, stage: str, **environment: str) -> subprocess.CompletedProcess:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run([sys.executable, "-m", "tasks", stage], cwd=project, env=env, capture_output=True, text=True)


def test_a_stage_writes_its_outs_and_metrics(project):
    done = run(project, "prepare")
    assert done.returncode == 0, done.stderr
    metrics = json.loads((project / "metrics" / "prepare.json").read_text())
    assert metrics["rows_sft"] == 3 and metrics["rows_gate"] == 3
    assert (project / "artifacts" / "data" / "gate_prompts.jsonl").is_file()
    assert not list((project / "artifacts").rglob("*.partial"))


@pytest.mark.parametrize("change, words", [
    (lambda p: (p / "data/own/prompts.jsonl").write_text(""), "has no rows"),
    (lambda p: (p / "data/own/prompts.jsonl").write_text('{"prompt": "a"}\n{"prompt": '), "line 2: invalid JSON"),
    (lambda p: (p / "data/own/prompts.jsonl").write_text('{"note": "a"}\n'), "row 1: there is no prompt"),
    (lambda p: (p / "data/own/prompts.jsonl").unlink(), "does not exist"),
    (lambda p: (p / "params.yaml").write_text("model: {}"), "params.yaml"),
])
def test_bad_input_is_one_line_and_leaves_nothing(project, change, words):
    change(project)
    record = project / "error.json"
    done = run(project, "prepare", PLUMB_ERROR_FILE=str(record))
    assert done.returncode == 1
    assert words in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert json.loads(record.read_text())["kind"] in ("config", "data")
    assert not (project / "metrics").exists()
    assert not (project / "artifacts" / "data").exists()


def test_a_missing_model_is_one_line(project):
    shutil.rmtree(project / "data" / "base")
    done = run(project, "prepare")
    assert done.returncode == 1
    assert "data/base, which does not exist" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_full_disk_is_said(project):
    """A file system of 16 KiB stands for the full disk."""
    mount = project / "artifacts"
    mount.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(mount)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        rows = [json.dumps({"prompt": f"{s} {i} {'x' * 200}", "split": s}) for s in ("compare", "rl", "select", "gate")
                for i in range(100)]
        (project / "data/own/prompts.jsonl").write_text("\n".join(rows))
        record = project / "error.json"
        done = run(project, "prepare", PLUMB_ERROR_FILE=str(record))
        assert done.returncode == 1 and "no space left on the disk" in done.stderr
        assert json.loads(record.read_text())["kind"] == "disk"
        assert not (project / "metrics" / "prepare.json").exists()
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_usage_is_shown(capsys):
    assert runner.main([]) == 2
    assert "usage" in capsys.readouterr().out


def test_a_stage_dies_with_its_grandparent(tmp_path):
    """dvc → shell → stage: kill the first with SIGKILL and the last must go, though its own parent lives on."""
    stage = "import os,time; from tasks.runner.watchdog import die_with_parents; die_with_parents(); " \
            "open('pid','w').write(str(os.getpid())); time.sleep(600)"
    shell = f"{sys.executable} -c \"{stage}\"; true"
    top = subprocess.Popen([sys.executable, "-c", f"import subprocess; subprocess.run({shell!r}, shell=True)"],
                           cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    pid = _wait_for(lambda: int((tmp_path / "pid").read_text()))
    top.send_signal(signal.SIGKILL)
    top.wait()
    _wait_for(lambda: not _alive(pid) or None)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def _wait_for(probe, seconds: float = 60.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            found = probe()
        except (OSError, ValueError):
            found = None
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def test_kinds_of_errors():
    assert errors.kind_of(OSError(28, "No space left on device")) == "disk"
    assert errors.kind_of(RuntimeError("[enforce fail at inline_container.cc:672] unexpected pos 576 vs 534")) == "disk"
    assert errors.kind_of(ConnectionRefusedError()) == "transient"
    assert errors.kind_of(ValueError("raised elsewhere")) == "internal"
    with pytest.raises(ValueError) as refused:
        list(by_length([1], rows_per_batch=0))
    assert errors.kind_of(refused.value) == "data"
    assert errors.kind_of(errors.ConfigError("x")) == "config"
    assert errors.kind_of(KeyError("x")) == "internal"
    assert errors.one_line(ValueError("a\n b")) == "a b"
    assert errors.one_line(KeyError("a")) == "KeyError: 'a'"


def test_the_key_changes_with_code_params_and_data(project, monkeypatch):
    monkeypatch.chdir(project)
    for code in ("models", "tasks"):
        (project / code).symlink_to(ROOT / code)
    pipeline = yaml.safe_load((project / "dvc.yaml").read_text())
    params = yaml.safe_load((project / "params.yaml").read_text())
    binding = bind(pipeline, params, "prepare")
    key = state.stage_key(binding, params)
    assert key == state.stage_key(binding, params)
    other = {**params, "data": {**params["data"], "bad_rows": "skip"}}
    assert state.stage_key(binding, other) != key
    (project / "data/own/prompts.jsonl").write_text('{"prompt": "new"}\n')
    assert state.stage_key(binding, params) != key


def test_the_state_folder_is_shared_by_clones_of_one_cache(tmp_path, monkeypatch):
    monkeypatch.delenv(state.STATE_VARIABLE, raising=False)
    assert state.state_root(tmp_path) == (tmp_path / ".dvc" / "plumb-state").resolve()
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config.local").write_text("[cache]\n    dir = ../../shared/cache\n")
    assert state.state_root(tmp_path) == (tmp_path.parent / "shared" / "plumb-state").resolve()
    # As DVC writes a remote, which git's reader of settings takes for a broken file.
    local = "['remote \"mine\"']\n    url = s3://runs\n[cache]\n    dir = \"../../also, shared/cache\"\n"
    (tmp_path / ".dvc" / "config.local").write_text(local)
    assert state.state_root(tmp_path) == (tmp_path.parent / "also, shared" / "plumb-state").resolve()
    monkeypatch.setenv(state.STATE_VARIABLE, str(tmp_path / "mine"))
    assert state.state_root(tmp_path) == tmp_path / "mine"
