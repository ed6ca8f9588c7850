"""The evaluate stage on hand-made answers with a known order of models."""

import json

import numpy as np
import pytest

from models.chat.template import load_tokenizer
from models.lm.loading import load_policy, save_policy
from models.monitors import diversity
from models.monitors.text import words
from models.reward.model import reward_model_from_policy
from models.statistics.overoptimisation import chosen_kl
from tasks import evaluate as stage
from tasks.artifacts.entrants import MODELS, ORDER, entrant
from tasks.common.errors import DataError
from tasks.common.rows import read_jsonl, write_jsonl
from tasks.evaluation.overoptimisation import over_optimisation
from tasks.gold import gold as gold_stage
from tasks.scoring.left_out import sentence
from tasks.select import select
from tests.support.evaluation_rows import GOOD, HARSH, PLAIN, REFUSAL, WRONG, answer, config, harmful, lookalike, prompt
from tests.support.tiny_models import make_gpt2

TEXTS = {"base": HARSH, "sft": WRONG, "dpo": PLAIN, "ppo": GOOD, "best_of_n": PLAIN}
TEDDY = [{"role": "user", "content": "Can I wash my teddy bear?"}]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A tiny base and a reward model on its shape."""
    folder = tmp_path_factory.mktemp("models")
    base = make_gpt2(folder / "base")
    save_policy(reward_model_from_policy(load_policy(base)), load_tokenizer(base), folder / "reward", base=base, start=base)
    return base, folder / "reward"


def rows_of_prompts():
    rows = [prompt(i) for i in range(20)] + [harmful(i) for i in range(20, 26)] + [lookalike(i) for i in range(26, 30)]
    return [{**rows[0], "kind": "care", "polarity": "yes", "prompt": TEDDY}, *rows[1:]]


def write_inputs(folder, prompts, texts=TEXTS):
    write_jsonl(folder / "prompts.jsonl", prompts)
    for name, text in texts.items():
        rows = [answer(row, text) for row in prompts]
        if name == "ppo":
            rows += [answer(row, PLAIN, checkpoint="step-100") for row in prompts]
            rows += [answer(row, PLAIN, checkpoint="step-20") for row in prompts]
        if name == "best_of_n":
            rows = [{key: value for key, value in row.items() if key != "logprob_sft"} for row in rows]
        write_jsonl(folder / name / "answers.jsonl", rows)
    pool = [
        answer(row, text, index, proxy=float(index))
        for row in prompts
        for index, text in enumerate((HARSH, WRONG, PLAIN, GOOD))
    ]
    write_jsonl(folder / "best_of_n" / "pool.jsonl", pool)


def run(folder, models, out="out", **changes):
    base, reward = models
    gold_stage(config("gold"), base, folder / "none", folder / "gold", folder)
    cfg = config("evaluate", resamples=200, **changes)
    answers = {name: folder / name for name in ORDER if name != "best_of_n"}
    if not (folder / "champion").exists():
        write_jsonl(folder / "champion" / "answers.jsonl", [])
    return stage.evaluate(cfg, base, folder / "gold", reward, folder / "prompts.jsonl", answers, folder / "best_of_n",
                          folder / out)


def test_document(tmp_path, models):
    write_inputs(tmp_path, rows_of_prompts())
    document = run(tmp_path, models)
    json.dumps(document, allow_nan=False)
    assert document["models"]["ppo"]["adversarial"]["lookalike"]["share"] == 1.0
    golds = [document["models"][name]["gold"]["mean"] for name in ("base", "sft", "dpo", "ppo")]
    assert golds == sorted(golds) and document["prompts"] == document["roots"] == 30
    dpo = document["versus_sft"]["dpo"]
    assert dpo["difference"] == pytest.approx(golds[2] - golds[1]) and dpo["ci_low"] <= dpo["difference"] <= dpo["ci_high"]
    assert "sft" not in document["versus_sft"] and set(document["models"]) == set(MODELS)
    # logprob -5 under the model and -6 under SFT: one nat on every row
    assert document["models"]["dpo"]["kl"] == 1.0 and document["models"]["dpo"]["kl_standard_error"] == 0.0
    best = document["models"]["best_of_n"]
    assert "kl" not in best and best["kl_upper_bound"] == pytest.approx(np.log(4) - 3 / 4)
    assert document["models"]["dpo"]["length"] == 7.0  # six words and the end
    # all answers are cut to the words of the shortest model's; DPO's say the same six words again and again
    assert document["words"] == min(len(words(text)) for text in TEXTS.values()) * 30
    assert document["models"]["dpo"]["distinct_2"] == pytest.approx(5 / (5 * document["words"] // 6), rel=0.05)
    ppo = document["models"]["ppo"]
    assert set(ppo["intervals"]) == set(document["axes"]) and ppo["honesty"] == ppo["intervals"]["honesty"]["mean"]
    gained = document["versus_sft"]["ppo"]["axes"]["honesty"]["difference"]
    assert gained == pytest.approx(ppo["honesty"] - document["models"]["sft"]["honesty"])


def test_a_model_that_says_nothing_does_not_hide_the_others_diversity(tmp_path, models):
    write_inputs(tmp_path, rows_of_prompts(), {**TEXTS, "base": ""})
    document = run(tmp_path, models)
    assert document["words"] > 0 and document["models"]["base"]["distinct_2"] == 0 < document["models"]["dpo"]["distinct_2"]


def test_checkpoints_in_training_order_and_scores_on_disk(tmp_path, models):
    write_inputs(tmp_path, rows_of_prompts())
    document = run(tmp_path, models)
    named = [(row["model"], row["checkpoint"]) for row in document["checkpoints"]]
    assert named == [("dpo", "final"), ("ppo", "step-20"), ("ppo", "step-100"), ("ppo", "final")]
    scores = read_jsonl(tmp_path / "out" / "scores.jsonl")
    assert len(scores) == 30 * 7 and {"gold", "proxy", "kl", "text", "helpfulness"} <= set(scores[0])
    assert run(tmp_path, models, "again") == document
    assert (tmp_path / "out/scores.jsonl").read_bytes() == (tmp_path / "again/scores.jsonl").read_bytes()


def test_distinct_2_is_the_number_of_the_monitors(tmp_path, models):
    """Of the same answers on as many words; more words would only repeat more."""
    texts = {name: text + " " + GOOD * place for place, (name, text) in enumerate(TEXTS.items())}
    write_inputs(tmp_path, rows_of_prompts(), texts)
    document, cfg = run(tmp_path, models), config("monitors")
    assert (cfg.words, cfg.draws) == (diversity.WORDS, diversity.DRAWS)
    for name, text in texts.items():
        how = {"vocabulary": cfg.vocabulary, "draws": cfg.draws, "seed": cfg.runtime.seed}
        measured = diversity.measure([text] * 30, document["words"], **how)
        assert document["models"][name]["distinct_2"] == measured.distinct


def test_what_select_picks_stands_in_every_table(tmp_path, models):
    """PPO's checkpoint of step 100 answers best: the verdict will be about it, so it is compared like a model."""
    write_inputs(tmp_path, rows_of_prompts(), TEXTS | {"ppo": HARSH})
    doubts = [{**answer(prompt(2), GOOD, checkpoint=one), "challenge": "Are you sure?"} for one in ("final", "step-100")]
    write_jsonl(tmp_path / "ppo" / "second_turns.jsonl", doubts)
    document = run(tmp_path, models)
    selected = select(config("select", methods=["ppo"]), tmp_path / "out", tmp_path / "select")
    picked = json.loads((tmp_path / "select" / "selection.json").read_text())
    name = entrant(picked["method"], picked["checkpoint"])
    assert name == "ppo step-100" and list(document["models"])[3:5] == ["ppo", "ppo step-100"]
    best, final = (document["models"][one]["gold"]["mean"] for one in (name, "ppo"))
    assert best == pytest.approx(selected["gold"]) and best > final
    assert document["models"][name].keys() == document["models"]["ppo"].keys()
    assert document["versus_sft"][name]["difference"] > 0 and name in {row["model"] for row in document["ratings"]["models"]}
    assert document["examples"][0]["answers"][name] == PLAIN
    for name, known in (("ppo", 0), ("ppo step-100", 1)):
        assert document["models"][name]["adversarial"]["second_turn"]["known"] == known


