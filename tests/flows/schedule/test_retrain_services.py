"""Retraining as a team lives it, on real servers: Prefect on Postgres with a worker, MLflow, S3, a webhook.

One test, because it is one story: data arrives, the schedule fires, a model is trained, approved, rolled back.
"""

import contextlib
import json
import sys
import time
from datetime import timedelta

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.costs.ledger import Ledger
from flows.history import registry
from flows.hosting import crash_alerts, heartbeat
from tests.support import retrain_services, toy, ui_pages
from tests.support.intake_project import INBOX, demonstration, lines
from tests.support.retrain_services import PATIENCE, wait_for_run
from tests.support.retrain_world import World
from tests.support.s3_servers import moto  # noqa: F401

pytestmark = [pytest.mark.services, pytest.mark.slow]  # minutes
NOOP_SECONDS = 15.0


def md5_of(pointer):
    return yaml.safe_load(pointer)["outs"][0]["md5"]


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    with retrain_services.team(tmp_path_factory.mktemp("team")) as servers:
        yield servers


@pytest.fixture()
def world(team, moto, tmp_path):
    with temporary_settings({PREFECT_API_URL: team.api}), get_client(sync_client=True) as client:
        made = World(team, moto, tmp_path, client)
        with contextlib.ExitStack() as stack:
            for pool, machine in (("cpu", made.project), ("gpu", made.gpu_machine)):
                stack.enter_context(retrain_services.worker(pool, tmp_path, machine.environment()))
            yield made


def test_the_story(world):
    first_run_promotes_v1(world)
    a_second_clone_trains_nothing(world)
    scheduled_run_trains_v2_and_asks(world)
    the_page_approves_v2(world)
    the_pages_show_it(world)
    nothing_new_is_a_noop(world)
    a_hacked_candidate_is_rejected(world)
    rollback_returns_to_v1_and_stays(world)
    two_at_once_decide_once(world)
    stages_go_to_the_machines_of_their_pools(world)
    a_killed_run_is_told_and_repeated(world)
    postgres_restarts_in_the_middle(world)
    a_failure_is_told(world)


def first_run_promotes_v1(world):
    """Started by hand, approved beforehand: the first model of the project."""
    run = world.retrain("Promoted", approval={"approve": True, "comment": "the first one", "by": "ada"})
    assert run.state.message == "toy: v1 is champion (the first champion)"
    state = world.registry
    assert state.aliases == {"champion": 1}
    assert state.versions[1].tags[registry.COMPARED] == "none" and state.versions[1].tags[registry.REPLACES] == "none"
    assert json.loads(state.versions[1].tags[registry.APPROVAL])["by"] == "ada"
    assert "v1 is champion" in world.artifact(run.id, "retrain")
    found = world.lineage()
    assert (found["model"]["version"], found["evidence"]["verdict"]) == (1, "promote")
    assert found["data"]["data/items"] == md5_of(world.project.git("show", "main:data/items.dvc"))
    (decision,) = world.decisions()
    assert decision["outcome"] == "promoted" and decision["champion"] == "none" and "files pushed" in decision["pushed"]
    assert world.project.stages_started() == ["prepare", "train", *world.project.stages_started()[2:]]
    assert sorted(world.project.stages_started()) == ["gate", "package", "prepare", "report", "train"]
    assert world.team.box.letters == []


def a_second_clone_trains_nothing(world):
    """With an empty cache, a state of its own and the same S3 remote; the code and data are those of v1."""
    other = world.project.second_clone("second")
    answer = other.run([sys.executable, "-m", "flows.cli", "align"])
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert other.stages_started() == []
    weights = "artifacts/package/model.safetensors"
    (v1,) = (world.project.folder / ".dvc" / "plumb-state" / "workspaces").glob(f"commit-*/{weights}")
    assert (other.folder / weights).read_bytes() == v1.read_bytes()


def scheduled_run_trains_v2_and_asks(world):
    """Objects arrive, some with bad rows; nobody starts anything."""
    world.moto.put(world.bucket, INBOX)
    deployment = world.deployment("retrain/retrain")
    (nightly,) = deployment.schedules
    assert nightly.schedule.cron == "0 3 * * *" and deployment.concurrency_options.collision_strategy == "ENQUEUE"
    often = IntervalSchedule(interval=timedelta(seconds=20))
    (schedule,) = world.client.create_deployment_schedules(deployment.id, [(often, True)])
    toy.wait_for(world.fired, PATIENCE, lambda: [(run.state, run.auto_scheduled) for run in world.runs("retrain")])
    world.client.delete_deployment_schedule(deployment.id, schedule.id)
    run = world.fired()[0]
    run = wait_for_run(world.client, run.id, "Asked", "Failed", "Crashed")
    assert run.state.name == "Asked", run.state.message
    assert world.registry.aliases[registry.CHAMPION] == 1, "until a person agrees"
    decision = world.decisions()[-1]
    assert decision["outcome"] == "asked" and decision["champion"] == world.registry.champion.tags[registry.PACKAGE]
    (letter,) = world.team.box.of("asked")
    assert letter["verdict"] == "asked" and letter["run"].endswith(f"/runs/flow-run/{decision['asked']}")
    line = world.project.files()
    assert any(name.endswith("quarantine.jsonl") for name in line), "the bad rows, with reasons"


