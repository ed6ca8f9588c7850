"""`plumb up`: the pages of MLflow and Prefect on this machine, and workers that run what is deployed."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

from flows.hosting import login
from flows.hosting.servers import (
    HOST, UP_ENVIRONMENT, Server, announcing, answers, mlflow_pages, port_in_use, prefect_pages,
)  # fmt: skip

QUERY_SECONDS = "2"  # one machine's own server may be asked more often than Prefect's default of 15 s
DEFAULT_POOL = "cpu"
DEPLOYMENTS = "infra/prefect.yaml"
PROJECT = "PLUMB_PROJECT"  # where runs of deployments work: infra/prefect.yaml changes into it


def pools(root: Path) -> list[str]:
    """The work pools that dvc.yaml's `meta` and infra/prefect.yaml name, with the one where flows themselves run."""
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8")).get("stages") or {}
    metas = [(stage.get("do") or stage).get("meta") or {} for stage in stages.values()]
    return sorted({DEFAULT_POOL, *(meta["pool"] for meta in metas if "pool" in meta), *_deployed_to(root)})


def _deployed_to(root: Path) -> set[str]:
    path = root / DEPLOYMENTS
    document = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {one["work_pool"]["name"] for one in document.get("deployments") or []}


def make_pools(names: list[str]) -> None:
    """Make the work pools that are not there, so that `prefect deploy` finds them before any worker has started."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    with get_client(sync_client=True) as client:
        for name in names:
            with contextlib.suppress(ObjectAlreadyExists):
                client.create_work_pool(WorkPoolCreate(name=name, type=ProcessWorker.type, base_job_template=template))


def deploy(root: Path, api: str) -> None:
    """Deploy infra/prefect.yaml of the project to the server at `api`; repeated, it brings what is there up to date.

    Raises ValueError with what Prefect said last.
    """
    if not (root / DEPLOYMENTS).exists():
        raise ValueError(f"{root} has no {DEPLOYMENTS}, so there is nothing to deploy; leave --deploy out")
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--prefect-file", DEPLOYMENTS, "--all"]
    # Where the project is, each worker says for its machine; known here, it would be written into the deployments.
    environment = {name: value for name, value in os.environ.items() if name != PROJECT} | {"PREFECT_API_URL": api}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        output = " ".join((done.stderr or done.stdout).split())[-500:]
        raise ValueError(f"prefect deploy of {DEPLOYMENTS} failed: {output}")


def is_deployed(name: str) -> bool:
    """Whether the server at PREFECT_API_URL has this deployment."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client, contextlib.suppress(ObjectNotFound):
        return bool(client.read_deployment_by_name(name))
    return False


def worker(root: Path, pool: str, api: str) -> Server:
    """A Prefect worker that runs what is deployed to `pool`, as processes here, in the project."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"]
    command += ["--name", f"plumb up {pool}", "--install-policy", "never"]
    environment = {"PREFECT_API_URL": api, "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO", PROJECT: str(root)}
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


def serve(root: Path, prefect_port: int, mlflow_port: int, workers: bool, deployed: bool, console) -> int:
    """Run the pages, and the workers, until Ctrl-C, SIGTERM or the end of one of them.

    deployed: deploy infra/prefect.yaml first. Raises ValueError naming a port that is in use, where they run for this
    project already, and where it cannot be deployed.
    """
    if prefect_port == mlflow_port:
        raise ValueError(f"port {mlflow_port} cannot be that of both pages; choose another with --mlflow-port")
    with announcing(root) as announce:
        for port, option in ((prefect_port, "--prefect-port"), (mlflow_port, "--mlflow-port")):
            if port_in_use(port):
                raise ValueError(f"port {port} is in use; stop what listens there or choose another with {option}")
        login.as_client()
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        started, at_work, names = [], [], pools(root)
        try:
            started += [prefect_pages(root, prefect_port), mlflow_pages(root, mlflow_port)]
            for server in started:
                server.wait()
            prefect, mlflow = f"http://{HOST}:{prefect_port}", f"http://{HOST}:{mlflow_port}"
            console.print(f"Prefect: {prefect}\nMLflow:  {mlflow}")
            set_up_server(f"{prefect}/api")
            make_pools(names)
            announce(f"{prefect}/api", mlflow)
            if deployed:
                deploy(root, f"{prefect}/api")
            if workers:
                mark_as_ended(names)  # a plumb up that was killed could not
                at_work += [worker(root, pool, f"{prefect}/api") for pool in names]
            _say_what_there_is(root, names if workers else [], console)
            while all(server.running for server in (*started, *at_work)):
                time.sleep(0.2)
            ended = next(server for server in (*started, *at_work) if not server.running)
            raise ValueError(f"the {ended.name} ended; its log is {ended.log}")
        except KeyboardInterrupt:
            return 0
        finally:
            for server in at_work:
                server.stop()
            if at_work:
                mark_as_ended(names)
            for server in started:
                server.stop()


def mark_as_ended(names: list[str]) -> None:
    """Tell the server that what ran in these pools runs no more, or it would keep the next run from starting.

    That it cannot be told is no error: a run without heartbeats is marked later.
    """
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
    from prefect.states import Crashed

    where = FlowRunFilter(state={"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}})
    state = Crashed(message="plumb up ended while it ran; its stages are resumed by the next run")
    with contextlib.suppress(httpx.HTTPError), get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=where, work_pool_filter=WorkPoolFilter(name={"any_": names})):
            client.set_flow_run_state(run.id, state, force=True)


def _say_what_there_is(root: Path, workers: list[str], console) -> None:
    def say(line: str) -> None:
        console.print(line, soft_wrap=True)

    if workers:
        say(f"Workers: {', '.join(workers)} (logs: {root / '.prefect'})")
    if is_deployed("retrain/retrain"):
        say("Deployed: retrain/retrain, which runs on its schedule and by Run in the Prefect pages.")
    else:
        say(f"Nothing is deployed: plumb up --deploy does it, from {DEPLOYMENTS}.")
    say(f"For prefect's own commands, in another shell: source {shlex.quote(str(root / UP_ENVIRONMENT))}")
    say("Ctrl-C ends all of it.")
