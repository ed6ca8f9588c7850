"""The registry: names of versions, one champion, one writer at a time."""

import json
import time

import pytest

from flows.history import registry
from flows.serving import registry_lock
from flows.serving.registry_lock import CLAIM, hold
from tests.support.mlflow_store import empty_store
from tests.support.promotion_worker import context as processes_with_mlflow

NAME = "toy"


@pytest.fixture()
def client(tmp_path, monkeypatch):
    """An empty MLflow on sqlite."""
    import mlflow
    from mlflow import MlflowClient

    uri = empty_store(tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    return MlflowClient()


@pytest.mark.parametrize("time", ["before", "after"])
def test_no_test_finds_the_store_of_another(tmp_path, time):
    import mlflow
    from mlflow.tracking import is_tracking_uri_set

    assert not is_tracking_uri_set()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'left.db'}")


def add(client, **tags):
    """A version with these tags."""
    registry.ensure_model(client, NAME)
    made = client.create_model_version(NAME, "file:///nowhere", tags=tags)
    return registry.read(client, NAME).versions[int(made.version)]


def test_names_of_versions():
    assert [registry.name_of(v) for v in (None, 3)] == ["none", "v3"]
    assert [registry.number_of(v) for v in ("none", "v12")] == [None, 12]
    for wrong in ("3", "v0", "v", "champion"):
        with pytest.raises(ValueError, match="is no version; write it as v3"):
            registry.number_of(wrong)


def test_a_version_is_found_by_alias_and_number(client):
    first, second = add(client), add(client)
    registry.point(client, registry.read(client, NAME), registry.CHAMPION, first)
    assert registry.resolve(client, f"models:/{NAME}@champion").number == first.number
    assert registry.resolve(client, f"models:/{NAME}/2").number == second.number
    with pytest.raises(ValueError, match=r"models:/toy@challenger does not exist; toy has @champion, /1, /2"):
        registry.resolve(client, f"models:/{NAME}@challenger")
    with pytest.raises(ValueError, match="no model 'other' is registered"):
        registry.resolve(client, "models:/other@champion")
    with pytest.raises(ValueError, match="write models:/NAME@champion"):
        registry.resolve(client, "champion")


def test_the_same_candidate_packaged_otherwise_is_another_version(client):
    made = add(client, **{registry.CANDIDATE: "c", registry.PACKAGE: "p"})
    state = registry.read(client, NAME)
    assert state.of_candidate("c", "p").number == made.number
    assert state.of_candidate("c", "q") is None and state.of_candidate("d", "p") is None


def test_more_versions_than_a_page(client, monkeypatch):
    from mlflow import MlflowClient

    search = MlflowClient.search_model_versions
    paged = lambda self, *a, **k: search(self, *a, **{**k, "max_results": 2})  # noqa: E731
    monkeypatch.setattr(MlflowClient, "search_model_versions", paged)
    for _ in range(5):
        add(client)
    assert list(registry.read(client, NAME).versions) == [1, 2, 3, 4, 5]


def test_the_quick_look_agrees_with_mlflow(client, tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert registry.champion_number(f"sqlite:///{tmp_path / 'none.db'}", NAME) is None
    assert not (tmp_path / "none.db").exists()
    version = add(client)
    assert registry.champion_number(uri, NAME) is None
    registry.point(client, registry.read(client, NAME), registry.CHAMPION, version)
    assert registry.champion_number(uri, NAME) == registry.read(client, NAME).champion.number == 1


def test_settling_completes_a_champion_whose_promotion_was_killed(client):
    version = add(client, rolled_back="2026-01-01T00:00:00Z")
    for alias in (registry.CHAMPION, registry.CHALLENGER):
        registry.point(client, registry.read(client, NAME), alias, version)
    state = registry.settle(client, NAME)
    assert state.aliases == {registry.CHAMPION: 1}
    assert registry.PROMOTED in state.champion.tags and registry.ROLLED_BACK not in state.champion.tags
    assert registry.settle(client, NAME) == state


def test_a_rollback_under_way_is_not_settled(client):
    version = add(client, rolled_back="2026-01-01T00:00:00Z")
    registry.point(client, registry.read(client, NAME), registry.CHAMPION, version)
    client.set_registered_model_tag(NAME, registry.JOURNAL, "v1 to v2")
    assert registry.ROLLED_BACK in registry.settle(client, NAME).champion.tags


# --- one writer at a time ---


def claim(client, place, age=0.0):
    client.set_registered_model_tag(NAME, f"{CLAIM}{place}", json.dumps({"at": time.time() - age}))


def claims(client):
    return [key for key in client.get_registered_model(NAME).tags if key.startswith(CLAIM)]


def test_the_lock_leaves_nothing_behind(client, tmp_path):
    registry.ensure_model(client, NAME)
    with hold(client, NAME, tmp_path):
        assert len(claims(client)) == 1
    assert claims(client) == []
    with pytest.raises(ZeroDivisionError):
        with hold(client, NAME, tmp_path):
            1 / 0
    assert claims(client) == []


def test_another_machines_claim_keeps_out_until_it_is_old(client, tmp_path):
    registry.ensure_model(client, NAME)
    claim(client, "elsewhere")
    with pytest.raises(ValueError, match=r"another machine holds the registry of toy since \d+ s"):
        with hold(client, NAME, tmp_path, wait=0.0):
            pass
    assert claims(client) == [f"{CLAIM}elsewhere"]
    claim(client, "elsewhere", age=registry_lock.CLAIM_SECONDS)
    with hold(client, NAME, tmp_path, wait=0.0):
        pass


def test_a_claim_of_a_dead_process_of_this_machine_keeps_nobody_out(client, tmp_path):
    registry.ensure_model(client, NAME)
    with hold(client, NAME, tmp_path):
        (key,) = claims(client)
    claim(client, key.removeprefix(CLAIM))
    with hold(client, NAME, tmp_path, wait=0.0):
        pass
    assert claims(client) == []


def test_another_process_of_this_machine_keeps_out(client, tmp_path):
    registry.ensure_model(client, NAME)
    with hold(client, NAME, tmp_path):
        with pytest.raises(ValueError, match="another process of this machine holds the registry of toy"):
            with hold(client, NAME, tmp_path, wait=0.0):
                pass


def test_a_holder_that_was_away_too_long_does_not_write(client, tmp_path, monkeypatch):
    registry.ensure_model(client, NAME)
    monkeypatch.setattr(registry_lock, "WORK_SECONDS", -1.0)
    with hold(client, NAME, tmp_path) as lock:
        with pytest.raises(ValueError, match="the registry answered too slowly"):
            lock.check()


def count(uri, state, rounds, results):
    """Add one to a tag, read and written apart: increments are lost unless the lock keeps others out."""
    import mlflow
    from mlflow import MlflowClient

    mlflow.set_tracking_uri(uri)
    client = MlflowClient()
    for _ in range(rounds):
        with hold(client, NAME, state):
            seen = int(client.get_registered_model(NAME).tags.get("count", "0"))
            time.sleep(0.02)
            client.set_registered_model_tag(NAME, "count", str(seen + 1))
    results.put("done")


@pytest.mark.parametrize("machines", ["one machine", "three machines"])
def test_writers_in_several_processes_lose_nothing(client, tmp_path, machines):
    registry.ensure_model(client, NAME)
    context = processes_with_mlflow()
    results = context.Queue()
    states = [tmp_path / ("state" if machines == "one machine" else f"state{i}") for i in range(3)]
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    workers = [context.Process(target=count, args=(uri, state, 3, results)) for state in states]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(600)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert client.get_registered_model(NAME).tags["count"] == "9" and claims(client) == []
