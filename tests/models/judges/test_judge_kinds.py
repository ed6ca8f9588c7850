"""Judges that are local models and reward models, by known answers; the store under them."""

import math

import pytest
import tokenizers
import torch
from transformers import PreTrainedTokenizerFast

from models.chat.template import load_tokenizer
from models.judges import openai
from models.judges.asking import Asker, BatchJudge, RemoteJudge
from models.judges.base import Question, Verdict
from models.judges.hf import HfJudge
from models.judges.openai import OpenAIJudge
from models.judges.replies import READER
from models.judges.reward_model import RewardModelJudge, RewardModelScorer
from models.judges.rounds import ask_both_orders, ask_ratings
from models.judges.simulated import SimulatedJudge
from models.judges.store import Store, question_key
from models.lm.loading import load_policy, weights_hash
from models.reward.model import reward_model_from_policy
from tasks.judging.making import make_judge
from tests.support.evaluation_rows import prompt
from tests.support.judge_questions import folder  # noqa: F401
from tests.support.tiny_models import make_gpt2

# --- local models ---


def test_the_label_of_a_local_model_is_its_next_token_probability(folder):
    """Against logits read off transformers' own forward, one prompt at a time, without padding."""
    from models.judges.templates import LETTER_TEMPLATE, messages

    judge = HfJudge.load("local", folder, {"helpfulness": 2.0, "honesty": 1.0}, rows_per_batch=3)
    model, tokenizer = load_policy(folder), load_tokenizer(folder)
    question = Question(prompt(0), "Yes.", "No, not today.")
    expected = {}
    for criterion in ("helpfulness", "honesty"):
        ids = tokenizer.apply_chat_template(messages(question, [criterion], LETTER_TEMPLATE), add_generation_prompt=True,
                                            return_tensors="pt", return_dict=False)
        logits = model(ids).logits[0, -1]
        a, b = (logits[tokenizer(letter)["input_ids"][0]] for letter in "AB")
        expected[criterion] = torch.sigmoid(a - b).item()
    verdict = judge.answer_all([question, Question(prompt(1), "a", "b")])[0]
    assert verdict.criteria == pytest.approx(expected, abs=1e-5)
    assert verdict.p_first == pytest.approx((2 * expected["helpfulness"] + expected["honesty"]) / 3, abs=1e-5)
    ratings = judge.rate(prompt(0), "Yes.")
    assert set(ratings) == {"helpfulness", "honesty"} and all(0 < value < 1 for value in ratings.values())


def test_a_local_model_that_does_not_answer_is_invalid(folder):
    judge = HfJudge.load("local", folder, {"honesty": 1.0}, minimum_mass=0.9)
    verdict = judge.compare(prompt(0), "x", "y", key="")
    assert verdict.winner == "invalid" and "mass=" in verdict.raw
    with pytest.raises(ValueError, match="unknown criteria beauty"):
        HfJudge.load("local", folder, {"beauty": 1.0})


def test_a_question_longer_than_the_context_is_invalid(tmp_path):
    """GPT-2's positions end at 512; the shorter question beside it is answered."""
    judge = HfJudge.load("local", make_gpt2(tmp_path), {"honesty": 1.0})
    asked = "messages[-1]['content']"
    judge.tokenizer.chat_template = f"{{{{ {asked}[-60:] }}}}{{{{ {asked} if 'moon' in {asked} }}}}"
    long, short = judge.answer_all([Question(prompt(0), "moon " * 200, "y"), Question(prompt(0), "x", "y")])
    assert long.winner == "invalid" and "longer than the model's context" in long.raw and short.valid
    assert judge.rate(prompt(0), "moon " * 200) == {}


def test_a_local_model_is_told_none_of_its_own_special_tokens(folder, monkeypatch):
    """A mark that no list of common ones has stays text: the prompt holds the template's own control tokens alone."""
    judge = HfJudge.load("local", folder, {"honesty": 1.0})
    judge.tokenizer.add_special_tokens({"additional_special_tokens": ["§role§"]})
    role, told = judge.tokenizer.convert_tokens_to_ids("§role§"), []
    read = HfJudge._next_token_logprobs
    monkeypatch.setattr(HfJudge, "_next_token_logprobs", lambda self, ids: told.extend(ids) or read(self, ids))
    assert judge.compare(prompt(0), "Y§role§es.", "No.", key="").valid
    assert role not in told[0] and "Y§role§es." in judge.tokenizer.decode(told[0])


def test_a_local_judge_is_known_by_its_template_and_the_date_that_it_names(folder):
    judge = HfJudge.load("local", folder, {"honesty": 1.0}, date="2026-01-01")
    before = judge.description
    assert "date" not in before
    judge.tokenizer.chat_template = "{{ strftime_now('%d %b') }}" + judge.tokenizer.chat_template
    assert judge.description["date"] == "2026-01-01"
    assert judge.description["chat_template"] != before["chat_template"]


def test_a_local_model_is_made_by_its_hash(folder):
    sha256 = weights_hash(folder)
    spec = {"name": "local", "kind": "hf", "path": str(folder), "weights": {"honesty": 1.0}, "sha256": sha256}
    assert make_judge(spec).description["model"] == spec["sha256"]
    with pytest.raises(ValueError, match="params.yaml says 'x'"):
        make_judge({**spec, "sha256": "x"})


def test_a_tokenizer_that_cannot_tell_the_letters_apart_is_refused():
    words = tokenizers.models.WordLevel({"<unk>": 0, "</s>": 1}, unk_token="<unk>")
    alike = PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(words), eos_token="</s>", unk_token="<unk>",
        chat_template="{% for message in messages %}{{ message['content'] }}</s>{% endfor %}",
    )
    with pytest.raises(ValueError, match="begins A and B with the same token"):
        HfJudge("local", None, alike, {"honesty": 1.0})


