"""Looks at the gate's prompts, counted by what MLflow recorded: which are spent, on whom, and what is free."""

import pytest
from mlflow import MlflowClient

from flows.history import looks
from tests.support.mlflow_store import empty_store


@pytest.fixture()
def client(tmp_path):
    return MlflowClient(empty_store(tmp_path / "mlflow.db"))


def gate(candidate, look=1, part=0, sets=1, of=2):
    asked = {"set": part, "sets": sets, "look": look, "looks": of}
    return {"candidate_hash": candidate * 8, "set": asked}


def logged(client, document, complete="true"):
    names = [one.name for one in client.search_experiments()]
    experiment = client.create_experiment("gates") if "gates" not in names else None
    experiment = experiment or client.get_experiment_by_name("gates").experiment_id
    tags = {"plumb.stage": "gate", "plumb.complete": complete, looks.CANDIDATE: document["candidate_hash"]}
    client.create_run(experiment, tags={**tags, **looks.tags("toy", document)})


def test_a_free_look_is_nobodys(client):
    assert looks.objection(client, "toy", gate("ab")) is None and looks.next_look(client, "toy 1/1") == 1
    logged(client, gate("ab"))
    assert looks.objection(client, "toy", gate("ab")) is None, "the same candidate, gated again, looks no second time"
    assert looks.next_look(client, "toy 1/1") == 2


def test_a_spent_look_names_who_took_it_and_what_is_free(client):
    logged(client, gate("ab"))
    said = looks.objection(client, "toy", gate("cd"))
    assert said == ("look 1 at the gate's prompts (part 1 of 1) was spent on candidate abababababab; "
                    "gate again with gate.look=2")
    logged(client, gate("cd"))
    assert looks.objection(client, "toy", gate("ab")) is None, "the first to look keeps it"
    logged(client, gate("cd", look=2))
    assert looks.objection(client, "toy", gate("cd", look=2)) is None
    assert "more gate.sets are needed" in looks.objection(client, "toy", gate("ef", look=2))


def test_other_prompts_are_another_account(client):
    logged(client, gate("ab", part=0, sets=2, of=1))
    assert looks.objection(client, "toy", gate("cd", part=1, sets=2, of=1)) is None
    assert "take the next prompts with gate.set=1" in looks.objection(client, "toy", gate("cd", part=0, sets=2, of=1))


def test_a_run_that_was_cut_off_took_no_look(client):
    logged(client, gate("ab"), complete="false")
    assert looks.objection(client, "toy", gate("cd")) is None


def test_a_gate_that_does_not_say_is_not_counted():
    assert looks.tags("toy", {"verdict": "promote"}) == {}
    assert looks.objection(None, "toy", {"verdict": "promote"}) is None


def test_retraining_takes_the_next_look_and_keeps_its_own(client):
    """ab took look 1; cd is gated at look 1, told to take 2, and told so again after a kill; ef finds no look left."""
    logged(client, gate("ab"))
    assert looks.other_look(client, "toy", gate("ab")) is None
    logged(client, gate("cd"))
    assert looks.other_look(client, "toy", gate("cd")) == {"gate.set": 0, "gate.look": 2}
    logged(client, gate("cd", look=2))
    assert looks.other_look(client, "toy", gate("cd")) == {"gate.set": 0, "gate.look": 2}
    assert looks.other_look(client, "toy", gate("cd", look=2)) is None
    assert looks.other_look(client, "toy", gate("ef")) is None, "promotion will say that all looks are spent"
    assert looks.other_look(client, "toy", gate("ef", sets=2)) is None, "other prompts have looks of their own"
    logged(client, gate("ab", sets=2, of=1))
    assert looks.other_look(client, "toy", gate("ef", sets=2, of=1)) == {"gate.set": 1, "gate.look": 1}
