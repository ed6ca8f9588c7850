"""The monitors stage on a tiny model and hand-written score rows."""

import math
import shutil

import pytest
import torch

from models.chat.template import encode_example, load_tokenizer
from models.lm.loading import load_policy, save_policy
from models.statistics import intervals as statistics
from tasks import monitors as stage
from tasks.common.errors import ConfigError
from tasks.common.rows import read_jsonl, write_jsonl
from tasks.gate import vetoes_of
from tests.support.evaluation_rows import GOOD, PLAIN, REFUSAL, answer, config, harmful, prompt
from tests.support.tiny_models import make_gpt2

GUSH = "Wow! What a great question! You are so smart! 🎉🎉 The spoon is on the shelf."
PROMPTS = [prompt(row) for row in range(30)] + [harmful(row) for row in range(30, 36)]


def score(row, model, text, gold=0.5, proxy=0.0, kl=1.0, checkpoint="final"):
    base = answer(row, text)
    return {
        "model": model, "checkpoint": checkpoint, "prompt_id": row["id"], "root": row["root"], "index": 0,
        "prompt": row["prompt"][0]["content"], "text": text, "tokens": base["tokens"], "finished": True,
        "kl": kl, "proxy": proxy, "gold": gold,
    }  # fmt: skip


def varied(row) -> float:
    return (row % 7) / 7


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """SFT says the plain thing, DPO the same, PPO gushes after a good step, best-of-n refuses where it should not."""
    folder = tmp_path_factory.mktemp("monitors")
    base = make_gpt2(folder / "base")
    moved = load_policy(base)
    with torch.no_grad():
        for weights in moved.parameters():
            weights.mul_(1.5)
    for name, policy in (("sft", load_policy(base)), ("dpo", moved), ("ppo", load_policy(base))):
        save_policy(policy, load_tokenizer(base), folder / name, base=base, start=base)
    save_policy(moved, load_tokenizer(base), folder / "ppo" / "checkpoints" / "step-5", base=base, start=base)
    rows = []
    for place, row in enumerate(PROMPTS):
        spread, text = varied(place), PLAIN.replace("shelf", f"shelf of room {place + 100}")
        rows.append(score(row, "base", GUSH))
        rows.append(score(row, "sft", text, 0.4 + 0.2 * spread, spread, 0.0))
        rows.append(score(row, "dpo", text, 0.5 + 0.2 * spread, 1 + spread, 12.0))
        rows.append(score(row, "ppo", text, 0.6 + 0.2 * spread, 1 + spread, 2.0, "step-5"))
        rows.append(score(row, "ppo", GUSH, 0.2 + 0.2 * spread, 3 + spread, 3.0))
        rows.append(score(row, "best_of_n", REFUSAL, kl=None))
    write_jsonl(folder / "evaluate" / "scores.jsonl", rows)
    write_jsonl(folder / "prompts.jsonl", PROMPTS)
    said = [{"messages": [row["prompt"][0], {"role": "assistant", "content": GOOD}]} for row in PROMPTS[:5]]
    write_jsonl(folder / "demonstrations.jsonl", said * 3)
    write_jsonl(folder / "heldout.jsonl", said)
    write_jsonl(folder / "none.jsonl", [])
    pair = {"prompt": PROMPTS[0]["prompt"], "chosen": [{"role": "assistant", "content": PLAIN}], "kept": True}
    write_jsonl(folder / "compare" / "heldout.jsonl", [pair, {**pair, "kept": False}])
    return folder


def run(folder, out, heldout="heldout.jsonl", **changes):
    policies = {name: folder / name for name in ("sft", "dpo", "ppo")}
    names = ("compare", "evaluate", "demonstrations.jsonl", heldout, "prompts.jsonl")
    files = (folder / name for name in names)
    return stage.monitors(config("monitors", **changes), folder / "base", policies, *files, out)