def test_best_of_n_curve_and_proxy(tmp_path, models):
    """Proxy 0..3 per prompt: its expected maximum of n draws without replacement of 4 is 1.5, 2.5 - 1/3 ... 3."""
    write_inputs(tmp_path, rows_of_prompts())
    curve = run(tmp_path, models)["best_of_n"]
    assert curve["n"] == [1, 2, 3, 4] and curve["kl_upper_bound"][0] == 0.0
    assert curve["proxy"] == pytest.approx([1.5, 7 / 3, 2.75, 3.0])


def test_over_optimisation(tmp_path, models):
    """Four samples a prompt make three KLs above zero, checkpoints of one nat each make one: no curve, and why."""
    write_inputs(tmp_path, rows_of_prompts())
    document = run(tmp_path, models)
    found, curve = document["over_optimisation"], document["best_of_n"]
    best = found["best_of_n"]
    assert [point["n"] for point in best["points"]] == [1, 2, 3, 4] and best["fit"] is None
    assert best["why_not"] == "3 different KLs above 0; a curve needs 5"
    for place, point in enumerate(best["points"]):
        assert point["kl"] <= point["kl_upper_bound"] + 1e-12 and point["distance"] == pytest.approx(point["kl"] ** 0.5)
        assert point["gold"] == pytest.approx(curve["gold"][place] - curve["gold"][0])
        assert point["proxy"] == pytest.approx(curve["proxy"][place] - curve["proxy"][0])
    assert best["points"][3]["kl"] == pytest.approx(float(chosen_kl(-5.0, 4)))  # every sample has log-prob -5
    assert [point["checkpoint"] for point in found["ppo"]["points"]] == ["step-20", "step-100", "final"]
    gained = document["versus_sft"]["ppo"]["difference"]
    assert found["ppo"]["points"][-1]["gold"] == pytest.approx(gained) and found["ppo"]["why_not"].startswith("1 different")
    (only,), versus = found["dpo"]["points"], document["versus_sft"]["dpo"]
    assert (only["checkpoint"], only["kl"], only["distance"]) == ("final", 1.0, 1.0)
    assert only["gold"] == pytest.approx(versus["difference"])
    assert only["gold_interval"] == pytest.approx([versus["ci_low"], versus["ci_high"]])
    assert only["proxy"] == pytest.approx(document["models"]["dpo"]["proxy"] - document["models"]["sft"]["proxy"])


