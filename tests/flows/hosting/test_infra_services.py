"""infra/ asked of the programs that it is for: Compose, Prefect's Kubernetes worker, Kubernetes' schemas.

No container is started. What the containers would run is run here, with the commands, the environment and the health
checks of compose.yaml, on a real Postgres and an S3 server; only names of hosts and ports differ.
"""

import json
import os
import re
import secrets
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from tests.import_closure import ROOT
from tests.support import registry_toy, toy
from tests.support.planted_secrets import leaks
from tests.support.ports import free_port
from tests.support.postgres_server import postgres
from tests.support.s3_servers import moto_server, program
from tests.support.service_processes import Service

pytestmark = pytest.mark.services
INFRA = ROOT / "infra"
NAMES = re.findall(r"^(\w+)=$", (INFRA / "env.example").read_text(), re.M)
HOSTS = {"postgres": 5432, "s3": 8333, "prefect": 4200, "mlflow": 5000}


def values() -> dict[str, str]:
    """What a person writes into infra/.env."""
    return {name: secrets.token_hex(16) for name in NAMES} | {"PREFECT_AUTH_STRING": f"ada:{secrets.token_hex(16)}"}


def compose(given: dict[str, str], *arguments: str) -> subprocess.CompletedProcess:
    command = [program("docker-compose"), "--file", str(INFRA / "compose.yaml"), "--profile", "*", "config", *arguments]
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **given}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


# --- Compose and Kubernetes ---


def test_compose_takes_the_file():
    answer = compose(values(), "--quiet")
    assert answer.returncode == 0 and answer.stdout + answer.stderr == ""


@pytest.mark.parametrize("name", NAMES)
def test_compose_refuses_a_value_that_is_missing_or_empty(name):
    for given in ({k: v for k, v in values().items() if k != name}, values() | {name: ""}):
        answer = compose(given, "--quiet")
        assert answer.returncode != 0
        assert f"required variable {name} is missing a value: set it in infra/.env" in answer.stderr


def rendered(template, given=None):
    """(exit code, the manifest or what is wrong)."""
    command = [program("python"), str(ROOT / "tests" / "support" / "render_job.py"), str(template), json.dumps(given or {})]
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True)
    return answer.returncode, json.loads(answer.stdout) if answer.returncode == 0 else answer.stderr


@pytest.mark.parametrize("name", ["work-pool", "gpu-work-pool"])
def test_kubernetes_takes_the_job_that_prefect_makes(name):
    given = {"env": {"MLFLOW_TRACKING_URI": "http://tracking:5000"}}
    code, job = rendered(INFRA / "kubernetes" / f"{name}.json", given)
    assert code == 0, job
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert environment["MLFLOW_TRACKING_URI"] == "http://tracking:5000" and environment["PLUMB_STATE"] == "/state"
    assert container["envFrom"] == [{"secretRef": {"name": "plumbline-credentials"}}]
    assert container["resources"]["limits"].get("nvidia.com/gpu") == (1 if name.startswith("gpu") else None)
    assert container["args"] == ["prefect", "flow-run", "execute"]


def test_kubernetes_refuses_what_is_wrong(tmp_path):
    """Or the test above proved nothing."""
    text = (INFRA / "kubernetes" / "gpu-work-pool.json").read_text()
    mistakes = {'"tolerations"': '"toleration"', '"emptyDir"': '"emptydir"', '"completions": 1': '"completions": "1"'}
    for right, wrong in mistakes.items():
        (tmp_path / "pool.json").write_text(text.replace(right, wrong))
        assert rendered(tmp_path / "pool.json")[0] == 1, wrong
    code, said = rendered(INFRA / "kubernetes" / "gpu-work-pool.json", {"gpus": 0})
    assert code == 1 and "0 is less than the minimum of 1" in said


# --- the team's set, without containers ---


