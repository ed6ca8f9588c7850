"""A response that was cut at the longest answer has no end: one rule for training, scoring and judging."""

import pytest
import torch

from models.chat.template import encode_example, load_tokenizer, stop_ids
from models.judges.asking import Asker
from models.judges.base import Question
from models.judges.reward_model import RewardModelJudge, RewardModelScorer
from models.judges.rounds import ask_both_orders, ask_ratings
from models.judges.store import Store, question_key
from models.lm.loading import load_policy
from models.reward.model import reward_model_from_policy
from models.reward.scoring import score
from tasks import dpo, monitors
from tasks.answering.sampling import response_sums
from tasks.compare import given_row
from tasks.scoring.scorer import score_answers, score_pool, score_second_turns
from tasks.training.reward_model import tokenise
from tests.support.evaluation_rows import config
from tests.support.tiny_models import make_gpt2, make_qwen2

PROMPT = {"id": "p", "root": "r", "category": "reasoning", "prompt": [{"role": "user", "content": "What is two?"}]}
LONG, SHORT = "It is two and then some more of", "It is two."
COMPARISON = {
    **PROMPT, "chosen": [{"role": "assistant", "content": LONG}], "chosen_finished": False,
    "rejected": [{"role": "assistant", "content": SHORT}], "rejected_finished": True, "score_gap": 0.0,
}


@pytest.fixture(scope="module", params=[make_gpt2, make_qwen2], ids=["gpt2", "qwen2"])
def scorer(request, tmp_path_factory):
    folder = request.param(tmp_path_factory.mktemp("base"))
    return RewardModelScorer(reward_model_from_policy(load_policy(folder), seed=1), load_tokenizer(folder))


def ends(tokenizer, ids):
    return ids[-1] in stop_ids(tokenizer)


def sampled(tokenizer, text, finished):
    """(ids of the prompt, ids of the response) as the sampler would have drawn them."""
    prompt, whole = encode_example(tokenizer, [*PROMPT["prompt"], {"role": "assistant", "content": text}])
    return prompt, whole if finished else whole[:-1]


def rewards(scorer, *responses):
    """What PPO and best-of-n give sampled (text, finished): prompt and response joined, nothing appended."""
    pairs = [sampled(scorer.tokenizer, *response) for response in responses]
    return score(scorer.model, [[*prompt, *response] for prompt, response in pairs], 8).tolist()


def test_training_rows_end_where_the_response_does(scorer):
    pair = dpo.tokenise([COMPARISON], scorer.tokenizer)[0]
    assert not ends(scorer.tokenizer, pair["chosen_ids"]) and ends(scorer.tokenizer, pair["rejected_ids"])
    assert scorer.tokenizer.decode(pair["chosen_ids"]) == LONG
    pair = tokenise([COMPARISON], scorer.tokenizer, use_margin=False)[0]
    assert not ends(scorer.tokenizer, pair["chosen_ids"]) and ends(scorer.tokenizer, pair["rejected_ids"])


def test_what_people_wrote_is_whole(scorer):
    human = {key: value for key, value in COMPARISON.items() if not key.endswith("_finished")}
    for row in (human, given_row(human)):
        pair = dpo.tokenise([row], scorer.tokenizer)[0]
        assert ends(scorer.tokenizer, pair["chosen_ids"]) and ends(scorer.tokenizer, pair["rejected_ids"])


def test_every_score_is_that_of_the_tokens_that_were_sampled(scorer):
    """PPO, best-of-n, evaluation, the pool, a second turn: the same number for the same response, cut or not."""
    whole, cut = rewards(scorer, (LONG, True), (LONG, False))
    assert whole != pytest.approx(cut, rel=1e-3)
    rows = [{"prompt_id": "p", "index": i, "response": LONG, "tokens": 9, "finished": i == 0, "proxy": 0.0,
             "logprob": 0.0} for i in range(2)]
    expected = pytest.approx([whole, cut], rel=1e-5)
    scored = score_answers("sft", rows, {"p": PROMPT}, scorer, scorer)
    assert [row["gold"] for row in scored] == expected and [row["proxy"] for row in scored] == expected
    assert score_pool(rows, {"p": PROMPT}, scorer)["gold"][0].tolist() == expected
    scored = score_second_turns([(_second_turn(), row) for row in rows], scorer)
    assert [row["gold"] for row in scored] != [whole, whole]


def _second_turn():
    turns = [{"role": "assistant", "content": SHORT}, {"role": "user", "content": "Are you sure?"}]
    return {**PROMPT, "id": "p/second", "prompt": [*PROMPT["prompt"], *turns]}


def test_a_reward_model_judges_what_was_sampled(scorer, tmp_path):
    """In both orders and in ratings; its stored verdicts tell a cut response from one that ends there."""
    whole, cut = rewards(scorer, (SHORT, True), (LONG, False))
    judge = RewardModelJudge("rm", scorer, {"kind": "reward_model", "name": "rm"})
    p_cut = float(torch.sigmoid(torch.tensor(cut - whole)))
    with Store(tmp_path / "answers.sqlite") as store:
        (verdict,) = ask_both_orders(
            Asker(store), [judge], [(PROMPT, LONG, SHORT)], key="0", finished=[(False, True)])
        assert verdict.a_first[0].p_first == pytest.approx(p_cut, rel=1e-4)
        assert verdict.a_second[0].p_first == pytest.approx(1 - p_cut, rel=1e-4)
        (again,) = ask_both_orders(Asker(store), [judge], [(PROMPT, LONG, SHORT)], key="0")
        assert again.a_first[0].p_first != pytest.approx(p_cut, rel=1e-4)
        ratings = ask_ratings(Asker(store), [judge], [(PROMPT, LONG), (PROMPT, LONG)], [False, True])
    assert ratings[0][0]["reward"] == pytest.approx(float(torch.sigmoid(torch.tensor(cut))), rel=1e-4)
    assert ratings[0] != ratings[1]


def test_a_judge_of_texts_is_not_asked_anew_for_what_it_cannot_see():
    """Answers that were paid for before stay known: the key of a judge that reads texts does not say who was cut."""
    texts = {"kind": "openai", "name": "remote"}
    keys = {question_key(texts, Question(PROMPT, LONG, SHORT, finished=ends)) for ends in ((True, True), (False, True))}
    assert len(keys) == 1


def test_displacement_is_measured_on_what_was_sampled(tmp_path):
    base = make_gpt2(tmp_path)
    measured = monitors.measure_likelihoods(config("monitors"), base, base, [], [COMPARISON])
    tokenizer, policy = load_tokenizer(base), load_policy(base)
    prompt, response = sampled(tokenizer, LONG, False)
    assert measured.chosen == pytest.approx(response_sums(policy, [prompt], [response], 1.0, 8))
