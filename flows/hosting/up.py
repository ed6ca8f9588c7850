"""`plumb up`: the pages of MLflow and Prefect on this machine, and workers that run what is deployed."""

import os
import signal
import sys
import time
from pathlib import Path

import yaml

from flows.hosting import login
from flows.hosting.servers import HOST, Server, announcing, answers, mlflow_pages, port_in_use, prefect_pages

QUERY_SECONDS = "2"  # one machine's own server may be asked more often than Prefect's default of 15 s
DEFAULT_POOL = "cpu"


def pools(root: Path) -> list[str]:
    """The work pools that dvc.yaml's `meta` names, with the one where flows themselves run."""
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8")).get("stages") or {}
    metas = [(stage.get("do") or stage).get("meta") or {} for stage in stages.values()]
    return sorted({DEFAULT_POOL, *(meta["pool"] for meta in metas if "pool" in meta)})


def worker(root: Path, pool: str, api: str) -> Server:
    """A Prefect worker that runs what is deployed to `pool`, as processes here; it makes the pool if need be."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"]
    command += ["--name", f"plumb up {pool}", "--install-policy", "never"]
    environment = {"PREFECT_API_URL": api, "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO"}
    environment["PREFECT_WORKER_QUERY_SECONDS"] = os.environ.get("PREFECT_WORKER_QUERY_SECONDS", QUERY_SECONDS)
    log = root / ".prefect" / f"worker-{pool}.log"
    return Server(f"Prefect {pool} worker", command, f"{api}/health", log, environment)


def set_up_server(api: str, heartbeat_seconds: int | None = None) -> str:
    """What a Prefect server needs once: dead runs are marked, and told to where alerts go, if anybody said where.

    See `flows.hosting.heartbeat` and `flows.hosting.crash_alerts`; returns what was done, one line for each.

    Raises ValueError where no server answers, or it refuses the login.
    """
    if not answers(f"{api}/health", seconds=5.0):
        raise ValueError(f"no Prefect server answers at {api}; start it (plumb up), or set PREFECT_API_URL")
    login.check_prefect(api)
    os.environ["PREFECT_API_URL"] = api
    from prefect.client.orchestration import get_client

    from flows.hosting import alerts, crash_alerts, heartbeat

    seconds, url = heartbeat_seconds or heartbeat.frequency(), alerts.address()
    with get_client(sync_client=True) as client:
        done = heartbeat.ensure(client, seconds)
        if url:
            crash_alerts.ensure(client, url)
    told = "posts to where alerts go" if url else f"left out: {alerts.VARIABLE} is not set"
    return (
        f"automation {heartbeat.NAME!r} {done}: crashed after {heartbeat.MISSED * seconds} s without a heartbeat\n"
        f"automations {crash_alerts.NAME!r} and {crash_alerts.UNANSWERED!r}: {told}"
    )


def serve(root: Path, prefect_port: int, mlflow_port: int, workers: bool, console) -> int:
    """Run the pages, and the workers, until Ctrl-C, SIGTERM or the end of one of them.

    Raises ValueError naming a port that is in use, and where they run for this project already.
    """
    with announcing(root) as announce:
        for port, option in ((prefect_port, "--prefect-port"), (mlflow_port, "--mlflow-port")):
            if port_in_use(port):
                raise ValueError(f"port {port} is in use; stop what listens there or choose another with {option}")
        login.as_client()
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        started: list[Server] = []
        try:
            started += [prefect_pages(root, prefect_port), mlflow_pages(root, mlflow_port)]
            for server in started:
                server.wait()
            console.print(f"Prefect: http://{HOST}:{prefect_port}\nMLflow:  http://{HOST}:{mlflow_port}")
            _open_for_work(root, f"http://{HOST}:{prefect_port}/api", workers, started, announce, console)
            while all(server.running for server in started):
                time.sleep(0.2)
            ended = next(server for server in started if not server.running)
            raise ValueError(f"the {ended.name} ended; its log is {ended.log}")
        except KeyboardInterrupt:
            return 0
        finally:
            for server in reversed(started):
                server.stop()


def _open_for_work(root: Path, api: str, workers: bool, started: list[Server], announce, console) -> None:
    """Set the Prefect server up, start the workers, and say what there is."""
    announce(api)
    set_up_server(api)
    if workers:
        started += [worker(root, pool, api) for pool in pools(root)]
        console.print(f"Workers: {', '.join(pools(root))} (logs: {root / '.prefect'})", soft_wrap=True)
    console.print("Ctrl-C ends all of it." if workers else "Ctrl-C ends both.")
