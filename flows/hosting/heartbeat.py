"""Dead flow runs are marked Crashed, by an automation on the Prefect server that is made once.

A flow run says every PREFECT_FLOWS_HEARTBEAT_FREQUENCY seconds that it lives. In the open-source server nobody listens:
a run whose machine died would be Running for ever, and keep the next one of its deployment from starting.
A run that was only cut off from the server for so long, and lives on, still ends in its own state: Prefect lets a
crashed run complete.

Import this module after `flows.environment.prepare`: Prefect reads its settings when it is imported.
"""

from __future__ import annotations

from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.settings import get_current_settings

NAME = "Mark dead flow runs as crashed"
HEARTBEAT, ANY_NEWS = "prefect.flow-run.heartbeat", "prefect.flow-run.*"
MISSED = 3  # heartbeats that may fail to come before a run is taken for dead
SHORTEST_SECONDS = 30  # Prefect sends no more often


def frequency() -> int:
    """Seconds between two heartbeats of a run that is started with this process's settings.

    Raises ValueError where they are turned off.
    """
    seconds = get_current_settings().flows.heartbeat_frequency
    if seconds is None:
        raise ValueError("PREFECT_FLOWS_HEARTBEAT_FREQUENCY turns heartbeats off, so no dead run can be told; unset it")
    return max(seconds, SHORTEST_SECONDS)


def automation(seconds: int) -> AutomationCore:
    """The automation for runs that send a heartbeat every so many seconds.

    After a heartbeat, any news of the run will do: another one, or a state, whatever its name (a promotion that ends as
    "Promoted", one that is "Suspended" until somebody approves it).
    """
    trigger = EventTrigger(
        match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}), for_each={"prefect.resource.id"},
        after={HEARTBEAT}, expect={ANY_NEWS}, posture=Posture.Proactive, threshold=1,
        within=timedelta(seconds=MISSED * seconds),
    )  # fmt: skip
    message = f"no heartbeat for {MISSED * seconds} s: its process or its machine died"
    return AutomationCore(
        name=NAME,
        description="A run that stopped sending heartbeats is dead; its stages are resumed by the next run.",
        trigger=trigger,
        actions=[ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", message=message)],
    )


def ensure(client: SyncPrefectClient, seconds: int | None = None) -> str:
    """Make the automation, or bring it up to date; repeated, it changes nothing. Returns made, changed or kept.

    seconds: between two heartbeats of the runs on this server; of the slowest, where they differ.
    """
    return put(client, automation(seconds or frequency()))


def put(client: SyncPrefectClient, wanted: AutomationCore) -> str:
    """Make an automation, or bring the one of its name up to date; returns made, changed or kept."""
    known = client.read_automations_by_name(wanted.name)
    for surplus in known[1:]:  # two set-ups at once
        client.delete_automation(surplus.id)
    if not known:
        client.create_automation(wanted)
        return "made"
    if _content(known[0]) == _content(wanted):
        return "kept"
    client.update_automation(known[0].id, wanted)
    return "changed"


def _content(one: AutomationCore) -> dict:
    """What the two sides write differently (ids, order of sets) left out."""
    content = one.model_dump(mode="json", include={"name", "description", "enabled", "trigger", "actions"})
    trigger = content["trigger"]
    return content | {"trigger": {**trigger, **{key: sorted(trigger[key]) for key in ("after", "expect", "for_each")}}}
