"""When a retraining would only repeat what was decided, and what is remembered of it."""

from dataclasses import replace

import pytest

from flows.graph import stage_inputs
from flows.history import experiments
from flows.history.recorded import MADE_FROM
from flows.history.registry import moment
from flows.schedule import decisions
from flows.schedule.decisions import Decision, Remembered
from tasks.config.service import PromoteConfig
from tests.support.mlflow_store import empty_store

PROMOTED = Decision(
    "promoted", "toy: v2 is champion", "inputs", "old.dir", "c0ffee", "promote", "candidate", "new.dir", "gate", "align"
)


def open_question(run):
    raise AssertionError("nobody was asked")


def made(decision, at=1000):
    return Remembered(decision, f"run-{at}", at)


@pytest.mark.parametrize(
    ("champion", "found"),
    [
        ("old.dir", True),  # rolled back: the same comparison
        ("new.dir", True),  # what came out of it serves
        ("third.dir", False),  # somebody else: another comparison
        ("none", False),
    ],
)
def test_the_same_inputs_are_decided_once_for_each_champion(champion, found):
    assert bool(decisions.same([made(PROMOTED)], "inputs", champion)) == found


def test_other_inputs_and_looks_that_found_nothing_decide_nothing():
    assert decisions.same([made(replace(PROMOTED, inputs="others"))], "inputs", "old.dir") is None
    noop = decisions.nothing_new(made(PROMOTED), "inputs", "old.dir", "c0ffee", open_question)
    assert not noop.decided and decisions.same([made(noop)], "inputs", "old.dir") is None


def test_the_latest_of_two():
    assert decisions.same([made(PROMOTED, 1), made(PROMOTED, 3), made(PROMOTED, 2)], "inputs", "old.dir").at == 3


def test_the_reason_names_the_run_and_how_it_ended():
    noop = decisions.nothing_new(made(PROMOTED, 1_700_000_000_000), "inputs", "old.dir", "c0ffee", open_question)
    assert noop.outcome == "nothing new"
    assert noop.reason == (
        "data, code and params are those of run run-17000000, which was promoted "
        "(2023-11-14T22:13:20Z, verdict promote)"
    )


def inputs(**changes):
    stages = {"train": {"cmd": "python train.py", "params": {"lr": 0.1}}}
    return {"stages": stages, "files": {"train.py": "1", "data/champion": "2"}} | changes


def test_data_code_and_params_are_the_key_and_the_champion_is_not():
    key = stage_inputs.inputs_hash(inputs())
    assert stage_inputs.inputs_hash(inputs(files={"train.py": "1", "data/champion": "3"})) == key
    assert stage_inputs.inputs_hash(inputs(files={"train.py": "9", "data/champion": "2"})) != key
    assert stage_inputs.inputs_hash(inputs(stages={"train": {"cmd": "python train.py", "params": {"lr": 0.2}}})) != key
    assert stage_inputs.inputs_hash(inputs(stages={"train": {"cmd": "python train.py -v", "params": {"lr": 0.1}}})) != key


