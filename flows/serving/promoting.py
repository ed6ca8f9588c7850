"""`plumb promote`: the candidate of the project at hand, checked to be current, through the flow that promotes."""

import getpass
import itertools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from flows.alignment import local
from flows.graph.stages import Graph
from flows.history import evidence, registry
from flows.hosting import login, servers
from flows.serving.request import Request
from flows.settings import read_settings
from tasks.runner.state import content_hash

STAGES = ("gate", "package")


def current_request(root: Path, client) -> Request:
    """What the project's own artifacts ask for.

    Raises ValueError when gate or package are not current, or the code is under no version control.
    """
    graph = Graph(root)
    absent = [name for name in STAGES if name not in graph.stages]
    if absent:
        raise ValueError(f"dvc.yaml has no stage {absent[0]!r}, so there is nothing to promote")
    plan = graph.plan()
    for name in STAGES:
        if not plan[name].current:
            raise ValueError(f"{name} is not current ({'; '.join(plan[name].reasons[:3])}); run plumb align first")
    path = root / evidence.GATE_FILE
    gate = json.loads(path.read_text(encoding="utf-8"))
    name = read_settings(root).promote.model_name
    compared = evidence.compared_version(gate, registry.read(client, name))
    return Request(gate["candidate_hash"], content_hash(path), _commit(root), compared.number if compared else None)


def _commit(root: Path) -> str:
    answer = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise ValueError(f"{root} has no git commit, so nobody could find the code again; commit it, then promote")
    return answer.stdout.strip()


def parameters_of(request: Request) -> dict[str, Any]:
    """What the flow that promotes is started with."""
    return {
        "candidate": request.candidate, "gate": request.gate, "commit": request.commit, "compared": request.compared,
    }  # fmt: skip


def promote(root: Path, console, comment: str | None) -> int:
    """Promote what lies in `root`; exit code 0 when it serves in the end, or waits for an approval.

    comment: an approval given here and now, by whoever runs this.
    """
    from mlflow import MlflowClient

    parameters = parameters_of(current_request(root, MlflowClient()))
    if comment is not None:
        parameters["approval"] = own_approval(comment)
    elif read_settings(root).promote.policy == "approval":
        return _start_deployment(root, parameters, console)
    return _run_here(root, parameters, console)


def own_approval(comment: str) -> dict[str, Any]:
    """The approval of whoever runs this."""
    return {"approve": True, "comment": comment, "by": _user()}


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no entry in the system's list of users, as in many containers
        return "unknown"


def _run_here(root: Path, parameters: dict, console) -> int:
    with local.Prefect(root) as prefect:
        prefect.start()
        from flows.promote import promote as flow

        prefect.wait()
        state = flow(**parameters, return_state=True)
    if state.is_completed():
        console.print(f"{state.name}: {state.message}", markup=False, highlight=False, soft_wrap=True)
        return int(state.name != "Promoted")
    raise ValueError(str(state.result(raise_on_failure=False)))


def _start_deployment(root: Path, parameters: dict, console) -> int:
    """Ask for an approval where people give them; only the run of a deployment can wait without a process."""
    url = servers.running_prefect(root)
    if url is None:
        raise ValueError(
            "promote.policy is approval, and no Prefect server runs to ask in; start one (plumb up), or approve here: "
            "plumb promote --approve COMMENT"
        )
    login.check_prefect(url)
    os.environ["PREFECT_API_URL"] = url
    run = ask_in_the_page(parameters)
    console.print(f"Waits for approval: {url.removesuffix('/api')}/runs/flow-run/{run}", soft_wrap=True)
    return 0


def ask_in_the_page(parameters: dict[str, Any]) -> str:
    """Start the deployment that promotes, whose run waits for a person without a process; returns the run's id.

    The same question is asked once while it is open. Raises ValueError where there is no such deployment.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    from flows.promote import DEPLOYMENT

    with get_client(sync_client=True) as client:
        try:
            deployment = client.read_deployment_by_name(DEPLOYMENT)
        except ObjectNotFound:
            raise ValueError(
                f"the Prefect server at {client.api_url} has no deployment {DEPLOYMENT}; deploy it from "
                "infra/prefect.yaml, or approve beforehand: --approve COMMENT"
            ) from None
        question = f"promote-{parameters['candidate'][:16]}-{parameters['gate'][:16]}-{parameters['compared']}"
        for number in itertools.count():
            run = client.create_flow_run_from_deployment(
                deployment.id, parameters=parameters, idempotency_key=f"{question}-{number}"
            )
            # What is over (answered, expired, crashed) is asked anew.
            if run.state is None or not run.state.is_final():
                return str(run.id)
