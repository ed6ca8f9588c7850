"""Versions that were registered before the project's folder was moved: MLflow names files by paths that are gone."""

import shutil
import sqlite3
from contextlib import closing

import mlflow
import pytest

from flows.cli import chat
from flows.history import lineage
from flows.serving.rollback import roll_back
from tests.support.promotion_worker import promote
from tests.support.registry_toy import against, project, world  # noqa: F401  fixtures

pytestmark = pytest.mark.services  # real packages and MLflow: `make test-services`


@pytest.fixture()
def moved(world, tmp_path):
    """v1 serves; then MLflow's store and its artifacts came here from a folder that is no more."""
    promote(world, world.gate("gpt2"), None)
    world.second = world.gate("qwen2", **against("gpt2"))
    shutil.copytree(world.root / "mlartifacts", tmp_path / "mlartifacts")
    world.gone = tmp_path / "gone"
    with closing(sqlite3.connect(world.database)) as store, store:
        for (table,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for _, column, kind, *_ in store.execute(f"PRAGMA table_info({table})").fetchall():
                if kind.startswith(("VARCHAR", "TEXT")):
                    change = f"UPDATE {table} SET {column} = replace({column}, ?, ?) WHERE instr({column}, ?)"
                    old = str(world.root)
                    store.execute(change, (old, str(world.gone), old))
    return world


def test_a_candidate_that_was_logged_before_is_promoted_and_rolled_back(moved):
    outcome = promote(moved, moved.second, 1)
    assert (outcome.word, outcome.version) == ("promoted", 2), outcome.text
    assert lineage.trace(moved.client, "models:/toy@champion")["evidence"]["compared"] == "v1"
    assert roll_back(moved.client, "toy", moved.state).version == 1
    assert not moved.gone.exists(), "nothing is written where the project was"


def test_where_an_old_version_came_from_and_its_files_are_found(moved):
    found = lineage.trace(moved.client, "models:/toy/1")
    assert found["evidence"]["verdict"] == "promote"
    model, tokenizer = chat.find(moved.root, moved.state, "models:/toy/1", "toy")
    assert (model / "config.json").is_file() and (tokenizer / "tokenizer_config.json").is_file()


def test_the_way_that_the_readme_names_for_mlflow_itself(moved):
    with pytest.raises(Exception, match="No such artifact"):
        mlflow.artifacts.download_artifacts("models:/toy/1")
    moved.gone.symlink_to(moved.database.parent)
    assert mlflow.artifacts.download_artifacts("models:/toy/1")
