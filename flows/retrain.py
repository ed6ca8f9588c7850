"""The flow that retrains: new data in, a model out that is promoted, asked about or rejected; on a schedule or by hand.

A deployment of its own, one run at a time (infra/prefect.yaml); flows/schedule/retraining.py holds the steps. A run
that is killed is repeated: every step finds what it did before, and the decision is written last.
Import this module after `flows.environment.prepare`: Prefect reads its settings when it is imported.
"""

import os
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.context import get_run_context
from prefect.logging.loggers import flow_run_logger
from prefect.states import Cancelled, Completed

from flows import cancelling, environment, stage_runs
from flows.align import STEP
from flows.alignment.progress import board_of
from flows.alignment.session import Share
from flows.costs.elapsed import OUTSIDE, Elapsed, Stopwatch
from flows.costs.ledger import Entry, Ledger
from flows.graph.stages import Graph
from flows.history import looks, records
from flows.hosting import alerts, tracking_server
from flows.incoming import intake
from flows.redact import redact, redacted_errors
from flows.schedule import decisions, retraining
from flows.schedule.decisions import Decision
from flows.schedule.retraining import Champion, Errand, Made
from flows.serving import promoting, questions
from flows.serving.approval import Approval
from flows.settings import Settings, read_settings
from flows.storage import shared_runs

STATE_NAMES = {
    "promoted": "Promoted", "refused": "Refused", "asked": "Asked", "rejected": "Rejected",
    "underpowered": "Underpowered", decisions.NOTHING_NEW: "NothingNew",
}  # fmt: skip
WORTH_AN_ALERT = ("refused", "asked", "rejected", "underpowered")
T = TypeVar("T")


def step(name: str, settings: Settings, call: Callable[[], T]) -> T:
    """Run one step as a task of this flow."""

    @task(name=name, **STEP, **settings.retries)
    def run_step():
        with redacted_errors():
            return call()

    return run_step()


def alert_failure(flow, flow_run, state) -> None:
    """Prefect's hook: somebody should look."""
    message = " ".join((state.message or state.name).split())
    reason = re.sub(r"^Flow run encountered an exception: (\w+: )?", "", message)
    text = f"retraining failed: {redact(reason)}"
    tell(alerts.Alert(text, "failed", alerts.run_page(str(flow_run.id)), flow.name), flow_run_logger(flow_run, flow))


def tell(alert: alerts.Alert, log) -> None:
    """Send an alert, if anybody said where to; that it cannot be sent is a warning in the log."""
    problem = alerts.tell(alert)
    if problem:
        log.warning(problem)


@flow(name="retrain", persist_result=False, on_failure=[alert_failure])
def retrain(
    changes: dict[str, Any] = {},  # noqa: B006  Prefect shows it in the form, and nothing here changes it
    commit: str | None = None,
    take_in: bool = True,
    anchors: bool = True,
    force: bool = False,
    approval: Approval | None = None,
):
    """Take in new data, train if data, code or params changed, and promote, ask or reject as the gate says.

    One decision per data, code, params and champion: a run that would repeat one ends at once, with the reason.
    The form in the Prefect page shows what stands here.

    Args:
        changes: Params of this run only, by dotted names, e.g. {"dpo.beta": 0.2}; params.yaml stays as it is.
        commit: Commit or branch to train (origin/main is fetched first); empty: the one checked out.
        take_in: Take in what is new in the inbox first, if intake.inbox is set.
        anchors: Ask the judges their anchors first; a judge that drifted stops the run.
        force: Decide again although nothing changed, e.g. to ask again after an approval expired.
        approval: An approval given beforehand, also to an open question; empty: ask where promote.policy says so.
    """
    watch, root = Stopwatch(), environment.project_root()
    environment.prepare(root)
    log = get_run_logger()
    os.chdir(root)
    waiting = "another retraining is at work; waiting"
    turn = retraining.my_turn(environment.state_dir(root), lambda: log.info(waiting))
    try:
        with redacted_errors(), cancelling.heeded(), turn:
            watch.turn_came()
            wanted = retraining.resolve_commit(root, commit)
            run = Run(root, retraining.settings_of(root, wanted, changes), force, approval, watch)
            commit = run.newest(wanted, take_in)
            decision = run.decide(Errand(commit, changes, run.champion.package, anchors))
            elapsed = run.enter_time()
    except cancelling.RunCancelled as error:
        return Cancelled(message=str(error))
    page = decisions.as_markdown(decision) + elapsed.as_markdown()
    create_markdown_artifact(page, key="retrain", description="What the retraining came to")
    log.info("%s: %s", decision.outcome, redact(decision.reason))
    log.info(elapsed.line)
    return Completed(name=STATE_NAMES[decision.outcome], message=redact(decision.reason)[:1000], data=elapsed.line)


