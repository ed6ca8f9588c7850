"""A row forgotten on request, on real git, DVC and MLflow: out of the data, then out of everything that held it."""

import json
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.common.rows import read_jsonl
from tests.support import keep_toy
from tests.support.keep_toy import holding
from tests.support.service_processes import prefect_server

pytestmark = pytest.mark.services  # real DVC and MLflow: `make test-services`
SAID = ("teddy bear number 1", "Bear number 1 is brown")
BOTH = ("--remote", "first", "--remote", "store")
DRIVER = """
import os, signal, sys
from pathlib import Path
from flows import environment
from flows.forgetting.forget import forget
from flows.history.row_lineage import Traced

def step(name):
    print(name, flush=True)
    if name == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)

root = Path.cwd()
environment.prepare(root)
forget(root, Traced("d-1"), step=step)
"""
STEPS = [
    "locked", "newest data chosen", "data pulled", "took it out of demonstrations.jsonl", "tracked", "stored", "buried",
    "committed", "published",
]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """v1 is champion, and its data is in the remote; a judge across a network was asked about a prompt."""
    project = keep_toy.make_project(tmp_path_factory.mktemp("forget"))
    project.register(project.align("one"), "champion")
    project.do("dvc", "push", "-q", "-r", "first")
    project.state.mkdir(exist_ok=True)
    with sqlite3.connect(project.state / "verdicts.sqlite") as store:
        store.execute("CREATE TABLE answers (key TEXT PRIMARY KEY, prompt_id TEXT, raw TEXT)")
        store.executemany("INSERT INTO answers VALUES (?, ?, ?)", [("a", "c-1", "A is nicer"), ("b", "c-2", "B is")])
    place = project.state / "runs" / "compare-1"
    place.mkdir(parents=True)
    (place / "calls.jsonl").write_text('{"prompt_id": "c-1", "messages": []}\n')
    return project


@pytest.fixture()
def project(made, tmp_path):
    """A copy of it. MLflow knows its files by absolute paths, which are made those of the copy."""
    place = tmp_path / "copy"
    subprocess.run(["cp", "-a", f"{made.folder.parent}/.", str(place)], check=True)
    with sqlite3.connect(place / "project" / "mlflow.db") as store:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            store.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(made.folder), str(place / "project"))
            )
    return keep_toy.KeepProject(place / "project", place / "origin.git", made.server)


def demonstrations(folder: Path) -> list[str]:
    return [row["id"] for row in read_jsonl(folder / "data" / "items" / "demonstrations.jsonl")]


def stones(project) -> list[dict]:
    text = project.files()["data/items.intake/objects.jsonl"]
    return [line for line in map(json.loads, text.splitlines()) if line["type"] == "tombstone"]


def test_a_row_is_forgotten_purged_and_not_seen_by_training(project, tmp_path):
    assert len(holding(project.folder.parent, *SAID)) >= 5, "data, cache, artifacts, remote, MLflow"
    text = project.plumb("forget", "--row", "d-1")
    assert "Forgotten: d-1, from demonstrations.jsonl; pushed to run/" in text
    assert "Tainted: models:/plumbline/1 @champion (trained by it)" in text
    assert demonstrations(project.folder) == ["d-2"], "the working tree has the new data"
    assert b"d-1" not in project.pulled()["demonstrations.jsonl"], "so has a clone that pulls it"
    (stone,) = stones(project)
    assert stone["row"] == "d-1" and len(stone["digest"]) == 64 and stone["tainted"] == ["models:/plumbline/1"]
    assert not any(said in json.dumps(stone) for said in SAID)
    again = project.plumb("forget", "--row", "d-1")
    assert "d-1 was forgotten before" in again and len(stones(project)) == 1
    dry = project.plumb("gc", *BOTH)
    for words in ("Purged on request (d-1):", "objects in the remote first", "files and traces in MLflow", "dry run"):
        assert words in dry
    assert len(holding(project.folder.parent, *SAID)) >= 5
    project.plumb("gc", "--yes", *BOTH)
    assert holding(project.folder.parent, *SAID) == []
    assert "Nothing to free." in project.plumb("gc", *BOTH)
    trained = tmp_path / "trained.txt"
    answer = project.run([sys.executable, "-m", "dvc", "repro", "-s", "-f", "gate"], TOY_TRAINED=str(trained))
    assert answer.returncode == 0 and not trained.exists(), "the champion's gate can be run again"
    project.do("dvc", "repro", "-q")
    made = [row["id"] for row in read_jsonl(project.folder / "artifacts" / "data" / "demonstrations.jsonl")]
    assert made == ["d-2"] and holding(project.folder.parent, *SAID) == []
    found = json.loads(project.plumb("lineage", "--row", "d-1", "--json"))
    assert found["forgotten"] == {"tainted": ["models:/plumbline/1"]} and found["data"] == []
    assert found["unreadable"], "what was purged can no longer be read"