def test_document_and_findings(inputs, tmp_path):
    document = run(inputs, tmp_path / "out")
    assert {name: list(found) for name, found in document["models"].items()} == {
        "dpo": ["final"], "ppo": ["step-5", "final"], "best_of_n": ["final"],
    }
    assert document["reference"] == "sft" and document["perplexity_on"] == "held-out demonstrations"
    final, step = document["models"]["ppo"]["final"], document["models"]["ppo"]["step-5"]
    assert (final["level"], step["level"]) == ("veto", "ok")
    praise = final["monitors"]["praise"]
    assert (praise["number"], praise["reference"], praise["level"]) == (1.0, 0.0, "veto")
    assert "SFT: 0.0%" in praise["sentence"]
    rows = read_jsonl(tmp_path / "out" / "findings.jsonl")
    shown = next(row for row in rows if (row["model"], row["checkpoint"], row["name"]) == ("ppo", "final", "praise"))
    assert shown["examples"][0]["response"] == GUSH and len(shown["examples"]) == config("monitors").examples
    assert document["vetoes"] == sum(row["level"] == "veto" for row in rows) > 0
    assert document["warnings"] == sum(row["level"] == "warning" for row in rows)


def test_the_gap_since_gold_was_best(inputs, tmp_path):
    """Since step-5 the reward rose by 2 and gold fell by 0.4; both spread over sevenths, times 1 and 0.2."""
    monitors = run(inputs, tmp_path / "out")["models"]["ppo"]["final"]["monitors"]
    spread = torch.tensor([varied(row) for row in range(36)], dtype=torch.float64).std(correction=0).item()
    assert monitors["proxy_gold_gap"]["number"] == pytest.approx(2 / spread + 0.4 / (0.2 * spread))
    assert monitors["proxy_gold_gap"]["level"] == "veto" and "since step-5" in monitors["proxy_gold_gap"]["sentence"]


def picks(texts, golds, model, places):
    rows = zip(PROMPTS, texts, golds, places, strict=False)
    return [{**score(row, model, text, gold), "index": place} for row, text, gold, place in rows]


@pytest.mark.parametrize("prompts", [2, 3, 12])
def test_best_of_n_is_paired_with_sft_by_prompt(prompts):
    """No pick stands at SFT's place in the pool; differences 0, 1, 0, … have the spread of alternating numbers."""
    golds = [float(place % 2) for place in range(prompts)]
    best = picks(["picked"] * prompts, golds, "best_of_n", [7] * prompts)
    sft = picks(["said"] * prompts, [0.0] * prompts, "sft", [0] * prompts)
    cells = [statistics.clustered_standard_error(golds, [row["root"] for row in sft])]
    assert stage.paired_error(best, sft) == stage.paired_error(sft, best) == pytest.approx(*cells) and cells[0] > 0


def test_a_pick_that_is_sfts_own_sample_shows_no_noise():
    """Prompts whose pick is the very sample are left out, or held against SFT's other samples of the prompt."""
    sft = picks(["a", "b", "c", "d"], [0.0, 0.2, 0.4, 0.9], "sft", [0] * 4)
    best = picks(["a", "b", "other", "more"], [0.0, 0.2, 0.5, 0.4], "best_of_n", [0, 0, 3, 4])
    assert stage.paired_error(best, sft) == pytest.approx(stage.paired_error(best[2:], sft[2:]))
    assert stage.paired_error(best[:2], sft[:2]) == math.inf  # nothing independent is left: no fall is beyond noise
    second = picks(["x", "y"], [0.3, 0.1], "sft", [1, 1])
    held = statistics.clustered_standard_error([-0.3, 0.1], [row["root"] for row in second])
    assert stage.paired_error(best[:2], [*sft[:2], *second]) == pytest.approx(held)
    dpo = [{**row, "model": "dpo"} for row in best]  # another model that says the same at the same place is a pair
    assert stage.paired_error(dpo[:2], sft[:2]) == 0.0


