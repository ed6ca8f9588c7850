"""The world in which the story of retraining is told: the team's servers, the project, its deployments and machines."""

from __future__ import annotations

import json
import subprocess
import sys

from prefect.client.schemas.filters import ArtifactFilter, FlowFilter

from flows.history import registry
from tests.support import retrain_toy, toy
from tests.support.retrain_services import wait_for_run


class World:
    """The team's servers, the project and the deployments, as the story's steps ask for them."""

    def __init__(self, team, moto, folder, client):
        self.team, self.moto, self.client = team, moto, client
        self.bucket, store = moto.bucket(), moto.bucket()
        self.project = retrain_toy.make(
            folder, moto, f"s3://{self.bucket}/in", f"s3://{store}/dvc", "approval", **team.environment
        )
        # Another machine of the team: its clone, its cache, its state.
        self.gpu_machine = self.project.second_clone("gpu-machine")
        self.deploy()

    def deploy(self):
        """As the README says: pools, then `prefect deploy` of the file in the repository."""
        for pool in ("cpu", "gpu"):
            self.prefect("work-pool", "create", pool, "--type", "process")
        self.prefect("deploy", "--prefect-file", "infra/prefect.yaml", "--all")
        for _ in range(2):
            answer = self.plumb("setup-server")
            assert "posts to where alerts go" in answer and self.team.box.url not in answer

    def plumb(self, *arguments):
        answer = self.project.run([sys.executable, "-m", "flows.cli", *arguments])
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    def lineage(self, *arguments):
        """What `plumb lineage` says, of the champion unless another is named."""
        return json.loads(self.plumb("lineage", *arguments, "--json"))

    def prefect(self, *arguments):
        environment = toy.toy_environment(toy.ROOT, **self.team.environment)
        command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
        answer = subprocess.run(command, cwd=toy.ROOT, env=environment, capture_output=True, text=True, timeout=300)
        assert answer.returncode == 0, answer.stdout + answer.stderr

    @property
    def mlflow(self):
        import mlflow
        from mlflow import MlflowClient

        mlflow.set_tracking_uri(self.team.environment["MLFLOW_TRACKING_URI"])
        return MlflowClient(self.team.environment["MLFLOW_TRACKING_URI"])

    @property
    def registry(self):
        return registry.read(self.mlflow, "toy")

    def deployment(self, name):
        return self.client.read_deployment_by_name(name)

    def start(self, name="retrain/retrain", **parameters):
        return self.client.create_flow_run_from_deployment(self.deployment(name).id, parameters=parameters).id

    def retrain(self, *names, **parameters):
        """Start it by hand, with parameters as the page's form sends them; the run in the end."""
        return wait_for_run(self.client, self.start(**parameters), *names, "Failed", "Crashed")

    def runs(self, flow):
        return self.client.read_flow_runs(flow_filter=FlowFilter(name={"any_": [flow]}), limit=100)

    def fired(self):
        """Retrainings that the schedule started, the first one first."""
        begun = [run for run in self.runs("retrain") if run.auto_scheduled and run.start_time]
        return sorted(begun, key=lambda run: run.start_time)

    def artifact_of(self, run_id, key):
        where = ArtifactFilter(flow_run_id={"any_": [run_id]}, key={"any_": [key]})
        (artifact,) = self.client.read_artifacts(artifact_filter=where)
        return artifact

    def artifact(self, run_id, key):
        """What it says."""
        return self.artifact_of(run_id, key).data

    def decisions(self):
        """The tags of the retrainings in MLflow, the oldest first."""
        experiment = self.mlflow.get_experiment_by_name("plumbline").experiment_id
        runs = self.mlflow.search_runs([experiment], "tags.`plumb.kind` = 'retrain'", order_by=["start_time ASC"])
        prefix = "plumb.retrain."
        return [{k.removeprefix(prefix): v for k, v in run.data.tags.items() if k.startswith(prefix)} for run in runs]

    def started_since(self, count):
        return self.project.stages_started()[count:]
