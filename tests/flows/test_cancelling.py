"""A retraining that is cancelled in the Prefect pages in the middle of a stage: nothing runs on, and it is said."""

import contextlib
import json
import sqlite3
import sys

import psutil
import pytest
from prefect.states import Cancelling

from flows import cancelling
from tests.support import toy, up_world
from tests.support.intake_project import GIT
from tests.support.up_world import up  # noqa: F401

pytestmark = [pytest.mark.services, pytest.mark.slow]  # minutes
ELSEWHERE = {"cpu": "stages/cpu", "gpu": "stages/gpu"}


def in_training(processes):
    """The process that trains, once there is one."""
    return processes.find("work.py", "train")


def is_over(process):
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def cancel(up, run_id):
    """What the button in the page sends; the run in the end."""
    up.client.set_flow_run_state(run_id, Cancelling())
    return up.ended(run_id)


def newest(up, flow):
    return max(up.runs(flow), key=lambda run: run.created)


@pytest.mark.parametrize("seconds, pools", [(600, ELSEWHERE), (601, None)], ids=["elsewhere", "here"])
def test_plumb_retrain_ends_with_its_run(up, seconds, pools):
    wish = [f"ppo.kl_coefficient={seconds}", f"flow.pools={json.dumps(pools)}"]
    command = [sys.executable, "-m", "flows.cli", "retrain", *(word for one in wish for word in ("--set", one))]
    own = toy.Marked(command, up.folder, **GIT)
    try:
        training = in_training(up.process if pools else own)
        run = cancel(up, newest(up, "retrain").id)
        assert (run.state.name, run.state.message) == ("Cancelled", cancelling.IN_THE_PAGES)
        assert is_over(training)
        own.wait_until_gone(20)
        assert own.process.returncode == 1
        assert f"plumb: the retraining was {cancelling.IN_THE_PAGES}; run it again" in own.output.read_text()
    finally:
        own.end()
    if pools:
        the_part_says_whose_it_was(up, run)


def the_part_says_whose_it_was(up, run):
    part = up.ended(newest(up, "stages").id)
    assert part.state.name == "Cancelled"
    assert part.state.message == f"with the run {run.name} that it is a part of: {cancelling.IN_THE_PAGES}"


def test_a_deployed_retraining_takes_the_stages_that_it_sent_elsewhere_along(up):
    deployment = up.client.read_deployment_by_name("retrain/retrain")
    wish = {"changes": {"ppo.kl_coefficient": 602, "flow.pools": ELSEWHERE}}
    started = up.client.create_flow_run_from_deployment(deployment.id, parameters=wish)
    training = in_training(up.process)
    run = cancel(up, started.id)
    assert (run.state.name, run.state.message) == ("Cancelled", cancelling.IN_THE_PAGES)
    the_part_says_whose_it_was(up, run)
    assert is_over(training)


def test_stages_cancelled_by_themselves_fail_the_retraining_with_who_did_it(up):
    wish = {"changes": {"ppo.kl_coefficient": 603, "flow.pools": ELSEWHERE}}
    deployment = up.client.read_deployment_by_name("retrain/retrain")
    started = up.client.create_flow_run_from_deployment(deployment.id, parameters=wish)
    training = in_training(up.process)
    cancel(up, newest(up, "stages").id)
    run = up.ended(started.id)
    assert run.state.name == "Failed" and run.state.message.endswith(cancelling.IN_THE_PAGES)
    assert is_over(training)


def test_plumb_up_ends_the_runs_of_its_workers(tmp_path):
    """They are in sessions of their own; and one that is left running would keep the next from starting."""
    with up_world.running(tmp_path, "--deploy") as up:
        deployment = up.client.read_deployment_by_name("retrain/retrain")
        up.client.create_flow_run_from_deployment(deployment.id, parameters={"changes": {"ppo.kl_coefficient": 604}})
        in_training(up.process)
        (up.folder / "dvc.yaml").unlink()  # as while it is edited
    assert up.process.alive() == []
    with contextlib.closing(sqlite3.connect(up.folder / ".prefect" / "prefect.db")) as database:
        deployed = "deployment_id IS NOT NULL AND NOT auto_scheduled"
        states = database.execute(f"SELECT state_type FROM flow_run WHERE {deployed}")
        assert states.fetchall() == [("CRASHED",)]


def test_what_a_killed_plumb_up_left_running_keeps_no_run_from_starting(tmp_path):
    with up_world.running(tmp_path, "--deploy") as up:
        deployment = up.client.read_deployment_by_name("retrain/retrain")
        changes = {"ppo.kl_coefficient": 605}
        left = up.client.create_flow_run_from_deployment(deployment.id, parameters={"changes": changes})
        in_training(up.process)
        up.process.process.kill()
        up.process.wait_until_gone(30)
    with up_world.running_in(up.folder) as again:
        assert again.client.read_flow_run(left.id).state.name == "Crashed"
