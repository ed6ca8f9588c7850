"""What may become champion, what may not, and what each refusal says."""

import re

import pytest

from flows.history import evidence, registry
from flows.hosting import servers
from flows.serving import candidate
from flows.serving.promotion import run
from flows.serving.request import Request
from tests.support import promotion_worker as worker, registry_toy
from tests.support.promotion_worker import promote, state
from tests.support.registry_toy import against, project, world  # noqa: F401  fixtures

pytestmark = pytest.mark.services  # processes and pages by the dozen: `make test-services`


def test_the_first_candidate_becomes_champion_with_all_that_it_rests_on(world):
    asked = world.gate("gpt2")
    outcome = promote(world, asked, None)
    assert (outcome.word, outcome.version) == ("promoted", 1) and "the first champion" in outcome.text
    version = state(world).champion
    assert version.tags[registry.CANDIDATE] == asked.candidate and version.tags[registry.GATE] == asked.gate
    assert version.tags["replaces"] == "none" and version.tags[registry.COMMIT] == worker.COMMIT
    assert version.tags[registry.PACKAGE].endswith(".dir")
    entity = world.client.get_model_version("toy", "1")
    assert "superiority: win rate 0.700" in entity.description and entity.run_id == version.tags[registry.PACKAGE_RUN]
    folder = f"evidence/{asked.gate[:12]}"
    assert [a.path for a in world.client.list_artifacts(entity.run_id, folder)] == [f"{folder}/gate.json"]


def test_a_second_candidate_with_another_tokenizer_and_architecture_replaces_it(world):
    promote(world, world.gate("gpt2"), None)
    outcome = promote(world, world.gate("qwen2", **against("gpt2")), 1)
    assert outcome.word == "promoted" and "replaces v1" in outcome.text
    found = state(world)
    assert found.aliases == {"champion": 2} and found.champion.replaces == 1


def test_repeating_a_promotion_changes_nothing(world):
    asked = world.gate("gpt2")
    promote(world, asked, None)
    before = state(world)
    assert promote(world, asked, None).word == "promoted"
    assert state(world) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"verdict": "reject", "reasons": ["honesty: failed"]}, "verdict is 'reject', only 'promote'.*honesty: failed"),
        ({"verdict": "underpowered"}, "verdict is 'underpowered'"),
        ({"verdict": None}, "verdict is None"),
    ],
)
def test_only_a_gate_that_says_promote_promotes(world, changes, words):
    outcome = promote(world, world.gate("gpt2", **changes), None)
    assert outcome.word == "refused" and re.search(words, outcome.text)
    assert state(world).versions == {}


def test_a_gate_promotes_nobody_but_its_candidate(world):
    asked = world.gate("gpt2")
    other = registry_toy.Asked(registry_toy.candidate_hash("qwen2"), asked.gate)
    outcome = promote(world, other, None)
    assert outcome.word == "refused" and "the gate judged" in outcome.text and state(world).versions == {}


def test_a_gate_that_was_changed_after_it_was_logged_is_not_believed(world):
    asked = world.gate("gpt2", verdict="reject")
    client = world.client
    (run_found,) = client.search_runs(["1"], f"tags.`{registry.GATE}` = '{asked.gate}'")
    client.log_dict(run_found.info.run_id, registry_toy.gate_document("gpt2"), "metrics/gate.json")
    with pytest.raises(ValueError, match="is not the gate"):
        promote(world, asked, None)


def test_evidence_that_mlflow_does_not_have(world):
    asked = world.gate("gpt2")
    with pytest.raises(ValueError, match="no complete run of gate with gate_hash ffffffffffff; plumb align logs it"):
        promote(world, registry_toy.Asked(asked.candidate, "f" * 64), None)
    unknown = "e" * 64
    gate = world.gate("gpt2", candidate_hash=unknown)
    with pytest.raises(ValueError, match="no complete run of package with candidate_hash eeeeeeeeeeee"):
        promote(world, registry_toy.Asked(unknown, gate.gate), None)


def test_a_package_whose_model_was_never_logged(world):
    asked = world.gate("gpt2")
    for model in world.client.search_logged_models(["1"]):
        world.client.delete_logged_model(model.model_id)
    with pytest.raises(ValueError, match="holds no packaged model; delete the run, then plumb align logs it again"):
        promote(world, asked, None)


