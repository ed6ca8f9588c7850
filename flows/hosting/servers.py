"""Prefect and MLflow servers on this machine: a private one for a single run, or those of `plumb up`."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from flows.graph.running import end_session, supervised_command
from flows.history import experiments
from flows.hosting import login
from flows.redact import without_login
from tasks.common import file_lock

HOST = "127.0.0.1"
UP_ENVIRONMENT = ".prefect/up.env"  # what a shell sources beside a `plumb up`
START_SECONDS = 300.0  # a machine that is busy; one that died is noticed at once


def port_in_use(port: int, host: str = HOST) -> bool:
    """Whether binding to `port` would fail."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def answers(url: str, seconds: float = 1.0) -> bool:
    """Whether a GET of `url` comes back with 200."""
    return login.get(url, {}, seconds)[0] == 200


class Server:
    """One server process that ends when this process does. `health` answers 200 once it serves.

    inherits: file descriptors that it gets under the numbers that they have here.
    """

    def __init__(
        self, name: str, command: list[str], health: str, log: Path, environment: dict[str, str] | None = None,
        inherits: tuple[int, ...] = (),
    ):  # fmt: skip
        self.name, self.health, self.log = name, health, log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                supervised_command(command), env=os.environ | (environment or {}), stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True, pass_fds=inherits,
            )  # fmt: skip

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self, seconds: float = START_SECONDS) -> None:
        """Until it answers. Raises ValueError with the place of its log if it does not."""
        deadline = time.monotonic() + seconds
        while not answers(self.health):
            if not self.running:
                raise ValueError(f"the {self.name} server stopped at start; its log is {self.log}")
            if time.monotonic() > deadline:
                self.stop()
                raise ValueError(f"the {self.name} server did not answer within {seconds:.0f} s; its log is {self.log}")
            time.sleep(0.05)

    def stop(self) -> None:
        end_session(self._process.pid)
        self._process.wait()


def private_prefect(root: Path) -> tuple[Server, str]:
    """A Prefect API for one flow run, without its pages, and its URL. It starts while the caller does other things.

    Prefect's own temporary server would outlive a `kill -9` of the flow. The port is bound here and handed over: one
    that was only found free may be somebody else's by the time the server has been imported.
    """
    environment = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    if auth := os.environ.get(login.PREFECT_CLIENT):
        environment[login.PREFECT_SERVER] = auth  # it asks for what this process will say
    with socket.socket() as bound:
        bound.bind((HOST, 0))
        url = environment["PREFECT_API_URL"] = f"http://{HOST}:{bound.getsockname()[1]}/api"
        command = [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"]
        command += ["--fd", str(bound.fileno()), "--log-level", "error", "--lifespan", "on"]
        log = root / ".prefect" / "server.log"
        server = Server("Prefect", command, f"{url}/health", log, environment, (bound.fileno(),))
    return server, url


def prefect_pages(root: Path, port: int) -> Server:
    """`prefect server start` with the project's runs."""
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]
    environment = {"PREFECT_API_URL": f"http://{HOST}:{port}/api"}
    return Server("Prefect", command, f"http://{HOST}:{port}/api/health", root / ".prefect" / "up.log", environment)


def mlflow_pages(root: Path, port: int) -> Server:
    """`mlflow server` with the project's runs."""
    file = experiments.store_file(os.environ["MLFLOW_TRACKING_URI"]) or root / "mlflow.db"
    store, artifacts = f"{experiments.SQLITE}{file}", str(file.parent / experiments.FOLDER)
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    command += ["--backend-store-uri", store, "--artifacts-destination", artifacts, "--workers", "1"]
    # Its job consumers outlive the server otherwise.
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_TRACKING_URI": store}
    return Server("MLflow", command, f"http://{HOST}:{port}/health", root / ".prefect" / "mlflow.log", environment)


def _notice(root: Path) -> Path:
    return root / ".prefect" / "up.json"


@contextlib.contextmanager
def announcing(root: Path) -> Iterator[Callable[[str, str], None]]:
    """Be the one `plumb up` of a project; told the address of its Prefect API and of MLflow's pages, a `plumb align`
    there finds them by itself, and a shell that sources .prefect/up.env has Prefect's.

    Raises ValueError where another one is. A dead process holds nothing.
    """
    path, environment = _notice(root), root / UP_ENVIRONMENT

    def refuse(_) -> None:
        where = _announced(path, "prefect") or "starting"
        raise ValueError(f"plumb up runs for {root} already ({where}); use it, or stop it first")

    with file_lock.held(path, busy=refuse) as handle:
        handle.truncate(0)

        def announce(prefect_url: str, mlflow_url: str) -> None:
            environment.write_text(_exports(prefect_url), encoding="utf-8")
            handle.write(json.dumps({"prefect": prefect_url, "mlflow": mlflow_url}))
            handle.flush()

        try:
            yield announce
        finally:
            environment.unlink(missing_ok=True)
            path.unlink(missing_ok=True)


def _exports(prefect_url: str) -> str:
    """For a shell. Logins stay out: they come from its own environment."""
    lines = [f"export PREFECT_API_URL={prefect_url}", "export PREFECT_SERVER_ANALYTICS_ENABLED=false DO_NOT_TRACK=true"]
    return "\n".join(["# Of the plumb up that runs here; gone when it ends.", *lines, ""])


def running_prefect(root: Path) -> str | None:
    """The API of a server that was started for this project, if it answers."""
    if os.environ.get("PREFECT_API_URL"):
        return os.environ["PREFECT_API_URL"]
    url = _announced(_notice(root), "prefect")
    return url if url and answers(f"{url}/health") else None


def mlflow_address() -> str | None:
    """Where a browser finds MLflow's pages: at the tracking server, or where a `plumb up` serves the store here."""
    uri = os.environ["MLFLOW_TRACKING_URI"]
    if uri.startswith("http"):
        return without_login(uri).rstrip("/")
    store = uri.removeprefix("sqlite:///")
    return _announced(_notice(Path(store).parent), "mlflow") if store != uri else None


def _announced(path: Path, server: str) -> str | None:
    """The address of a server of the `plumb up` that wrote it, while that lives: by now another project's servers may
    listen there.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))[server] if file_lock.is_held(path) else None
    except (OSError, ValueError, KeyError):
        return None
