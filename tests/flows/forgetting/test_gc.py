"""What `plumb gc` keeps and frees, on real git, DVC and MLflow; killed at every step, repeated, it converges."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from flows.alignment import local
from flows.forgetting import gc, keeping
from flows.schedule import retraining
from flows.storage import gc_lock
from flows.storage.objects import Objects
from tasks.runner.pipeline import is_code
from tests.support import keep_toy, toy

pytestmark = pytest.mark.services  # real DVC and MLflow: `make test-services`
DRIVER = """
import os, signal, sys
from pathlib import Path
from flows import environment
from flows.forgetting import gc
from flows.storage import removing
root = Path.cwd()
environment.prepare(root)
from mlflow import MlflowClient
left = int(sys.argv[1])
real = gc.remove
def remove(path):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    real(path)
gc.remove = remove
state = environment.state_dir(root)
with gc.nobody_else(root, state) as clones:
    gc.carry_out(gc.make_plan(root, state, clones, MlflowClient(), "plumbline", 1, []))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """v1, v2 (the champion), v3 (pending), and more runs of which only the last is kept; two clones."""
    project = keep_toy.make_project(tmp_path_factory.mktemp("keep"))
    place, locks = project.folder, {}
    for number, word in enumerate(("nothing", "one", "two", "three", "four", "five")):
        if number:
            project.change_data(word)
        run = project.align(word)
        locks[word] = yaml.safe_load((place / "dvc.lock").read_text())
        if word == "one":
            project.register(run, None)
        elif word == "two":
            project.register(run, "champion", replaces=1)
        elif word == "three":
            project.register(run, "challenger")
        if word in ("nothing", "four"):  # clones of runs that will not be kept
            clone = project.state / "workspaces" / word
            clone.parent.mkdir(parents=True, exist_ok=True)
            project.do("git", "clone", "-q", ".", str(clone))
            (clone / "dvc.lock").write_text((place / "dvc.lock").read_text())
            (clone / ".dvc" / "tmp").mkdir()
    project.locks = locks
    _age(project.state / "workspaces" / "nothing")
    os.utime(project.state / "workspaces" / "four")  # worked in since
    for kind, name in (("checkpoints", "sft-old"), ("checkpoints", "sft-new"), ("runs", "sft-old"), ("models", "old")):
        (project.state / kind / name).mkdir(parents=True)
        (project.state / kind / name / "file").write_bytes(b"x" * 1000)
        if name == "sft-old":
            _age(project.state / kind / name)
    return project


def _age(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (1, 1), follow_symlinks=False)


@pytest.fixture()
def project(made, tmp_path):
    """A copy of it; MLflow knows its files by absolute paths, and they are only read."""
    subprocess.run(["cp", "-a", f"{made.folder.parent}/.", str(tmp_path / "copy")], check=True)
    copy = keep_toy.KeepProject(tmp_path / "copy" / "project", tmp_path / "copy" / "origin.git", made.server)
    copy.locks = made.locks
    return copy


def needed(project, *words):
    """The hashes of everything in the locks of some runs, but what lies in git."""
    found = {md5 for word in words for stage in keeping.made_stages(project.locks[word])
             for path, md5 in {**stage.inputs, **stage.outputs}.items() if not is_code(path)}  # fmt: skip
    return set(keeping.expanded(found, Objects(project.folder)))


def _given(lock):
    """What the first stage reads of DVC; code is git's."""
    inputs = next(stage for stage in keeping.made_stages(lock) if stage.name == "prepare").inputs
    return {path: md5 for path, md5 in inputs.items() if path != "work.py"}


def run_cache(project):
    return sorted(p for p in (project.folder / ".dvc" / "cache" / "runs").glob("*/*/*"))


def test_a_dry_run_says_what_would_go_and_frees_nothing(project):
    before, entries = project.cached(), run_cache(project)
    text = project.plumb("gc")
    for words in ("champion v2", "the champion before v1", "pending v3", "run five (", "evaluation sets of 6 runs",
                  "the working tree", "objects in the cache: ", "1 clones: ", "1 checkpoints: "):  # fmt: skip
        assert words in text, text
    assert project.cached() == before and run_cache(project) == entries
    assert (project.state / "workspaces" / "nothing").is_dir()
    document = json.loads(project.plumb("gc", "--json"))
    assert document["free"]["clones"]["count"] == 1 and document["purge"] is None


