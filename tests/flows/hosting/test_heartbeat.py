"""A run whose process died is marked as crashed, by the automation that set-up makes; on a real Prefect server."""

import subprocess
import sys
import time

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import StateType
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Paused

from flows.hosting import crash_alerts, heartbeat
from tests.support import toy
from tests.support.service_processes import prefect_server

pytestmark = pytest.mark.services
BEAT = heartbeat.SHORTEST_SECONDS
SLEEPER = """
import os, time
from prefect import flow

@flow(name="sleeper", flow_run_name=os.environ["SLEEPER"])
def sleeper():
    time.sleep(600)

sleeper()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return toy.make_toy(tmp_path_factory.mktemp("heartbeat") / "toy")


@pytest.fixture(scope="module")
def api(folder):
    with prefect_server(folder) as url:
        yield url


@pytest.fixture()
def client(api):
    with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True) as found:
        yield found


def test_set_up_is_done_once_and_follows_the_frequency(folder, api, client):
    def set_up(*arguments):
        answer = toy.plumb(folder, "setup-server", *arguments, PREFECT_API_URL=api)
        assert answer.returncode == 0, answer.stderr
        (found,) = client.read_automations_by_name(heartbeat.NAME)
        return answer.stdout.partition("crashed' ")[2].partition(":")[0], found.trigger.within.total_seconds()

    assert set_up() == ("made", 540.0)
    assert set_up() == ("kept", 540.0)
    client.create_automation(heartbeat.automation(60))  # as two set-ups at once would
    assert set_up("--heartbeat", "30") == ("changed", 90.0)
    assert set_up("--heartbeat", "30") == ("kept", 90.0)
    assert client.read_automations_by_name(crash_alerts.NAME) == [], "nobody said where alerts go"


def test_set_up_tells_of_dead_runs_where_alerts_go(folder, api, client):
    """A token in the address is kept as a secret: neither the answer nor the server's own pages tell it."""
    for url in ("http://127.0.0.1:9/hook/token-first", "http://127.0.0.1:9/hook/token-second"):
        answer = toy.plumb(folder, "setup-server", PREFECT_API_URL=api, PLUMB_ALERT_URL=url)
        assert answer.returncode == 0 and "posts to where alerts go" in answer.stdout, answer.stderr
        for name in (crash_alerts.NAME, crash_alerts.UNANSWERED):
            (found,) = client.read_automations_by_name(name)
            (action,) = found.actions
            block = client.read_block_document(action.block_document_id, include_secrets=False)
            assert action.type == "call-webhook" and "token" not in answer.stdout + str(block.data)
            shown = client.read_block_document(action.block_document_id, include_secrets=True)
            assert shown.data["url"] == url


class Sleeper:
    """A process with a flow run of this name, which is Running when this returns."""

    def __init__(self, name, folder, api, client):
        environment = toy.toy_environment(
            folder, PREFECT_API_URL=api, PREFECT_HOME=str(folder / "client"), SLEEPER=name,
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY=str(BEAT),
        )  # fmt: skip
        self._client, self._name = client, name
        script = folder / "sleeper.py"
        script.write_text(SLEEPER)
        self.process = subprocess.Popen([sys.executable, str(script)], cwd=folder, env=environment)
        toy.wait_for(lambda: self.state and self.state.type == StateType.RUNNING, 60)

    @property
    def run(self):
        found = self._client.read_flow_runs(flow_run_filter=FlowRunFilter(name={"any_": [self._name]}))
        return found[0] if found else None

    @property
    def state(self):
        return self.run.state if self.run else None

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.mark.slow
def test_a_killed_run_is_marked_as_crashed_and_others_are_left_alone(folder, api, client):
    """Three runs: one is killed, one lives on, one was suspended before its process went."""
    heartbeat.ensure(client, BEAT)
    killed, alive, suspended = sleepers = [Sleeper(name, folder, api, client) for name in ("a", "b", "c")]
    try:
        time.sleep(3)  # their first heartbeats are on the way
        client.set_flow_run_state(suspended.run.id, Paused(name="Suspended"))
        suspended.kill()
        killed.kill()
        toy.wait_for(lambda: killed.state.type == StateType.CRASHED, 3 * BEAT + 30)
        assert killed.state.message == "no heartbeat for 90 s: its process or its machine died"
        time.sleep(5)  # whatever was to become of the suspended one has become of it
        assert suspended.state.name == "Suspended" and alive.state.type == StateType.RUNNING
    finally:
        for sleeper in sleepers:
            sleeper.kill()
