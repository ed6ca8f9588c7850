"""From a version of the registry back to everything that it was made from and judged by.

Only what MLflow recorded is asked: the tags of the version, the runs, and the dvc.lock that was logged with them. The
working tree may have moved on.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from typing import Any

from flows.graph.stages import flatten
from flows.history import experiments, records, registry
from flows.history.evidence import copy_path
from flows.history.recorded import owner, read_lock
from flows.history.registry import Version
from tasks.runner.pipeline import is_code

COMPARE_STAGE, GOLD_SECTION = "compare", "gold"


def trace(client, uri: str) -> dict[str, Any]:
    """The lineage of `models:/NAME@champion` (or any other version) as one JSON document.

    Raises ValueError for a version that does not exist, or was not registered by plumb promote.
    """
    version = registry.resolve(client, uri)
    if registry.RUN not in version.tags:
        raise ValueError(f"{version.uri} was not registered by plumb promote: its origin is unknown")
    run = client.get_run(version.tags[registry.RUN])
    lock = read_lock(client, run.info.run_id)
    if lock is None:
        raise ValueError(f"MLflow run {run.info.run_id}, which {version.uri} was made in, has lost its dvc.lock")
    stages = {name: _stage(client, name, entry, run.data.tags) for name, entry in lock["stages"].items()}
    params = {key: value for stage in stages.values() for key, value in stage["params"].items()}
    return {
        "model": _model(client, version),
        "evidence": _evidence(client, version),
        "run": _run(run),
        "code": {"commit": version.tags[registry.COMMIT], "uncommitted": run.data.tags.get("plumb.git_dirty") == "true",
                 "files": _merged(stages, "code")},
        "data": outside_inputs(stages),
        "judges": _judges(stages, params),
        "comparisons": _comparisons(stages),
        "params": params,
        "stages": stages,
    }


def _model(client, version: Version) -> dict[str, Any]:
    aliases = registry.read(client, version.name).aliases
    tags = version.tags
    return {
        "name": version.name,
        "version": version.number,
        "aliases": sorted(alias for alias, number in aliases.items() if number == version.number),
        "source": version.source,
        "candidate_hash": tags.get(registry.CANDIDATE),
        "package_md5": tags.get(registry.PACKAGE),
        "promoted_at": tags.get(registry.PROMOTED),
        "replaces": tags.get(registry.REPLACES),
        "rolled_back": tags.get(registry.ROLLED_BACK),
        "logit_difference": tags.get(registry.VERIFIED),
    }


def _evidence(client, version: Version) -> dict[str, Any]:
    tags = version.tags
    with tempfile.TemporaryDirectory() as folder:
        file = experiments.fetch(client, tags[registry.PACKAGE_RUN], copy_path(tags[registry.GATE]), folder)
        gate = json.loads(file.read_text(encoding="utf-8"))
    return {
        "gate_hash": tags[registry.GATE],
        "gate_run": tags[registry.GATE_RUN],
        "verdict": gate.get("verdict"),
        "reasons": gate.get("reasons", []),
        "reference": gate.get("reference"),
        "reference_hash": gate.get("reference_hash"),
        "compared": tags.get(registry.COMPARED),
        "approval": json.loads(tags.get(registry.APPROVAL, "null")),
        "report": tags.get(registry.REPORT),
    }


def _run(run) -> dict[str, Any]:
    tags = run.data.tags
    return {
        "id": run.info.run_id,
        "name": run.info.run_name,
        "started_ms": run.info.start_time,
        "prefect_flow_run": tags.get("plumb.prefect_flow_run"),
        "host": tags.get("plumb.host"),
    }


def _stage(client, name: str, entry: Mapping[str, Any], run_tags: Mapping[str, str]) -> dict[str, Any]:
    run_id = run_tags.get(f"plumb.run.{records.safe_name(name)}")
    run = client.get_run(run_id) if run_id else None
    files = {dep["path"]: dep.get("md5") for dep in entry.get("deps", [])}
    return {
        "run": run_id,
        "version": run.data.tags.get("plumb.version") if run else None,
        "command": entry["cmd"],
        "inputs": {path: md5 for path, md5 in files.items() if not is_code(path)},
        "code": {path: md5 for path, md5 in files.items() if is_code(path)},
        "outputs": {out["path"]: out.get("md5") for out in entry.get("outs", [])},
        "params": flatten(entry.get("params", {}).get("params.yaml", {})),
        "metrics": dict(run.data.metrics) if run else {},
    }


def _merged(stages: Mapping[str, Mapping[str, Any]], part: str) -> dict[str, str]:
    return dict(sorted((path, md5) for stage in stages.values() for path, md5 in stage[part].items()))


def outside_inputs(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Path to md5 of what was given and not made: data and base model."""
    made = {path for stage in stages.values() for path in stage["outputs"]}
    return {path: md5 for path, md5 in _merged(stages, "inputs").items() if not owner(path, made)}