def the_page_approves_v2(world):
    """What the form in the Prefect page sends."""
    run_id = world.decisions()[-1]["asked"]
    wait_for_run(world.client, run_id, "Suspended")
    assert ui_pages.approval(world.team.api, run_id) == []
    answer = {"approve": True, "comment": "read the report", "by": "grace"}
    result = world.client.resume_flow_run(run_id, run_input=answer)
    assert result.status.value == "ACCEPT", result
    run = wait_for_run(world.client, run_id, "Promoted", "Refused", "Failed", "Crashed")
    assert run.state.message == "toy: v2 is champion (it replaces v1)"
    state = world.registry
    assert state.aliases == {"champion": 2} and state.versions[2].tags[registry.REPLACES] == "v1"
    assert json.loads(state.versions[2].tags[registry.APPROVAL])["comment"] == "read the report"
    assert "v2 is champion" in world.artifact(run.id, "promotion")
    the_lineage_leads_both_ways(world)


def the_lineage_leads_both_ways(world):
    """From the champion to its data, code and answer; from a row that came in to the version that it trained."""
    found, decision = world.lineage("models:/toy@champion"), world.decisions()[-1]
    assert found["model"]["version"] == 2 and found["model"]["replaces"] == "v1"
    assert found["run"]["id"] == decision["align"] and found["code"]["commit"] == decision["commit"]
    assert found["data"]["data/items"] == md5_of(world.project.files()["data/items.dvc"])
    assert found["data"]["data/champion"] == decision["champion"] == world.registry.versions[1].tags[registry.PACKAGE]
    assert found["evidence"]["approval"]["by"] == "grace" and found["evidence"]["compared"] == "v1"
    rows = [json.loads(line) for line in world.project.pulled()["demonstrations.jsonl"].splitlines()]
    (new,) = [row["id"] for row in rows if row.get("origin", "").startswith("in/demonstrations/b.jsonl")]
    assert [one["version"] for one in world.lineage("--row", new)["versions"]] == [2]
    assert [one["version"] for one in world.lineage("--row", rows[0]["id"])["versions"]] == [1, 2]


def the_pages_show_it(world):
    """What people look at, in a browser."""
    run, decision = world.fired()[0], world.decisions()[-1]
    artifact = world.artifact_of(run.id, "retrain").id
    problems = ui_pages.prefect(world.team.api, run.id, artifact, [heartbeat.NAME, crash_alerts.NAME])
    experiment = world.mlflow.get_experiment_by_name("plumbline").experiment_id
    url = world.team.environment["MLFLOW_TRACKING_URI"]
    assert problems + ui_pages.mlflow(url, experiment, decision["align"], 2) == []


def nothing_new_is_a_noop(world):
    count = len(world.project.stages_started())
    run = world.retrain("NothingNew")
    assert "which was asked" in run.state.message and "verdict promote" in run.state.message
    assert world.started_since(count) == [] and world.registry.aliases == {"champion": 2}
    assert world.decisions()[-1]["outcome"] == "nothing new"
    assert "nothing new" in world.artifact(run.id, "retrain")
    seconds = run.total_run_time.total_seconds()
    begun = time.monotonic()
    by_hand = world.project.retrain()
    whole = time.monotonic() - begun
    print(f"no-op retrain: {seconds:.1f} s on the worker, {whole:.1f} s as a command")
    assert by_hand.returncode == 0 and by_hand.stdout.startswith("NothingNew: "), by_hand.stderr
    assert by_hand.stdout.count("0.0 s in stages") == 1
    assert seconds < NOOP_SECONDS and whole < NOOP_SECONDS


def a_hacked_candidate_is_rejected(world):
    """Somebody tries it without a KL penalty, for one run."""
    run = world.retrain("Rejected", changes={"ppo.kl_coefficient": 0.0}, take_in=False)
    assert run.state.message == "hacks: praise in 61% of the answers, veto at 40%: failed"
    assert world.registry.aliases == {"champion": 2}
    (letter,) = world.team.box.of("rejected")
    assert letter["run"].endswith(str(run.id)) and "praise" in letter["text"]
    assert world.decisions()[-1]["verdict"] == "reject"


def rollback_returns_to_v1_and_stays(world):
    """The evidence of v2 is spent: the next scheduled run does not bring it back."""
    answer = world.project.run([sys.executable, "-m", "flows.cli", "rollback"])
    assert answer.returncode == 0 and "champion is v1 again" in answer.stdout, answer.stderr
    assert world.registry.aliases["champion"] == 1
    assert world.lineage()["model"]["version"] == 1 and world.lineage("models:/toy/2")["model"]["rolled_back"]
    run = world.retrain("NothingNew")
    assert world.registry.aliases["champion"] == 1, run.state.message


