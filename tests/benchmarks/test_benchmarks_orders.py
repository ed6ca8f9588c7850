"""Both orders or twice as many pairs: the ways of labelling and their measures by hand, one trial on a small world."""

import numpy as np
import pytest

from benchmarks.judging import orders, trial
from benchmarks.judging.accuracy import agreement, difference, over_seeds, ranked_pairs
from benchmarks.judging.labelling import BOTH, SAME_PAIRS, SINGLE, Labelled, halves, label_all
from models.judges.oracle import OracleScorer
from tasks.common.rows import read_jsonl, write_jsonl
from tasks.compare import compare, prompts_by_id
from tasks.runner.params import read_params
from tests.import_closure import ROOT
from tests.support.evaluation_rows import prompt
from tests.support.tiny_models import make_gpt2


def pair(number: int, outcome: str = "kept", p_a: float = 1.0, prompt: str = "p") -> dict:
    return {"prompt_id": prompt, "root": f"r{number}", "a": f"{prompt}#{2 * number}", "b": f"{prompt}#{2 * number + 1}",
            "p_a": p_a, "outcome": outcome}  # fmt: skip


def battles(pair: dict, a_first: float, a_second: float) -> list[dict]:
    """One judge's preference for a, shown first and shown second."""
    return [{"first": pair["a"], "second": pair["b"], "p_first": a_first, "winner": "x"},
            {"first": pair["b"], "second": pair["a"], "p_first": 1 - a_second, "winner": "x"}]  # fmt: skip


def test_halves_leave_an_odd_pair_out():
    """Of five pairs of one prompt two in both orders cost as much as four in one; of one pair of another, none."""
    rows = [pair(number) for number in range(5)] + [pair(9, prompt="q")]
    few, many = halves(rows)
    assert few == rows[:2] and many == rows[:4]


def test_ways_of_labelling_by_hand():
    """A judge that always says "first" flips on every pair: both orders keep nothing, one order keeps a coin's toss."""
    rows = [pair(number, "flip", 0.5) for number in range(40)]
    verdicts = [battle for row in rows for battle in battles(row, 1.0, 0.0)]
    ways = label_all(rows, verdicts, 1, "mean", 0.05, seed=0)
    assert set(ways[BOTH].labels) == {"tie"} and not any(ways[BOTH].kept)
    assert set(ways[SINGLE].labels) == {"a", "b"} and all(ways[SINGLE].kept)
    assert [ways[way].calls for way in (BOTH, SINGLE, SAME_PAIRS)] == [40, 40, 20]
    assert ways[SAME_PAIRS].labels == ways[SINGLE].labels[:20], "one coin for a pair, whoever else is asked about"


def test_a_sound_judge_is_understood_in_either_order():
    rows = [pair(number, "kept", float(number % 2)) for number in range(40)]
    verdicts = [battle for row in rows for battle in battles(row, row["p_a"], row["p_a"])]
    for labelled in label_all(rows, verdicts, 1, "mean", 0.05, seed=0).values():
        assert labelled.labels == ["a" if row["p_a"] == 1 else "b" for row in labelled.pairs]


def test_what_says_nothing_trains_nothing():
    """A near-even verdict is a tie, and no valid verdict is none at all."""
    rows = [pair(0, "tie", 0.52), pair(1, "invalid", 0.5)]
    invalid = [battle | {"winner": "invalid"} for battle in battles(rows[1], 0.5, 0.5)]
    verdicts = [*battles(rows[0], 0.52, 0.52), *invalid]
    rows = [*rows, *rows]  # so that the first half of the prompt's pairs is both of them
    ways = label_all(rows, verdicts, 1, "mean", 0.05, seed=0)
    assert ways[BOTH].labels == ways[SAME_PAIRS].labels == ["tie", None]


def test_comparisons_are_what_reward_reads():
    labelled = Labelled([pair(0), pair(1), pair(2)], ["b", "tie", None], 6)
    samples = {"p#0": {"response": "short"}, "p#1": {"response": "long"}}
    (row,) = labelled.comparisons(samples, {"p": {"prompt": [{"role": "user", "content": "?"}]}})
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == ("long", "short")