def test_runs_that_were_deleted_in_mlflow_are_remembered_and_purged(project):
    run = project.align("two")
    project.register(run, None)
    project.client.delete_run(run)
    assert "Tainted: models:/plumbline/2 (trained by it)" in project.plumb("forget", "--row", "d-1")
    project.plumb("gc", "--yes", *BOTH)
    assert holding(project.folder.parent, *SAID) == []


def test_a_prompt_goes_with_answers_quotations_and_logs(project):
    kept = project.state / "checkpoints" / "ppo-1" / "samples" / "step-2.json"
    kept.parent.mkdir(parents=True)
    kept.write_text(json.dumps([{"prompt": "What is the compare question number 1, please?", "response": "A"}]))
    project.plumb("forget", "--row", "c-1")
    project.plumb("forget", "--row", "s-1")
    said = ("What is the compare question number 1", "What is the select question number 1")
    assert "metrics/evaluate.json" in "\n".join(holding(project.folder, said[1]))
    project.plumb("gc", "--yes", *BOTH)
    assert holding(project.folder.parent, *said, '"c-1#0"', '"s-1", "model"', "A is nicer") == []
    with sqlite3.connect(project.state / "verdicts.sqlite") as store:
        assert store.execute("SELECT key FROM answers").fetchall() == [("b",)]
    assert not (project.state / "runs" / "compare-1" / "calls.jsonl").exists()
    weights = project.folder / "artifacts" / "dpo" / "model.safetensors"
    assert weights.exists(), "models stay, and are known to be tainted"


def test_clones_of_runs_that_are_kept_lose_it_with_the_data_that_they_have_checked_out(project):
    """A retraining's clone has pulled the data; its ledger of intake, which names the row, is no copy of it."""
    clone = project.state / "workspaces" / "commit-1"
    clone.parent.mkdir()
    project.do("git", "clone", "-q", ".", str(clone))
    (clone / ".dvc" / "tmp").mkdir()
    (clone / "dvc.lock").write_text((project.folder / "dvc.lock").read_text())
    for name in ("items", "base"):
        subprocess.run(["cp", "-a", str(project.folder / "data" / name), str(clone / "data")], check=True)
    ledger = clone / "data" / "items.intake" / "objects.jsonl"
    ledger.parent.mkdir(exist_ok=True)
    ledger.write_text('{"type": "tombstone", "row": "d-1", "digest": null}\n')
    project.plumb("forget", "--row", "d-1")
    project.plumb("gc", "--yes", *BOTH)
    assert holding(project.folder.parent, *SAID) == []
    assert sorted(path.name for path in (clone / "data" / "items").iterdir()) == ["preferences.jsonl", "prompts.jsonl"]
    assert ledger.exists() and (clone / "data" / "base" / "model.safetensors").exists()


