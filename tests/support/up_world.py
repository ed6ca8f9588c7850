"""A toy project with its `plumb up`, in an environment without any setting of ours."""

import re
import sys
from contextlib import contextmanager
from datetime import timedelta

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, FlowFilter
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.support import retrain_toy, toy
from tests.support.intake_project import GIT, NOBODY
from tests.support.ports import free_port
from tests.support.retrain_services import wait_for_run

PATIENCE = 240.0


class Up:
    """A toy project with its `plumb up` running; `client` asks its Prefect server."""

    def __init__(self, folder, client, process, mlflow):
        self.folder, self.client, self.process, self.mlflow = folder, client, process, mlflow

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
        names = ("Promoted", "Asked", "NothingNew", "Refused", "Suspended", "Completed")
        names += ("Failed", "Crashed", "Cancelled")
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

    def report_link(self):
        """Where the run of align that ended last says that its report is."""
        where = ArtifactFilter(key={"any_": ["report"]})
        newest = max(self.client.read_artifacts(artifact_filter=where), key=lambda artifact: artifact.created)
        return re.search(r"\((.*)\)", newest.data)[1]

    def runs(self, flow):
        return self.client.read_flow_runs(flow_filter=FlowFilter(name={"any_": [flow]}), limit=100)


def running(place, *options):
    """`plumb up` of a new project in the folder `place`."""
    return running_in(retrain_toy.make(place, NOBODY, None).folder, *options)


@contextmanager
def running_in(folder, *options):
    """`plumb up` of the project `folder`."""
    ports = {name: free_port() for name in ("prefect", "mlflow")}
    command = [sys.executable, "-m", "flows.cli", "up", *options]
    command += [f"--{name}-port={port}" for name, port in ports.items()]
    process = toy.Marked(command, folder, **GIT)
    try:
        toy.wait_for(lambda: "Ctrl-C ends" in process.output.read_text(), PATIENCE, process.describe)
        api = f"http://127.0.0.1:{ports['prefect']}/api"
        with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True) as client:
            yield Up(folder, client, process, f"http://127.0.0.1:{ports['mlflow']}")
    finally:
        process.process.terminate()
        process.wait_until_gone(30)
        process.end()


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    with running(tmp_path_factory.mktemp("up"), "--deploy") as made:
        yield made
