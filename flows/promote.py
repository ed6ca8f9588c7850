"""The flow that promotes: flows/serving/promotion.py's steps as Prefect tasks, a person's approval as a suspended run.

A deployment of its own: it is started with hashes, a commit and a version, finds everything else in MLflow and DVC, and
waits for an approval without holding a process. Suspended, it starts from the top again when it is resumed; every step
finds what it did before.
"""

from functools import partial
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.context import get_run_context
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.states import Completed
from pydantic import Field

from flows import environment
from flows.history.evidence import Evidence, Refused
from flows.history.registry import Version
from flows.redact import redact, redacted_errors
from flows.schedule import decisions
from flows.serving import promotion, questions
from flows.serving.approval import Approval
from flows.serving.candidate import summary
from flows.serving.promoting import parameters_of
from flows.serving.request import Outcome, Place, Request
from flows.settings import read_settings
from flows.storage import gc_lock
from tasks.config.service import PromoteConfig


class ApprovalForm(RunInput):
    """What the Prefect page asks a person."""

    approve: bool = Field(description="Let this model serve?")
    comment: str = Field(default="", description="Why; kept with the version")
    by: str = Field(default="", description="Your name; kept with the version")


def as_task(name: str, step):
    """Run a step as a task of this flow. A refusal is a result: its task is not a failed one."""
    refusals: list[Refused] = []

    @task(name=name, cache_policy=NO_CACHE, persist_result=False)
    def run_step():
        try:
            with redacted_errors():
                return step()
        except Refused as error:
            refusals.append(error)
            return Completed(name="Refused", message=str(error))

    result = run_step()
    if refusals:
        raise refusals[0]
    return result


def place_of(root: Path, rules: PromoteConfig | None) -> Place:
    """The project at `root` as the steps see it; without rules, its own hold."""
    environment.prepare(root)
    from mlflow import MlflowClient

    return Place(MlflowClient(), root, environment.state_dir(root), rules or read_settings(root).promote)


@flow(name="promote", persist_result=False)
def promote(
    candidate: str, gate: str, commit: str, compared: int | None = None, approval: dict | None = None,
    rules: PromoteConfig | None = None,
):  # fmt: skip
    """Make a candidate champion, if its gate says so and the champion it was compared with still serves.

    candidate, gate: content hashes of the policy and of metrics/gate.json. commit: of the code that made them.
    compared: the version that was champion at the gate. approval: an answer given already, instead of the form.
    rules: the section promote of params.yaml that holds; empty: that of the project on this machine.
    """
    request = Request(candidate, gate, commit, compared)
    given = Approval(**approval) if approval else None
    with redacted_errors():
        place = place_of(environment.project_root(), rules)
        with gc_lock.run_under_way(place.state):
            outcome = promotion.run(place, request, given, partial(ask, place, request), as_task)
        questions.close(parameters_of(request, place.config), outcome)
        decisions.answered(place.client, place.name, gate, f"{questions.STATE_NAMES[outcome.word]}: {outcome.text}")
    get_run_logger().info("%s: %s", outcome.word, redact(outcome.text))
    page = _as_markdown(outcome, request)
    create_markdown_artifact(page, key="promotion", description="What became of the candidate")
    return Completed(name=questions.STATE_NAMES[outcome.word], message=redact(outcome.text))


def ask(place: Place, request: Request, basis: Evidence, version: Version) -> Approval:
    """Suspend the run until a person has filled in the form; nobody and no process waits meanwhile.

    Raises ValueError where there is no form: Prefect can suspend the runs of deployments only.
    """
    if get_run_context().flow_run.deployment_id is None:
        raise ValueError(
            "promote.policy is approval: start the deployment promote/promote and answer in the Prefect page, "
            "or answer here: plumb promote --approve COMMENT"
        )
    hours = place.config.approval_hours
    text = f"## Promote v{version.number} of {version.name}?\n\n{summary(basis, request)}"
    form = ApprovalForm.with_initial_data(description=text)
    answer = suspend_flow_run(wait_for_input=form, timeout=round(3600 * hours), key=f"approve-{request.gate[:16]}")
    return Approval(answer.approve, answer.comment, answer.by)


def _as_markdown(outcome: Outcome, request: Request) -> str:
    lines = [f"**{questions.STATE_NAMES[outcome.word]}**", "", redact(outcome.text), ""]
    lines += [f"- candidate `{request.candidate}`", f"- gate `{request.gate}`", f"- commit `{request.commit}`"]
    return "\n".join(lines) + "\n"