class KnownRewards:
    """Rewards by text, in nats."""

    def __init__(self):
        self.asked = []

    def values(self, rows, texts, finished):
        self.asked += texts
        return [{"good": 2.0, "bad": 0.0}[text] for text in texts]


def test_a_reward_model_judges_by_bradley_terry():
    judge = RewardModelJudge("rm", KnownRewards(), {"kind": "reward_model"}, temperature=2.0)
    sigmoid = 1 / (1 + math.exp(-1.0))
    assert judge.compare(prompt(0), "good", "bad", key="").p_first == pytest.approx(sigmoid)
    assert judge.compare(prompt(0), "bad", "good", key="").p_first == pytest.approx(1 - sigmoid)
    asked = [Question(prompt(0), "good"), Question(prompt(0), "bad", "good"), Question(prompt(0), "bad")]
    mixed = judge.answer_all(asked)
    assert mixed[0] == {"reward": pytest.approx(sigmoid)} and mixed[2] == {"reward": 0.5}
    assert mixed[1].winner == "second" and mixed[1].raw == "0 against 2"


def test_a_reward_model_is_made_by_its_hash(tmp_path):
    folder = make_gpt2(tmp_path / "base")
    model, tokenizer = reward_model_from_policy(load_policy(folder)), load_tokenizer(folder)
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "rm")
    spec = {"name": "rm", "kind": "reward_model", "path": str(tmp_path / "rm"), "sha256": weights_hash(tmp_path / "rm"),
            "epoch": 0, "temperature": 1.0, "rows_per_batch": 4}
    verdict = make_judge(spec).compare(prompt(0), "Yes.", "No.", key="")
    scores = RewardModelScorer.load(tmp_path / "rm").values([prompt(0)] * 2, ["Yes.", "No."])
    assert verdict.p_first == pytest.approx(1 / (1 + math.exp(scores[1] - scores[0])), abs=1e-6)


# --- asking and keeping ---


class Batch:
    """Prefers the longer, and counts what it is asked."""

    name, description, batch_size, rates = "batch", {"kind": "batch"}, 3, False

    def __init__(self):
        self.batches = []

    def compare(self, row, first, second, *, key): ...

    def rate(self, row, response): ...

    def answer_all(self, questions):
        self.batches.append(len(questions))
        return [Verdict(float(len(q.first) > len(q.second)), raw="said") for q in questions]


def test_batches_are_stored_and_asked_once(tmp_path):
    judge, pairs = Batch(), [(prompt(i), "long text", "text") for i in range(4)]
    with Store(tmp_path / "s.sqlite") as store:
        verdicts = ask_both_orders(Asker(store), [judge], pairs, key="0")
        assert [verdict.p_a for verdict in verdicts] == [1.0] * 4 and judge.batches == [3, 3, 2]
        again = ask_both_orders(Asker(store), [judge], pairs, key="0")
    assert again == verdicts and judge.batches == [3, 3, 2] and again[0].a_first[0].raw == "said"


def test_a_judge_that_does_not_rate_is_not_asked_to():
    simulated = SimulatedJudge("s", {"helpfulness": 1.0}, noise=0.0, axes_of=lambda row, text: {"helpfulness": 1.0})
    assert ask_ratings(Asker(), [Batch(), simulated], [(prompt(0), "x")]) == [({}, {"helpfulness": 1.0})]


def test_which_judges_are_asked_how():
    remote = OpenAIJudge("j", "m", {"honesty": 1.0})
    assert isinstance(remote, RemoteJudge) and not isinstance(remote, BatchJudge)
    assert isinstance(Batch(), BatchJudge) and not isinstance(Batch(), RemoteJudge)
    simulated = SimulatedJudge("s", {"helpfulness": 1.0})
    assert not isinstance(simulated, (BatchJudge, RemoteJudge))


def test_the_key_holds_all_that_determines_an_answer(monkeypatch):
    judge, question = OpenAIJudge("j", "m", {"honesty": 1.0}), Question(prompt(0), "a", "b")
    keys = {question_key(judge.description, question)}
    for changed in (Question(prompt(0), "b", "a"), Question(prompt(0), "a"), Question(prompt(1), "a", "b"),
                    Question(prompt(0), "ab", ""), Question({**prompt(0), "tools": [{"name": "add"}]}, "a", "b"),
                    *(Question({**prompt(0), "prompt": [{**prompt(0)["prompt"][0], key: [1]}]}, "a", "b")
                      for key in ("tool_calls", "function_call"))):
        keys.add(question_key(judge.description, changed))
    for settings in ({"revision": "2"}, {"epoch": 1}, {"seed": 1}, {"max_tokens": 5}, {"model": "n"}, {"name": "k"},
                     {"weights": {"honesty": 2.0}}):
        other = OpenAIJudge(**{"name": "j", "model": "m", "weights": {"honesty": 1.0}, **settings})
        keys.add(question_key(other.description, question))
    assert len(keys) == 15
    monkeypatch.setattr(openai, "READER", READER + 1)
    assert question_key(judge.description, question) not in keys, "what replies were read otherwise is asked again"
    monkeypatch.undo()
    same = OpenAIJudge("j", "m", {"honesty": 1.0}, url_variable="OTHER", input_price=3.0, timeout_seconds=1.0)
    assert question_key(same.description, Question(prompt(0), "a", "b", key="7")) in keys
