"""The steps of a retraining that need no server: its clone, its key, whose turn it is, what goes to the remote."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from flows import environment, git
from flows.graph import running, stage_inputs
from flows.graph.running import Processes
from flows.graph.stages import Graph
from flows.history import registry
from flows.schedule import retraining
from flows.schedule.retraining import Champion, Errand
from flows.settings import read_settings
from flows.storage import commit_clone, data, shared_runs
from tests.support import retrain_toy, toy
from tests.support.intake_project import NOBODY
from tests.support.mlflow_store import empty_store

SERVES = "0123456789abcdef0123456789abcdef.dir"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project whose DVC remotes are folders; to be read, not changed."""
    place = tmp_path_factory.mktemp("retraining")
    return retrain_toy.make(place, NOBODY, None)


@pytest.fixture()
def project(made, tmp_path, monkeypatch):
    """A copy of it with its remotes, for a test to change."""
    toy.command(tmp_path, "cp", "-a", f"{made.folder.parent}/.", str(tmp_path))
    folder = tmp_path / "project"
    monkeypatch.setenv("PLUMB_STATE", str(tmp_path / "state"))
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "t")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "t@t")
    return folder


def errand(folder, champion="none", **changes):
    wanted = {name.replace("__", "."): value for name, value in changes.items()}
    return Errand(retraining.resolve_commit(folder, None), wanted, champion, False)


def commit(folder, name, text):
    (folder / name).write_text(text)
    git.git(folder, "add", "-A")
    git.git(folder, "commit", "-qm", name)


# --- the clone ---


def test_a_clone_holds_the_commit_and_nothing_else(project):
    before = (project / "params.yaml").read_text()
    (project / "work.py").write_text("not committed")
    place = retraining.open_clone(project, errand(project, ppo__kl_coefficient=0.0, select__methods=["dpo"]))
    assert (place / "work.py").read_text() == retrain_toy.WORK
    params = yaml.safe_load((place / "params.yaml").read_text())
    assert params["ppo"]["kl_coefficient"] == 0 and params["select"]["methods"] == ["dpo"]
    assert (project / "params.yaml").read_text() == before
    assert place == retraining.open_clone(project, errand(project, ppo__kl_coefficient=0.0, select__methods=["dpo"]))
    assert git.git(place, "rev-parse", "HEAD") == git.git(project, "rev-parse", "HEAD")


def test_a_clone_that_was_being_made_when_it_was_killed_is_made_again(project):
    place = retraining.open_clone(project, errand(project))
    place.rename(place.with_suffix(".partial"))
    (place.with_suffix(".partial") / "work.py").unlink()
    assert (retraining.open_clone(project, errand(project)) / "work.py").exists()


def test_a_param_that_is_not_there_is_one_line(project):
    with pytest.raises(ValueError, match=r"params.yaml has no ppo.kl_coeficient; did you mean ppo.kl_coefficient"):
        retraining.open_clone(project, errand(project, ppo__kl_coeficient=0.0))


def test_who_serves_is_a_pointer_in_the_clone_alone(project):
    place = retraining.open_clone(project, errand(project, SERVES))
    (out,) = yaml.safe_load((place / "data" / "champion.dvc").read_text())["outs"]
    assert out == {"md5": SERVES, "hash": "md5", "path": "champion", "remote": "store"}
    assert SERVES not in (project / "data" / "champion.dvc").read_text()
    nobody = retraining.open_clone(project, errand(project))
    assert nobody != place
    assert (nobody / "data" / "champion.dvc").read_text() == (project / "data" / "champion.dvc").read_text()


def test_a_graph_that_reads_no_champion_gets_no_pointer(project):
    git.git(project, "rm", "-q", "data/champion.dvc")
    git.git(project, "commit", "-qm", "no champion")
    assert retraining.champion_pointer(project, errand(project, SERVES)) is None


def test_old_clones_go(project):
    state = environment.state_dir(project)
    places = [retraining.open_clone(project, errand(project, ppo__kl_coefficient=number / 10)) for number in range(4)]
    assert [place.exists() for place in places] == [False, True, True, True]
    commit_clone.forget_commits(state, 0)
    assert not any(place.exists() for place in places)


def test_a_clone_whose_removal_was_killed_is_not_taken_for_whole(project, monkeypatch):
    place = retraining.open_clone(project, errand(project))

    def killed(folder, **options):
        if folder.exists():
            (folder / "work.py").unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", killed)
        commit_clone.forget_commits(environment.state_dir(project), 0)
    assert retraining.open_clone(project, errand(project)) == place
    assert (place / "work.py").read_text() == retrain_toy.WORK


# --- the key ---


