"""The question whether a candidate may serve: a run of the deployment promote/promote that waits without a process."""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

from flows.hosting import login, servers
from flows.redact import without_login
from flows.serving.request import Outcome

DEPLOYMENT = "promote/promote"
SECONDS, NOT_FOUND = 5.0, 404
# What the state of the run is called once it is answered.
STATE_NAMES = {"promoted": "Promoted", "refused": "Refused"}


def ask(parameters: dict[str, Any]) -> str:
    """Start the deployment that promotes, whose run waits for a person without a process; returns the run's id.

    The same question is asked once while it is open. Raises ValueError where there is no such deployment.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            deployment = client.read_deployment_by_name(DEPLOYMENT)
        except ObjectNotFound:
            raise ValueError(
                f"the Prefect server at {client.api_url} has no deployment {DEPLOYMENT}; deploy it (plumb up --deploy, "
                "or prefect deploy with infra/prefect.yaml), or approve beforehand: --approve COMMENT"
            ) from None
        key = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()
        for number in itertools.count():
            run = client.create_flow_run_from_deployment(
                deployment.id, parameters=parameters, idempotency_key=f"promote-{key[:32]}-{number}"
            )
            # What is over (answered, expired, crashed) is asked anew.
            if run.state is None or not run.state.is_final():
                return str(run.id)


def close(parameters: dict[str, Any], outcome: Outcome) -> None:
    """End the runs that still wait for an answer which was given elsewhere, or that no answer can help any more.

    parameters: of the promotion that came to this outcome. After a promotion every other question of the same model
    was about the champion before.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowRunFilter
    from prefect.states import Completed

    where = FlowRunFilter(state={"type": {"any_": ["PAUSED"]}})
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_filter=FlowFilter(name={"any_": ["promote"]}), flow_run_filter=where):
            same = all(run.parameters[name] == parameters[name] for name in ("candidate", "gate"))
            model = (run.parameters.get("rules") or {}).get("model_name")  # None: the project's, by hand
            if same and model in (parameters["rules"]["model_name"], None):
                state = Completed(name=STATE_NAMES[outcome.word], message=f"answered elsewhere: {outcome.text}")
            elif outcome.word == "promoted" and model == parameters["rules"]["model_name"]:
                state = Completed(name=STATE_NAMES["refused"], message=f"{outcome.text} meanwhile; ask for a new gate")
            else:
                continue
            client.set_flow_run_state(run.id, state, force=True)


def ending(root: Path, run_id: str) -> str | None:
    """How the run of a question ended, in words; None while it is open, or where no Prefect server knows.

    Asked without Prefect's client, whose import takes longer than the rest of `plumb status`.
    """
    url = servers.running_prefect(root)
    if url is None:
        return None
    status, text = login.get(f"{url}/flow_runs/{run_id}", login.prefect_headers(), SECONDS)
    again = "nobody is asked any more: plumb retrain --force asks again"
    if status == NOT_FOUND:
        where = f"the Prefect server at {without_login(url)}"
        return f"{where} has no run {run_id}, which was deleted, or is another's; {again}"
    try:
        state = json.loads(text)["state"] or {}
    except (ValueError, KeyError):
        return None
    if state.get("type") not in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
        return None
    ending = f"{state['name']}: {' '.join((state.get('message') or 'no reason given').split())}"
    return ending if state["type"] == "COMPLETED" else f"{ending}; {again}"
