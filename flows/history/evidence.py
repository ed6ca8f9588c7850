"""What a promotion rests on, found in MLflow by content hashes alone: the gate's run, the package's, the report's.

So it can be found from any machine, whoever trained, and whatever lies in the workspace by then.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.graph.stages import Stage
from flows.history import experiments, looks, registry
from flows.history.looks import GATE_FILE
from flows.history.registry import State, Version
from tasks.artifacts.champion import ORIGIN_FILE
from tasks.common.hashes import content_hash

REPORT_FILE = "artifacts/report/report.html"
STAGE, COMPLETE, KIND = "plumb.stage", "plumb.complete", "plumb.kind"
PROMOTE = "promote"
CHAMPION_REFERENCE = "champion"


class Refused(ValueError):
    """Not promoted, and why: a result, not a failure."""


def identity_tags(root: Path, stage: Stage, model: str) -> dict[str, str]:
    """The tags by which the run of a package or a gate is found again; none for other stages.

    model: the name in the registry that the gate is for.
    """
    for out in stage.outs:
        path = root / out.path
        if (path / ORIGIN_FILE).is_file():
            origin = json.loads((path / ORIGIN_FILE).read_text(encoding="utf-8"))
            return {registry.CANDIDATE: origin["policy"], registry.PACKAGE: out.md5 or ""}
        if out.path == GATE_FILE and path.is_file():
            gate = json.loads(path.read_text(encoding="utf-8"))
            hashes = {registry.CANDIDATE: str(gate.get("candidate_hash", "")), registry.GATE: content_hash(path)}
            return {**hashes, registry.VERDICT: str(gate.get("verdict", "")), **looks.tags(model, gate)}
    return {}


@dataclass(frozen=True)
class Evidence:
    """A gate that says promote, and the packaged model that it says it of."""

    candidate: str
    gate_hash: str
    gate: Mapping[str, Any]
    gate_run: str
    package_run: str
    package_md5: str
    model_uri: str  # models:/m-..., what is registered
    model_id: str
    parent_run: str  # the align run that points to both and holds dvc.lock
    report: str  # where the report is


def find(client, candidate: str, gate_hash: str, pages: str | None) -> Evidence:
    """What MLflow knows of this candidate and this gate. pages: where a browser finds MLflow, if anywhere.

    Raises ValueError when a run is missing; Refused when the gate did not say promote, or judged another candidate.
    """
    gate_run = _stage_run(client, "gate", {registry.GATE: gate_hash})
    gate = _gate_document(client, gate_run, gate_hash)
    check_verdict(gate, candidate)
    package_run = _stage_run(client, "package", {registry.CANDIDATE: candidate})
    model = _logged_model(client, package_run)
    parent = _parent_run(client, gate_run.info.run_id, package_run.info.run_id)
    return Evidence(
        candidate=candidate,
        gate_hash=gate_hash,
        gate=gate,
        gate_run=gate_run.info.run_id,
        package_run=package_run.info.run_id,
        package_md5=package_run.data.tags[registry.PACKAGE],
        model_uri=model.model_uri,
        model_id=model.model_id,
        parent_run=parent.info.run_id,
        report=_report(client, parent, pages),
    )


def check_verdict(gate: Mapping[str, Any], candidate: str) -> None:
    """Raises Refused unless this gate.json promotes exactly this candidate."""
    if gate.get("candidate_hash") != candidate:
        judged = str(gate.get("candidate_hash"))[:12]
        raise Refused(f"the gate judged {judged}, not {candidate[:12]}; run the gate on the candidate to be promoted")
    if gate.get("verdict") != PROMOTE:
        reasons = "; ".join(str(reason) for reason in gate.get("reasons", []))
        raise Refused(f"the gate's verdict is {gate.get('verdict')!r}, only {PROMOTE!r} can be promoted ({reasons})")


def compared_version(gate: Mapping[str, Any], state: State) -> Version | None:
    """The registered version that the gate compared the candidate with; None when it was no champion.

    Raises ValueError when it was a champion that the registry does not know.
    """
    if gate.get("reference") != CHAMPION_REFERENCE:
        return None
    wanted = gate.get("reference_hash")
    # A policy that was packaged twice has two versions: the one that serves is meant, else the last one made.
    for version in (*filter(None, [state.champion]), *reversed([*state.versions.values()])):
        if wanted and wanted in (version.tags.get(registry.CANDIDATE), version.tags.get(registry.PACKAGE)):
            return version
    known = f"which is no version of {state.name}"
    raise ValueError(f"the gate compared with champion {str(wanted)[:12]}, {known}; gate again")


def copy_path(gate_hash: str) -> str:
    """Where the run of a package keeps the gate that it was promoted on."""
    return f"evidence/{gate_hash[:12]}/gate.json"


# --- MLflow ---


def _stage_run(client, stage: str, tags: Mapping[str, str]):
    """The latest complete run of a stage with these tags."""
    where = " AND ".join(f"tags.`{key}` = '{value}'" for key, value in {STAGE: stage, COMPLETE: "true", **tags}.items())
    run = next(experiments.all_runs(client, where), None)
    if run is None:
        what = ", ".join(f"{key.removeprefix('plumb.')} {value[:12]}" for key, value in tags.items())
        raise ValueError(f"MLflow has no complete run of {stage} with {what}; plumb align logs it")
    return run


def _gate_document(client, run, gate_hash: str) -> dict[str, Any]:
    """gate.json as it was logged. Raises ValueError if it is not what its hash says."""
    with tempfile.TemporaryDirectory() as folder:
        path = experiments.fetch(client, run.info.run_id, GATE_FILE, folder)
        if content_hash(path) != gate_hash:
            place = f"{GATE_FILE} in MLflow run {run.info.run_id}"
            raise ValueError(f"{place} is not the gate {gate_hash[:12]}; gate again")
        return json.loads(path.read_text(encoding="utf-8"))


def _logged_model(client, run):
    """The packaged model that was logged under its run; the last one, if a killed attempt left others."""
    outputs = client.get_run(run.info.run_id).outputs
    models = [
        experiments.if_there(client.get_logged_model, output.model_id)
        for output in (outputs.model_outputs if outputs else [])
    ]
    whole = [model for model in models if model is not None and str(model.status).endswith("READY")]
    if not whole:
        way_out = "delete the run, then plumb align logs it again"
        raise ValueError(f"MLflow run {run.info.run_id} holds no packaged model; {way_out}")
    return max(whole, key=lambda model: model.creation_timestamp)


def _parent_run(client, gate_run: str, package_run: str):
    where = f"tags.`{KIND}` = 'flow' AND attributes.status = 'FINISHED'"
    where += f" AND tags.`plumb.run.gate` = '{gate_run}' AND tags.`plumb.run.package` = '{package_run}'"
    run = next(experiments.all_runs(client, where), None)
    if run is None:
        runs = f"gate {gate_run} and package {package_run}"
        raise ValueError(f"no finished plumb align in MLflow points to {runs}; run it again")
    return run


def _report(client, parent, pages: str | None) -> str:
    """Where the report is: in MLflow's pages, or on disk where MLflow has none."""
    run_id = parent.data.tags.get("plumb.run.report", parent.info.run_id)
    if pages:
        return report_page(client, run_id, pages)
    folder = experiments.address_now(client.get_run(run_id).info.artifact_uri)
    return f"{folder}/{REPORT_FILE}" if _has_report(client, run_id) else folder


def report_page(client, run_id: str, pages: str) -> str:
    """Where a browser finds the report of this run; the run's page if it was too large to be kept there."""
    page = f"{pages}/#/experiments/{client.get_run(run_id).info.experiment_id}/runs/{run_id}"
    return f"{page}/artifacts/{REPORT_FILE}" if _has_report(client, run_id) else page


def _has_report(client, run_id: str) -> bool:
    return REPORT_FILE in experiments.listed(client, run_id, str(Path(REPORT_FILE).parent))
