"""What retrainings came to, as MLflow remembers it: which inputs were decided on, against which champion, and how.

The same data, code and params against the same champion give the same bytes and the same verdict, so nobody needs to
ask twice. A retraining is decided once its gate gave a verdict and what follows from that was done.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from flows.history import experiments, registry
from flows.history.recorded import MADE_FROM
from flows.redact import redact
from tasks.config.service import PromoteConfig

KIND, RETRAIN = "plumb.kind", "retrain"
PREFIX = "plumb.retrain."
RETRAINING = f"{PREFIX}flow_run"  # tag of a run of align: the retraining that it belongs to
NOBODY = registry.NOBODY
NOTHING_NEW = "nothing new"
TAG_CHARACTERS = 5000
SHOWN = 50  # how far back `plumb status` looks


@dataclass(frozen=True)
class Decision:
    """One retraining. `outcome`: promoted, refused, asked, rejected, underpowered or nothing new.

    inputs: hash of data, code and params, those of the promotion included. champion: md5 of the package that served at
    the start, or "none". model: the registered model's name. asked: the flow run in which a person answers. answer:
    what became of that, once it is known.
    """

    outcome: str
    reason: str
    inputs: str
    champion: str
    commit: str
    verdict: str = ""
    candidate: str = ""
    package: str = ""
    gate: str = ""
    align: str = ""
    asked: str = ""
    pushed: str = ""
    answer: str = ""
    model: str = ""

    @property
    def decided(self) -> bool:
        return bool(self.verdict)

    @property
    def unanswered(self) -> bool:
        """A person was asked, and nobody promoted or refused it since."""
        return bool(self.asked and not self.answer)

    def tags(self) -> dict[str, str]:
        values = {field.name: str(getattr(self, field.name)) for field in fields(self)}
        return {f"{PREFIX}{name}": redact(value)[:TAG_CHARACTERS] for name, value in values.items() if value}


@dataclass(frozen=True)
class Remembered:
    """A decision as MLflow has it: its run, and when it was made (milliseconds since 1970)."""

    decision: Decision
    run_id: str
    at: int


def key(inputs: str, promote: PromoteConfig) -> str:
    """The hash of what a decision rests on: the stages' inputs, and by what is promoted, which no stage reads."""
    return hashlib.sha256(f"{inputs} {promote.model_dump_json()}".encode()).hexdigest()


def same(made: list[Remembered], inputs: str, champion: str) -> Remembered | None:
    """The latest decision on these inputs that would come out the same again; None if there is none.

    It would if it was compared with who serves now, or if who serves now is what came out of it.
    """
    fitting = [
        one for one in made
        if one.decision.decided and one.decision.inputs == inputs
        and (one.decision.champion == champion or one.decision.package == champion)
    ]  # fmt: skip
    return max(fitting, key=lambda one: one.at, default=None)


def mark(client, align: str, made_from: str, flow_run: str) -> None:
    """Say on the run of align which retraining it belongs to: should that be killed, the next one sees it.

    made_from: what the retraining began with. Where the gate took another look at the prompts, align began with that.
    """
    client.set_tag(align, MADE_FROM, made_from)
    client.set_tag(align, RETRAINING, flow_run)


def of_champion(client, begun: Decision, align: str, made_from: str) -> Decision | None:
    """The decision without a run, where who serves was made from the same; None where that is not so.

    It was promoted by hand, or by a retraining that was killed before it could write that down. align: the run that
    made it. made_from: the hash of the stages' inputs alone.
    """
    tags = client.get_run(align).data.tags if align else {}
    if tags.get(MADE_FROM) != made_from:
        return None
    if RETRAINING in tags and not _finished(client, experiments.all_ids(client), f" AND tags.`{PREFIX}align` = '{align}'"):
        reason = "it serves already: the retraining that promoted it was killed before it could write that down"
        return replace(begun, outcome="promoted", reason=reason, verdict="promote", package=begun.champion, align=align)
    reason = f"data, code and params are those of run {align[:12]}, whose model serves"
    return replace(begun, outcome=NOTHING_NEW, reason=reason)


def nothing_new(
    before: Remembered, inputs: str, champion: str, commit: str, ending: Callable[[str], str | None]
) -> Decision:
    """The decision that nothing need be done, and why. ending: as `became` takes it."""
    was = before.decision
    reason = (
        f"data, code and params are those of run {before.run_id[:12]}, which was {was.outcome} "
        f"({registry.moment(before.at / 1000)}, verdict {was.verdict})"
    )
    if was.asked:
        reason += f": {became(was, ending)}"
    return Decision(NOTHING_NEW, reason, inputs, champion, commit)