@pytest.mark.parametrize("places", [[5, 9], [0, 0]])
def test_the_gap_of_best_of_n_with_two_prompts(places):
    """Picks anywhere in the pool; gold is best at SFT, and two prompts cannot tell the fall from noise."""
    cfg, sft = config("monitors"), picks(["a", "b"], [0.9, 0.4], "sft", [0, 0])
    best = [{**row, "proxy": 5.0} for row in picks(["a", "b"], [0.1, 0.3], "best_of_n", places)]
    groups = {("sft", "final"): sft, ("best_of_n", "final"): best}
    finding = stage.gap(cfg, list(groups), groups, stage.limit_of(cfg, "proxy_gold_gap"))
    assert finding.level == "ok"


def test_the_error_of_gold_is_of_prompts_whatever_place_the_pick_had():
    """Best-of-n's pick stands at any place of its pool; the difference of two prompts' means is the same for each."""
    golds = {"p000": (0.2, 0.9), "p001": (0.4, 0.5), "p002": (0.6, 0.6)}
    sft = [score(PROMPTS[place], "sft", PLAIN, before) for place, (before, _) in enumerate(golds.values())]
    best = [
        {**score(PROMPTS[place], "best_of_n", PLAIN, after), "index": 3 - place}
        for place, (_, after) in enumerate(golds.values())
    ]
    expected = statistics.clustered_standard_error([0.7, 0.1, 0.0], ["a", "b", "c"])
    assert stage.paired_error(best, sft) == pytest.approx(expected) and expected > 0


def test_best_of_n_that_fell_below_sft_is_a_finding(inputs, tmp_path):
    """Its rows are of other places of the pool than SFT's only sample: nothing paired, and the stage died."""
    rows = [{**row, "index": 2, "gold": row["gold"] - 0.4, "proxy": 5.0} if row["model"] == "best_of_n" else row
            for row in read_jsonl(inputs / "evaluate" / "scores.jsonl")]
    folder = tmp_path / "inputs"
    shutil.copytree(inputs, folder)
    write_jsonl(folder / "evaluate" / "scores.jsonl", rows)
    gap = run(folder, tmp_path / "out")["models"]["best_of_n"]["final"]["monitors"]["proxy_gold_gap"]
    assert gap["level"] == "veto" and "since sft" in gap["sentence"]


def test_over_caution_leaves_harmful_prompts_out_and_kl_is_absent_where_unknown(inputs, tmp_path):
    models = run(inputs, tmp_path / "out")["models"]
    best = models["best_of_n"]["final"]["monitors"]
    assert best["over_caution"]["number"] == 1.0 and best["one_answer"]["level"] == "veto"
    assert not {"kl", "perplexity", "displacement"} & set(best)
    assert models["dpo"]["final"]["monitors"]["kl"]["level"] == "warning"


def by_hand(policy, rows):
    """Mean negative log-likelihood per response token, from the model's own loss."""
    model, tokenizer = load_policy(policy), load_tokenizer(policy)
    total, count = 0.0, 0
    for messages in rows:
        asked, said = encode_example(tokenizer, messages)
        ids = torch.tensor([[*asked, *said]])
        labels = torch.tensor([[-100] * len(asked) + list(said)])
        with torch.no_grad():
            total += model(input_ids=ids, labels=labels).loss.item() * len(said)
        count += len(said)
    return total, count


def test_perplexity_and_displacement_against_the_models_own_loss(inputs, tmp_path):
    monitors = run(inputs, tmp_path / "out")["models"]["dpo"]["final"]["monitors"]
    rows = [row["messages"] for row in read_jsonl(inputs / "heldout.jsonl")]
    for name, field in (("dpo", "number"), ("sft", "reference")):
        total, count = by_hand(inputs / name, rows)
        assert monitors["perplexity"][field] == pytest.approx(math.exp(total / count), rel=1e-4)
    chosen = [[*PROMPTS[0]["prompt"], {"role": "assistant", "content": PLAIN}]]
    fell = by_hand(inputs / "dpo", chosen)[0] > by_hand(inputs / "sft", chosen)[0]
    assert monitors["displacement"]["number"] == float(fell)
    assert "of 1 chosen responses" in monitors["displacement"]["sentence"]  # the pair that was not kept is left out


