"""MLflow remembers: a parent run per flow run, a nested run per stage, written beside the flow by one thread.

A stage's run is keyed by the stage's version and marked complete last. Whatever has no complete run is logged on the
next pass, so a kill between a stage's end and its logging loses nothing; a stage that has one is only pointed to.
"""

import contextlib
import functools
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from flows import git
from flows.alignment.anchors import Drift
from flows.alignment.logged import COMPLETE, KIND, STAGE, VERSION, find_run
from flows.alignment.preflight import Preflight
from flows.alignment.results import stage_metrics
from flows.alignment.session import Session
from flows.costs import segment_cost
from flows.costs.calls import read_calls, write_traces
from flows.costs.ledger import totals
from flows.graph import running, stage_inputs
from flows.graph.live import Tail
from flows.graph.running import StageError, StageRun, supervised_command
from flows.history import evidence, experiments, left_open, records
from flows.history.recorded import MADE_FROM
from flows.hosting import servers
from flows.redact import redact

PACKAGE_STAGE = "package"
FLUSH_SECONDS = 3.0
PARAGRAPH = 1000  # characters of an error message


def _queued(method):
    """A job of the thread that writes, done in the order of the calls, if there is a parent run by then."""

    @functools.wraps(method)
    def put(self, *arguments) -> None:
        self._jobs.put(lambda: method(self, *arguments) if self._client is not None else None)

    return put


