"""A run that is cancelled in the Prefect pages ends here, with all that it started, and its state says who did it.

Workers end the processes of the runs that they started. Nobody does that for a run of `plumb align` or `plumb retrain`,
nor for the runs that a run has sent to other machines.
Import this module after `flows.environment.prepare`: Prefect reads its settings when it is imported.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.context import get_run_context
from prefect.deployments import run_deployment
from prefect.exceptions import PrefectException, TerminationSignal
from prefect.states import Cancelling

POLL_SECONDS = 2.0
PATIENCE_SECONDS = 20.0  # less than the 30 s in which a worker has a run end by itself
SERVER_SECONDS = 600.0  # that the Prefect server may be away
BY_WORKER = "PREFECT__FLOW_RUN_ID"  # in the environment of a run that a worker started
IN_THE_PAGES = "cancelled in the Prefect pages, or through its API"
STOPPED = "stopped on its machine"
Interrupted = (KeyboardInterrupt, TerminationSignal)


class RunCancelled(Exception):
    """Somebody cancelled this run; who is the message."""


@contextlib.contextmanager
def heeded() -> Iterator[None]:
    """While inside, end what runs when this flow run is cancelled. Raises RunCancelled then, saying who did it."""
    run_id, over = get_run_context().flow_run.id, threading.Event()
    if BY_WORKER not in os.environ:
        threading.Thread(target=_watch, args=(run_id, over), name="cancelling", daemon=True).start()
    try:
        yield
    except Interrupted:
        over.set()
        with get_client(sync_client=True) as client:
            who = _who_cancelled(client, run_id)
        if who is None:
            raise
        raise RunCancelled(who) from None
    finally:
        over.set()


def _watch(run_id, over: threading.Event) -> None:
    """Once its run is cancelled, end what this process does by SIGTERM: align stops its stages, Prefect the rest."""
    with get_client(sync_client=True) as client:
        while not over.wait(POLL_SECONDS):
            if _who_cancelled(client, run_id) is not None and not over.is_set():
                os.kill(os.getpid(), signal.SIGTERM)
                return


def _who_cancelled(client: SyncPrefectClient, run_id) -> str | None:
    """Who cancelled it; None where nobody did, or the server does not answer."""
    try:
        state = client.read_flow_run(run_id).state
    except (httpx.HTTPError, PrefectException):
        return None
    cancelled = state is not None and (state.is_cancelling() or state.is_cancelled())
    return (state.message or IN_THE_PAGES) if cancelled else None


def run_elsewhere(name: str, parameters: dict[str, Any]) -> FlowRun:
    """Run a deployment and wait for its end; interrupted meanwhile, cancel it."""
    run = run_deployment(name, parameters=parameters, timeout=0)
    with get_client(sync_client=True) as client:
        try:
            return _ended(client, run)
        except Interrupted:
            this = get_run_context().flow_run
            who = _who_cancelled(client, this.id) or STOPPED
            message = f"with the run {this.name} that it is a part of: {who}"
            client.set_flow_run_state(run.id, Cancelling(message=message))
            _ended(client, run, PATIENCE_SECONDS)
            raise


def _ended(client: SyncPrefectClient, run: FlowRun, patience: float = float("inf")) -> FlowRun:
    """The run, once it is over or patience is. A server that is away for a while, as one that is started anew, ends no
    wait of hours."""
    heard = time.monotonic()
    deadline = heard + patience
    while (run.state is None or not run.state.is_final()) and time.monotonic() <= deadline:
        time.sleep(POLL_SECONDS)
        try:
            run, heard = client.read_flow_run(run.id), time.monotonic()
        except httpx.HTTPError:
            if time.monotonic() - heard > SERVER_SECONDS:
                raise
    return run