def two_at_once_decide_once(world):
    """New data; one by the deployment, one on the command line, at the same moment."""
    world.moto.put(world.bucket, {"in/demonstrations/c.jsonl": lines(*map(demonstration, range(10, 15)))})
    count, decided = len(world.project.stages_started()), len(world.decisions())
    run_id = world.start(approval={"approve": True, "by": "ada"})
    other = world.start(approval={"approve": True, "by": "ada"})
    by_hand = world.project.retrain("--approve", "me too")
    assert by_hand.returncode == 0, by_hand.stderr
    states = [wait_for_run(world.client, one, "Promoted", "NothingNew", "Failed", "Crashed") for one in (run_id, other)]
    words = sorted([by_hand.stdout.split(":")[0].split("\n")[-1], *(run.state.name for run in states)])
    assert [decision["outcome"] for decision in world.decisions()[decided:]].count("promoted") == 1, words
    assert world.started_since(count).count("train") == 1
    state = world.registry
    assert state.aliases["champion"] == 3 and state.versions[3].replaces == 1 and len(state.versions) == 3
    rows = world.project.pulled()["demonstrations.jsonl"]
    assert rows.count(b"\n") == 9, "one at first, three, then five; none twice"


def stages_go_to_the_machines_of_their_pools(world):
    """The worker of the pool gpu stands on a machine with an empty cache and a clone of its own."""
    here, there = len(world.project.stages_started()), len(world.gpu_machine.stages_started())
    changes = {"ppo.kl_coefficient": 0.1, "flow.pools": {"cpu": "stages/cpu", "gpu": "stages/gpu"}}
    run = world.retrain("Promoted", changes=changes, approval={"approve": True, "by": "ada"})
    assert run.state.name == "Promoted", run.state.message
    assert sorted(world.gpu_machine.stages_started()[there:]) == ["gate", "train"]
    assert sorted(world.started_since(here)) == ["package", "report"], "data is prepared already"
    assert [run.state.name for run in world.runs("stages")] == ["Completed"] * 3, "cpu, gpu, cpu"
    book = Ledger(world.project.folder / ".dvc" / "plumb-state")
    (there,) = [entry.seconds for entry in book.since(0) if entry.stage == "stages/gpu"]
    assert there > 0, "what another machine spent counts for the run's budget"
    assert world.registry.champion.tags[registry.COMPARED].startswith("v")


def a_killed_run_is_told_and_repeated(world):
    """`kill -9` of the flow while it trains: the server says so, nobody is left, the next run decides."""
    count, decided, before = len(world.project.stages_started()), len(world.decisions()), world.registry
    run_id = world.start(changes={"ppo.kl_coefficient": 0.2}, approval={"approve": True, "by": "ada"})
    toy.wait_for(lambda: "train" in world.started_since(count), PATIENCE)
    retrain_services.kill_flow_run(run_id)
    wait_for_run(world.client, run_id, "Crashed")
    toy.wait_for(lambda: world.team.box.of("crashed"), 60)
    (letter,) = world.team.box.of("crashed")
    assert letter["flow"] == "retrain" and letter["run"].endswith(str(run_id))
    assert len(world.decisions()) == decided and world.registry == before
    run = world.retrain("Promoted", changes={"ppo.kl_coefficient": 0.2}, approval={"approve": True, "by": "ada"})
    assert world.started_since(count).count("prepare") == 0, run.state.message
    (decision,) = world.decisions()[decided:]
    assert decision["outcome"] == "promoted"
    after = world.registry
    assert len(after.versions) == len(before.versions) + 1
    assert after.champion.replaces == before.champion.number


def postgres_restarts_in_the_middle(world):
    """As after a crash, while a model is trained: whatever became of that run, repeating it makes one champion."""
    count, before = len(world.project.stages_started()), world.registry
    wish = {"changes": {"ppo.kl_coefficient": 0.3}, "approval": {"approve": True, "by": "ada"}}
    run_id = world.start(**wish)
    toy.wait_for(lambda: "train" in world.started_since(count), PATIENCE)
    world.team.database.restart()
    run = wait_for_run(world.client, run_id, "Promoted", "Failed", "Crashed")
    print(f"Postgres restarted: {run.state.name}: {run.state.message}")
    if run.state.name != "Promoted":
        assert world.retrain("Promoted", **wish).state.name == "Promoted"
    assert len(world.registry.versions) == len(before.versions) + 1
    assert world.registry.champion.replaces == before.champion.number
    assert world.started_since(count).count("train") == 1


def a_failure_is_told(world):
    run = world.retrain("Failed", changes={"ppo.no_such": 1})
    assert "params.yaml has no ppo.no_such" in run.state.message
    (letter,) = world.team.box.of("failed")
    assert letter["run"].endswith(str(run.id)) and "ppo.no_such" in letter["text"]