def on_inputs(client, experiment: str, inputs: str) -> list[Remembered]:
    """Every retraining that met these inputs, also before the project was moved."""
    return _finished(client, experiments.linked(client, experiment), f" AND tags.`{PREFIX}inputs` = '{inputs}'")


def latest(uri: str, experiment: str) -> list[Remembered]:
    """The last retrainings, the newest first; a sqlite store is read without MLflow, whose import alone takes 2 s."""
    file = experiments.store_file(uri)
    if file:
        return _latest_in_sqlite(file, experiment) if file.exists() else []
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    return _finished(client, experiments.linked(client, experiment))[:SHOWN]


def _finished(client, ids: list[str], more: str = "") -> list[Remembered]:
    """The retrainings that were written down in these experiments, the newest first."""
    where = f"tags.`{KIND}` = '{RETRAIN}' AND attributes.status = 'FINISHED'{more}"
    runs = client.search_runs(ids, where, order_by=["attributes.start_time DESC"]) if ids else []
    return [_remembered(run.info.run_id, run.info.start_time, run.data.tags) for run in runs]


def _latest_in_sqlite(file: Path, experiment: str) -> list[Remembered]:
    query = (
        f"{experiments.LINKED_IN_SQLITE} SELECT r.run_uuid, r.start_time FROM runs r"
        " JOIN tags k ON k.run_uuid = r.run_uuid AND k.key = ? AND k.value = ?"
        " WHERE r.experiment_id IN (SELECT id FROM linked) AND r.status = 'FINISHED'"
        " AND r.lifecycle_stage = 'active' ORDER BY r.start_time DESC LIMIT ?"
    )
    with contextlib.closing(experiments.read_only(file)) as connection:
        wanted = (experiment, experiments.MOVED_FROM, KIND, RETRAIN, SHOWN)
        runs = connection.execute(query, wanted).fetchall()
        tags = "SELECT key, value FROM tags WHERE run_uuid = ?"
        return [_remembered(run, at, dict(connection.execute(tags, (run,)).fetchall())) for run, at in runs]


def became(decision: Decision, ending: Callable[[str], str | None]) -> str:
    """What a decision came to. ending: says how the flow run ended in which a person was asked; None while it is open."""
    return decision.answer or (ending(decision.asked) if decision.asked else None) or decision.reason


def in_words(made: list[Remembered], ending: Callable[[str], str | None]) -> list[str]:
    """For `plumb status`: the last decision, and when somebody looked since and found nothing new.

    ending: as `became` takes it.
    """
    decided = next((one for one in made if one.decision.decided), None)
    if decided is None:
        return ["no retraining yet"]
    was = decided.decision
    when = registry.moment(decided.at / 1000)
    lines = [f"last retraining: {was.outcome} on {when}, verdict {was.verdict}: {became(was, ending)}"]
    if made[0].at > decided.at:
        lines.append(f"looked again on {registry.moment(made[0].at / 1000)}: {made[0].decision.outcome}")
    return lines


def answered(client, model: str, gate: str, answer: str) -> None:
    """Write down what became of the question about this gate and model, on every retraining that asked it."""
    where = f"tags.`{KIND}` = '{RETRAIN}' AND tags.`{PREFIX}outcome` = 'asked' AND tags.`{PREFIX}gate` = '{gate}'"
    where += f" AND tags.`{PREFIX}model` = '{model}'"
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    for run in client.search_runs(experiments, where):
        client.set_tag(run.info.run_id, f"{PREFIX}answer", redact(answer)[:TAG_CHARACTERS])


def remember(client, experiment: str, decision: Decision, flow_run: str) -> str:
    """Write it down; it counts once its run is finished. Returns the run's id."""
    number = experiments.made(client, experiment)
    tags = {KIND: RETRAIN, "plumb.prefect_flow_run": flow_run, "mlflow.source.git.commit": decision.commit}
    run = client.create_run(number, tags={**tags, **decision.tags()}, run_name=f"retrain {flow_run[:8]}")
    client.set_terminated(run.info.run_id, "FINISHED")
    return run.info.run_id


def _remembered(run_id: str, at: int, tags: Mapping[str, str]) -> Remembered:
    known = {field.name: tags.get(f"{PREFIX}{field.name}", "") for field in fields(Decision)}
    return Remembered(Decision(**known), run_id, at)


def as_markdown(decision: Decision) -> str:
    """For the Prefect page."""
    lines = [f"**{decision.outcome}**", "", redact(decision.reason), ""]
    for field in fields(decision):
        value = getattr(decision, field.name)
        if value and field.name not in ("outcome", "reason"):
            lines.append(f"- {field.name} `{redact(str(value))}`")
    return "\n".join(lines) + "\n"
