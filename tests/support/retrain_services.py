"""The servers of a team on loopback: Prefect on Postgres, MLflow, a worker, and somebody who gets the alerts."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from flows.hosting import servers
from tests.support import toy
from tests.support.http_server import Reply, Request, serving
from tests.support.ports import free_port
from tests.support.postgres_server import Postgres, postgres

PATIENCE = 240.0


@contextlib.contextmanager
def service(
    name: str, command: list[str], folder: Path, environment: dict[str, str], health: str = ""
) -> Iterator[Path]:
    """A process with all that it starts, while inside; its log. `health`: an address that must answer first."""
    log = folder / f"{name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, start_new_session=True, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        if health:
            toy.wait_for(lambda: servers.answers(health), PATIENCE, lambda: log.read_text()[-3000:])
        yield log
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass
class Mailbox:
    """Everything that was posted to `url`."""

    url: str = ""
    letters: list[dict] = field(default_factory=list)

    def of(self, verdict: str) -> list[dict]:
        return [letter for letter in self.letters if letter.get("verdict") == verdict]


@contextlib.contextmanager
def mailbox(refuse: int = 0) -> Iterator[Mailbox]:
    """A server that keeps what is posted below /hook/, after it has cut the first `refuse` connections."""
    box, left = Mailbox(), [refuse]

    def answer(request: Request) -> Reply | None:
        if left[0] > 0:
            left[0] -= 1
            return None
        if not request.path.startswith("/hook/"):
            return Reply(403)
        box.letters.append(json.loads(request.body))
        return Reply(204)

    with serving(answer) as url:
        box.url = f"{url}/hook/token-0123456789"
        yield box


@dataclass
class Team:
    """The team's servers as a client sees them."""

    environment: dict[str, str]
    box: Mailbox
    database: Postgres

    @property
    def api(self) -> str:
        return self.environment["PREFECT_API_URL"]


@contextlib.contextmanager
def team(folder: Path) -> Iterator[Team]:
    """All servers but the workers, both on one Postgres, with what they store in `folder`."""
    with contextlib.ExitStack() as stack:
        password = secrets.token_hex(12)
        database = stack.enter_context(postgres(password))
        for name in ("prefect", "mlflow"):
            database.ask("postgres", f"CREATE DATABASE {name}")
        box = stack.enter_context(mailbox())
        api, pages = free_port(), free_port()
        known = {
            "PREFECT_API_URL": f"http://127.0.0.1:{api}/api", "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{pages}",
            "PREFECT_HOME": str(folder / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "true",
            "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "PLUMB_ALERT_URL": box.url, "PREFECT_WORKER_QUERY_SECONDS": "1",
        }  # fmt: skip
        environment, address = toy.toy_environment(folder, **known), f"postgres@127.0.0.1:{database.port}"
        server = environment | {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{address}/prefect",
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
            "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_LOOP_SECONDS": "1", "PGPASSWORD": password,
        }  # fmt: skip
        python = [sys.executable, "-m"]
        command = [*python, "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(api)]
        stack.enter_context(service("prefect", command, folder, server, f"{known['PREFECT_API_URL']}/health"))
        command = [*python, "mlflow", "server", "--host", "127.0.0.1", "--port", str(pages), "--workers", "1"]
        command += ["--artifacts-destination", f"{folder}/models"]
        server = environment | {
            "MLFLOW_BACKEND_STORE_URI": f"postgresql+psycopg2://{address}/mlflow", "PGPASSWORD": password,
        }  # fmt: skip
        stack.enter_context(service("mlflow", command, folder, server, f"{known['MLFLOW_TRACKING_URI']}/health"))
        yield Team(known, box, database)


@contextlib.contextmanager
def worker(pool: str, folder: Path, environment: dict[str, str]) -> Iterator[Path]:
    """A process worker of a pool; its log."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"]
    with service(f"worker-{pool}", command, folder, environment) as log:
        yield log


def wait_for_run(client, run_id, *names: str):
    """The flow run, once its state has one of these names."""
    deadline = time.monotonic() + PATIENCE
    while True:
        run = client.read_flow_run(run_id)
        if run.state and run.state.name in names:
            return run
        assert time.monotonic() < deadline, (run.state, log_of(client, run_id))
        time.sleep(0.3)


def kill_flow_run(run_id) -> None:
    """SIGKILL the process in which a worker runs this flow."""
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            is_it = process.environ().get("PREFECT__FLOW_RUN_ID") == str(run_id)
            if is_it and "prefect" in " ".join(process.cmdline()):
                process.kill()
                return
    raise AssertionError(f"no process runs {run_id}")


def log_of(client, run_id) -> str:
    from prefect.client.schemas.filters import LogFilter

    lines = client.read_logs(LogFilter(flow_run_id={"any_": [run_id]}))
    return "\n".join(line.message for line in lines)[-3000:]