def test_agreement_by_hand():
    """Gold says a, a, a, b and a tie; the labels right, wrong, tie, right, right: 2.5 of 4, and 2 of 3 kept."""
    labelled = Labelled([pair(number) for number in range(5)], ["a", "b", "tie", "b", "a"], 10)
    results = agreement(labelled, [1.0, 1.0, 1.0, 0.0, 0.5], 0.95)
    assert (results["all"]["value"], results["all"]["n"]) == (2.5 / 4, 4)
    assert (results["kept"]["value"], results["kept"]["n"]) == (2 / 3, 3)


def test_an_invalid_label_is_no_pair():
    labelled = Labelled([pair(0), pair(1)], ["a", None], 4)
    assert agreement(labelled, [1.0, 1.0], 0.95)["all"]["n"] == 1


def test_ranked_pairs_by_hand():
    """Gold 0, 1, 1, 2 has five pairs that it does not tie. The proxy turns one round and ties one: 3.5 of 5."""
    assert ranked_pairs(np.array([0.0, 1.0, 1.0, 2.0]), np.array([0.0, 3.0, -1.0, 3.0])) == (3.5, 5)


def test_a_difference_is_of_the_same_pairs():
    """9 and 6 of 12 pairs right: 0.25 on every prompt, of which three are few. The wider the more prompts differ."""
    ours, theirs = np.array([[3.0, 4.0]] * 3), np.array([[2.0, 4.0]] * 3)
    results = difference(ours, theirs, ["r0", "r1", "r2"], 0.95)
    assert results["value"] == 0.25 and results["ci_low"] < 0 and results["ci_high"] > 0.5
    repeated = (np.repeat(counts, 50, axis=0) for counts in (ours, theirs))
    many = difference(*repeated, [str(i) for i in range(150)], 0.95)
    assert many["value"] == 0.25 and 0.2 < many["ci_low"] < 0.25 < many["ci_high"] < 0.3


def test_students_interval_over_seeds():
    """0.01, 0.02, 0.03: mean 0.02, standard error 0.01 / sqrt(3), t(0.975, 2) = 4.3027."""
    results = over_seeds([0.01, 0.02, 0.03], 0.95)
    assert results["value"] == pytest.approx(0.02)
    assert results["ci_high"] - 0.02 == pytest.approx(4.3027 * 0.01 / 3**0.5, rel=1e-4)
    assert over_seeds([0.01], 0.95) == {"value": 0.01, "ci_low": None, "ci_high": None, "n": 1}


def one_trial(seed: int, value: float) -> dict:
    agreement = {"all": {"value": 0.8}, "kept": {"value": 0.9}}
    way = {"pairs": 10, "calls": 100, "kept": 5, "agreement_with_oracle": agreement,
           "gold_accuracy": {"value": 0.7 + value}}  # fmt: skip
    return {"strategy": "random", "seed": seed, "ways": {name: way for name in (BOTH, SINGLE, SAME_PAIRS)},
            "both_orders_minus": {name: {"value": value} for name in (SINGLE, SAME_PAIRS)}}  # fmt: skip


def test_the_summary_and_its_verdict():
    results = orders.summary([one_trial(0, 0.01), one_trial(1, 0.02), one_trial(2, 0.03)])["random"]
    assert results["ways"][BOTH]["gold_accuracy"] == pytest.approx(0.72) and results["seeds"] == [0, 1, 2]
    value = results["both_orders_minus"][SINGLE]
    assert orders.interval_text(value) == "+0.0200 [-0.0048, +0.0448] over 3 seeds"
    assert "no difference" in orders.verdict(value)
    assert "higher" in orders.verdict({"ci_low": 0.1, "ci_high": 0.2})
    assert "lower" in orders.verdict({"ci_low": -0.2, "ci_high": -0.1})
    alone = orders.summary([one_trial(0, 0.01)])["random"]["both_orders_minus"][SINGLE]
    assert orders.interval_text(alone) == "+0.0100 on one seed, which has no interval"
    assert "no difference" in orders.verdict(alone)


def test_a_later_trial_takes_the_place_of_an_earlier_one():
    results = orders.merged([one_trial(1, 0.5), one_trial(0, 0.1)], [one_trial(1, 0.2)])
    assert [(one["seed"], one["both_orders_minus"][SINGLE]["value"]) for one in results] == [(0, 0.1), (1, 0.2)]