def test_what_prefect_shows_of_it_goes_too(project, tmp_path):
    """The artifact with prompts and answers, as a cell of a table; others stay. A Prefect that is down stops it all."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import ArtifactCreate
    from prefect.settings import PREFECT_API_URL, temporary_settings

    said = "What is the select question number 1, please?"
    project.plumb("forget", "--row", "s-1")
    before = project.cached()
    down = project.plumb("gc", "--yes", code=1, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert "no Prefect server answers at PREFECT_API_URL" in down and project.cached() == before
    with prefect_server(tmp_path) as api:
        with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True) as client:
            for text in (f"**{said}**", "**Another one?**", [{"stage": "s-1"}]):
                client.create_artifact(ArtifactCreate(key="result", type="markdown", data=text))
            assert "2 artifacts in Prefect" in project.plumb("gc", PREFECT_API_URL=api)
            assert len(client.read_artifacts()) == 3
            project.plumb("gc", "--yes", PREFECT_API_URL=api)
            assert [one.data for one in client.read_artifacts()] == ["**Another one?**"]
        assert "Nothing to free." in project.plumb("gc", PREFECT_API_URL=api)


def test_killed_at_every_step_and_repeated_it_is_forgotten_once(project, made, tmp_path):
    for step in STEPS:
        place = tmp_path / step.replace(" ", "-")
        subprocess.run(["cp", "-a", f"{made.folder.parent}/.", str(place)], check=True)
        other = keep_toy.KeepProject(place / "project", place / "origin.git", made.server)
        answer = other.run([sys.executable, "-c", DRIVER, step])
        assert answer.returncode == -signal.SIGKILL, answer.stderr
        assert other.run([sys.executable, "-c", DRIVER, "none"]).returncode == 0, step
        assert demonstrations(other.folder) == ["d-2"] and len(stones(other)) == 1, step
        assert len(other.line()) == 1 and b"d-1" not in other.pulled()["demonstrations.jsonl"], step


def test_data_that_was_changed_by_hand_is_left(project):
    path = project.folder / "data" / "items" / "demonstrations.jsonl"
    mine = path.read_text() + json.dumps({**keep_toy.DEMONSTRATIONS[0], "id": "mine"}) + "\n"
    path.unlink()
    path.write_text(mine)
    text = project.plumb("forget", "--row", "d-2")
    assert "the data of the working tree was changed by hand" in text and "git checkout" in text
    assert path.read_text() == mine and stones(project)[0]["row"] == "d-2"
    again = project.plumb("forget", "--row", "d-2")
    for said in (text, again):
        (remedy,) = re.findall(r"take the newest \((.*)\)", said)
        answer = project.run(["sh", "-c", remedy.replace("dvc pull", f"{sys.executable} -m dvc pull --force")])
        assert answer.returncode == 0 and demonstrations(project.folder) == ["d-1"], answer.stderr


def test_rows_and_remotes_that_nobody_knows(project):
    assert "no row 'd-9' is in the data, nor in any version" in project.plumb("forget", "--row", "d-9", code=1)
    project.plumb("forget", "--row", "d-1")
    assert "there is no DVC remote 'far' (known: first, store)" in project.plumb("gc", "--remote", "far", code=1)


def test_a_row_that_only_older_data_holds_is_buried_too(project):
    path = project.folder / "data" / "items" / "demonstrations.jsonl"
    path.unlink()
    path.write_text(json.dumps(keep_toy.DEMONSTRATIONS[1]) + "\n")
    project.do("dvc", "add", "-q", "data/items")
    project.do("git", "commit", "-qam", "without d-1")
    project.do("dvc", "push", "-q", "-r", "first", "data/items.dvc")
    text = project.plumb("forget", "--row", "d-1")
    assert "which only older versions of the data hold" in text and stones(project)[0]["digest"] is None
    project.plumb("gc", "--yes", *BOTH)
    assert holding(project.folder.parent, *SAID) == []
