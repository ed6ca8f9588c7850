"""Back to the version before, once, and never forward again by the same evidence."""

import re

import pytest

from flows.history import registry
from tests.support import promotion_worker as worker
from tests.support.promotion_worker import back, promote, promoted_twice, state
from tests.support.registry_toy import against, project, world  # noqa: F401  fixtures

pytestmark = pytest.mark.services  # processes and pages by the dozen: `make test-services`


def test_a_rollback_returns_to_the_replaced_version_and_spends_the_evidence(world):
    _, second = promoted_twice(world)
    outcome = back(world)
    assert outcome.version == 1
    assert outcome.text.startswith("toy: champion is v1 again, v2 is marked as rolled back")
    assert second.gate[:12] in outcome.text
    found = state(world)
    assert found.aliases == {"champion": 1} and found.tags == {}
    assert registry.ROLLED_BACK in found.versions[2].tags and found.versions[2].spent_gates == [second.gate]
    outcome = promote(world, second, 1)
    assert outcome.word == "refused" and "rolled back; ask for a new gate" in outcome.text
    assert state(world).champion.number == 1


def test_new_evidence_promotes_a_version_that_was_rolled_back(world):
    _, second = promoted_twice(world)
    back(world)
    third = world.gate("qwen2", **against("gpt2", reasons=["on other prompts"]))
    assert promote(world, third, 1).word == "promoted"
    version = state(world).champion
    assert version.number == 2 and registry.ROLLED_BACK not in version.tags
    assert version.tags[registry.GATE] == third.gate
    assert version.spent_gates == [second.gate], "the old gate stays spent"
    back(world)
    assert state(world).versions[2].spent_gates == [second.gate, third.gate]


def test_rolling_back_step_by_step_ends_at_the_first(world):
    promoted_twice(world)
    back(world)
    with pytest.raises(ValueError, match="v1 is the first champion of toy: there is no version to return to"):
        back(world)


def test_a_rollback_to_a_version_that_was_rolled_back_itself_must_be_named(world):
    promoted_twice(world)
    back(world)
    # v1 again, over v2, which was rolled back: v2 promoted anew, then v1 anew.
    promote(world, world.gate("qwen2", **against("gpt2", reasons=["b"])), 1)
    promote(world, world.gate("gpt2", **against("qwen2", reasons=["c"])), 2)
    back(world)
    assert state(world).champion.number == 2
    with pytest.raises(ValueError, match="v2 replaced v1, which was rolled back itself on .*plumb rollback --to vN"):
        back(world)
    assert back(world, 1).version == 1
    assert registry.ROLLED_BACK not in state(world).champion.tags


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (3, "v3 of toy does not exist"),
        (2, "v2 of toy was never champion; only a gate can promote it"),
        (1, "v1 is champion already"),
    ],
)
def test_a_rollback_leads_to_earlier_champions_only(world, target, words):
    promote(world, world.gate("gpt2"), None)
    promote(world, world.gate("qwen2"), None)
    with pytest.raises(ValueError, match=words):
        back(world, target)


def test_a_rollback_of_nothing(world):
    with pytest.raises(ValueError, match="no model 'toy' is registered in MLflow, so there is nothing to roll back"):
        back(world)
    registry.ensure_model(world.client, "toy")
    with pytest.raises(ValueError, match="toy has no champion"):
        back(world)


def test_an_interrupted_rollback_is_finished_before_anything_else_is_promoted(world):
    _, second = promoted_twice(world)
    world.client.set_registered_model_tag("toy", registry.JOURNAL, "v2 to v1")
    again = world.gate("qwen2", **against("gpt2", reasons=["new"]))
    outcome = promote(world, again, 1)
    assert outcome.text == "a rollback of toy was interrupted (v2 to v1); finish it: plumb rollback"
    assert back(world).version == 1
    world.client.set_registered_model_tag("toy", registry.JOURNAL, "v2 to v1")
    assert back(world).version == 1, "it had moved already: nothing is rolled back twice"
    world.client.set_registered_model_tag("toy", registry.JOURNAL, "v8 to v9")
    with pytest.raises(ValueError, match="first champion"):
        back(world)


def test_a_rollback_that_was_killed_after_it_had_moved_keeps_no_promotion_out(world):
    """Else that would be refused, remembered as decided, and not tried again once the rollback is finished."""
    _, second = promoted_twice(world)
    back(world)
    world.client.set_registered_model_tag("toy", registry.JOURNAL, "v2 to v1")
    assert promote(world, world.gate("qwen2", **against("gpt2", reasons=["new"])), 1).word == "promoted"
    found = state(world)
    assert found.champion.number == 2 and found.tags == {} and found.champion.spent_gates == [second.gate]


def test_two_rollbacks_at_once_are_one(world):
    """Both saw v2 serve; the second would otherwise go on to what v1 replaced."""
    promoted_twice(world)
    context = worker.context()
    outcomes = context.Queue()
    arguments = (world.uri, world.root, world.state, outcomes)
    workers = [context.Process(target=worker.take_back_and_tell, args=arguments) for _ in range(2)]
    for process in workers:
        process.start()
    done, refused = sorted((outcomes.get(timeout=600) for _ in workers), key=lambda text: "is v1 again" not in text)
    for process in workers:
        process.join(600)
    assert state(world).champion.number == 1
    assert done.startswith("toy: champion is v1 again")
    assert re.match("champion was v2 and is v1 by now: somebody else was quicker|v1 is the first champion", refused)


def test_a_champion_that_changed_while_a_rollback_waited_is_left_alone(world, monkeypatch):
    from flows.serving import rollback

    promoted_twice(world)
    taken = rollback.hold

    def hold_late(*arguments):
        monkeypatch.setattr(rollback, "hold", taken)
        back(world)
        return taken(*arguments)

    monkeypatch.setattr(rollback, "hold", hold_late)
    with pytest.raises(ValueError, match="champion was v2 and is v1 by now: somebody else was quicker"):
        back(world)
    assert state(world).champion.number == 1
