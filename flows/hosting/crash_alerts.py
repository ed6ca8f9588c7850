"""Alerts of runs that can send none themselves, sent by automations on the Prefect server.

A run counts as dead once somebody says Crashed: the worker, when its process ended, or the heartbeat automation. A
promotion that waits for an answer has no process; when nobody gives one in time, the server says Failed.
Import this module after `flows.environment.prepare`: Prefect reads its settings when it is imported.
"""

from __future__ import annotations

import json
from datetime import timedelta

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import CallWebhook
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from pydantic import SecretStr

from flows.hosting import heartbeat

NAME, BLOCK = "Alert when a run of Plumbline dies", "plumb-crash-alert"
FLOWS = ["retrain", "promote", "stages"]
UNANSWERED = "Alert when a promotion of Plumbline fails"
DESCRIPTION = "A run that died, or waits without a process, can post nothing itself; this tells it where alerts go."


def automations(block_id) -> list[AutomationCore]:
    """Post what flows/hosting/alerts.py posts, with the words that the server knows.

    A promotion within a retraining has no deployment of its own, and its failure is the retraining's, which tells it.
    """
    died = _automation(NAME, "Crashed", {"prefect.resource.role": "flow", "prefect.resource.name": FLOWS}, block_id)
    deployed = {"prefect.resource.role": "deployment", "prefect.resource.name": "promote"}
    return [died, _automation(UNANSWERED, "Failed", deployed, block_id)]


def _automation(name: str, state: str, related: dict, block_id) -> AutomationCore:
    """Post when a run comes to this state."""
    word = state.lower()
    body = {
        "text": "{{ flow.name }} run {{ flow_run.name }} %s: {{ flow_run.state.message }}; run it again" % word,
        "verdict": word, "run": "{{ flow_run|ui_url }}", "flow": "{{ flow.name }}", "model": "",
    }  # fmt: skip
    trigger = EventTrigger(
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        match_related=ResourceSpecification(related), expect={f"prefect.flow-run.{state}"}, posture=Posture.Reactive,
        threshold=1, within=timedelta(0),
    )  # fmt: skip
    action = CallWebhook(block_document_id=block_id, payload=json.dumps(body))
    return AutomationCore(name=name, description=DESCRIPTION, trigger=trigger, actions=[action])


def ensure(client: SyncPrefectClient, url: str) -> None:
    """Make the automations that post to `url`, or bring them up to date; repeated, it changes nothing."""
    block_id = Webhook(method="POST", url=SecretStr(url)).save(BLOCK, overwrite=True)
    for wanted in automations(block_id):
        heartbeat.put(client, wanted)
