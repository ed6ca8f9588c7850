"""`plumb up` as README says it, with nothing set beside it: what is deployed runs, by hand and on its schedule."""

import re
import subprocess
import sys
from contextlib import contextmanager
from datetime import timedelta

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Failed

from flows.hosting.servers import UP_ENVIRONMENT
from tests import retrain_toy, toy
from tests.intake_project import GIT, NOBODY
from tests.ports import free_port
from tests.retrain_services import wait_for_run

pytestmark = pytest.mark.services
PATIENCE = 240.0


class Up:
    """A toy project with its `plumb up` running; `client` asks its Prefect server."""

    def __init__(self, folder, client):
        self.folder, self.client = folder, client

    def plumb(self, *arguments):
        answer = toy.plumb(self.folder, *arguments, **GIT)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout

    def run(self, name="retrain/retrain", **parameters):
        """Press Run in the page; the run in the end."""
        deployment = self.client.read_deployment_by_name(name)
        run = self.client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
        return self.ended(run.id)

    def ended(self, run_id):
        names = ("Promoted", "Asked", "NothingNew", "Refused", "Suspended", "Completed", "Failed", "Crashed")
        return wait_for_run(self.client, run_id, *names)

    def by_schedule(self):
        """Give the deployment a schedule that fires soon, as the page does; the run in the end."""
        deployment = self.client.read_deployment_by_name("retrain/retrain")
        often = IntervalSchedule(interval=timedelta(seconds=10))
        (schedule,) = self.client.create_deployment_schedules(deployment.id, [(often, True)])
        fired = []

        def look():
            fired[:] = [run for run in self.runs("retrain") if run.auto_scheduled and run.start_time]
            return fired

        toy.wait_for(look, PATIENCE, lambda: [(run.name, run.state) for run in self.runs("retrain")])
        self.client.delete_deployment_schedule(deployment.id, schedule.id)
        return self.ended(fired[0].id)

    def question(self):
        """The run of the promotion that was asked for last, once it waits."""
        newest = max(self.runs("promote"), key=lambda run: run.created)
        return self.ended(newest.id)

    def runs(self, flow):
        return self.client.read_flow_runs(flow_filter=FlowFilter(name={"any_": [flow]}), limit=100)


@contextmanager
def running(folder, *options):
    """`plumb up` of a project in an environment without any setting of ours."""
    ports = {name: free_port() for name in ("prefect", "mlflow")}
    command = [sys.executable, "-m", "flows.cli", "up", *options]
    command += [f"--{name}-port={port}" for name, port in ports.items()]
    process = toy.Marked(command, folder, **GIT)
    try:
        toy.wait_for(lambda: "Ctrl-C ends" in process.output.read_text(), PATIENCE, process.describe)
        api = f"http://127.0.0.1:{ports['prefect']}/api"
        with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True) as client:
            yield Up(folder, client)
    finally:
        process.process.terminate()
        process.wait_until_gone(30)
        process.end()


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    place = tmp_path_factory.mktemp("up")
    project = retrain_toy.make(place, NOBODY, None)
    with running(project.folder, "--deploy") as made:
        yield made


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

    fired = up.by_schedule()
    assert fired.state.name == "NothingNew" and "whose model serves" in fired.state.message


def test_a_changed_name_holds_for_the_whole_run(up):
    run = up.run(changes={"promote.model_name": "other"})
    assert run.state.message == "other: v1 is champion (the first champion)"


def test_a_question_that_failed_is_asked_again_and_answered_in_the_page(up):
    changes = {"ppo.kl_coefficient": 0.3, "promote.policy": "approval"}
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
