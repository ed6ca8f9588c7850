"""Real Prefect and MLflow servers for tests, on loopback, with every process that they start."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from flows.graph.running import end_session, supervised_command
from flows.hosting import servers
from tests.support import toy
from tests.support.ports import free_port

PATIENCE = 120.0


class Service:
    """One server or worker of a test, with every process that it starts; none outlives the test's own process."""

    def __init__(
        self, name: str, arguments: list[str], folder: Path, environment: dict[str, str], python: str = sys.executable
    ):
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                supervised_command([python, "-m", *arguments]), cwd=folder, env=environment,
                start_new_session=True, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def wait(self, url: str) -> None:
        """Until `url` answers."""
        toy.wait_for(lambda: servers.answers(url), PATIENCE, lambda: self.log.read_text()[-3000:])

    def stop(self) -> None:
        end_session(self.process.pid)
        self.process.wait()


@contextlib.contextmanager
def running(
    name: str, arguments: list[str], folder: Path, environment: dict[str, str], health: str,
    python: str = sys.executable,
) -> Iterator[Service]:  # fmt: skip
    """A server while inside, once it answers."""
    service = Service(name, arguments, folder, environment, python)
    try:
        service.wait(health)
        yield service
    finally:
        service.stop()


@contextlib.contextmanager
def prefect_server(folder: Path, **more: str) -> Iterator[str]:
    """The API of a Prefect server whose database and log lie in `folder`."""
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    environment = toy.toy_environment(
        folder, PREFECT_HOME=str(folder / "prefect"), PREFECT_SERVER_ANALYTICS_ENABLED="false", DO_NOT_TRACK="true",
        PREFECT_API_URL=api, **more,
    )  # fmt: skip
    command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with running("prefect-server", command, folder, environment, f"{api}/health"):
        yield api


@contextlib.contextmanager
def mlflow_server(folder: Path, user: str, password: str) -> Iterator[str]:
    """The address of an MLflow server that asks for a login and hands artifacts on, with all it stores in `folder`."""
    port = free_port()
    (folder / "auth.ini").write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/auth.db\nadmin_username = {user}\n"
    )
    environment = toy.toy_environment(
        folder, MLFLOW_AUTH_CONFIG_PATH=str(folder / "auth.ini"), MLFLOW_AUTH_ADMIN_PASSWORD=password,
        MLFLOW_FLASK_SERVER_SECRET_KEY="for-this-test-alone", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
        MLFLOW_DISABLE_TELEMETRY="true",
    )  # fmt: skip
    command = ["mlflow", "server", "--app-name", "basic-auth", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--workers", "1"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    url = f"http://127.0.0.1:{port}"
    with running("mlflow-server", command, folder, environment, f"{url}/health"):
        yield url