ANSWERS = ("It is on the shelf.", "It is in the attic, dear, as far as I know.", "I do not know.", "Shelf.",
           "On the shelf, my dear, where it has always been.", "Find it yourself.")  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Twenty prompts with six answers each, two more held out, and a two-layer model."""
    params = read_params(ROOT / "params.yaml")
    params["reward"] |= {"max_length": 512, "epochs": 1.0}
    params["compare"] |= {"pairs_per_prompt": 2, "strategy": "random"}
    base = make_gpt2(tmp_path_factory.mktemp("base"))
    prompts, heldout = [prompt(number) for number in range(20)], [prompt(number) for number in (30, 31)]
    samples = [
        {"id": f"{row['id']}#{index}", "prompt_id": row["id"], "index": index, "response": text, "finished": True}
        for row in (*prompts, *heldout) for index, text in enumerate(ANSWERS)
    ]  # fmt: skip
    scorer = OracleScorer(params["gold"]["weights"])
    known = {row["id"] for row in prompts}
    ours = [sample for sample in samples if sample["prompt_id"] in known]
    others = [sample for sample in samples if sample["prompt_id"] not in known]
    held = trial.heldout_answers(others, heldout, scorer)
    return trial.World(params, base, base, ours, prompts, held, scorer)


def test_both_orders_are_the_compare_stage(world, tmp_path):
    """The first half of twice as many pairs, as the stage itself keeps it when it is asked for half as many."""
    ways = trial._judged(world, "random", 4, seed=3)
    samples = {row["id"]: row for row in world.samples}
    ours = ways[BOTH].comparisons(samples, prompts_by_id(world.prompts))
    cfg = world.config("compare", 3, judges=[{**one, "seed": one["seed"] + 3 * trial.JUDGE_SEEDS_APART}
                                             for one in world.params["compare"]["judges"]])  # fmt: skip
    write_jsonl(tmp_path / "samples.jsonl", world.samples)
    write_jsonl(tmp_path / "prompts.jsonl", world.prompts)
    compare(cfg, tmp_path, tmp_path / "prompts.jsonl", tmp_path / "prompts.jsonl", tmp_path / "out")
    written = [row for part in ("train", "heldout") for row in read_jsonl(tmp_path / "out" / f"{part}.jsonl")]

    def texts(rows):
        return sorted((row["prompt"][-1]["content"], row["chosen"][0]["content"], row["rejected"][0]["content"])
                      for row in rows)  # fmt: skip

    assert texts(ours) == texts(row for row in written if row["kept"]) and 0 < len(ours) < 40
    assert ways[BOTH].calls == ways[SINGLE].calls == 2 * ways[SAME_PAIRS].calls == 20 * 2 * 2 * 5


def test_one_trial(world):
    """All three reward models are trained and measured on the pairs of two prompts, which gold mostly does not tie."""
    results = trial.run_trial(world, "random", 2, seed=0)
    assert list(results["ways"]) == [BOTH, SINGLE, SAME_PAIRS] and results["seed"] == 0
    for way in results["ways"].values():
        assert 0 <= way["gold_accuracy"]["value"] <= 1 and way["gold_accuracy"]["n"] == 2
        assert way["agreement_with_oracle"]["kept"]["value"] >= way["agreement_with_oracle"]["all"]["value"] > 0.5
    expected = results["ways"][BOTH]["gold_accuracy"]["value"] - results["ways"][SINGLE]["gold_accuracy"]["value"]
    assert results["both_orders_minus"][SINGLE]["value"] == pytest.approx(expected)
    assert {name: value["pairs"] for name, value in results["ways"].items()} == {BOTH: 40, SINGLE: 80, SAME_PAIRS: 40}


def test_heldout_answers_are_counted_prompt_by_prompt(world):
    """A proxy that is gold itself ranks every pair as gold does, one that is its opposite none."""
    held = world.heldout
    assert list(held.starts) == [0, 6] and held.roots == ["r030", "r031"]
    right, opposite = held.counts(held.gold), held.counts(-held.gold)
    assert (right[:, 0] == right[:, 1]).all() and (opposite[:, 0] == 0).all() and (right[:, 1] > 0).all()
