"""`plumb promote`: the candidate of the project at hand, checked to be current, through the flow that promotes."""

import getpass
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flows import git
from flows.alignment import local
from flows.graph.stages import Graph
from flows.history import evidence, registry
from flows.hosting import login, servers
from flows.serving import questions
from flows.serving.request import Request
from flows.settings import read_settings
from tasks.config.service import PromoteConfig
from tasks.common.hashes import content_hash

STAGES = ("gate", "package")


def current_request(root: Path, client, model: str) -> Request:
    """What the project's own artifacts ask for, of the registered model of this name.

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
    compared = evidence.compared_version(gate, registry.read(client, model))
    return Request(gate["candidate_hash"], content_hash(path), _commit(root), compared.number if compared else None)


def _commit(root: Path) -> str:
    try:
        return git.git(root, "rev-parse", "HEAD")
    except git.GitError:
        raise ValueError(
            f"{root} has no git commit, so nobody could find the code again; commit it, then promote"
        ) from None


def parameters_of(request: Request, rules: PromoteConfig) -> dict[str, Any]:
    """What the flow that promotes is started with: wherever it runs, the rules are those of whoever asked."""
    return {**asdict(request), "rules": rules.model_dump(mode="json")}


def promote(root: Path, console, comment: str | None) -> int:
    """Promote what lies in `root`; exit code 0 when it serves in the end, or waits for an approval.

    comment: an approval given here and now, by whoever runs this.
    """
    from mlflow import MlflowClient

    rules = read_settings(root).promote
    parameters = parameters_of(current_request(root, MlflowClient(), rules.model_name), rules)
    if comment is not None:
        parameters["approval"] = own_approval(comment)
    elif rules.policy == "approval":
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
        console.print(f"{state.name}: {state.message}", soft_wrap=True)
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
    run = questions.ask(parameters)
    console.print(f"Waits for approval: {url.removesuffix('/api')}/runs/flow-run/{run}", soft_wrap=True)
    return 0
