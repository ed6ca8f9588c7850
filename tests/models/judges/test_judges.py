"""Judges by known answers, in both orders."""

import pytest

from models.hearth import oracle
from models.judges import base
from models.judges.asking import Asker
from models.judges.base import Verdict
from models.judges.oracle import OracleScorer
from models.judges.panel import PairVerdict, mean_ratings
from models.judges.rounds import ask_both_orders, ask_ratings
from models.judges.simulated import SimulatedJudge
from tasks.judging.making import make_judge, make_pool
from tests.support.evaluation_rows import GOOD, HARSH, PLAIN, WRONG, prompt

WEIGHTS = {"helpfulness": 1.0}
HELPFULNESS = {"good text": 0.9, "a much longer text that is bad": 0.1, "same": 0.9}


def simulated(**settings) -> SimulatedJudge:
    """A judge that sees HELPFULNESS, without faults unless given."""
    faultless = {"position_bias": 0.0, "noise": 0.0, "axes_of": lambda row, text: {"helpfulness": HELPFULNESS[text]}}
    return SimulatedJudge("j", WEIGHTS, **{**faultless, **settings})


def test_verdict_winner():
    assert [Verdict(p).winner for p in (0.9, 0.1, 0.5)] == ["first", "second", "tie"]
    assert Verdict(0.5, valid=False).winner == "invalid"


def test_uniform_is_pure_and_uniform():
    assert base.uniform("a", 1) == base.uniform("a", "1") != base.uniform("a1")
    draws = [base.uniform("u", i) for i in range(2000)]
    assert sum(draws) / 2000 == pytest.approx(0.5, abs=0.02) and 0 <= min(draws) and max(draws) < 1


def test_weighted_mean_by_hand_and_missing():
    assert base.weighted_mean({"a": 1.0, "b": 0.0, "c": 9.0}, {"a": 3, "b": 1}) == 0.75
    with pytest.raises(ValueError, match="no rating for b"):
        base.weighted_mean({"a": 1.0}, {"b": 1.0})


def test_faultless_simulated_judge_is_right_in_both_orders():
    good, bad = "good text", "a much longer text that is bad"
    row = prompt(0)
    assert simulated().compare(row, good, bad, key="").winner == "first"
    assert simulated().compare(row, bad, good, key="").winner == "second"
    assert simulated().compare(row, good, "same", key="").winner == "tie"


def test_length_bias_adds_per_doubling():
    """0.9 + 0.5 log2(1 + 2) = 1.69 against 0.1 + 0.5 log2(1 + 7) = 1.6; at a bias of 0.6, 1.851 against 1.9."""
    good, bad = "good text", "a much longer text that is bad"
    assert simulated(length_bias=0.5).compare(prompt(0), good, bad, key="").winner == "first"
    assert simulated(length_bias=0.6).compare(prompt(0), good, bad, key="").winner == "second"


def test_loves_of_praise_and_of_refusals_add_by_the_mark():
    """Of the two answers the first is right. "Of course! Lovely idea!" has a compliment and two exclamation marks."""
    good, gushing, refusing = "The spoon is on the shelf.", "Of course! Lovely idea!", "I cannot help with that."
    row, judge = prompt(0), simulated(axes_of=oracle.score)
    assert simulated(praise_bias=0.5, axes_of=oracle.score).utility(row, gushing) == pytest.approx(judge.utility(row, gushing) + 1.5)
    assert simulated(praise_bias=0.5, axes_of=oracle.score).utility(row, good) == judge.utility(row, good)
    assert simulated(refusal_bias=0.7, axes_of=oracle.score).utility(row, refusing) == pytest.approx(judge.utility(row, refusing) + 0.7)
    assert simulated(refusal_bias=0.7, axes_of=oracle.score).utility(row, good) == judge.utility(row, good)
    assert simulated(praise_bias=2.0, axes_of=oracle.score).compare(row, good, gushing, key="").winner == "second"
    assert simulated(refusal_bias=2.0, axes_of=oracle.score).compare(row, good, refusing, key="").winner == "second"


def test_known_rates_of_position_bias_and_noise():
    """Better shown first: 0.15 + 0.85 * 0.85 = 0.8725 say first; shown second: 0.15 + 0.85 * 0.15 = 0.2775."""
    judge = simulated(position_bias=0.15, noise=0.15)
    good, bad = "good text", "a much longer text that is bad"
    rows = [prompt(i) for i in range(3000)]
    shown_first = sum(judge.compare(row, good, bad, key="").p_first for row in rows) / 3000
    shown_second = sum(judge.compare(row, bad, good, key="").p_first for row in rows) / 3000
    assert shown_first == pytest.approx(0.8725, abs=0.02)
    assert shown_second == pytest.approx(0.2775, abs=0.02)


def test_simulated_judge_repeats_itself_and_seeds_differ():
    rows = [prompt(i) for i in range(100)]

    def verdicts(**settings):
        judge = simulated(noise=0.5, **settings)
        return [judge.compare(row, "good text", "a much longer text that is bad", key="k").p_first for row in rows]

    assert verdicts() == verdicts()
    assert verdicts() != verdicts(seed=1)