def _judges(stages: Mapping[str, Mapping[str, Any]], params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those that made the comparisons, then what is gold."""
    pool = [{"role": COMPARE_STAGE, **judge} for judge in params.get(f"{COMPARE_STAGE}.judges") or []]
    prefix = f"{GOLD_SECTION}."
    gold = {key.removeprefix(prefix): value for key, value in params.items() if key.startswith(prefix)}
    return pool + ([{"role": GOLD_SECTION, **gold}] if gold else [])


def _comparisons(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The comparisons that trained reward model and DPO: hashes, counts, and the run that judged them."""
    stage = stages.get(COMPARE_STAGE)
    if stage is None:
        return {}
    counts = {name: value for name, value in stage["metrics"].items() if not name.startswith("cost/")}
    return {"run": stage["run"], "outputs": stage["outputs"], "metrics": counts}


# --- as text ---

MODEL_FACTS = ("promoted_at", "replaces", "rolled_back", "candidate_hash", "package_md5", "logit_difference")
GATE_FACTS = ("gate_hash", "reference_hash", "gate_run", "report")
JUDGE_DETAILS = ("weights", "training")  # left to --json
COUNTS = ("pairs", "train", "heldout", "verdicts")


def show(lineage: Mapping[str, Any], console) -> None:
    """Print the lineage as a tree."""
    from rich.tree import Tree

    model, run, code = lineage["model"], lineage["run"], lineage["code"]
    marks = "".join(f" @{alias}" for alias in model["aliases"])
    tree = Tree(_text(f"models:/{model['name']}/{model['version']}{marks}", "bold"))
    _add_facts(tree, {name: model[name] for name in MODEL_FACTS})
    _add_evidence(tree, lineage["evidence"])
    branch = tree.add(_text(f"run {run['name']}"))
    _add_facts(branch, {"MLflow run": run["id"], "Prefect flow run": run["prefect_flow_run"], "host": run["host"]})
    dirty = ", with uncommitted changes" if code["uncommitted"] else ""
    tree.add(_text(f"code: commit {code['commit']}{dirty}, {len(code['files'])} files by hash"))
    _add_facts(tree.add("data"), lineage["data"])
    branch = tree.add("judges")
    for judge in lineage["judges"]:
        branch.add(_text(", ".join(f"{key} {value}" for key, value in judge.items() if key not in JUDGE_DETAILS)))
    _add_comparisons(tree, lineage["comparisons"])
    _add_stages(tree.add("stages"), lineage["stages"])
    console.print(tree, soft_wrap=True)


def _add_evidence(tree, evidence: Mapping[str, Any]) -> None:
    branch = tree.add(_text(f"gate: {evidence['verdict']}, against {evidence['reference']} ({evidence['compared']})"))
    _add_facts(branch, {name: evidence[name] for name in GATE_FACTS})
    for reason in evidence["reasons"]:
        branch.add(_text(str(reason)))
    answer = evidence["approval"]
    if answer:
        word = "yes" if answer["approve"] else "no"
        branch.add(_text(f"approval: {word} by {answer['by'] or '?'}: {answer['comment']}"))


def _add_comparisons(tree, comparisons: Mapping[str, Any]) -> None:
    if not comparisons:
        return
    metrics = comparisons["metrics"]
    counts = ", ".join(f"{name} {metrics[name]:g}" for name in COUNTS if name in metrics)
    branch = tree.add(_text(f"comparisons: {counts}"))
    _add_facts(branch, {**comparisons["outputs"], "MLflow run": comparisons["run"]})


def _add_stages(tree, stages: Mapping[str, Mapping[str, Any]]) -> None:
    from rich.text import Text

    for name, stage in stages.items():
        where = f"  version {str(stage['version'])[:12]}, MLflow run {stage['run']}"
        branch = tree.add(Text.assemble((name, "bold"), where))
        for label in ("inputs", "outputs", "params"):
            if stage[label]:
                _add_facts(branch.add(label), stage[label])


def _add_facts(tree, facts: Mapping[str, Any]) -> None:
    from rich.text import Text

    for name, value in facts.items():
        if value not in (None, ""):
            tree.add(Text.assemble((f"{name}: ", "dim"), str(value)))


def _text(line: str, style: str = ""):
    """A line as it is: brackets in it are no markup."""
    from rich.text import Text

    return Text(line, style=style)