class Team:
    """The services of compose.yaml as processes of this machine."""

    def __init__(self, folder, given, database, store):
        self.folder, self.given, self.database = folder, given, database
        self.services = json.loads(compose(given, "--format", "json").stdout)["services"]
        ports = {"postgres": database.port, "s3": int(store.url.rsplit(":", 1)[1])}
        self.ports = ports | {name: free_port() for name in ("prefect", "mlflow")}
        self.running = []
        (folder / "auth.ini").write_text(self._here((INFRA / "mlflow" / "auth.ini").read_text()))

    def _here(self, text: str) -> str:
        for host, port in HOSTS.items():
            text = re.sub(rf"(@|//)(?:{host}|127\.0\.0\.1):{port}\b", rf"\g<1>127.0.0.1:{self.ports[host]}", text)
        return text.replace("0.0.0.0", "127.0.0.1")

    def environment(self, name: str) -> dict[str, str]:
        """What the container would see, and what a process of this machine needs besides."""
        own = {key: self._here(value) for key, value in self.services[name].get("environment", {}).items()}
        changes = {
            "PREFECT_SERVER_DATABASE_HOST": "127.0.0.1", "PREFECT_SERVER_DATABASE_PORT": str(self.ports["postgres"]),
            "MLFLOW_AUTH_CONFIG_PATH": str(self.folder / "auth.ini"), "PLUMB_STATE": str(self.folder / "state"),
        }  # fmt: skip
        own |= {key: value for key, value in changes.items() if key in own}
        return toy.toy_environment(self.folder, PREFECT_HOME=str(self.folder / name), **own)

    def command(self, name: str) -> list[str]:
        """Its command, without the interpreter."""
        words = [self._here(word) for word in self.services[name]["command"]]
        if "--port" in words and name in self.ports:
            words[words.index("--port") + 1] = str(self.ports[name])
        return words[2:] if words[0] == "python" else words

    def start(self, name: str, **more: str) -> Service:
        """Start it and wait until its own health check says so."""
        service = Service(name, self.command(name), self.folder, self.environment(name) | more)
        self.running.append(service)
        health = self.services[name]["healthcheck"]["test"]
        assert health[:4] == ["CMD", "python", "-m", "flows.hosting.healthy"]
        url = self._here(health[4]).replace(":8080", f":{more.get('PREFECT_WORKER_WEBSERVER_PORT', 8080)}")

        def healthy():
            return subprocess.run([sys.executable, *health[2:4], url], env=self.environment(name)).returncode == 0

        toy.wait_for(healthy, 120, lambda: service.log.read_text()[-3000:])
        return service

    def once(self, name: str) -> str:
        """Run a service that ends; returns what it printed."""
        command = [sys.executable, "-m", *self.command(name)]
        answer = subprocess.run(command, env=self.environment(name), cwd=self.folder, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    def stop(self) -> None:
        for service in reversed(self.running):
            service.stop()


@pytest.fixture(scope="module")
def store():
    with moto_server() as server:
        yield server


@pytest.fixture(scope="module")
def team(tmp_path_factory, store):
    folder, given = tmp_path_factory.mktemp("team"), values()
    with postgres(given["POSTGRES_PASSWORD"]) as database:
        found = Team(folder, given, database, store)
        passwords = {name: given[name] for name in ("PREFECT_DB_PASSWORD", "MLFLOW_DB_PASSWORD")}
        script = ["sh", str(INFRA / "postgres" / "databases.sh")]
        subprocess.run(script, env=os.environ | database.environment | passwords, check=True)
        try:
            found.start("prefect")
            found.start("mlflow")
            yield found
        finally:
            found.stop()


def test_each_role_sees_its_own_databases_alone(team):
    def may(role, database):
        return team.database.ask("postgres", f"SELECT has_database_privilege('{role}', '{database}', 'CONNECT')") == "t"

    databases = ("prefect", "mlflow", "mlflow_auth")
    assert {name for name in databases if may("prefect", name)} == {"prefect"}
    assert {name for name in databases if may("mlflow", name)} == {"mlflow", "mlflow_auth"}


def test_set_up_makes_buckets_and_the_automation_once(team, store):
    first, second = team.once("setup"), team.once("setup")
    assert first.count(" made") == 4 and second.count(" kept") == 4, first + second
    assert "crashed after 90 s without a heartbeat" in first
    names = {bucket["Name"] for bucket in store.client().list_buckets()["Buckets"]}
    assert {"plumb-mlflow", "plumb-dvc", "plumb-inbox"} <= names
    assert store.client().get_bucket_versioning(Bucket="plumb-inbox")["Status"] == "Enabled"


def status(url, headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_both_servers_ask_for_a_login_and_mlflow_knows_its_names(team):
    mlflow = f"http://127.0.0.1:{team.ports['mlflow']}/api/2.0/mlflow/experiments/get?experiment_id=0"
    assert status(f"http://127.0.0.1:{team.ports['prefect']}/api/admin/version", {}) == 401
    known, unknown = ("mlflow:5000", "localhost:5000"), "evil.example"
    assert [status(mlflow, {"Host": host}) for host in known] == [401, 401]
    assert status(mlflow, {"Host": unknown}) == 403


def test_a_worker_runs_the_project_against_the_team_and_nothing_stores_a_login(team, store):
    """`plumb align` and `promote` as a worker's container would: Postgres holds the runs, S3 the model."""
    team.once("setup")
    team.start("worker-cpu", PREFECT_WORKER_WEBSERVER_PORT=str(free_port()))
    project = team.folder / "toy"
    registry_toy.write_project(project)
    registry_toy.write_candidate(project, "gpt2")
    environment = team.environment("worker-cpu")
    answers = [toy.plumb(project, command, **environment) for command in ("align", "promote", "status")]
    assert [answer.returncode for answer in answers] == [0, 0, 0], answers
    assert "v1 is champion" in answers[1].stdout and "champion: v1" in answers[2].stdout
    keys = [one["Key"] for one in store.client().list_objects_v2(Bucket="plumb-mlflow")["Contents"]]
    assert any(key.endswith("model.safetensors") for key in keys)
    assert int(team.database.ask("prefect", "SELECT count(*) FROM flow_run WHERE state_type = 'COMPLETED'")) == 2
    assert team.database.ask("mlflow", "SELECT alias, version FROM registered_model_aliases") == "champion|1"
    for database in ("prefect", "mlflow", "mlflow_auth"):
        (team.folder / f"{database}.sql").write_bytes(team.database.dump(database))
    logins = {name: value for name, value in team.given.items() if not name.endswith(("USERNAME", "S3_ACCESS_KEY"))}
    found = leaks(team.folder, *(answer.stdout + answer.stderr for answer in answers), secrets=logins)
    assert found == []
