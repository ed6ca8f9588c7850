"""Who has looked at a version of the gate's prompts, by what MLflow recorded: a winner found by trying often is luck.

A stage knows nothing of other runs, so its look is a number in params.yaml (`gate.look`). Here it is held against the
looks that were taken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.history import experiments

GATE_FILE = "metrics/gate.json"
GATE_SET, GATE_LOOK, CANDIDATE = "plumb.gate_set", "plumb.gate_look", "plumb.candidate_hash"
STAGE, COMPLETE = "plumb.stage", "plumb.complete"


@dataclass(frozen=True)
class Look:
    """One candidate tested on a version of the prompts; `number` is what its params called this look."""

    candidate: str
    number: int


def tags(model: str, gate: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a gate's run by which its look is found again; none for a gate that does not say.

    model: the name in the registry for which was gated, as everywhere here.
    """
    part = gate.get("set")
    if not part:
        return {}
    return {GATE_SET: version_of(model, part["set"], part["sets"]), GATE_LOOK: str(part["look"])}


def version_of(model: str, part: int, parts: int) -> str:
    """The name of a version of the gate's prompts."""
    return f"{model} {part + 1}/{parts}"


def taken(client, version: str) -> list[Look]:
    """The looks at a version of the prompts, one for each candidate, the oldest first."""
    where = f"tags.`{STAGE}` = 'gate' AND tags.`{COMPLETE}` = 'true' AND tags.`{GATE_SET}` = '{version}'"
    runs = experiments.all_runs(client, where, "attributes.start_time ASC")
    looks = (Look(run.data.tags.get(CANDIDATE, ""), int(run.data.tags[GATE_LOOK])) for run in runs)
    return list(dict.fromkeys(looks))


def spent_by(client, version: str, look: int, candidate: str) -> Look | None:
    """The other candidate that took this look before; None if it was free."""
    before = [one for one in taken(client, version) if one.number == look]
    return before[0] if before and before[0].candidate != candidate else None


def next_look(client, version: str) -> int:
    """The look that nobody has taken yet."""
    return max((look.number for look in taken(client, version)), default=0) + 1


def look_of(client, version: str, candidate: str) -> int:
    """The look that this candidate took before anybody else did, else the next one that is free."""
    first: dict[int, str] = {}
    for look in taken(client, version):
        first.setdefault(look.number, look.candidate)
    own = [number for number, who in first.items() if who == candidate]
    return min(own) if own else next_look(client, version)


def other_look(client, model: str, gate: Mapping[str, Any]) -> dict[str, int] | None:
    """The params of the look that this candidate may take, where the gate took one that was another's.

    None where its look is its own, or no look is left.
    """
    if objection(client, model, gate) is None:
        return None
    prompts = gate["set"]
    for part in range(prompts["set"], prompts["sets"]):
        look = look_of(client, version_of(model, part, prompts["sets"]), gate["candidate_hash"])
        if look <= prompts["looks"]:
            return {"gate.set": part, "gate.look": look}
    return None


def objection(client, model: str, gate: Mapping[str, Any]) -> str | None:
    """One line when another candidate was tested on these prompts under the same number; else None."""
    known = tags(model, gate)
    if not known:
        return None
    prompts, version = gate["set"], known[GATE_SET]
    other = spent_by(client, version, prompts["look"], gate["candidate_hash"])
    if other is None:
        return None
    free, spent = next_look(client, version), f"all {prompts['looks']} looks are spent"
    if free <= prompts["looks"]:
        way_out = f"gate again with gate.look={free}"
    elif prompts["set"] + 1 < prompts["sets"]:
        way_out = f"{spent}: take the next prompts with gate.set={prompts['set'] + 1}"
    else:
        way_out = f"{spent}: more prompts (data.splits.gate) in more gate.sets are needed"
    return (
        f"look {prompts['look']} at the gate's prompts (part {prompts['set'] + 1} of {prompts['sets']}) was spent on "
        f"candidate {other.candidate[:12]}; {way_out}"
    )


def objection_of_project(root: Path, model: str) -> str | None:
    """The same for the gate that lies in the project, if there is one."""
    path = root / GATE_FILE
    if not path.is_file():
        return None
    from mlflow import MlflowClient

    return objection(MlflowClient(), model, json.loads(path.read_text(encoding="utf-8")))
