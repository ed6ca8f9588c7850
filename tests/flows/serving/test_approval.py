"""A person's word: asked for once, kept, and no more than a word."""

import json

import pytest

from flows.history import registry
from flows.serving.approval import Approval
from tests.support.promotion_worker import promote, promoted_twice, state
from tests.support.registry_toy import against, project, world  # noqa: F401  fixtures

pytestmark = pytest.mark.services  # processes and pages by the dozen: `make test-services`


def test_an_approval_is_asked_for_once_and_kept(world):
    asked, questions = world.gate("gpt2"), []

    def yes(found, version):
        questions.append((found.gate["verdict"], version.number))
        return Approval(True, "looks good", "ada")

    assert promote(world, asked, None, ask=yes, policy="approval").word == "promoted"
    assert questions == [("promote", 1)]
    kept = json.loads(state(world).champion.tags[registry.APPROVAL])
    assert (kept["approve"], kept["comment"], kept["by"], kept["gate"]) == (True, "looks good", "ada", asked.gate)
    assert promote(world, asked, None, policy="approval").word == "promoted", "nobody is asked again"


def test_no_means_no_until_somebody_says_yes(world):
    asked = world.gate("gpt2")
    outcome = promote(world, asked, None, ask=lambda *_: Approval(False, "too harsh", "ada"), policy="approval")
    assert outcome.word == "refused" and outcome.text == "v1 was declined by ada: too harsh"
    assert state(world).champion is None
    assert promote(world, asked, None, policy="approval").text == outcome.text, "nobody is asked again"
    yes = Approval(True, "on second thought", "bob")
    assert promote(world, asked, None, given=yes, policy="approval").word == "promoted"


def test_promoted_after_all_it_is_no_longer_said_to_be_refused(world):
    """v1 served before, so its promotion is an old one; a no and a yes later, it serves again."""
    promoted_twice(world)
    asked = world.gate("gpt2", **against("qwen2"))
    assert promote(world, asked, 2, Approval(False), policy="approval").word == "refused"
    assert promote(world, asked, 2, Approval(True), policy="approval").word == "promoted"
    found = state(world).champion
    assert found.number == 1 and found.tags[registry.DECISION] == "promoted"


def test_another_gate_is_another_question(world):
    promote(world, world.gate("gpt2"), None, ask=lambda *_: Approval(False), policy="approval")
    again = world.gate("gpt2", reasons=["more prompts"])
    assert promote(world, again, None, ask=lambda *_: Approval(True), policy="approval").word == "promoted"


def test_another_promotion_while_an_approval_is_pending(world):
    promote(world, world.gate("gpt2"), None)
    slow = world.gate("qwen2", **against("gpt2"))

    def yes_but_late(found, version):
        # Meanwhile champion v1 is promoted away: by another gate, for the same candidate packaged by another run.
        fast = world.gate("gpt2", **against("gpt2", reasons=["x"]))
        assert promote(world, fast, 1).word == "promoted"
        client = world.client
        entity = client.create_model_version("toy", "file:///nowhere")
        client.set_registered_model_alias("toy", "champion", entity.version)
        return Approval(True)

    outcome = promote(world, slow, 1, ask=yes_but_late, policy="approval")
    assert outcome.text == "champion is v3, but v2 was compared with v1; ask for a new gate"