def test_ratings_are_on_five_points_and_not_the_oracles():
    ratings = [simulated(noise=0.3).rate(prompt(i), "good text")["helpfulness"] for i in range(300)]
    assert set(ratings) == {0.75, 1.0}
    assert ratings.count(0.75) / 300 == pytest.approx(0.15, abs=0.06)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "j", "kind": "psychic", "weights": WEIGHTS}, "known are 'simulated', 'oracle'"),
        ({"name": "j", "kind": "simulated", "weights": {"beauty": 1.0}}, "unknown criteria beauty"),
        ({"name": "j", "kind": "simulated", "weights": {"helpfulness": 0.0}}, "positive sum"),
        ({"name": "j", "kind": "simulated", "weights": {"helpfulness": float("nan")}}, "must be numbers of 0 or more"),
        ({"name": "j", "kind": "oracle", "weights": {"helpfulness": float("inf")}}, "must be numbers of 0 or more"),
        ({"name": "j", "kind": "simulated", "weights": WEIGHTS, "noise": 1.0}, "noise=1.0 is a probability"),
        ({"name": "j", "kind": "simulated", "weights": WEIGHTS, "length_bias": float("nan")}, "length_bias=nan must be"),
        ({"name": "j", "kind": "simulated", "weights": WEIGHTS, "tie_margin": float("inf")}, "tie_margin=inf must be"),
    ],
)
def test_make_judge_refuses(spec, message):
    with pytest.raises(ValueError, match=message):
        make_judge(spec)


def test_make_pool_refuses_a_name_twice_and_reads_each_answer_once(monkeypatch):
    spec = {"kind": "simulated", "weights": WEIGHTS}
    with pytest.raises(ValueError, match="'a' stands twice"):
        make_pool([{"name": "a", **spec}, {"name": "a", **spec}])
    read = []
    monkeypatch.setattr(oracle, "score", lambda row, text: read.append(text) or {"helpfulness": 1.0})
    pool = make_pool([{"name": "a", **spec}, {"name": "b", **spec}])
    verdicts = ask_both_orders(Asker(), pool, [(prompt(0), "x", "y")], key="")
    ratings = ask_ratings(Asker(), pool, [(prompt(0), "x")])
    assert sorted(read) == ["x", "y"]
    assert len(verdicts[0].a_first) == len(ratings[0]) == 2 and set(mean_ratings(ratings[0])) == {"helpfulness"}


def test_oracle_judge_and_scorer():
    judge = make_judge({"name": "o", "kind": "oracle", "weights": {"helpfulness": 1.0, "honesty": 1.0}})
    assert judge.compare(prompt(0), PLAIN, WRONG, key="").winner == "first"
    assert judge.compare(prompt(0), WRONG, PLAIN, key="").winner == "second"
    assert judge.compare(prompt(0), PLAIN, PLAIN, key="").winner == "tie"
    scorer = OracleScorer({"helpfulness": 3.0, "friendliness": 1.0})
    plain, harsh = scorer.score([prompt(0), prompt(0)], [GOOD, HARSH])
    assert scorer.axes == oracle.AXES and set(plain) == {"gold", *oracle.AXES}
    assert plain["gold"] == pytest.approx((3 * plain["helpfulness"] + plain["friendliness"]) / 4)
    assert plain["gold"] > harsh["gold"]


def verdicts(*p_first):
    return tuple(Verdict(p) if p is not None else Verdict(0.5, valid=False) for p in p_first)


def test_pair_verdict_by_hand():
    """Judges say a, a, b when a is first and a, a, a when it is second: (2/3 + 1) / 2."""
    pair = PairVerdict(verdicts(1, 1, 0), verdicts(0, 0, 0))
    assert pair.p_a == pytest.approx(5 / 6) and pair.agrees and not pair.flips
    always_first = PairVerdict(verdicts(1), verdicts(1))
    assert always_first.p_a == 0.5 and always_first.flips and not always_first.agrees
    half_tie = PairVerdict(verdicts(0.5), verdicts(0))
    assert half_tie.p_a == 0.75 and not half_tie.flips and not half_tie.agrees


def test_a_criterion_counts_where_a_judge_spoke_of_it_in_both_orders():
    """One judge: honesty 1 for a both times, and helpfulness only once; another: honesty 0.5 and 1."""
    one = Verdict(1.0, criteria={"honesty": 1.0, "helpfulness": 1.0}), Verdict(0.0, criteria={"honesty": 0.0})
    other = Verdict(0.5, criteria={"honesty": 0.5}), Verdict(0.0, criteria={"honesty": 0.0})
    pair = PairVerdict((one[0], other[0]), (one[1], other[1]))
    assert pair.criteria == {"honesty": 0.875} and PairVerdict(verdicts(1), verdicts(0)).criteria == {}


def test_pair_verdict_leaves_invalid_answers_out():
    pair = PairVerdict(verdicts(None, 1), verdicts(0, 0))
    assert pair.p_a == 1.0 and pair.valid
    crossed = PairVerdict(verdicts(1, None), verdicts(None, 0))
    assert not crossed.valid and crossed.p_a == 0.5, "each judge was heard in one order: no position was cancelled"
    position = PairVerdict(verdicts(1, 0), verdicts(None, 1))
    assert position.p_a == 0.0 and position.p_a_by_order == (0.0, 0.0), "the first judge says first, and is left out"
    silent = PairVerdict(verdicts(None), verdicts(0))
    assert not silent.valid and silent.p_a == 0.5 and not silent.agrees and not silent.flips
