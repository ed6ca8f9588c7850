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
    project = retrain_toy.make(place, NOBODY, None, policy="approval")
    with running(project.folder, "--deploy") as made:
        yield made


def test_what_is_deployed_runs_from_the_page_and_by_the_schedule(up):
    """And the promotion that is asked for, which starts in a process of its own, twice."""
    asked = up.run()
    assert asked.state.name == "Asked", asked.state.message
    (question,) = up.runs("promote")
    assert up.ended(question.id).state.name == "Suspended"

    deployment = up.client.read_deployment_by_name("retrain/retrain")
    often = IntervalSchedule(interval=timedelta(seconds=10))
    (schedule,) = up.client.create_deployment_schedules(deployment.id, [(often, True)])
    fired = lambda: [run for run in up.runs("retrain") if run.auto_scheduled and run.start_time]  # noqa: E731
    toy.wait_for(fired, PATIENCE, lambda: [(run.name, run.state) for run in up.runs("retrain")])
    up.client.delete_deployment_schedule(deployment.id, schedule.id)
    assert up.ended(fired()[0].id).state.name == "NothingNew"

    up.client.resume_flow_run(question.id, run_input={"approve": True, "comment": "read it", "by": "grace"})
    promoted = wait_for_run(up.client, question.id, "Promoted", "Refused", "Failed", "Crashed")
    assert promoted.state.message == "toy: v1 is champion (the first champion)"


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