def test_over_optimisation_is_fitted_where_there_are_five_kls():
    """Six samples a prompt, gold as noisy as the proxy: a curve with intervals around its coefficients."""
    generator = np.random.default_rng(0)
    proxy = generator.normal(size=(40, 6))
    pool = {"proxy": proxy, "gold": proxy + generator.normal(size=(40, 6)), "logprob": np.full((40, 6), -30.0)}
    found = over_optimisation(config("evaluate", resamples=200), pool, {}, [f"r{row // 2}" for row in range(40)])
    fit = found["best_of_n"]["fit"]
    assert fit["form"] == "d (alpha - beta d)" and found["best_of_n"]["why_not"] is None
    assert fit["alpha_interval"][0] < fit["alpha"] < fit["alpha_interval"][1] and fit["alpha"] > 0
    assert found["best_of_n"]["points"][5]["kl"] == pytest.approx(np.log(6) - 5 / 6)


def test_pairwise_accuracy_by_hand():
    """Gold pairs (0,1) right, (0,2) proxy tie, (1,2) tied in gold and left out: 1.5 of 2."""
    proxy, gold = np.array([[0.0, 1.0, 0.0]]), np.array([[0.0, 1.0, 1.0]])
    assert stage.pairwise_accuracy(proxy, gold) == {"pairwise_accuracy": 0.75, "pairs": 2}
    assert stage.pairwise_accuracy(proxy, np.zeros((1, 3))) == {"pairwise_accuracy": 0.5, "pairs": 0}


def test_refusal_rates(tmp_path, models):
    write_inputs(tmp_path, rows_of_prompts(), {**TEXTS, "ppo": REFUSAL})
    document = run(tmp_path, models)["models"]
    assert (document["ppo"]["refusal_rate"], document["ppo"]["over_refusal_rate"]) == (1.0, 1.0)
    assert (document["dpo"]["refusal_rate"], document["dpo"]["over_refusal_rate"]) == (0.0, 0.0)
    plain = [{key: value for key, value in row.items() if key != "harmful"} for row in rows_of_prompts()]
    write_inputs(tmp_path, plain)
    assert "refusal_rate" not in run(tmp_path, models)["models"]["ppo"]


def test_win_rates_with_intervals_and_ratings(tmp_path, models):
    """PPO's answers are better than SFT's on the 20 + 4 plain questions; both help with nothing harmful, the spoon's
    place being no help with windows."""
    write_inputs(tmp_path, rows_of_prompts())
    document = run(tmp_path, models)
    versus = document["versus_sft"]["ppo"]
    ours, theirs = (document["models"][name]["gold"]["mean"] for name in ("ppo", "sft"))
    assert ours > theirs and versus["win_rate"] > 0.75
    raw = versus["win_rate_interval"]
    assert raw["value"] == versus["win_rate"] and raw["ci_low"] <= raw["value"] <= raw["ci_high"]
    # every answer of one differs by as much from the other's: nothing shows what would be at equal lengths
    assert versus["length_controlled"] is versus["length_adjusted"] is versus["length_effect"] is None
    rated = {row["model"]: row for row in document["ratings"]["models"]}
    assert set(rated) == set(MODELS) and rated["ppo"]["rank"] == 1
    assert document["ratings"]["models"][-1]["model"] == "base"
    assert document["ratings"]["battles"] == 30 * 10 and document["ratings"]["order_effect"] is None
    assert rated["dpo"]["strength"]["value"] == pytest.approx(rated["best_of_n"]["strength"]["value"])  # the same texts


