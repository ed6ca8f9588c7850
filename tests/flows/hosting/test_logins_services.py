"""Prefect and MLflow that ask for a login: everything works with what the environment says, and nothing stores it."""

import json
import subprocess
import sys

import pytest

from tests.support import registry_toy, toy
from tests.support.planted_secrets import LEAK, SECRETS, leaks
from tests.support.ports import free_port
from tests.support.service_processes import mlflow_server, prefect_server

pytestmark = pytest.mark.services
SERVING = """
serving: {temperature: 0.7, max_new_tokens: 12, rows_per_batch: 8}
runtime: {seed: 0, threads: 1, dtype: float32, date: "2026-01-01"}
"""
USER = "ada"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folder of all that the servers and the project store."""
    return tmp_path_factory.mktemp("logins")


@pytest.fixture(scope="module")
def project(place):
    folder = place / "toy"
    registry_toy.write_project(folder)
    with (folder / "params.yaml").open("a") as params:
        params.write(SERVING)
    registry_toy.write_candidate(folder, "gpt2")
    return folder


@pytest.fixture(scope="module")
def logins(place):
    """What the environment of `plumb` says: addresses, logins, and keys that are none of these servers' business."""
    (place / "servers").mkdir()
    auth = SECRETS["PREFECT_API_AUTH_STRING"]
    with (
        prefect_server(place / "servers", PREFECT_SERVER_API_AUTH_STRING=auth, PREFECT_API_AUTH_STRING=auth) as api,
        mlflow_server(place / "servers", USER, SECRETS["MLFLOW_TRACKING_PASSWORD"]) as uri,
    ):
        yield {**SECRETS, "PREFECT_API_URL": api, "MLFLOW_TRACKING_URI": uri, "MLFLOW_TRACKING_USERNAME": USER}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"PREFECT_API_AUTH_STRING": "ada:wrong-password"}, "refuses the login; set PREFECT_API_AUTH_STRING to"),
        ({"MLFLOW_TRACKING_PASSWORD": "wrong-password"}, "refuses the login; set MLFLOW_TRACKING_USERNAME and"),
        ({"MLFLOW_TRACKING_USERNAME": ""}, "refuses the login; set MLFLOW_TRACKING_USERNAME and"),
    ],
)
def test_a_wrong_login_is_one_line_before_anything_runs(project, logins, changes, words):
    answer = toy.plumb(project, "align", **{**logins, **changes})
    assert answer.returncode == 1 and answer.stderr.count("\n") == 1, answer
    assert words in answer.stderr and "wrong-password" not in answer.stderr
    assert not (project / "out").exists()
    doctor = toy.plumb(project, "doctor", **{**logins, **changes}).stdout
    assert "refuses the login" in doctor and "wrong-password" not in doctor


@pytest.mark.parametrize("command", [["status"], ["lineage"], ["rollback"], ["chat"]], ids=lambda words: words[0])
def test_every_command_says_it_in_one_line(project, logins, command):
    answer = toy.plumb(project, *command, **{**logins, "MLFLOW_TRACKING_PASSWORD": "wrong-password"})
    assert answer.returncode == 1 and answer.stderr.count("\n") == 1, answer
    assert answer.stderr.startswith("plumb: the MLflow server at http://127.0.0.1")
    assert "refuses the login" in answer.stderr


def test_everything_works_with_the_logins_of_the_environment_and_nothing_stores_them(place, project, logins):
    said = []

    def plumb(*arguments, code=0, **more):
        answer = toy.plumb(project, *arguments, **{**logins, **more})
        said.append(answer.stdout + answer.stderr)
        assert answer.returncode == code, said[-1]
        return answer.stdout

    plumb("align", code=1, **LEAK)
    assert "wrong key [OPENAI_API_KEY]" in said[-1]
    plumb("align")
    assert "v1 is champion (the first champion)" in plumb("promote")
    assert "champion: v1" in plumb("status")
    assert json.loads(plumb("lineage", "--json"))["model"]["version"] == 1
    assert not (project / "mlflow.db").exists() and not (project / ".prefect" / "server.log").exists()
    command = [sys.executable, "-m", "flows.cli", "chat"]
    environment = toy.toy_environment(project, **logins)
    question = "Can I wash my teddy bear?\n"
    answer = subprocess.run(
        command, input=question, cwd=project, text=True, timeout=120, env=environment, capture_output=True
    )
    assert answer.returncode == 0 and answer.stdout.endswith("\n"), answer
    assert leaks(place, *said, answer.stdout, answer.stderr) == []


def test_a_login_in_the_address_is_used_and_not_shown(place, project, logins):
    password = SECRETS["MLFLOW_TRACKING_PASSWORD"]
    address = logins["MLFLOW_TRACKING_URI"].replace("http://", "http://{}@")
    own = {key: value for key, value in logins.items() if not key.startswith("MLFLOW_TRACKING_")}
    answer = toy.plumb(project, "status", **own, MLFLOW_TRACKING_URI=address.format(f"{USER}:{password}"))
    assert answer.returncode == 0 and "champion: v1" in answer.stdout, answer
    answer = toy.plumb(project, "promote", **own, MLFLOW_TRACKING_URI=address.format(f"{USER}:planted-and-wrong"))
    assert answer.returncode == 1 and answer.stderr.count("\n") == 1 and "planted" not in answer.stderr, answer
    assert leaks(place, answer.stdout, answer.stderr) == []


def test_a_step_that_fails_tells_prefect_no_login(place, project, logins):
    """MLflow's client says the whole address when nobody answers there, and Prefect keeps what a step died of."""
    own = {key: value for key, value in logins.items() if not key.startswith("MLFLOW_TRACKING_")}
    address = f"http://{USER}:{SECRETS['MLFLOW_TRACKING_PASSWORD']}@127.0.0.1:{free_port()}"
    answer = toy.plumb(project, "retrain", **own, MLFLOW_TRACKING_URI=address)
    assert answer.returncode == 1 and "127.0.0.1" in answer.stderr, answer
    assert leaks(place, answer.stdout, answer.stderr) == []
