"""`kill -9` of the flow, of dvc, of the supervisor, of a stage: nobody is left, and the next run ends in the same bytes."""

import json
import os
import signal
import sys
import threading
import time

import psutil
import pytest

from flows.alignment import local
from flows.graph.running import Processes, StageError, Stopped, folder, run_stage
from tests.support import toy

# The part of a flow that matters here, without Prefect's start of several seconds.
DRIVER = """
import sys
from pathlib import Path
from flows import environment
from flows.alignment import local
from flows.graph.running import Processes, folder, run_stage
from flows.graph.stages import Graph

root = Path.cwd()
environment.prepare(root)
with local.only_one(root):
    local.heal(root)
    graph = Graph(root)
    for name in ("first", "second"):
        place = folder(environment.state_dir(root), name, graph.version(name))
        run_stage(root, name, graph.version(name), place, 900, Processes())
        graph.refresh()
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What the toy makes when nobody disturbs it."""
    place = toy.make_toy(tmp_path_factory.mktemp("undisturbed"))
    toy.command(place, "dvc", "repro", "-q")
    return toy.outs(place)


@pytest.fixture()
def project(tmp_path):
    return toy.make_toy(tmp_path / "toy")


def drive(project, **more):
    return toy.Marked([sys.executable, "-c", DRIVER], project, **more)


def finish(project, expected):
    """The next run, as `plumb align` begins it, and its outputs."""
    with local.only_one(project):
        local.heal(project)
    toy.command(project, sys.executable, "-m", "dvc", "repro", "-q")
    assert toy.outs(project) == expected


@pytest.mark.parametrize(("stage", "after"), [("first", 0.0), ("first", 0.5), ("second", 0.3)])
def test_the_flow_is_killed_in_a_stage(project, undisturbed, stage, after):
    run = drive(project, TOY_SECONDS="1")
    try:
        run.find("work.py", stage)
        time.sleep(after)
        run.process.kill()
        run.wait_until_gone()
    finally:
        run.end()
    finish(project, undisturbed)


@pytest.mark.parametrize("after", [1.3, 1.9, 2.6, 3.5])
def test_the_flow_is_killed_at_any_time(project, undisturbed, after):
    """Also while dvc starts, hashes, writes its lock file or moves outputs."""
    run = drive(project)
    try:
        time.sleep(after)
        run.process.kill()
        run.wait_until_gone()
    finally:
        run.end()
    finish(project, undisturbed)


def first_stage(project, monkeypatch):
    """The first stage, running here: first its processes, then, when somebody ended it, what `run_stage` raised."""
    session = toy.make_session(project, monkeypatch, TOY_SECONDS="600")
    processes, caught = Processes(), []

    def work():
        try:
            run_stage(project, "first", "v", folder(session.state, "first", "v"), 900, processes)
        except (StageError, Stopped) as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    pid = folder(session.state, "first", "v") / "pid"
    toy.wait_for(lambda: pid.exists() and pid.read_text(), 60)
    stage = psutil.Process(int(pid.read_text()))
    session_id = os.getsid(stage.pid)
    yield processes, stage, psutil.Process(session_id)
    thread.join(60)
    assert not thread.is_alive() and toy.gone(stage)
    yield caught


@pytest.mark.parametrize("who", ["stage", "dvc", "supervisor"])
def test_a_killed_process_takes_the_others_along_and_may_be_tried_again(project, monkeypatch, undisturbed, who):
    steps = first_stage(project, monkeypatch)
    _, stage, supervisor = next(steps)
    dvc = supervisor.children()[0]
    {"stage": stage, "dvc": dvc, "supervisor": supervisor}[who].kill()
    (error,) = next(steps)
    assert error.kind == "killed" and error.may_pass
    assert toy.gone(dvc) and toy.gone(supervisor)
    finish(project, undisturbed)


def test_stopping_the_flow_ends_its_stages(project, monkeypatch):
    steps = first_stage(project, monkeypatch)
    processes, _, supervisor = next(steps)
    processes.stop()
    (error,) = next(steps)
    assert isinstance(error, Stopped)
    assert toy.gone(supervisor)


def test_a_stage_that_knows_nothing_of_parents_dies_too(project):
    """The supervisor does not need the stage's help."""
    text = toy.DVC_YAML.replace("python work.py first", "sleep 987")
    (project / "dvc.yaml").write_text(text)
    run = drive(project)
    try:
        run.find("sleep", "987")
        run.process.kill()
        run.wait_until_gone()
    finally:
        run.end()


def test_what_a_killed_dvc_leaves_is_cleared(project, undisturbed):
    finish(project, undisturbed)
    lock = project / "dvc.lock"
    lock.write_text(lock.read_text()[:-40] + "\n   torn: [")
    (project / ".dvc" / "tmp" / "rwlock").write_text('{"write": ')
    finish(project, undisturbed)
    assert "torn" not in lock.read_text()


def test_a_lock_of_a_reused_process_id_is_cleared_and_one_in_use_is_not(project):
    path = project / ".dvc" / "tmp" / "rwlock"
    held = {"write": {"x": {"pid": os.getpid(), "cmd": "dvc"}}, "read": {}}
    path.write_text(json.dumps(held))
    assert local.heal(project) == [] and path.exists()
    before_we_lived = psutil.Process().create_time() - 100
    os.utime(path, (before_we_lived, before_we_lived))
    assert len(local.heal(project)) == 1 and not path.exists()


def test_two_flows_in_one_workspace(project):
    with local.only_one(project):
        with pytest.raises(ValueError, match=f"process {os.getpid()}.*second clone"):
            with local.only_one(project):
                pass
    with local.only_one(project):
        pass


@pytest.mark.slow
def test_the_whole_command_is_killed_with_its_private_server(project, undisturbed):
    run = toy.Marked([sys.executable, "-m", "flows.cli", "align"], project, TOY_SECONDS="2")
    try:
        run.find("uvicorn")
        run.find("work.py", "side")
        run.process.kill()
        run.wait_until_gone()
    finally:
        run.end()
    answer = toy.plumb(project, "align")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert toy.outs(project) == undisturbed


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.slow
def test_the_whole_command_is_asked_to_stop(project, signum):
    run = toy.Marked([sys.executable, "-m", "flows.cli", "align"], project, TOY_SECONDS="600")
    try:
        run.find("work.py", "first")
        run.process.send_signal(signum)
        run.wait_until_gone()
        assert run.process.returncode == 130
        assert "Traceback" not in run.output.read_text()
    finally:
        run.end()