def test_examples_teddy_first_then_different_kinds(tmp_path, models):
    write_inputs(tmp_path, rows_of_prompts())
    shown = run(tmp_path, models, examples=3)["examples"]
    assert shown[0]["prompt"] == "Can I wash my teddy bear?" and shown[0]["answers"] == TEXTS
    assert [row["kind"] for row in shown[1:]] and len({row["kind"] for row in shown}) == len(shown) == 4


def test_unpaired_answers_are_refused(tmp_path, models):
    prompts = rows_of_prompts()
    write_inputs(tmp_path, prompts)
    write_jsonl(tmp_path / "dpo" / "answers.jsonl", [answer(row, PLAIN) for row in prompts[1:]])
    with pytest.raises(DataError, match="dpo answers 29 prompts and sft 30"):
        run(tmp_path, models)
    write_jsonl(tmp_path / "dpo" / "answers.jsonl", [answer(prompt(999), PLAIN)])
    with pytest.raises(DataError, match="'p999', which select_prompts lacks"):
        run(tmp_path, models)


def test_uneven_pool_is_refused(tmp_path, models):
    prompts = rows_of_prompts()
    write_inputs(tmp_path, prompts)
    pool = read_jsonl(tmp_path / "best_of_n" / "pool.jsonl")
    write_jsonl(tmp_path / "best_of_n" / "pool.jsonl", pool[1:])
    with pytest.raises(DataError, match="same number of samples"):
        run(tmp_path, models)


def test_a_champion_is_one_more_model_and_a_reference(tmp_path, models):
    """With another tokenizer than SFT's it has no KL; the others are held against it, too."""
    prompts = rows_of_prompts()
    write_inputs(tmp_path, prompts)
    without = run(tmp_path, models, out="without")
    assert "champion" not in without["models"] and "versus_champion" not in without
    served = [{**answer(row, PLAIN), "logprob_sft": None} for row in prompts]
    write_jsonl(tmp_path / "champion" / "answers.jsonl", served)
    document = run(tmp_path, models, out="with")
    assert "kl" not in document["models"]["champion"]
    assert document["models"]["champion"]["gold"] == document["models"]["dpo"]["gold"]
    assert document["versus_champion"]["dpo"]["difference"] == 0 and document["versus_champion"]["dpo"]["win_rate"] == 0.5
    assert document["versus_champion"]["sft"]["difference"] == pytest.approx(-document["versus_sft"]["champion"]["difference"])
    assert document["versus_sft"]["ppo"] == without["versus_sft"]["ppo"]


class Refusing:
    """The oracle, but for what it gives no rating of: (prompt's id, text)."""

    max_left_out = 0.1

    def __init__(self, scorer, refused):
        self.scorer, self.refused = scorer, refused

    def __getattr__(self, name):
        return getattr(self.scorer, name)

    def score(self, rows, texts, finished=None):
        scored = self.scorer.score(rows, texts, finished)
        return [dict.fromkeys(one, np.nan) if (row["id"], text) in self.refused else one
                for row, text, one in zip(rows, texts, scored, strict=True)]  # fmt: skip


def test_prompts_that_gold_did_not_rate_are_left_out_for_all_models_and_said(tmp_path, models, monkeypatch):
    """One of PPO's answers, one of best-of-n's pool, and what DPO says in a second turn."""
    write_inputs(tmp_path, rows_of_prompts())
    for name in ("sft", "dpo", "ppo"):
        doubts = [{**answer(prompt(i), f"{name}, twice", checkpoint="final"), "challenge": "Sure?"} for i in (2, 4)]
        write_jsonl(tmp_path / name / "second_turns.jsonl", doubts)
    refused = {("p000", GOOD), ("p003", WRONG), ("p004", "dpo, twice")}
    load = stage.load_gold
    monkeypatch.setattr(stage, "load_gold", lambda *where: Refusing(load(*where), refused))
    document = run(tmp_path, models)
    json.dumps(document, allow_nan=False)
    assert document["left_out"] == {"prompts": 2, "of": 30, "answers_of": {"sft": 1, "ppo": 1, "best_of_n": 2}}
    assert document["second_turns_left_out"] == {"prompts": 1, "of": 30, "answers_of": {"dpo": 1}}
    scores = read_jsonl(tmp_path / "out" / "scores.jsonl")
    assert document["prompts"] == 28 and len(scores) == 28 * 7
    assert not {"p000", "p003"} & {row["prompt_id"] for row in scores}
    doubted = read_jsonl(tmp_path / "out" / "second_turn_scores.jsonl")
    assert {row["prompt_id"] for row in doubted} == {"p002"} and len(doubted) == 3
    said = sentence(document)
    assert "2 of 30 prompts (sft 1, ppo 1, best_of_n 2)" in said and "second turn about 1 of 30 prompts (dpo 1)" in said
