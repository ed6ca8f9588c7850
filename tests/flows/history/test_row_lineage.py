"""From a row to every comparison, model and version that it went into, worked out by hand on a graph in our shape."""

import json

import pytest

from flows.history.recorded import made_stages, recorded_runs
from flows.history.row_lineage import names, trace
from flows.storage.objects import Objects
from tests.support import keep_toy

pytestmark = pytest.mark.services  # real DVC and MLflow: `make test-services`
MODELS = {"sft", "reward", "dpo", "ppo", "package"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """v1, the champion before; v2, the champion, trained on one demonstration more; the tree has moved on since."""
    project = keep_toy.make_project(tmp_path_factory.mktemp("keep"))
    project.runs = [project.align("one")]
    project.register(project.runs[0], None)
    project.change_data("hello")
    project.runs.append(project.align("two"))
    project.register(project.runs[1], "champion", replaces=1)
    project.do("dvc", "push", "-q", "-r", "first")
    (project.folder / "artifacts" / "data" / "rl_prompts.jsonl").unlink()
    (project.folder / "dvc.lock").unlink()
    return project


def traced(project, row):
    client = project.client
    found = trace(client, keep_toy.NAME, Objects(project.folder), recorded_runs(client), row).as_document()
    assert found["unreadable"] == []
    return found


def models(found):
    return {(entry["path"].removeprefix("artifacts/"), entry["use"], len(entry["runs"])) for entry in found["models"]}


def test_a_demonstration_is_in_every_model(world):
    found = traced(world, "d-1")
    assert models(found) == {(name, "trained", 1) for name in MODELS}
    assert len(found["models"]) == 10, "both runs made others"
    assert [(v["version"], v["aliases"], v["use"]) for v in found["versions"]] == [
        (1, [], "trained"), (2, ["champion"], "trained"),
    ]  # fmt: skip
    assert [entry["files"] for entry in found["data"]] == [["demonstrations.jsonl"]] * 2
    assert found["comparisons"] == [], "none was made of it itself"


def test_a_demonstration_that_came_later(world):
    found = traced(world, "d-hello")
    assert len(found["models"]) == 5 and {run for entry in found["models"] for run in entry["runs"]} == {world.runs[1]}
    assert [version["version"] for version in found["versions"]] == [2] and len(found["data"]) == 1


def test_a_prompt_that_trains_by_its_comparison(world):
    found = traced(world, "c-1")
    assert models(found) == {(name, "trained", 1) for name in MODELS - {"sft"}}
    (entry,) = found["comparisons"]
    assert entry["train"] == ["c-1#0>1"] and entry["heldout"] == [] and entry["judged_only"] == []
    assert sorted(entry["runs"]) == sorted(world.runs), "both runs judged the same"


def test_a_prompt_that_was_held_out_or_tied_trains_nothing(world):
    heldout, tied = traced(world, "c-2"), traced(world, "c-3")
    assert heldout["models"] == tied["models"] == [] and heldout["versions"] == tied["versions"] == []
    assert heldout["comparisons"][0]["heldout"] == ["c-2#0>1"]
    assert tied["comparisons"][0]["judged_only"] == [{"a": "c-3#0", "b": "c-3#1", "outcome": "tie"}]


def test_a_prompt_of_ppo_is_not_in_what_was_packaged_of_dpo(world):
    found = traced(world, "r-1")
    assert models(found) == {("ppo", "trained", 1)} and len(found["models"]) == 2 and found["versions"] == []


def test_a_prompt_of_select_chose(world):
    found = traced(world, "s-1")
    assert models(found) == {("package", "chosen", 1)}
    assert [version["use"] for version in found["versions"]] == ["chosen", "chosen"]


def test_a_prompt_of_the_gate_only_judged(world):
    found = traced(world, "g-1")
    assert found["models"] == found["versions"] == [] and len(found["data"]) == 2


def test_a_preference(world):
    found = traced(world, "f-1")
    assert models(found) == {(name, "trained", 1) for name in MODELS - {"sft"}}
    assert found["comparisons"][0]["train"] == ["f-1"]


def test_what_was_trained_from_an_earlier_version_descends_from_its_rows(tmp_path):
    """The package of v1 is the base of v2, whose own data does not hold the row any more."""
    project = keep_toy.make_project(tmp_path)
    first = project.align("one")
    project.register(first, None)
    package, base = (project.folder / where / "model.safetensors" for where in ("artifacts/package", "data/base"))
    base.unlink()
    base.write_bytes(package.read_bytes())
    path = project.folder / "data" / "items" / "demonstrations.jsonl"
    path.unlink()
    path.write_text(json.dumps(keep_toy.DEMONSTRATIONS[1]) + "\n")
    project.do("dvc", "add", "-q", "data/items", "data/base")
    second = project.align("two")
    project.register(second, "champion", replaces=1)
    found = traced(project, "d-1")
    assert [(v["version"], v["run"], v["use"]) for v in found["versions"]] == [
        (1, first, "trained"), (2, second, "trained"),
    ]  # fmt: skip
    assert len(found["data"]) == 1, "of the data, only the first version holds it"
    assert [v["version"] for v in traced(project, "s-1")["versions"]] == [1, 2]


def test_a_row_that_nobody_knows(world):
    found = traced(world, "d-")
    assert not any(found[key] for key in ("data", "comparisons", "models", "versions"))
    assert "no recorded run or version of the data holds it" in world.plumb("lineage", "--row", "d-")


def test_what_a_remote_alone_has_is_read_there_and_what_nobody_has_is_named(world, tmp_path):
    client = world.client
    (run, *_) = recorded_runs(client)
    prompts = next(s for s in run.stages if s.name == "prepare").outputs["artifacts/data/rl_prompts.jsonl"]
    path = world.folder / ".dvc" / "cache" / "files" / "md5" / prompts[:2] / prompts[2:]
    path.rename(tmp_path / "kept")
    try:
        assert models(traced(world, "r-1")) == {("ppo", "trained", 1)}
        gone = trace(client, keep_toy.NAME, Objects(world.folder, remotes=False), recorded_runs(client), "r-1")
        assert [name for name, _ in gone.unreadable] == ["rl_prompts.jsonl"]
    finally:
        (tmp_path / "kept").rename(path)


def test_the_command_as_text_and_json(world):
    text = world.plumb("lineage", "--row", "c-1")
    for words in ("row c-1", "train c-1#0>1", "models:/plumbline/2 @champion: trained on it", "artifacts/dpo "):
        assert words in text
    found = json.loads(world.plumb("lineage", "--row", "c-1", "--json"))
    assert found["forgotten"] is None and found["row"] == "c-1" and len(found["versions"]) == 2
    assert "name a model or a row, not both" in world.plumb("lineage", "models:/x@y", "--row", "c-1", code=1)


@pytest.mark.parametrize(
    ("row", "hit"),
    [
        ({"id": "p-1"}, True),
        ({"id": "p-10"}, False),
        ({"id": "p-1#3"}, True),
        ({"id": "p-1#0>2"}, True),
        ({"id": "x", "prompt_id": "p-1"}, True),
        ({"first": "p-1#0", "second": "p-1#1"}, True),
        ({"prompt": "p-1"}, False),
        ({"id": None}, False),
    ],
)
def test_rows_that_name_a_row(row, hit):
    assert names(row, "p-1") is hit


def test_stages_of_a_lock_come_upstream_first():
    lock = {"stages": {"b": {"deps": [{"path": "out/a", "md5": "1"}], "outs": [{"path": "x", "md5": "2"}]},
                       "a": {"deps": [{"path": "in", "md5": "0"}], "outs": [{"path": "out", "md5": "1.dir"}]}}}  # fmt: skip
    assert [stage.name for stage in made_stages(lock)] == ["a", "b"]
