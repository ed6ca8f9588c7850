"""One `plumb align` on this machine: what its parts share while the flow runs.

Prefect hands tasks JSON, so the flow's parameters name the session and its tasks look it up here.
"""

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from flows.alignment.anchors import Drift
from flows.alignment.preflight import Preflight
from flows.alignment.results import stage_metrics
from flows.costs import attempts, budget
from flows.costs.calls import Calls, read_calls
from flows.costs.ledger import Entry, Ledger
from flows.graph.pools import with_upstream
from flows.graph.running import Processes, StageError, StageRun, folder
from flows.graph.stages import Graph
from flows.settings import Settings

USED = ("calls", "cost", "input_tokens", "output_tokens")


@dataclass(frozen=True)
class Share:
    """A part of the graph: `targets` are brought up to date with all they follow from; no other stage than those in
    `may_run` is run for it, the rest must be in the cache or the default DVC remote.

    segment: the flow run that this is, where it is one of several that make up a run; `earlier` is what the others have
    cost so far.
    """

    targets: tuple[str, ...]
    may_run: frozenset[str]
    segment: str = ""
    earlier: Entry | None = None


class Session:
    """The graph, the settings and the listeners of one run; with `anchors`, the judges are asked theirs first.

    Listeners have the methods of `flows.alignment.progress.Board`.
    """

    _all: dict[str, "Session"] = {}

    def __init__(
        self, root: Path, state: Path, graph: Graph, settings: Settings, cores: int, listeners: list,
        anchors: bool = False, share: Share | None = None,
    ):  # fmt: skip
        self.id = uuid.uuid4().hex[:12]
        self.root, self.state, self.graph, self.settings, self.cores = root, state, graph, settings, cores
        self.listeners, self.anchors, self.share = listeners, anchors, share
        self.ledger = Ledger(state)
        self.processes = Processes()
        self.runs: dict[str, StageRun] = {}
        self.errors: list[StageError] = []
        self.pulled: list[Path] = []
        self.met: str | None = None  # the DVC remote at which other machines leave what they made
        self.flow_run_id: str | None = None
        self._segment = share.segment if share else ""
        self.run = budget.Run(self._segment, time.time()) if self._segment else budget.current_run(root)
        for entry in attempts.lost(state, self.run.id):
            self.ledger.append(entry)
        self.over_budget: str | None = None
        self.report_page: Callable[[], str | None] = lambda: None  # where a browser finds the report, once it is logged
        self._begun: dict[str, float] = {}
        self._lock = threading.Lock()
        Session._all[self.id] = self

    @classmethod
    def get(cls, session_id: str) -> "Session":
        return cls._all[session_id]

    @property
    def wanted(self) -> list[str]:
        """The stages that are to be current, in an order in which they can run."""
        return with_upstream(self.graph.stages, self.share.targets) if self.share else list(self.graph.stages)

    def opens(self, flow_run_id: str) -> None:
        self.flow_run_id = flow_run_id
        self._tell("opens", flow_run_id)

    def preflighted(self, preflight: Preflight) -> None:
        """What would end the run late was looked for, or is known."""
        if preflight.cost:
            self.ledger.append(replace(preflight.cost, run=self.run.id))
        self._tell("preflighted", preflight)

    def anchored(self, drift: Drift) -> None:
        """The judges were asked their anchors."""
        self.ledger.append(replace(drift.cost, run=self.run.id))
        self._tell("anchored", drift)

    def begins(self, name: str, version: str, place: Path) -> None:
        self._begun[name] = time.time()
        attempts.note(place, self.run.id, name)
        self._tell("begins", name, version, place)

    def ends(self, run: StageRun) -> None:
        with self._lock:
            self.runs[run.stage] = run
            self.graph.refresh()
        attempts.forget(folder(self.state, run.stage, run.version))
        if run.outcome == "ran":
            self.ledger.append(self.cost(run))
        self._tell("ends", run)

    def fails(self, error: StageError) -> None:
        with self._lock:
            # The last word of a stage counts: a retry that succeeds takes it back in `counts`.
            self.errors = [e for e in self.errors if e.stage != error.stage] + [error]
        place, now = error.log.parent, time.time()
        attempts.forget(place)
        began = self._begun.get(error.stage, now)
        self.ledger.append(attempts.cost_in_vain(place, self.run.id, error.stage, began, now))
        self._tell("fails", error)

    def may_begin(self, name: str) -> bool:
        """Whether the budget has something left for this stage; what the cache holds costs nothing."""
        if self.share and name not in self.share.may_run:
            return True
        spent = self.spent()
        if spent is None or self.graph.plan(self.met)[name].action != "run":
            return True
        self.over_budget = spent
        return False

    def spent(self) -> str | None:
        """Which limit of the budget is reached, in one line; None while there is something left."""
        earlier = [self.share.earlier] if self.share and self.share.earlier else []
        return budget.exhausted(self.settings.flow.budget, [*earlier, *self.ledger.of_run(self.run.id)])

    @property
    def to_run(self) -> list[str]:
        """The stages that must run here, as things are: neither current nor to be restored."""
        plan = self.graph.plan(self.met)
        mine = self.share.may_run if self.share else plan.keys()
        return [name for name in self.wanted if plan[name].action == "run" and name in mine]

    def finishes(self) -> None:
        """Every stage is current. A segment leaves the end of the run to whoever started it."""
        if not self._segment:
            budget.finish_run(self.root)

    @property
    def lasting_errors(self) -> list[StageError]:
        """The failures that no later attempt made good."""
        return [error for error in self.errors if error.stage not in self.runs]

    def calls(self, stage: str) -> Calls:
        """What the calls of the run took that made a stage; nothing where this machine does not know."""
        version = self.graph.made_version(stage) if stage in self.graph.stages else None
        return read_calls(folder(self.state, stage, version))

    def counts(self) -> str:
        """For example "2 ran, 16 current"."""
        outcomes = [run.outcome for run in self.runs.values()]
        words = [f"{outcomes.count(word)} {word}" for word in ("ran", "restored", "current") if word in outcomes]
        return ", ".join(words) or "nothing to do"

    def cost(self, run: StageRun) -> Entry:
        """What a stage that ran has cost."""
        stage = self.graph.stages[run.stage]
        metrics = stage_metrics(self.root, stage)
        now = read_calls(folder(self.state, run.stage, run.version)).totals
        # A stage that returns a document has these numbers in its folder alone.
        used = {name: metrics.get(name, now.get(f"used_{name}", 0)) for name in USED}
        return Entry(
            run.stage, run.version, round(run.started, 3), round(run.seconds, 3), run.peak_bytes,
            disk_bytes=sum(out.size or 0 for out in stage.outs), money=float(used["cost"]),
            **{name: int(used[name]) for name in ("calls", "input_tokens", "output_tokens")},
            stored=int(now.get("stored", 0)), asked=int(now.get("calls", 0)), spent=now.get("cost", 0.0),
            gpus=run.gpu.gpus, gpu_seconds=round(run.gpu.seconds(run.seconds), 3), peak_gpu_bytes=run.gpu.peak_bytes,
            **{name: round(now.get(name, 0.0), 3) for name in ("latency_p50", "latency_p95")}, run=self.run.id,
        )  # fmt: skip

    def _tell(self, event: str, *arguments) -> None:
        for listener in self.listeners:
            getattr(listener, event)(*arguments)
