"""What MLflow could not take is said before a run begins, with the way out: real stores and servers."""

import contextlib
import subprocess
from pathlib import Path

import pytest
from mlflow import MlflowClient

from flows.cli import doctor
from flows.hosting import login, servers, tracking_server
from tests.support import toy
from tests.support.http_server import Reply, serving
from tests.support.mlflow_store import empty_store
from tests.support.ports import free_port
from tests.support.service_processes import running

OLD_MLFLOW = toy.ROOT / ".services" / "mlflow-2" / "bin" / "python"


@pytest.fixture()
def project(tmp_path, monkeypatch):
    folder = toy.make_toy(tmp_path / "toy")
    toy.make_session(folder, monkeypatch)
    for name in (login.MLFLOW_USER, login.MLFLOW_PASSWORD, login.MLFLOW_TOKEN):
        monkeypatch.delenv(name, raising=False)
    empty_store(folder / "mlflow.db")
    return folder


def delete_experiment(uri: str) -> str:
    client = MlflowClient(uri)
    number = client.create_experiment("toy")
    client.delete_experiment(number)
    return number


def looked(project: Path) -> list[doctor.Finding]:
    return list(doctor.check_tracking(project))


def test_a_deleted_experiment_of_a_file_ends_a_run_before_its_first_stage(project):
    number = delete_experiment(f"sqlite:///{project / 'mlflow.db'}")
    answer = toy.plumb(project, "align")
    assert answer.returncode == 1 and answer.stderr.count("\n") == 1 and not (project / "out").exists(), answer
    assert "'toy' was deleted, and nothing can be logged there" in answer.stderr
    restore = f"mlflow experiments restore --experiment-id {number}"
    assert restore in answer.stderr and "tracking.experiment in params.yaml" in answer.stderr
    retraining = toy.plumb(project, "retrain")
    assert restore in retraining.stderr and not (project / ".dvc" / "plumb-state" / "workspaces").exists(), retraining
    status = toy.plumb(project, "status").stdout
    assert "no retraining yet" not in status and "last retraining: not known: MLflow's experiment" in status
    assert restore in status
    (finding,) = looked(project)
    assert finding.level == "problem" and restore in finding.remedy
    mlflow = [toy.sys.executable, "-m", *restore.split()]
    environment = toy.toy_environment(project, MLFLOW_TRACKING_URI=f"sqlite:///{project / 'mlflow.db'}")
    subprocess.run(mlflow, env=environment, check=True, capture_output=True)
    tracking_server.check("toy")
    assert [finding.level for finding in looked(project)] == ["ok"]


def test_a_moved_project_is_a_note_of_doctor(project):
    MlflowClient(f"sqlite:///{project / 'mlflow.db'}").create_experiment("toy", "file:///before/mlartifacts")
    note = looked(project)[1]
    assert note.level == "note" and "keeps its artifacts in /before/mlartifacts" in note.text


@pytest.mark.services
def test_the_pages_of_plumb_up_are_those_of_the_store_that_runs_are_logged_in(project, monkeypatch):
    store = empty_store(project / "other.db")
    MlflowClient(store).create_experiment("of the other store")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    pages = servers.mlflow_pages(project, port := free_port())
    try:
        pages.wait()
        shown = MlflowClient(f"http://127.0.0.1:{port}").search_experiments()
        assert "of the other store" in {experiment.name for experiment in shown}
    finally:
        pages.stop()


def mlflow_of(version: str):
    """What an MLflow server of this version answers, to those who log in."""
    pages = {"/version": Reply(200, version.encode()), "/health": Reply(200, b"OK")}

    def answer(request):
        if request.headers.get("Authorization") != "Basic YWRhOnB3Lzc=":
            return Reply(401)
        return pages.get(request.path, Reply(404, b"<html>not here</html>"))

    return answer


@pytest.mark.parametrize(
    ("version", "refused"), [("2.22.2", True), ("1.30.0", True), ("3.0.0", False), ("12.1", False), ("<html>", False)]
)
def test_versions_and_a_login_in_the_address(project, monkeypatch, version, refused):
    with serving(mlflow_of(version)) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.replace("//", "//ada:pw%2F7@"))
        (finding,) = looked(project)
        assert finding.level == ("problem" if refused else "ok") and "pw" not in finding.text
        with pytest.raises(ValueError, match=f"is {version}, older than") if refused else contextlib.nullcontext():
            tracking_server.check("toy")


def test_who_does_not_answer_ends_no_run_and_is_a_problem_of_doctor(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:secret@127.0.0.1:9")
    tracking_server.check("toy")
    (finding,) = looked(project)
    assert finding.level == "problem" and finding.text == "http://127.0.0.1:9 does not answer"


@contextlib.contextmanager
def mlflow_server(folder: Path, python: str):
    """The address of a server of the MLflow that is installed beside `python`."""
    port = free_port()
    command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder)]
    environment = toy.toy_environment(
        folder, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false", MLFLOW_DISABLE_TELEMETRY="true", PYTHONPATH=""
    )
    environment["PATH"] = f"{Path(python).parent}:{environment['PATH']}"
    url = f"http://127.0.0.1:{port}"
    with running("mlflow-server", command, folder, environment, f"{url}/health", python):
        yield url


@pytest.mark.services
def test_a_server_of_mlflow_2_ends_a_run_before_its_first_stage(project, tmp_path):
    (tmp_path / "server").mkdir()
    with mlflow_server(tmp_path / "server", str(OLD_MLFLOW)) as uri:
        answer = toy.plumb(project, "align", MLFLOW_TRACKING_URI=uri)
        assert answer.returncode == 1 and answer.stderr.count("\n") == 1 and not (project / "out").exists(), answer
        assert f"the MLflow server at {uri} is 2." in answer.stderr and "or newer there" in answer.stderr
        assert "older than MLflow" in toy.plumb(project, "doctor", MLFLOW_TRACKING_URI=uri).stdout


@pytest.mark.services
def test_a_deleted_experiment_of_a_server_ends_a_run_before_its_first_stage(project, tmp_path):
    (tmp_path / "server").mkdir()
    with mlflow_server(tmp_path / "server", toy.sys.executable) as uri:
        assert toy.plumb(project, "align", MLFLOW_TRACKING_URI=uri).returncode == 0
        client = MlflowClient(uri)
        number = client.get_experiment_by_name("toy").experiment_id
        client.delete_experiment(number)
        answer = toy.plumb(project, "align", "--set", "first.value=2", MLFLOW_TRACKING_URI=uri)
        assert answer.returncode == 1 and f"restore --experiment-id {number}" in answer.stderr, answer
        client.restore_experiment(number)
        assert toy.plumb(project, "align", "--set", "first.value=2", MLFLOW_TRACKING_URI=uri).returncode == 0
