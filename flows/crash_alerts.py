"""An alert for runs that died: they can send none themselves, so an automation on the Prefect server does.

A run counts as dead once somebody says Crashed: the worker, when its process ended, or the heartbeat automation.
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

NAME, BLOCK = "Alert when a run of Plumbline dies", "plumb-crash-alert"
FLOWS = ["retrain", "promote", "stages"]


def automation(block_id) -> AutomationCore:
    """Post what flows/alerts.py posts, with the words that the server knows."""
    body = {
        "text": "{{ flow.name }} run {{ flow_run.name }} crashed: {{ flow_run.state.message }}; run it again",
        "verdict": "crashed", "run": "{{ flow_run|ui_url }}", "flow": "{{ flow.name }}", "model": "",
    }  # fmt: skip
    related = ResourceSpecification({"prefect.resource.role": "flow", "prefect.resource.name": FLOWS})
    trigger = EventTrigger(
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}), match_related=related,
        expect={"prefect.flow-run.Crashed"}, posture=Posture.Reactive, threshold=1, within=timedelta(0),
    )  # fmt: skip
    action = CallWebhook(block_document_id=block_id, payload=json.dumps(body))
    description = "A run that died can post nothing itself; this tells it where failures and rejections are told."
    return AutomationCore(name=NAME, description=description, trigger=trigger, actions=[action])


def ensure(client: SyncPrefectClient, url: str) -> None:
    """Make the automation that posts to `url`, or bring it up to date; repeated, it changes nothing."""
    block_id = Webhook(method="POST", url=SecretStr(url)).save(BLOCK, overwrite=True)
    wanted = automation(block_id)
    found = client.read_automations_by_name(NAME)
    for surplus in found[1:]:  # two set-ups at once
        client.delete_automation(surplus.id)
    if found:
        client.update_automation(found[0].id, wanted)
    else:
        client.create_automation(wanted)