def test_what_is_kept_is_whole_and_what_is_not_is_gone(project):
    keep = needed(project, "one", "two", "three", "five")
    only_four = needed(project, "four") - keep
    sets = {md5 for lock in project.locks.values() for stage in keeping.made_stages(lock)
            for path, md5 in stage.outputs.items() if "gate_prompts" in path or "select_prompts" in path}  # fmt: skip
    # origin/main still points to the data that the project began with.
    began = set(keeping.expanded(_given(project.locks["nothing"]).values(), Objects(project.folder)))
    nothing = needed(project, "nothing") - keep - only_four - sets - began
    before = project.cached()
    assert nothing and only_four and nothing | only_four | sets | began <= before
    project.plumb("gc", "--yes")
    after = project.cached()
    # The clone of run four was worked in since the oldest run that is kept began: it stays, and so does what it needs.
    assert before - after == nothing and (project.state / "workspaces" / "four").is_dir()
    assert not (project.state / "workspaces" / "nothing").exists()
    assert [p.name for p in (project.state / "checkpoints").iterdir()] == ["sft-new"]
    assert not list((project.state / "runs").iterdir()) and not list((project.state / "models").iterdir())
    assert "Nothing to free." in project.plumb("gc")
    for entry in run_cache(project):
        assert {out["md5"] for out in yaml.safe_load(entry.read_text())["outs"]} <= after


def test_a_clone_checks_out_the_champion_and_gates_again_without_training(project, tmp_path):
    project.plumb("gc", "--yes")
    clone = keep_toy.KeepProject(tmp_path / "clone", project.origin, project.server)
    project.do("git", "clone", "-q", str(project.folder), str(clone.folder))
    cache = project.folder / ".dvc" / "cache"
    (clone.folder / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {cache}\n")
    (clone.folder / "dvc.lock").write_text(yaml.safe_dump(project.locks["two"]))
    trained = tmp_path / "trained.txt"
    gate = next(stage for stage in keeping.made_stages(project.locks["two"]) if stage.name == "gate")
    clone.do("dvc", "checkout", "-q", *gate.outputs, *(path for path in gate.inputs if path != "work.py"))
    (clone.folder / "metrics" / "gate.json").unlink()
    answer = clone.run([sys.executable, "-m", "dvc", "repro", "-s", "-f", "gate"], TOY_TRAINED=str(trained))
    assert answer.returncode == 0, answer.stderr
    assert json.loads((clone.folder / "metrics" / "gate.json").read_text())["verdict"] == "promote"
    assert not trained.exists()
    lock = yaml.safe_load((clone.folder / "dvc.lock").read_text())
    assert lock["stages"]["gate"]["outs"] == project.locks["two"]["stages"]["gate"]["outs"]
    clone.do("dvc", "checkout", "-q", "package", "prepare", "sft")


def test_killed_at_every_step_and_repeated_it_converges(project, made, tmp_path):
    project.plumb("gc", "--yes")
    wanted = (project.cached(), {p.relative_to(project.folder) for p in run_cache(project)}, _tree(project.state))
    for kills in (0, 5, 20, 28, 30):
        place = tmp_path / str(kills)
        subprocess.run(["cp", "-a", f"{made.folder.parent}/.", str(place)], check=True)
        other = keep_toy.KeepProject(place / "project", place / "origin.git", made.server)
        other.locks = made.locks
        answer = other.run([sys.executable, "-c", DRIVER, str(kills)])
        assert answer.returncode in (0, -signal.SIGKILL), answer.stderr
        assert needed(other, "one", "two", "three", "five") <= other.cached(), f"killed after {kills}"
        assert other.run([sys.executable, "-c", DRIVER, "-1"]).returncode == 0
        found = (other.cached(), {p.relative_to(other.folder) for p in run_cache(other)}, _tree(other.state))
        assert found == wanted, f"killed after {kills}"


def _tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.glob("*/*")}