def test_the_key_is_data_code_and_params(project):
    key = retraining.inputs_of(retraining.open_clone(project, errand(project)))
    assert retraining.inputs_of(retraining.open_clone(project, errand(project, SERVES))) == key, "the champion is not"
    unread = retraining.open_clone(project, errand(project, runtime__threads=2))
    assert retraining.inputs_of(unread) == key, "no stage reads it"
    changed = {retraining.inputs_of(retraining.open_clone(project, errand(project, ppo__kl_coefficient=0.0)))}
    commit(project, "work.py", retrain_toy.WORK + "# more\n")
    changed.add(retraining.inputs_of(retraining.open_clone(project, errand(project))))
    pointer = yaml.safe_load((project / "data" / "items.dvc").read_text())
    pointer["outs"][0]["md5"] = SERVES
    commit(project, "data/items.dvc", yaml.safe_dump(pointer))
    changed.add(retraining.inputs_of(retraining.open_clone(project, errand(project))))
    assert len(changed | {key}) == 4


def test_the_key_needs_no_data(project):
    place = retraining.open_clone(project, errand(project))
    assert not (place / "data" / "items").exists()
    files = stage_inputs.inputs(place)["files"]
    assert set(files) == {"work.py", "data/items", "data/champion"}
    assert files["data/items"] == yaml.safe_load((project / "data" / "items.dvc").read_text())["outs"][0]["md5"]


def test_a_file_in_tracked_data_goes_by_the_folder_s_pointer(project):
    graph = yaml.safe_load((project / "dvc.yaml").read_text())
    graph["stages"]["prepare"]["deps"] = ["work.py", "data/items/demonstrations.jsonl"]
    commit(project, "dvc.yaml", yaml.safe_dump(graph))
    files = stage_inputs.inputs(retraining.open_clone(project, errand(project)))["files"]
    md5 = yaml.safe_load((project / "data" / "items.dvc").read_text())["outs"][0]["md5"]
    assert files["data/items/demonstrations.jsonl"] == f"in {md5}"


# --- the commit ---


def test_a_branch_of_origin_is_fetched(project, tmp_path):
    other = tmp_path / "other"
    git.git(tmp_path, "clone", "-q", "origin.git", "other")
    commit(other, "note.txt", "new")
    git.git(other, "push", "-q", "origin", "HEAD:main")
    here = retraining.resolve_commit(project, None)
    assert retraining.resolve_commit(project, "origin/main") == git.git(other, "rev-parse", "HEAD") != here


def test_a_shared_commit_is_found_on_another_machine(project, tmp_path):
    git.git(tmp_path, "clone", "-q", "origin.git", "other")
    commit(project, "note.txt", "only here")
    here = retraining.resolve_commit(project, None)
    with pytest.raises(ValueError, match="git knows no commit"):
        retraining.resolve_commit(tmp_path / "other", here)
    retraining.share_commit(project, here)
    assert retraining.resolve_commit(tmp_path / "other", here) == here


def test_a_commit_on_no_branch_is_kept(project):
    commit(project, "note.txt", "as intake makes one")
    here = retraining.resolve_commit(project, None)
    retraining.keep_commit(project, here)
    git.git(project, "reset", "-q", "--hard", "HEAD^")
    git.git(project, "reflog", "expire", "--expire=now", "--all")
    git.git(project, "gc", "-q", "--prune=now")
    assert retraining.resolve_commit(project, here) == here


def test_sharing_without_an_origin_is_nothing(project):
    git.git(project, "remote", "remove", "origin")
    retraining.share_commit(project, retraining.resolve_commit(project, None))


# --- who serves ---


@pytest.fixture()
def client(tmp_path, monkeypatch):
    import mlflow
    from mlflow import MlflowClient

    mlflow.set_tracking_uri(empty_store(tmp_path / "mlflow.db"))
    return MlflowClient()


def test_the_champion_is_a_version_and_a_hash(client, tmp_path):
    assert retraining.champion_now(client, "toy") == Champion("none")
    client.create_registered_model("toy")
    client.create_model_version("toy", tmp_path.as_uri(), tags={registry.PACKAGE: SERVES})
    client.set_registered_model_alias("toy", "champion", "1")
    assert retraining.champion_now(client, "toy") == Champion(SERVES)


def test_a_champion_that_is_not_ours_is_one_line(client, tmp_path):
    client.create_registered_model("toy")
    client.create_model_version("toy", tmp_path.as_uri())
    client.set_registered_model_alias("toy", "champion", "1")
    with pytest.raises(ValueError, match="models:/toy/1 is champion without the tag plumb.package_md5"):
        retraining.champion_now(client, "toy")


# --- the remote ---


def test_without_a_remote_it_says_so(project):
    place = retraining.open_clone(project, errand(project))
    assert retraining.push(place, None) == "nothing was pushed: there is no DVC remote None (intake.remote)"
    assert "no DVC remote 'nowhere'" in retraining.push(place, "nowhere")