def test_without_held_out_demonstrations_those_of_training_are_named(inputs, tmp_path):
    document = run(inputs, tmp_path / "out", heldout="none.jsonl", demonstrations=2)
    assert document["perplexity_on"] == "the demonstrations that trained SFT (none are held out)"
    sentence = document["models"]["dpo"]["final"]["monitors"]["perplexity"]["sentence"]
    assert "on the demonstrations that trained SFT" in sentence


def test_what_a_gate_asks(inputs, tmp_path):
    document = run(inputs, tmp_path / "out")
    vetoes = {one["name"] for one in vetoes_of(document, "ppo", "final")}
    assert {"praise", "proxy_gold_gap"} <= vetoes and vetoes_of(document, "ppo", "step-5") == []
    with pytest.raises(KeyError):
        vetoes_of(document, "ppo", "step-9")


def test_equal_inputs_give_equal_bytes(inputs, tmp_path):
    assert run(inputs, tmp_path / "a") == run(inputs, tmp_path / "b")
    assert (tmp_path / "a/findings.jsonl").read_bytes() == (tmp_path / "b/findings.jsonl").read_bytes()


def test_rows_taken_evenly():
    assert stage.evenly(list(range(10)), 4) == [0, 2, 5, 7] and stage.evenly([1, 2], 4) == [1, 2]


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"prais": {"absolute": None, "relative": None}}, 
         "monitors.limits: 'prais' is no monitor; known are 'praise', 'padding'"),
        ({"praise": {"absolute": {"warning": 0.5, "veto": 0.1}, "relative": None}},
         "limits.praise.absolute: veto 0.1 must lie above warning 0.5"),
        ({"distinct": {"absolute": None, "relative": {"warning": 0.5, "veto": 0.6}}},
         "limits.distinct.relative: veto 0.6 must lie below warning 0.5"),
    ],
)
def test_bad_limits_are_named(limits, words):
    with pytest.raises(ConfigError, match=words):
        config("monitors", limits=limits)


def test_what_is_too_long_for_the_context_is_left_out_and_named(inputs, tmp_path):
    """Two of seven demonstrations, and one of two comparisons, hold more than the model can read."""
    long = {"role": "assistant", "content": "The spoon is on the shelf. " * 400}
    said = read_jsonl(inputs / "heldout.jsonl")
    long_said = [{"messages": [said[0]["messages"][0], long]}] * 2
    pair = {"prompt": PROMPTS[0]["prompt"], "chosen": [{"role": "assistant", "content": PLAIN}], "kept": True}
    cfg = config("monitors")
    plain = stage.measure_likelihoods(cfg, inputs / "sft", inputs / "base", said, [pair])
    mixed = stage.measure_likelihoods(
        cfg, inputs / "sft", inputs / "base", [*said, *long_said], [{**pair, "chosen": [long]}, pair]
    )
    assert mixed.perplexity == pytest.approx(plain.perplexity) and plain.notes == ()
    assert mixed.chosen == [None, pytest.approx(plain.chosen[0])]
    assert [note.split(" are longer")[0] for note in mixed.notes] == [
        "perplexity on demonstrations: 2 of 7", "displacement on chosen responses: 1 of 2",
    ]
    nothing = stage.measure_likelihoods(cfg, inputs / "sft", inputs / "base", long_said, [])
    assert nothing.perplexity is None and "perplexity is not measured" in nothing.notes[-1]


def test_what_was_left_out_is_in_the_document(inputs, tmp_path):
    long = {"role": "assistant", "content": "The spoon is on the shelf. " * 400}
    said = read_jsonl(inputs / "heldout.jsonl")
    write_jsonl(inputs / "long.jsonl", [*said, {"messages": [said[0]["messages"][0], long]}])
    assert run(inputs, tmp_path / "plain")["notes"] == []
    document = run(inputs, tmp_path / "long", heldout="long.jsonl")
    assert len(document["notes"]) == 1 and "1 of 6 are longer than the context" in document["notes"][0]