@pytest.fixture()
def store(tmp_path, monkeypatch):
    """A sqlite store, and MLflow's client of it."""
    import mlflow
    from mlflow import MlflowClient

    uri = empty_store(tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    client = MlflowClient(uri)
    client.create_experiment("toy", artifact_location=tmp_path.as_uri())
    return uri, client


def test_what_mlflow_remembers(store):
    uri, client = store
    assert decisions.in_words(decisions.latest(uri, "toy"), open_question) == ["no retraining yet"]
    run = decisions.remember(client, "toy", PROMOTED, "0123456789")
    (found,) = decisions.on_inputs(client, "toy", "inputs")
    assert found.decision == PROMOTED and found.run_id == run
    assert decisions.on_inputs(client, "toy", "others") == [] == decisions.on_inputs(client, "nowhere", "inputs")
    noop = decisions.nothing_new(found, "inputs", "new.dir", "c0ffee", open_question)
    decisions.remember(client, "toy", noop, "9876543210")
    newest = decisions.latest(uri, "toy")
    assert [one.decision.outcome for one in newest] == ["nothing new", "promoted"]
    lines = decisions.in_words(newest, open_question)
    assert lines[0] == f"last retraining: promoted on {moment(found.at / 1000)}, verdict promote: toy: v2 is champion"
    assert lines[1].startswith("looked again on ") and lines[1].endswith(": nothing new")


def test_decisions_are_found_after_the_project_was_moved_twice(store, tmp_path):
    """Its experiment goes on under the same name, and the ones before are linked by a tag alone: a person renamed one."""
    uri, client = store
    decisions.remember(client, "toy", PROMOTED, "0123456789")
    client.create_experiment("others", artifact_location=tmp_path.as_uri())
    decisions.remember(client, "others", replace(PROMOTED, reason="of another project"), "0123456789")
    for name in ("before", "long before"):
        old = client.get_experiment_by_name("toy").experiment_id
        client.rename_experiment(old, name)
        new = client.create_experiment("toy", tmp_path.as_uri(), tags={experiments.MOVED_FROM: old})
        client.set_experiment_tag(old, experiments.MOVED_TO, new)
        (found,) = decisions.on_inputs(client, "toy", "inputs")
        assert found.decision == PROMOTED
        assert [one.decision for one in decisions.latest(uri, "toy")] == [PROMOTED]


BEGUN = Decision("", "", "inputs", "new.dir", "c0ffee")


def test_a_champion_whose_promotion_was_not_written_down(store):
    """Killed between the promotion and its writing: the run of align that made the champion names the retraining."""
    uri, client = store
    align = client.create_run(client.get_experiment_by_name("toy").experiment_id).info.run_id
    assert decisions.of_champion(client, BEGUN, align, "made") is None
    decisions.mark(client, align, "made", "0123456789")
    assert decisions.of_champion(client, BEGUN, align, "others") is None
    decision = decisions.of_champion(client, BEGUN, align, "made")
    assert decision.outcome == "promoted" and decision.decided
    assert decisions.same([made(decision)], "inputs", "new.dir").decision == decision
    assert decisions.latest(uri, "toy") == [], "a run of align is no retraining"
    decisions.remember(client, "named since", replace(decision, inputs="with other rules of promotion"), "0123456789")
    assert decisions.of_champion(client, BEGUN, align, "made").outcome == "nothing new", "it is written down"


def test_a_champion_that_was_promoted_by_hand_is_not_made_again(store):
    _, client = store
    align = client.create_run(client.get_experiment_by_name("toy").experiment_id).info.run_id
    assert decisions.of_champion(client, BEGUN, "", "made") is None
    assert decisions.of_champion(client, BEGUN, align, "made") is None
    client.set_tag(align, MADE_FROM, "made")
    assert decisions.of_champion(client, BEGUN, align, "others") is None
    decision = decisions.of_champion(client, BEGUN, align, "made")
    assert (decision.outcome, decision.decided) == ("nothing new", False) and align[:12] in decision.reason


def test_a_killed_writing_is_no_decision(store):
    """It counts once its run is finished."""
    uri, client = store
    run = decisions.remember(client, "toy", PROMOTED, "0123456789")
    client.update_run(run, status="RUNNING")
    assert decisions.on_inputs(client, "toy", "inputs") == [] and decisions.latest(uri, "toy") == []


def test_no_secret_in_a_decision(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-0123456789")
    leaking = replace(PROMOTED, reason="401 for sk-planted-0123456789")
    assert "planted" not in str(leaking.tags()) + decisions.as_markdown(leaking)


RULES = PromoteConfig(
    model_name="toy", policy="automatic", approval_hours=1.0, allowed_architectures=("GPT2LMHeadModel",),
    logit_tolerance=0.0,
)  # fmt: skip
OTHER_RULES = [
    {"model_name": "other"}, {"policy": "approval"}, {"approval_hours": 2.0},
    {"allowed_architectures": ("Qwen2ForCausalLM",)}, {"logit_tolerance": 0.1},
]  # fmt: skip


def test_every_param_of_the_promotion_is_in_the_key():
    """No stage reads them: the same inputs under another name, or another policy, are another decision."""
    assert {name for change in OTHER_RULES for name in change} == set(PromoteConfig.model_fields)
    keys = {decisions.key("inputs", RULES.model_copy(update=change)) for change in OTHER_RULES}
    keys |= {decisions.key("inputs", RULES), decisions.key("others", RULES)}
    assert len(keys) == len(OTHER_RULES) + 2 and decisions.key("inputs", RULES.model_copy()) in keys


# --- what became of a question ---

ASKED = replace(PROMOTED, outcome="asked", reason="a person must agree: URL", asked="run-1", model="toy")


def last_line(store, ending=None):
    uri, _ = store
    return decisions.in_words(decisions.latest(uri, "toy"), lambda run: ending)[0]


def test_a_question_is_open_until_its_run_has_ended(store):
    _, client = store
    decisions.remember(client, "toy", ASKED, "0123456789")
    assert last_line(store).endswith("verdict promote: a person must agree: URL")
    said = last_line(store, "Failed: no dvc.yaml; nobody is asked any more")
    assert "must agree" not in said and said.endswith("verdict promote: Failed: no dvc.yaml; nobody is asked any more")


@pytest.mark.parametrize(
    ("answer", "ending", "said"),
    [
        ("Promoted: toy: v2 is champion", None, "Promoted: toy: v2 is champion"),
        ("", "Failed: nobody answered; plumb retrain --force asks again", "nobody answered; plumb retrain --force"),
        ("", None, "a person must agree: URL"),
    ],
)
def test_nothing_new_after_a_question_says_what_became_of_it(answer, ending, said):
    asked = replace(ASKED, answer=answer)
    assert asked.unanswered == (not answer) and not PROMOTED.unanswered
    noop = decisions.nothing_new(made(asked), "inputs", "old.dir", "c0ffee", lambda run: ending)
    assert "which was asked (" in noop.reason and said in noop.reason


def test_it_is_written_down_where_no_align_made_the_experiment(store):
    """The experiment was renamed in params.yaml: the champion serves already, and no stage is run."""
    uri, client = store
    decisions.remember(client, "renamed", PROMOTED, "0123456789")
    assert [one.decision for one in decisions.latest(uri, "renamed")] == [PROMOTED]


def test_an_answer_is_written_on_the_retraining_that_asked_and_on_no_other(store):
    _, client = store
    others = [replace(ASKED, **other) for other in ({"gate": "another"}, {"model": "another"}, {"outcome": "promoted"})]
    for decision in (*others, ASKED):
        decisions.remember(client, "toy", decision, "0123456789")
    decisions.answered(client, "toy", ASKED.gate, "Promoted: toy: v1 is champion")
    assert last_line(store).endswith("verdict promote: Promoted: toy: v1 is champion")
    answers = [one.decision.answer for one in decisions.on_inputs(client, "toy", "inputs")]
    assert sorted(answers) == ["", "", "", "Promoted: toy: v1 is champion"]