def test_another_machine_restores_what_was_pushed_and_makes_nothing(project, tmp_path, monkeypatch):
    """A second clone with an empty cache, and neither dvc.lock nor the first one's state."""
    (tmp_path / "started").mkdir()
    monkeypatch.setenv("TOY_STARTED", str(tmp_path / "started"))
    monkeypatch.setenv("PYTHONPATH", str(toy.ROOT))
    place = retraining.open_clone(project, errand(project))
    data.pull(place)
    run(place, tmp_path, "prepare")
    assert started(tmp_path) == ["prepare"]
    assert retraining.push(place, "store").endswith(" files pushed to the DVC remote 'store'")
    git.git(tmp_path, "clone", "-q", "origin.git", "other")
    monkeypatch.setenv("PLUMB_STATE", str(tmp_path / "other-state"))
    there = retraining.open_clone(tmp_path / "other", errand(tmp_path / "other"))
    assert Graph(there).plan()["prepare"].action == "run"
    retraining.meet_remote(there, "store")
    assert stage_inputs.restore(there, "prepare")
    assert not stage_inputs.restore(there, "train"), "nobody made it"
    assert run(there, tmp_path, "prepare").outcome == "restored"
    assert started(tmp_path) == ["prepare"]
    names = "artifacts/data/demonstrations.jsonl"
    assert (there / names).read_bytes() == (place / names).read_bytes()


def test_a_plain_align_meets_what_others_made_where_there_is_any(project, tmp_path, monkeypatch):
    """The default remote is another one, and stays so."""
    (tmp_path / "started").mkdir()
    monkeypatch.setenv("TOY_STARTED", str(tmp_path / "started"))
    monkeypatch.setenv("PYTHONPATH", str(toy.ROOT))
    assert shared_runs.meet(project) is None, "nobody pushed anything yet"
    place = retraining.open_clone(project, errand(project))
    data.pull(place)
    run(place, tmp_path, "prepare")
    retraining.push(place, "store")
    git.git(tmp_path, "clone", "-q", "origin.git", "other")
    other = tmp_path / "other"
    data.pull(other)
    assert not stage_inputs.restore(other, "prepare", "store"), "nothing is known here of the runs of others"
    assert Graph(other).plan("store")["prepare"].action == "run"
    said = toy.plumb(other, "plan").stdout
    assert "1 stages would be restored from the cache or the DVC remote 'store'." in said and "4 stages would run" in said
    assert shared_runs.meet(other) == "store"
    foretold = Graph(other)
    assert [foretold.plan(remote)["prepare"].action for remote in (None, "store")] == ["run", "restore"]
    assert not stage_inputs.restore(other, "prepare"), "the default remote has data alone"
    assert stage_inputs.restore(other, "prepare", "store")
    (other / "params.yaml").write_text((other / "params.yaml").read_text().replace("remote: store", "remote: nowhere"))
    assert shared_runs.meet(other) is None


def run(place, tmp_path, name):
    return running.run_stage(place, name, "v", tmp_path / "log" / place.name, 600, Processes(), pull=True)


def started(tmp_path) -> list[str]:
    return [path.name.rpartition("-")[0] for path in sorted(Path(tmp_path / "started").iterdir())]


def test_an_inbox_and_a_remote_as_params_say(project):
    assert retraining.inbox_of(project) is None and shared_runs.remote_of(project) == "store"
    params = yaml.safe_load((project / "params.yaml").read_text())
    del params["intake"]
    (project / "params.yaml").write_text(json.dumps(params))
    assert retraining.inbox_of(project) is None and shared_runs.remote_of(project) is None


# --- changed params ---


def test_a_run_goes_by_its_own_commit_and_changes(project):
    """What stands in the working tree is another run's."""
    here = retraining.resolve_commit(project, None)
    before = retraining.settings_of(project, here, {})
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("model_name: toy", "model_name: not-committed"))
    assert retraining.settings_of(project, here, {}) == before
    changes = {"promote.policy": "approval", "promote.model_name": "other", "flow.retries": 7, "tracking.experiment": "x"}
    changed = retraining.settings_of(project, here, changes)
    assert (before.promote.policy, before.promote.model_name) == ("automatic", "toy")
    assert (changed.promote.policy, changed.promote.model_name) == ("approval", "other")
    assert (changed.flow.retries, changed.tracking.experiment) == (7, "x")
    assert changed == read_settings(retraining.open_clone(project, errand(project, **spelled(changes))))


def spelled(changes):
    return {name.replace(".", "__"): value for name, value in changes.items()}


@pytest.mark.parametrize("name", ["intake.remote", "intake.inbox", "intake.max_object_rows", "gc.runs"])
def test_what_could_not_hold_for_all_of_a_run_is_refused_by_name(project, name):
    with pytest.raises(ValueError, match=rf"{name} cannot be changed for one run: the section {name.split('.')[0]} of"):
        retraining.settings_of(project, retraining.resolve_commit(project, None), {name: "1"})
    with pytest.raises(ValueError, match=rf"{name} cannot be changed for one run"):
        retraining.open_clone(project, errand(project, **spelled({name: "1"})))


def test_a_wrong_value_of_a_change_is_one_line(project):
    with pytest.raises(ValueError, match=r"^params.yaml: promote.policy: input .* found 'nobody'$"):
        retraining.settings_of(project, retraining.resolve_commit(project, None), {"promote.policy": "nobody"})