class Run:
    """One retraining under way: what its steps share."""

    def __init__(self, root: Path, settings: Settings, force: bool, approval: Approval | None, watch: Stopwatch):
        if moved := tracking_server.make_ready(settings.tracking.experiment):
            get_run_logger().warning(moved)
        from mlflow import MlflowClient

        self.root, self.settings, self.force, self.approval, self.watch = root, settings, force, approval, watch
        self.id = str(get_run_context().flow_run.id)
        self.client, self.remote = MlflowClient(), shared_runs.remote_of(root)
        self.elsewhere: str | None = None  # the run of align whose stages other machines ran
        # Once: whoever is made champion meanwhile is not the one that this run compares with.
        self.champion: Champion = self._step(
            "resolve champion", lambda: retraining.champion_now(self.client, settings.promote.model_name)
        )

    def _step(self, name: str, call: Callable[[], T]) -> T:
        with self.watch.step(name):
            return step(name, self.settings, call)

    def newest(self, commit: str, take_in: bool) -> str:
        """The commit to train: with the data that came in, where there is an inbox."""
        if not take_in or retraining.inbox_of(self.root) is None:
            return commit
        taken = self._step("intake", lambda: intake.take_in(self.root, code=commit))
        rows = sum(one.entry.good for one in taken.outcomes)
        bad = sum(one.entry.quarantined for one in taken.outcomes)
        get_run_logger().info("%d new objects: %d rows, %d quarantined", len(taken.outcomes), rows, bad)
        return taken.commit

    def decide(self, errand: Errand) -> Decision:
        """Everything from the question whether anything changed to the written decision."""
        experiment = self.settings.tracking.experiment
        place = self._step("clone", lambda: retraining.open_clone(self.root, errand))
        made_from = self._step("look for changes", lambda: retraining.inputs_of(place))
        inputs = decisions.key(made_from, self.settings.promote)
        serves, commit = self.champion, errand.commit
        before = decisions.same(decisions.on_inputs(self.client, experiment, inputs), inputs, serves.package)
        if before:
            ending = partial(questions.ending, self.root)
            decision = decisions.nothing_new(before, inputs, serves.package, commit, ending)
        else:
            begun = Decision("", "", inputs, serves.package, commit)
            decision = decisions.of_champion(self.client, begun, serves.align, made_from)
        answered = self.approval is not None and before is not None and before.decision.unanswered
        if decision is None or ((self.force or answered) and not decision.decided):
            retraining.keep_commit(self.root, commit)
            place, made = self._gated(place, errand)
            decisions.mark(self.client, made.align, made_from, self.id)
            # Before anybody serves it: a model must not be on this machine alone.
            pushed = self._step("push", lambda: retraining.push(place, self.remote))
            get_run_logger().info(pushed)
            open_question = Decision(
                "", "", inputs, serves.package, commit, made.gate["verdict"], made.request.candidate,
                made.package, made.request.gate, made.align, pushed=pushed, model=self.settings.promote.model_name,
            )  # fmt: skip
            decision = self._follow(open_question, made)
            # Before it is written down: killed between the two, somebody hears of it twice and not never.
            self._tell(decision)
        self.remembered = self._step(
            "remember", lambda: decisions.remember(self.client, experiment, decision, self.id)
        )
        return decision

    def _tell(self, decision: Decision) -> None:
        """Send an alert of what somebody should look at."""
        if decision.outcome in WORTH_AN_ALERT:
            name, page = self.settings.promote.model_name, alerts.run_page(decision.asked or self.id)
            text = redact(f"{name}: {decision.outcome}. {decision.reason}")
            tell(alerts.Alert(text, decision.outcome, page, "retrain", name), get_run_logger())

    def enter_time(self) -> Elapsed:
        """Write down what the retraining took, in the ledger and on its run in MLflow."""
        ledger = Ledger(environment.state_dir(self.root))
        elapsed = self.watch.elapsed(ledger, self.client, self.elsewhere)
        seconds = round(elapsed.outside, 3)
        ledger.append(Entry(OUTSIDE, "", started=round(elapsed.began, 3), seconds=seconds, run=self.id))
        records.write_metrics(self.client, self.remembered, elapsed.metrics)
        return elapsed

    def _gated(self, place: Path, errand: Errand) -> tuple[Path, Made]:
        """All stages, in the clone that is returned: the gate once more if its look at the prompts was another's."""
        made = self._train(place, errand)
        look = looks.other_look(self.client, self.settings.promote.model_name, made.gate)
        if look is None:
            return place, made
        errand = replace(errand, changes={**errand.changes, **look}, anchors=False)
        place = self._step("clone", lambda: retraining.open_clone(self.root, errand))
        return place, self._train(place, errand)

    def _train(self, place: Path, errand: Errand) -> Made:
        """All stages, here or on the machines of their pools."""
        with self.watch.step("stages"):
            align = self._bring_up_to_date(place, errand)
        return retraining.what_was_made(place, align, self.client, self.settings.promote.model_name)

    def _bring_up_to_date(self, place: Path, errand: Errand) -> str:
        pools = read_settings(place).flow.pools
        if pools is None:
            return retraining.bring_up_to_date(place, errand.anchors, board_of)
        stage_runs.run_segments(self.root, place, errand, pools)
        retraining.meet_remote(place, self.remote)
        restored = Share(tuple(Graph(place).stages), frozenset())
        self.elsewhere = retraining.bring_up_to_date(place, False, board_of, restored)
        return self.elsewhere

    def _follow(self, known: Decision, made: Made) -> Decision:
        """Do what the verdict says."""
        if known.verdict != "promote":
            word = {"reject": "rejected"}.get(known.verdict, known.verdict)
            reasons = "; ".join(map(str, made.gate.get("reasons", [])))
            return replace(known, outcome=word, reason=reasons or known.verdict)
        parameters = promoting.parameters_of(made.request, self.settings.promote)
        if self.settings.promote.policy == "approval" and self.approval is None:
            question = self._step("ask for approval", lambda: questions.ask(parameters))
            reason = f"gate {known.gate[:12]} says promote; a person must agree: {alerts.run_page(question)}"
            return replace(known, outcome="asked", reason=reason, asked=question)
        from flows.promote import promote

        given = asdict(self.approval) if self.approval else None
        with self.watch.step("promote"):
            state = promote(**parameters, approval=given, return_state=True)
        if not state.is_completed():
            raise state.result(raise_on_failure=False)
        return replace(known, outcome=state.name.lower(), reason=state.message or "")