def test_an_align_that_never_finished_is_no_evidence(world):
    asked = world.gate("gpt2")
    client = world.client
    for parent in client.search_runs(["1"], "tags.`plumb.kind` = 'flow'"):
        client.set_terminated(parent.info.run_id, "FAILED")
    with pytest.raises(ValueError, match="no finished plumb align in MLflow points to gate"):
        promote(world, asked, None)


@pytest.mark.parametrize("part", ["candidate", "gate", "commit"])
def test_hashes_are_hashes(part):
    given = {"candidate": "a" * 64, "gate": "b" * 64, "commit": "c" * 40, "compared": None}
    with pytest.raises(ValueError, match=f"{part} '../x' is not a hash"):
        Request(**{**given, part: "../x"})


# --- who is champion, and who was at the gate ---


def test_another_champion_than_the_gate_compared_with_needs_a_new_gate(world):
    promote(world, world.gate("gpt2"), None)
    outcome = promote(world, world.gate("qwen2"), None)
    assert outcome.word == "refused"
    assert outcome.text == "champion is v1, but v2 was compared with none; ask for a new gate"
    found = state(world)
    assert found.aliases == {"champion": 1, "challenger": 2}
    assert found.versions[2].tags[registry.DECISION].startswith("refused: champion is v1")
    assert promote(world, world.gate("qwen2", **against("gpt2")), 1).word == "promoted"
    assert state(world).champion.tags[registry.DECISION] == "promoted"


def test_the_version_named_must_be_the_one_at_the_gate(world):
    promote(world, world.gate("gpt2"), None)
    outcome = promote(world, world.gate("qwen2"), 1)
    assert outcome.text == "the gate compared with champion none, this promotion names v1; ask for a new gate"


def test_a_champion_at_the_gate_that_nobody_knows(world):
    asked = world.gate("qwen2", **against("somebody"))
    with pytest.raises(ValueError, match="which is no version of toy; gate again"):
        promote(world, asked, 1)


def test_the_champion_at_the_gate_may_be_named_by_its_package(world):
    promote(world, world.gate("gpt2"), None)
    package = state(world).champion.tags[registry.PACKAGE]
    asked = world.gate("qwen2", reference="champion", reference_hash=package)
    assert promote(world, asked, 1).word == "promoted"


def test_a_champion_keeps_what_it_was_promoted_on(world):
    promote(world, world.gate("gpt2"), None)
    before = state(world)
    again = world.gate("gpt2", reasons=["another gate on the same model"])
    assert promote(world, again, None).word == "promoted"
    assert state(world) == before


def test_a_champion_rests_on_the_gate_that_promoted_it(world):
    """Another promotion of the same candidate, by another gate, writes its evidence before the alias moves."""
    asked, other = world.gate("gpt2"), world.gate("gpt2", reasons=["another gate on the same model"])
    place = worker.place_of(world.client, world.root, world.state)

    def meddle(name, step):
        if name == "move champion":
            theirs = worker.request_of(other, None)
            candidate.attach(place, candidate.examine(place, theirs), state(world).versions[1], theirs)
        return step()

    with pytest.raises(ValueError, match="another promotion of v1 wrote down its own evidence meanwhile; run this one"):
        run(place, worker.request_of(asked, None), None, worker.nobody, meddle)
    assert state(world).champion is None
    assert promote(world, asked, None).word == "promoted"
    assert state(world).champion.tags[registry.GATE] == asked.gate


def test_a_policy_that_was_packaged_twice_is_the_version_that_serves(world):
    """Another package of the same policy serves than the one that was registered first."""
    promote(world, world.gate("gpt2"), None)
    promote(world, world.gate("qwen2", **against("gpt2")), 1)
    first = state(world).versions[1]
    tags = {**first.tags, registry.PACKAGE: "0" * 32 + ".dir"}
    world.client.create_model_version("toy", first.source, tags=tags)
    gate = registry_toy.gate_document("qwen2", **against("gpt2"))
    assert evidence.compared_version(gate, state(world)).number == 3, "the last one made"
    for serves in (1, 3):
        world.client.set_registered_model_alias("toy", "champion", str(serves))
        assert evidence.compared_version(gate, state(world)).number == serves


# --- the model itself ---


