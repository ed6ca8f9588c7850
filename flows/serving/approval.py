"""A person's word on one gate, where the policy asks for one: asked once, and kept with the version."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

from flows.history import registry
from flows.history.evidence import Refused
from flows.history.registry import Version
from flows.serving.request import Place


@dataclass(frozen=True)
class Approval:
    """A person's answer to one gate."""

    approve: bool
    comment: str = ""
    by: str = ""


def recorded_approval(version: Version, gate: str) -> Approval | None:
    """The answer that was given for this gate, if there was one."""
    answer = json.loads(version.tags.get(registry.APPROVAL, "{}"))
    return Approval(answer["approve"], answer["comment"], answer["by"]) if answer.get("gate") == gate else None


def approve(
    place: Place, version: Version, gate: str, given: Approval | None, ask: Callable[[Version], Approval]
) -> None:
    """Have a person's word on this gate: `given` now, or before, or asked for. Asked once, also when the process dies.

    Raises Refused when the word is no.
    """
    recorded = recorded_approval(version, gate)
    answer = given or recorded or ask(version)
    if answer != recorded:
        text = json.dumps({"gate": gate, "at": registry.now(), **asdict(answer)}, sort_keys=True)
        registry.write_tags(place.client, version, {registry.APPROVAL: text})
    if not answer.approve:
        who = f" by {answer.by}" if answer.by else ""
        raise Refused(f"v{version.number} was declined{who}: {answer.comment or 'no comment'}")
