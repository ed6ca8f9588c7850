"""From the champion back to data, code, params, judges and runs, by what MLflow recorded."""

import io
import json

import pytest
import yaml
from rich.console import Console

from flows.history import lineage, registry
from tests.support import promotion_worker as worker, registry_toy, toy
from tests.support.registry_toy import against, candidate_hash, project, world  # noqa: F401  fixtures

pytestmark = pytest.mark.services  # processes and pages by the dozen: `make test-services`


@pytest.fixture()
def promoted(world):
    """v1 and v2, the second champion; and the gate that made it so."""
    worker.promote_there(world.uri, world.root, world.state, world.gate("gpt2"), None)
    asked = world.gate("qwen2", **against("gpt2"))
    worker.promote_there(world.uri, world.root, world.state, asked, 1)
    return asked


def test_every_hash_is_the_one_in_the_lock_that_was_logged(world, promoted):
    found = lineage.trace(world.client, "models:/toy@champion")
    lock = yaml.safe_load((world.root / "dvc.lock").read_text())["stages"]
    assert set(found["stages"]) == set(lock) == {"compare", "train", "package", "gate", "report"}
    assert found["stages"]["train"]["code"] == {"work.py": lock["train"]["deps"][1]["md5"]}
    assert found["data"]["given/comparisons.jsonl"] == lock["compare"]["deps"][1]["md5"]
    assert "out/comparisons.jsonl" not in found["data"], "it was made, not given"
    assert found["comparisons"]["outputs"]["out/comparisons.jsonl"] == lock["train"]["deps"][0]["md5"]
    assert found["comparisons"]["metrics"] == {"pairs": 3.0, "train": 2.0, "heldout": 1.0}
    assert found["model"]["package_md5"] == lock["package"]["outs"][0]["md5"]


def test_model_gate_run_and_judges(world, promoted):
    found = lineage.trace(world.client, "models:/toy@champion")
    assert found["model"]["version"] == 2 and found["model"]["aliases"] == ["champion"]
    assert found["model"]["replaces"] == "v1" and found["model"]["candidate_hash"] == candidate_hash("qwen2")
    assert found["evidence"]["gate_hash"] == promoted.gate and found["evidence"]["compared"] == "v1"
    assert found["evidence"]["reasons"] == ["superiority: win rate 0.700: passed"]
    assert found["judges"][0]["name"] == "careful" and found["params"]["first.value"] == 1
    assert found["code"]["commit"] == worker.COMMIT
    assert world.client.get_run(found["run"]["id"]).data.tags["plumb.kind"] == "flow"


def test_every_stage_of_a_whole_run_names_its_mlflow_run_and_version(world):
    asked = registry_toy.Asked(candidate_hash("qwen2"), registry_toy.content_hash(world.root / "metrics" / "gate.json"))
    worker.promote_there(world.uri, world.root, world.state, asked, None)
    found = lineage.trace(world.client, "models:/toy/1")
    for name, stage in found["stages"].items():
        tags = world.client.get_run(stage["run"]).data.tags
        assert tags["plumb.stage"] == name and tags["plumb.version"] == stage["version"] and len(stage["version"]) == 64


def test_what_moved_on_in_the_working_tree_does_not_matter(world, promoted, tmp_path, monkeypatch):
    before = lineage.trace(world.client, "models:/toy@champion")
    monkeypatch.chdir(toy.make_toy(tmp_path / "another"))
    assert lineage.trace(world.client, "models:/toy@champion") == before


def test_it_is_json_and_a_tree(world, promoted):
    found = lineage.trace(world.client, "models:/toy@champion")
    assert json.loads(json.dumps(found)) == found
    console = Console(file=io.StringIO(), width=200)
    lineage.show(found, console)
    text = console.file.getvalue()
    for words in (
        "models:/toy/2 @champion", "replaces: v1", "gate: promote, against champion (v1)", f"commit {worker.COMMIT}",
        "role compare, name careful", "comparisons: pairs 3, train 2, heldout 1", "first.value: 1",
        "given/comparisons.jsonl: ",
    ):  # fmt: skip
        assert words in text


def test_an_approval_is_part_of_it(world):
    from flows.serving.approval import Approval
    from flows.serving.promotion import run

    place = worker.place_of(world.client, world.root, world.state, policy="approval")
    run(place, worker.request_of(world.gate("gpt2"), None), Approval(True, "fine", "ada"), worker.nobody)
    found = lineage.trace(world.client, "models:/toy@champion")
    console = Console(file=io.StringIO(), width=200)
    lineage.show(found, console)
    assert found["evidence"]["approval"]["comment"] == "fine"
    assert "approval: yes by ada: fine" in console.file.getvalue()


def test_a_version_of_unknown_origin(world):
    registry.ensure_model(world.client, "toy")
    world.client.create_model_version("toy", "file:///nowhere")
    with pytest.raises(ValueError, match="models:/toy/1 was not registered by plumb promote: its origin is unknown"):
        lineage.trace(world.client, "models:/toy/1")
    with pytest.raises(ValueError, match="does not exist; toy has /1"):
        lineage.trace(world.client, "models:/toy@champion")
