"""The flow: pull what is missing, then every stage of dvc.yaml as one Prefect task.

The order and the edges come from dvc.yaml; a stage is submitted when what it reads is there and a core is free.
Import this module after `flows.environment.prepare`: Prefect reads its settings when it is imported.
"""

import queue

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.context import get_run_context
from prefect.states import Cancelled, Completed, State
from prefect.task_runners import ThreadPoolTaskRunner

from flows import cancelling
from flows.alignment import anchors as anchoring
from flows.alignment import preflight as preflights
from flows.alignment.plan import meet_others
from flows.alignment.results import as_markdown, judge_markdown
from flows.alignment.session import Session
from flows.costs.budget import BudgetError, paid_in_words
from flows.costs.ledger import as_rows
from flows.graph import running, stage_inputs
from flows.graph.running import StageError, StageRun
from flows.redact import redact, redacted_errors
from flows.storage import data

NOT_MADE = "another run was to make it, and neither the cache here nor the DVC remote has it"


def may_pass(task, task_run, state) -> bool:
    """Prefect's question before a retry: only what can pass by itself is tried again."""
    return getattr(state.result(raise_on_failure=False), "may_pass", False)


STEP = {"cache_policy": NO_CACHE, "persist_result": False, "retry_condition_fn": may_pass}  # options of every task


@task(name="pull", **STEP)
def pull(session_id: str) -> None:
    """Fetch the data and the base model from the default remote, where they are not here yet."""
    session = Session.get(session_id)
    with redacted_errors():
        session.pulled = data.pull(session.root)


@task(name="preflight", **STEP)
def preflight(session_id: str) -> None:
    """Look for all that would end the run late; problems end it before any stage, listed together."""
    session = Session.get(session_id)
    result = preflights.before_stages(
        session.root, session.state, session.graph, session.to_run, session.spent() is None,
        session.settings.stage_seconds, session.processes,
    )  # fmt: skip
    if result is None:
        return
    session.preflighted(result)
    create_markdown_artifact(redact(result.as_markdown()), key="preflight", description="What would end the run late")
    result.check()


@task(name="anchors", **STEP)
def anchors(session_id: str) -> None:
    """Ask the judges their anchors; one that drifted ends the run before anything is labelled by it."""
    session = Session.get(session_id)
    drift = anchoring.ask(session.root, session.state, session.settings.stage_seconds, session.processes)
    session.anchored(drift)
    create_markdown_artifact(redact(drift.as_markdown()), key="anchors", description="Whether the judges drifted")
    drift.check()


@task(name="stage", **STEP)
def stage(session_id: str, name: str, version: str, current: bool):
    """Make one stage current; `version` is the content hash of its command, code, data and params."""
    session = Session.get(session_id)
    log = get_run_logger()
    if current:
        run = StageRun(name, version, "current")
    else:
        log.info("version %s", version)
        place = running.folder(session.state, name, version)
        limit = session.graph.stages[name].timeout or session.settings.stage_seconds
        session.begins(name, version, place)
        try:
            pull = session.share is not None
            if session.met:
                stage_inputs.restore(session.root, name, session.met)
            if session.share and name not in session.share.may_run and not stage_inputs.restore(session.root, name):
                raise StageError(name, "data", NOT_MADE, place / "log.txt")
            run = running.run_stage(session.root, name, version, place, limit, session.processes, pull)
        except StageError as error:
            session.fails(error)
            raise
    session.ends(run)
    log.info("%s in %.1f s", run.outcome, run.seconds)
    return Completed(name="Cached" if run.outcome != "ran" else None, message=f"{run.outcome}, version {version[:12]}")


def _run_stages(session: Session) -> None:
    """Submit each stage when everything upstream is done; after a failure, or when the budget is spent, only finish
    what is running.

    Raises what a stage's task raised that is not the stage's own failure: the session knows of those.
    """
    waiting, futures, done = session.wanted, {}, set()
    finished: queue.Queue = queue.Queue()
    failed: list[State] = []
    spent = False
    while waiting or len(done) < len(futures):
        ready = [name for name in waiting if done.issuperset(session.graph.stages[name].upstream)]
        for name in [] if failed or spent else ready:
            if len(futures) - len(done) >= session.cores:
                break
            if not session.may_begin(name):
                spent = True
                break
            waiting.remove(name)
            futures[name] = _submit(session, name, futures)
            futures[name].add_done_callback(lambda future, name=name: finished.put(name))
        if len(done) == len(futures):
            break
        name = finished.get()
        # Asked before it is waited for, a future answers with what the server has heard so far.
        futures[name].wait()
        if futures[name].state.is_completed():
            done.add(name)
        else:
            failed.append(futures.pop(name).state)
        session.graph.refresh()
    if failed and not session.lasting_errors:
        raise failed[0].result(raise_on_failure=False)


def _submit(session: Session, name: str, futures: dict):
    version = session.graph.version(name) or "unknown"
    current = session.graph.status(name).current
    configured = stage.with_options(name=name, task_run_name=f"{name} {version[:8]}", **session.settings.retries)
    upstream = [futures[up] for up in session.graph.stages[name].upstream]
    return configured.submit(session.id, name, version, current, wait_for=upstream)


def _show_costs(session: Session) -> None:
    """What the run has cost so far, its earlier attempts included."""
    entries = session.ledger.of_run(session.run.id)
    if rows := as_rows(entries):
        create_table_artifact(rows, key="ledger", description="What each stage of this run cost")
    if paid := paid_in_words(entries):
        get_run_logger().info(paid)


@flow(name="align", persist_result=False, validate_parameters=False, task_runner=ThreadPoolTaskRunner())
def align(session_id: str):
    """Bring every stage of the graph up to date, and say what came out."""
    session = Session.get(session_id)
    try:
        with cancelling.heeded():
            return _bring_up_to_date(session)
    except cancelling.RunCancelled as error:
        return Cancelled(message=str(error))


def _bring_up_to_date(session: Session) -> State:
    session.opens(str(get_run_context().flow_run.id))
    retried = session.settings.retries
    pull.with_options(**retried)(session.id)
    session.graph.refresh()
    if session.share is None:
        made_again = "%s; what other machines made is made again here"
        session.met = meet_others(session.graph, lambda text: get_run_logger().warning(made_again, text))
    if preflights.applies(session.root):
        preflight.with_options(**retried)(session.id)
    if session.anchors:
        anchors.with_options(**retried)(session.id)
    try:
        _run_stages(session)
    except BaseException:
        # Prefect waits for its threads before it gives up, and they wait for their stages.
        session.processes.stop()
        raise
    finally:
        _show_costs(session)
    if session.lasting_errors:
        raise session.lasting_errors[0]
    if session.over_budget:
        raise BudgetError(session.over_budget)
    session.finishes()
    result = redact(as_markdown(session.root))
    create_markdown_artifact(result, key="result", description="Scores, answers and the verdict")
    if card := judge_markdown(session.root, session.calls("compare")):
        create_markdown_artifact(redact(card), key="judge-card", description="How far the judges can be believed")
    if page := session.report_page():
        create_link_artifact(page, key="report", link_text="Report")
    return Completed(message=f"{len(session.runs)} stages: " + session.counts())