def test_other_logits_are_refused(world):
    outcome = promote(world, world.gate("gpt2"), None)
    asked = world.gate("qwen2", **against("gpt2"))
    for difference in (0.5, float("nan")):
        place = worker.place_of(world.client, world.root, world.state, verify=lambda *_: difference)
        outcome = run(place, worker.request_of(asked, 1), None, worker.nobody)
        assert outcome.word == "refused" and f"its logits differ by {difference:g}" in outcome.text
    found = state(world)
    assert found.champion.number == 1 and registry.VERIFIED not in found.versions[2].tags


def test_an_architecture_that_is_not_listed_never_gets_in(world):
    outcome = promote(world, world.gate("gpt2"), None, allowed_architectures=("LlamaForCausalLM",))
    assert outcome.word == "refused"
    assert "config.json names GPT2LMHeadModel, which promote.allowed_architectures" in outcome.text
    assert state(world).versions == {}


def test_a_package_that_dvc_has_lost(world, tmp_path):
    lost = registry_toy.toy.make_toy(tmp_path / "elsewhere")
    place = worker.place_of(world.client, world.root, world.state)
    place = type(place)(place.client, lost, place.state, place.config, place.verify)
    words = r"the package \w{32}.dir is neither in the DVC cache of .* nor in a remote; dvc push it"
    with pytest.raises(ValueError, match=words):
        run(place, worker.request_of(world.gate("gpt2"), None), None, worker.nobody)


def test_a_package_comes_from_a_remote_when_the_cache_has_lost_it(world, tmp_path):
    toy = registry_toy.toy
    clone = tmp_path / "clone"
    toy.command(tmp_path, "cp", "-a", str(world.root), str(clone))
    dvc = [toy.sys.executable, "-m", "dvc"]
    toy.command(clone, *dvc, "remote", "add", "-d", "empty", str(tmp_path / "empty"))
    toy.command(clone, *dvc, "remote", "add", "there", str(tmp_path / "remote"))
    toy.command(clone, *dvc, "push", "-q", "-r", "there")
    toy.shutil.rmtree(clone / ".dvc" / "cache")
    place = worker.place_of(world.client, world.root, world.state)
    place = type(place)(place.client, clone, place.state, place.config, place.verify)
    assert run(place, worker.request_of(world.gate("qwen2"), None), None, worker.nobody).word == "promoted"


def test_the_report_is_linked_where_people_look(world, monkeypatch):
    parent = world.client.search_runs(["1"], "tags.`plumb.kind` = 'flow'")[0]
    assert servers.mlflow_address() is None, "a store, of which no plumb up shows the pages"
    assert evidence._report(world.client, parent, None).endswith("/artifacts/report/report.html")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ada:secret@mlflow.example")
    link = evidence._report(world.client, parent, servers.mlflow_address())
    assert link.startswith("https://mlflow.example/#/experiments/1/runs/")
    assert link.endswith("/artifacts/artifacts/report/report.html")


@pytest.mark.parametrize("machines", ["one machine", "two machines"])
def test_two_promotions_at_once(world, tmp_path, machines):
    """Both compared with nobody: one becomes champion, the other is asked for a new gate."""
    asked = [world.gate("gpt2"), world.gate("qwen2")]
    states = [world.state, world.state if machines == "one machine" else tmp_path / "another"]
    context = worker.context()
    outcomes = context.Queue()
    workers = [
        context.Process(target=worker.promote_there, args=(world.uri, world.root, place, ask, None, None, outcomes))
        for place, ask in zip(states, asked, strict=True)
    ]
    for process in workers:
        process.start()
    words = sorted(outcomes.get(timeout=600).word for _ in workers)
    for process in workers:
        process.join(600)
    assert words == ["promoted", "refused"]
    found = state(world)
    loser = next(version for number, version in found.versions.items() if number != found.champion.number)
    assert "ask for a new gate" in loser.tags[registry.DECISION] and registry.PROMOTED not in loser.tags
    assert found.champion.replaces is None and found.tags == {}


def test_the_registered_model_is_loaded_and_compared_for_real(world):
    """Both processes with torch: one difference of zero, and one that is found."""
    from flows.serving.verifying import logit_difference

    place = worker.place_of(world.client, world.root, world.state, verify=logit_difference)
    assert run(place, worker.request_of(world.gate("gpt2"), None), None, worker.nobody).word == "promoted"
    assert float(state(world).champion.tags[registry.VERIFIED]) == 0.0
