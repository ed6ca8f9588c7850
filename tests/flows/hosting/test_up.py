"""`plumb up` as README says it, with nothing set beside it: what is deployed runs, by hand and on its schedule."""

import re
import subprocess
import urllib.request

import pytest
from prefect.states import Failed

from flows.hosting.servers import UP_ENVIRONMENT
from tests.support import toy
from tests.support.retrain_services import wait_for_run
from tests.support.up_world import (
    PATIENCE,
    up,  # noqa: F401
)

pytestmark = pytest.mark.services


def test_what_is_deployed_runs_from_the_page_and_by_the_schedule(up):
    """The params.yaml of the project would promote; this one run is to ask, and what it asks is answered elsewhere."""
    asked = up.run(changes={"promote.policy": "approval"})
    assert asked.state.name == "Asked", asked.state.message
    (question,) = up.runs("promote")
    assert up.ended(question.id).state.name == "Suspended"
    assert "a person must agree: http" in up.plumb("status")

    up.plumb("align")
    assert up.plumb("promote", "--approve", "read it").startswith("Promoted: toy: v1 is champion")
    closed = up.client.read_flow_run(question.id).state
    assert (closed.name, closed.message) == ("Promoted", "answered elsewhere: toy: v1 is champion (the first champion)")
    status = up.plumb("status")
    assert "must agree" not in status and "verdict promote: Promoted: toy: v1 is champion" in status

    a_browser_opens_the_report(up)
    fired = up.by_schedule()
    assert fired.state.name == "NothingNew" and "whose model serves" in fired.state.message


def a_browser_opens_the_report(up):
    """What the page of MLflow shows is what it serves of that run."""
    shape = r"(http.*)/#/experiments/\d+/runs/(\w+)/artifacts/(.*)"
    page, run, artifact = re.fullmatch(shape, up.report_link()).groups()
    assert page == up.mlflow
    with urllib.request.urlopen(f"{page}/get-artifact?run_uuid={run}&path={artifact}", timeout=60) as answer:
        assert answer.status == 200 and b"<html>" in answer.read()


@pytest.mark.slow
def test_a_changed_name_holds_for_the_whole_run(up):
    run = up.run(changes={"promote.model_name": "other"})
    assert run.state.message == "other: v1 is champion (the first champion)"


@pytest.mark.slow
def test_a_question_that_failed_is_asked_again_and_answered_in_the_page(up):
    changes = {"ppo.kl_coefficient": 0.4, "promote.policy": "approval"}
    assert up.run(changes=changes).state.name == "Asked"
    first = up.question()
    up.client.set_flow_run_state(first.id, Failed(message="nobody answered in time"), force=True)
    said = up.plumb("status")
    assert "must agree" not in said and "Failed: nobody answered in time; nobody is asked any more" in said
    assert up.run(changes=changes, force=True).state.name == "Asked"
    second = up.question()
    up.client.resume_flow_run(second.id, run_input={"approve": True, "comment": "read it", "by": "grace"})
    promoted = wait_for_run(up.client, second.id, "Promoted", "Refused", "Failed", "Crashed")
    assert second.id != first.id and promoted.state.message == "toy: v2 is champion (it replaces v1)"
    assert "verdict promote: Promoted: toy: v2 is champion" in up.plumb("status")


def test_prefect_deploy_beside_it_as_readme_prints_it(up):
    readme = (toy.ROOT / "README.md").read_text()
    (block,) = re.findall(rf"```\n(source {re.escape(UP_ENVIRONMENT)}\n.*?)```", readme, re.DOTALL)
    environment = toy.toy_environment(up.folder, HOME=str(up.folder.parent))
    answer = subprocess.run(
        ["bash", "-ec", block], cwd=up.folder, env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    said = answer.stdout + answer.stderr
    assert answer.returncode == 0 and said.count("successfully created") == 4, said
    assert "Traceback" not in said and "temporary server" not in said and "does not exist" not in said