def test_while_a_run_is_under_way_nothing_is_planned(project):
    with local.only_one(project.state / "workspaces" / "four"):
        text = project.plumb("gc", "--yes", code=1)
    assert "another plumb align (process " in text and "works in" in text


def test_a_run_and_a_gc_keep_out_of_each_others_way(project):
    """Also where the run has no clone yet, which gc could hold."""
    before = project.cached()
    with gc_lock.run_under_way(project.state), gc_lock.run_under_way(project.state):
        text = project.plumb("gc", "--yes", code=1)
    assert "a run is under way that uses PLUMB_STATE=" in text and project.cached() == before
    waiting = (
        "import sys; from pathlib import Path; from flows.storage import gc_lock\n"
        "with gc_lock.run_under_way(Path(sys.argv[1])): print('in')"
    )
    with gc_lock.no_run_under_way(project.state):
        run = subprocess.Popen([sys.executable, "-c", waiting, str(project.state)], cwd=toy.ROOT, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
        assert run.stderr.readline() == "plumb gc is at work; waiting\n" and run.poll() is None
    assert run.communicate(timeout=20)[0] == "in\n"


def test_every_kind_of_run_shares_the_lock(tmp_path):
    with retraining.my_turn(tmp_path):
        with pytest.raises(ValueError, match="a run is under way"), gc_lock.no_run_under_way(tmp_path):
            pass
    with gc_lock.no_run_under_way(tmp_path):
        pass


def test_an_mlflow_without_runs_frees_nothing(project, tmp_path):
    """Somebody's shell has another MLFLOW_TRACKING_URI, whose store is empty."""
    before, tree = project.cached(), _tree(project.state)
    text = project.plumb("gc", "--yes", MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path / 'other.db'}")
    assert "all the rest: MLflow knows no run of plumb align" in text and "Nothing to free." in text
    assert project.cached() == before and tree <= _tree(project.state)


def test_an_mlflow_that_does_not_answer_frees_nothing(project):
    nobody = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    before = project.cached()
    assert "127.0.0.1" in project.plumb("gc", "--yes", code=1, **nobody)
    assert project.cached() == before


def test_a_version_whose_run_is_lost_stops_it(project):
    client = project.client
    run = client.get_model_version_by_alias(keep_toy.NAME, "champion").tags["plumb.run_id"]
    client.delete_run(run)
    before = project.cached()
    text = project.plumb("gc", "--yes", code=1)
    assert f"models:/plumbline/2 (champion) was made in MLflow run {run}, which has no dvc.lock" in text
    assert project.cached() == before


def test_a_cache_that_others_share_loses_only_what_our_runs_made(project, tmp_path):
    shared = tmp_path / "shared"
    (project.folder / ".dvc" / "cache").rename(shared)
    (project.folder / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {shared}\n")
    foreign = shared / "files" / "md5" / "ab" / ("c" * 30)
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_text("somebody else's")
    before = len(keep_toy.hashes_below(shared))
    text = project.plumb("gc", "--yes", PLUMB_STATE=str(project.state))
    assert "lies outside this project" in text and foreign.exists()
    assert len(keep_toy.hashes_below(shared)) < before


def test_a_checkpoint_that_is_held_stays(tmp_path):
    (tmp_path / "checkpoints" / "sft-1").mkdir(parents=True)
    (tmp_path / "locks").mkdir()
    _age(tmp_path / "checkpoints" / "sft-1")
    code = "import fcntl,sys,time; f=open(sys.argv[1],'w'); fcntl.flock(f, 2); print(1, flush=True); time.sleep(60)"
    lock = tmp_path / "locks" / "sft-1"
    holder = subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE)
    try:
        holder.stdout.readline()
        assert list(gc._old(tmp_path / "checkpoints", time.time(), tmp_path / "locks")) == []
    finally:
        holder.kill()
        holder.wait()
    toy.wait_for(lambda: list(gc._old(tmp_path / "checkpoints", time.time(), tmp_path / "locks")), 5)
    assert list(gc._old(tmp_path / "checkpoints", None)) == [], "nothing is known of any run"