class Tracker:
    """Listens to a session and writes to MLflow; never fails a run. `problems` are lines for the user."""

    def __init__(self, session: Session):
        self._session = session
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        # `_client` is set once there is a parent run: every other job waits for that.
        self._client = self._connected = None
        self._experiment = self._parent = ""
        self._tails: dict[str, tuple[str, Tail]] = {}
        self._runs: dict[str, str] = {}  # of the stages
        self._models: list[tuple[str, str, subprocess.Popen, Path]] = []
        self.problems: list[str] = []
        # Here, not in the thread: Prefect and MLflow both import SQLAlchemy, and two threads that import modules which
        # import each other can be handed half of one. A private Prefect server starts meanwhile, in its own process.
        self._attempt(self._connect)
        self._thread.start()
        session.report_page = self._report_page

    def opens(self, flow_run_id: str) -> None:
        self._jobs.put(lambda: self._open(flow_run_id))

    def close(self, finished: bool) -> None:
        """Write what is left and end the parent run; returns when everything is stored."""
        self._close("FINISHED" if finished else "FAILED")
        self._last_job()

    @contextlib.contextmanager
    def killed_with_it(self) -> Iterator[None]:
        """While inside, an interruption ends the runs in MLflow as well."""
        try:
            yield
        except BaseException:
            self._kill()
            self._last_job()
            raise

    def _last_job(self) -> None:
        self._jobs.put(None)
        self._thread.join()

    def _report_page(self) -> str | None:
        """Waits for what is still to be written; None where no browser finds MLflow's pages."""
        pages: list[str] = []
        written = threading.Event()
        self._jobs.put(lambda: pages.extend(self._pages_of_report()))
        self._jobs.put(written.set)
        written.wait()
        return pages[0] if pages else None

    def _pages_of_report(self) -> list[str]:
        address, run_id = servers.mlflow_address(), self._runs.get("report")
        return [evidence.report_page(self._client, run_id, address)] if address and run_id else []

    @property
    def parent(self) -> str:
        """The id of the parent run; empty if there is none."""
        return self._parent

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=FLUSH_SECONDS)
            except queue.Empty:
                job = self._flush
            if job is None:
                return
            self._attempt(job)

    def _attempt(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:  # noqa: BLE001  training is worth more than its log, which is made good later
            text = " ".join(str(error).split())[:300]
            self.problems.append(redact(f"{type(error).__name__}: {text}"))

    def _connect(self) -> None:
        from mlflow import MlflowClient

        name = self._session.settings.tracking.experiment
        experiments.follow(name)
        client = MlflowClient()
        self._experiment = experiments.made(client, name)
        left_open.close_dead(client, experiments.linked(client, name))
        self._connected = client

    def _open(self, flow_run_id: str) -> None:
        if self._connected is None:
            return
        tags = {KIND: "flow", "plumb.prefect_flow_run": flow_run_id, **left_open.process_tags()}
        tags |= _git_tags(self._session.root)
        tags[MADE_FROM] = stage_inputs.inputs_hash(stage_inputs.inputs(self._session.root))
        if self._session.share and self._session.share.segment:
            tags[segment_cost.SEGMENT] = self._session.share.segment
        run = self._connected.create_run(self._experiment, tags=tags, run_name=f"align {flow_run_id[:8]}")
        self._parent = run.info.run_id
        self._client = self._connected

    @_queued
    def preflighted(self, preflight: Preflight) -> None:
        records.write_metrics(self._client, self._parent, preflight.metrics)

    @_queued
    def anchored(self, drift: Drift) -> None:
        records.write_metrics(self._client, self._parent, drift.metrics)
        self._client.log_dict(self._parent, drift.document, "anchors.json")

    @_queued
    def begins(self, name: str, version: str, place: Path) -> None:
        if find_run(self._client, name, version, complete=True):
            return
        run_id = self._stage_run(name, version)
        records.write_params(self._client, run_id, self._session.graph.params(name))
        self._tails[name] = (run_id, Tail(place / "live.jsonl"))

    def _stage_run(self, name: str, version: str) -> str:
        """The unfinished run of this version, taken over from whoever left it, or a new one."""
        run_id = find_run(self._client, name, version, complete=False)
        if run_id is None:
            tags = {KIND: "stage", STAGE: name, VERSION: version, COMPLETE: "false", **_git_tags(self._session.root)}
            tags["mlflow.parentRunId"] = self._parent
            return self._client.create_run(self._experiment, tags=tags, run_name=name).info.run_id
        self._client.set_tag(run_id, "mlflow.parentRunId", self._parent)
        self._client.update_run(run_id, status="RUNNING")
        return run_id

    def _flush(self) -> None:
        for run_id, tail in self._tails.values():
            records.write_curves(self._client, run_id, tail)

    @_queued
    def ends(self, run: StageRun) -> None:
        self._tails.pop(run.stage, None)
        version = self._session.graph.made_version(run.stage) or run.version
        run_id = find_run(self._client, run.stage, version, complete=True)
        if run_id is None:
            run_id = self._stage_run(run.stage, version)
            self._write(run_id, run, version)
            if run.stage == PACKAGE_STAGE:
                self._log_model(run_id, run.stage)
            else:
                self._complete(run_id)
        self._runs[run.stage] = run_id
        self._client.set_tag(self._parent, f"plumb.run.{records.safe_name(run.stage)}", run_id)
        self._client.set_tag(self._parent, f"plumb.outcome.{records.safe_name(run.stage)}", run.outcome)

    def _write(self, run_id: str, run: StageRun, version: str) -> None:
        session, client = self._session, self._client
        stage = session.graph.stages[run.stage]
        records.write_params(client, run_id, session.graph.params(run.stage))
        place = running.folder(session.state, run.stage, version)
        records.write_curves(client, run_id, Tail(place / "live.jsonl"))
        calls = read_calls(place)
        cost = session.cost(run).metrics if run.outcome == "ran" else {}
        records.write_metrics(client, run_id, stage_metrics(session.root, stage) | cost | calls.metrics)
        records.write_inputs(client, run_id, session.graph.dependencies(run.stage))
        for key, value in evidence.identity_tags(session.root, stage, session.settings.promote.model_name).items():
            client.set_tag(run_id, key, value)
        limit = session.settings.tracking.max_artifact_mb * 1e6
        records.write_artifacts(client, run_id, session.root, stage, limit, session.graph.remote_url)
        write_traces(client, self._experiment, run_id, calls.sample)

    def _complete(self, run_id: str) -> None:
        self._client.set_terminated(run_id, "FINISHED")
        self._client.set_tag(run_id, COMPLETE, "true")

    def _log_model(self, run_id: str, stage: str) -> None:
        """Start logging the packaged model in a process of its own: this one never imports torch."""
        (out, *_) = [o for o in self._session.graph.stages[stage].outs if o.kind == "out"]
        log = self._session.state / "runs" / "log_model.txt"
        log.parent.mkdir(exist_ok=True)
        package = str(self._session.root / out.path)
        command = [sys.executable, "-m", "flows.history.log_model", package, "--run-id", run_id]
        with log.open("ab") as output:
            process = subprocess.Popen(
                supervised_command(command), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._session.processes.add(process.pid)
        self._models.append((stage, run_id, process, log))

    @_queued
    def fails(self, error: StageError) -> None:
        run_id, tail = self._tails.pop(error.stage, (None, None))
        if run_id is None:
            return
        records.write_curves(self._client, run_id, tail)
        self._client.set_tag(run_id, "plumb.error", redact(f"{error.kind}: {error.message}")[:PARAGRAPH])
        self._client.set_terminated(run_id, "FAILED")

    @_queued
    def _kill(self) -> None:
        """What runs at the moment is no longer waited for."""
        for run_id, tail in self._tails.values():
            records.write_curves(self._client, run_id, tail)
            self._client.set_terminated(run_id, "KILLED")
        self._client.set_tag(self._parent, left_open.ENDED, left_open.INTERRUPTED)
        self._end_parent("KILLED")

    @_queued
    def _close(self, status: str) -> None:
        self._end_parent(status)

    def _end_parent(self, status: str) -> None:
        for stage, run_id, process, log in self._models:
            code = process.wait()
            self._session.processes.end(process.pid)
            if code == 0:
                self._complete(run_id)
            else:
                self.problems.append(f"the model of {stage} was not logged (exit code {code}); its log is {log}")
        records.write_metrics(self._client, self._parent, totals(self._session.ledger.of_run(self._session.run.id)))
        lock = self._session.root / "dvc.lock"
        if lock.exists():
            self._client.log_artifact(self._parent, str(lock))
        self._client.set_terminated(self._parent, status)


def _git_tags(root: Path) -> dict[str, str]:
    try:
        commit = git.git(root, "rev-parse", "HEAD")
        dirty = bool(git.git(root, "status", "--porcelain", "--untracked-files=no"))
    except git.GitError:  # there is no repository, or no commit yet
        commit, dirty = "", False
    return {"mlflow.source.git.commit": commit, "plumb.git_dirty": str(dirty).lower()}
