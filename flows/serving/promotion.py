"""A promotion, step by step; each step can be killed and repeated, and nothing but `move` decides who serves.

Plain functions over MLflow's client; flows/promote.py makes them a Prefect flow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from flows.history import registry
from flows.history.evidence import Evidence, Refused
from flows.history.registry import State, Version
from flows.serving.approval import Approval, approve, recorded_approval
from flows.serving.candidate import attach, check_unspent, examine, register, verify
from flows.serving.registry_lock import hold
from flows.serving.request import Outcome, Place, Request
from flows.serving.rollback import finish_moved

TAG_CHARACTERS = 5000
T = TypeVar("T")


def move(place: Place, version: Version, request: Request) -> Outcome:
    """Make the version champion if the one it was compared with still is. Repeated, it says the same again.

    Raises Refused when somebody else is champion by now, or the evidence was spent meanwhile; ValueError when another
    promotion wrote its own evidence on the version.
    """
    client, name = place.client, place.name
    with hold(client, name, place.state) as lock:
        state = finish_moved(client, registry.settle(client, name))
        version = state.versions[version.number]
        if registry.JOURNAL in state.tags:
            journal = state.tags[registry.JOURNAL]
            raise Refused(f"a rollback of {name} was interrupted ({journal}); finish it: plumb rollback")
        check_unspent(state, request)
        if state.aliases.get(registry.CHAMPION) == version.number:
            return _promoted(version)
        check_compared(state, version, request)
        check_own_evidence(place, version, request)
        # Before the alias: a champion always names the one to return to.
        registry.write_tags(client, version, {registry.REPLACES: registry.name_of(state.champion)})
        lock.check()
        registry.point(client, state, registry.CHAMPION, version)
        state = registry.settle(client, name)
        if state.aliases[registry.CHAMPION] != version.number:
            other = registry.name_of(state.champion)
            raise Refused(f"somebody else made {other} champion meanwhile; ask for a new gate")
        return _promoted(state.versions[version.number])


def check_compared(state: State, version: Version, request: Request) -> None:
    """Raises Refused unless the version that serves is the one at the gate."""
    if registry.name_of(state.champion) != registry.name_of(request.compared):
        raise Refused(
            f"champion is {registry.name_of(state.champion)}, but v{version.number} was compared with "
            f"{registry.name_of(request.compared)}; ask for a new gate"
        )


def check_own_evidence(place: Place, version: Version, request: Request) -> None:
    """Raises ValueError where another promotion of the same version wrote down its own gate, or answer, meanwhile.

    Else a champion would rest on what did not promote it, and a rollback would spend the wrong gate.
    """
    answer = recorded_approval(version, request.gate)
    agreed = place.config.policy != "approval" or (answer is not None and answer.approve)
    if version.tags.get(registry.GATE) != request.gate or not agreed:
        raise ValueError(
            f"another promotion of v{version.number} wrote down its own evidence meanwhile; run this one again"
        )


def _promoted(version: Version) -> Outcome:
    replaced = registry.name_of(version.replaces)
    after = "the first champion" if replaced == registry.NOBODY else f"it replaces {replaced}"
    return Outcome("promoted", version.number, f"{version.name}: v{version.number} is champion ({after})")


def note_refusal(place: Place, request: Request, error: Refused) -> Outcome:
    """Write a refusal on the version that it concerns, unless it serves; returns it as the outcome."""
    state = place.read()
    versions = [v for v in state.versions.values() if v.tags.get(registry.CANDIDATE) == request.candidate]
    for version in versions[-1:]:
        if state.aliases.get(registry.CHAMPION) != version.number:
            registry.write_tags(place.client, version, {registry.DECISION: f"refused: {error}"[:TAG_CHARACTERS]})
    return Outcome("refused", versions[-1].number if versions else None, str(error))


def run(
    place: Place,
    request: Request,
    given: Approval | None,
    ask: Callable[[Evidence, Version], Approval],
    call: Callable[[str, Callable[[], T]], T] = lambda name, step: step(),
) -> Outcome:
    """All steps in their order.

    given: an approval that somebody gave already. ask: for one, where the policy wants it and nobody did.
    call: runs a step under its name (Prefect makes it a task).
    """
    try:
        basis = call("examine", lambda: examine(place, request))
        version = call("register", lambda: register(place, basis))
        call("verify", lambda: verify(place, basis, version))
        call("attach evidence", lambda: attach(place, basis, version, request))
        state = place.read()
        if place.config.policy == "approval" and state.aliases.get(registry.CHAMPION) != version.number:
            check_compared(state, version, request)  # nobody is asked for nothing
            approve(place, state.versions[version.number], request.gate, given, lambda fresh: ask(basis, fresh))
        return call("move champion", lambda: move(place, version, request))
    except Refused as error:
        return note_refusal(place, request, error)
