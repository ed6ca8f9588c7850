"""Back to the version that the champion replaced, in one command that can be killed and repeated."""

from __future__ import annotations

from pathlib import Path

from flows.history import registry
from flows.history.registry import State, Version
from flows.serving.registry_lock import hold
from flows.serving.request import Outcome


def roll_back(client, name: str, state_folder: Path, target: int | None = None) -> Outcome:
    """Make the version that the champion replaced champion again, or `target`, one that was champion before.

    The version that is left is marked, and the gate that promoted it is spent: it promotes nothing again.
    Raises ValueError when there is nothing to return to.
    """
    if registry.find_model(client, name) is None:
        raise ValueError(f"no model {name!r} is registered in MLflow, so there is nothing to roll back")
    seen = registry.read(client, name).champion
    with hold(client, name, state_folder) as lock:
        state = registry.read(client, name)
        interrupted = _interrupted(state)
        if interrupted and state.champion == interrupted[1]:
            return _finish(client, state, *interrupted)
        if not interrupted:
            if registry.JOURNAL in state.tags:
                client.delete_registered_model_tag(name, registry.JOURNAL)
            state = registry.settle(client, name)
            if registry.name_of(state.champion) != registry.name_of(seen):
                was, is_now = registry.name_of(seen), registry.name_of(state.champion)
                raise ValueError(
                    f"champion was {was} and is {is_now} by now: somebody else was quicker; "
                    "look again (plumb status) before you roll back"
                )
            interrupted = _choose(state, target)
            client.set_registered_model_tag(name, registry.JOURNAL, " to ".join(map(registry.name_of, interrupted)))
        source, destination = interrupted
        spent = list(dict.fromkeys([*source.spent_gates, source.tags.get(registry.GATE, "")]))
        marks = {registry.ROLLED_BACK: registry.now(), registry.SPENT: ",".join(gate for gate in spent if gate)}
        registry.write_tags(client, source, marks)
        lock.check()
        registry.point(client, state, registry.CHAMPION, destination)
        return _finish(client, state, source, destination)


def finish_moved(client, state: State) -> State:
    """Clear up after a rollback that was killed once the alias had moved; returns the registry then.

    For who holds the registry: nothing but the journal is left of it, and that keeps promotions out.
    """
    interrupted = _interrupted(state)
    if interrupted is None or state.champion != interrupted[1]:
        return state
    _finish(client, state, *interrupted)
    return registry.read(client, state.name)


def _interrupted(state: State) -> tuple[Version, Version] | None:
    """The two versions of a rollback that was killed half-way, unless somebody moved on since."""
    names = state.tags.get(registry.JOURNAL, "").split(" to ")
    versions = [state.versions.get(registry.number_of(name) or 0) for name in names if name]
    if len(versions) != 2 or None in versions or state.champion not in versions:
        return None
    return versions[0], versions[1]


def _choose(state: State, target: int | None) -> tuple[Version, Version]:
    champion = state.champion
    if champion is None:
        raise ValueError(f"{state.name} has no champion, so there is nothing to roll back")
    number = target or champion.replaces
    if number is None:
        raise ValueError(f"v{champion.number} is the first champion of {state.name}: there is no version to return to")
    destination = state.versions.get(number)
    if destination is None:
        raise ValueError(f"v{number} of {state.name} does not exist (any more); name another: plumb rollback --to vN")
    if destination.number == champion.number:
        raise ValueError(f"v{number} is champion already")
    if registry.PROMOTED not in destination.tags:
        raise ValueError(f"v{number} of {state.name} was never champion; only a gate can promote it: plumb promote")
    if registry.ROLLED_BACK in destination.tags and target is None:
        when = destination.tags[registry.ROLLED_BACK]
        raise ValueError(
            f"v{champion.number} replaced v{number}, which was rolled back itself on {when}; say which one you want: "
            "plumb rollback --to vN"
        )
    return champion, destination


def _finish(client, state: State, source: Version, destination: Version) -> Outcome:
    client.delete_registered_model_tag(state.name, registry.JOURNAL)
    registry.settle(client, state.name)
    gate = source.tags.get(registry.GATE, "")[:12] or "unknown"
    text = (
        f"{state.name}: champion is v{destination.number} again, v{source.number} is marked as rolled back; "
        f"gate {gate} does not promote it again, a new gate can"
    )
    return Outcome("rolled back", destination.number, text)
