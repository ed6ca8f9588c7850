"""The judge card and the statistics under it, against numbers worked out by hand and against libraries."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from models.judges.agreement import (
    alpha_interval,
    confusion,
    kappa_interval,
    krippendorff_cells,
    share_interval,
)
from models.judges.base import Verdict
from models.judges.card import CardPair, judge_card, label, preferred
from models.judges.panel import PairVerdict, majority, mean

LABELS = ("a", "b", "tie")


def test_kappa_against_scikit_learn():
    generator = np.random.default_rng(0)
    ours, theirs = (generator.choice(LABELS, 200).tolist() for _ in range(2))
    found = kappa_interval(confusion(ours, theirs, LABELS), [str(i) for i in range(200)], 0.95)
    assert found["value"] == pytest.approx(cohen_kappa_score(ours, theirs))
    assert kappa_interval(confusion(["tie"] * 3, ["tie"] * 3, LABELS), list("rst"), 0.95) is None


def test_kappa_by_hand():
    """20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: observed 0.7, expected 0.5, kappa 0.4 (a textbook's example)."""
    assert kappa_interval(np.array([[20.0, 5, 10, 15]]), ["r"], 0.95)["value"] == pytest.approx(0.4)


def test_krippendorff_against_a_published_example():
    """Krippendorff 2011, part C: nominal data, 4 observers, 12 units, missing values; alpha = 0.743."""
    rows = ["1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 ."]
    columns = zip(*(row.split() for row in rows), strict=True)
    units = [{str(who): value for who, value in enumerate(column) if value != "."} for column in columns]
    cells = krippendorff_cells(units, ("1", "2", "3", "4", "5"))
    assert alpha_interval(cells, [str(i) for i in range(12)], 0.95)["value"] == pytest.approx(0.743, abs=5e-4)


def test_an_interval_counts_whole_roots():
    """Ten units of one root are one: a rate over two roots that are all 0 and all 1 is one of two, of 20 units apart it
    is ten of twenty (Clopper and Pearson)."""
    values, roots = [0.0] * 10 + [1.0] * 10, ["r"] * 10 + ["s"] * 10
    found = share_interval(values, [1.0] * 20, roots, 0.95)
    assert found == pytest.approx({"value": 0.5, "ci_low": 0.01258, "ci_high": 0.98742, "n": 20}, abs=1e-5)
    apart = share_interval(values, [1.0] * 20, [str(i) for i in range(20)], 0.95)
    assert (apart["ci_low"], apart["ci_high"]) == pytest.approx((0.27196, 0.72804), abs=1e-5)
    assert share_interval([], [], [], 0.95) is None and share_interval([0.0], [0.0], ["r"], 0.95) is None


def test_what_never_differs_is_not_certain():
    """One root says nothing of others. Three of three: 0.025^(1/3) = 0.2924 at least (Clopper and Pearson), and at most
    0.7076 where none of three is; three that are half each: 0.5 * 0.2924 and 1 less that."""
    assert share_interval([1.0] * 30, [1.0] * 30, ["r"] * 30, 0.95) == {
        "value": 1.0, "ci_low": None, "ci_high": None, "n": 30}
    ones, zeros, halves = (share_interval([part] * 3, [1.0] * 3, ["r", "s", "t"], 0.95) for part in (1.0, 0.0, 0.5))
    assert (ones["ci_low"], ones["ci_high"]) == (pytest.approx(0.2924, abs=1e-4), 1.0)
    assert (zeros["ci_low"], zeros["ci_high"]) == (0.0, pytest.approx(0.7076, abs=1e-4))
    assert (halves["ci_low"], halves["ci_high"]) == pytest.approx((0.1462, 0.8538), abs=1e-4)
    mixed = share_interval([1.0, 0.0] * 2, [1.0] * 4, ["r", "r", "s", "s"], 0.95)
    assert mixed["ci_low"] < 0.2, "roots that are alike, each of them mixed"


def test_a_judge_that_is_always_right_or_wrong_on_three_pairs_may_be_so_by_chance():
    """kappa is twice the accuracy less one: 2 * 0.2924 - 1."""
    for truth, bounds in ((1.0, (-0.4152, 1.0)), (0.0, (-1.0, 0.4152))):
        kappa = card([judged(i, longer, reference=truth) for i in range(3)])["agreement_with_reference"]["all"]["kappa"]
        assert (kappa["ci_low"], kappa["ci_high"]) == pytest.approx(bounds, abs=1e-4)


def test_intervals_of_few_roots_hold_the_truth():
    """A rate of 0.9 over 20 roots: in at least 93% of 300 data sets, of which one in eight is a sweep."""
    generator, held = np.random.default_rng(0), 0
    for _ in range(300):
        values = (generator.random(20) < 0.9).astype(float).tolist()
        found = share_interval(values, [1.0] * 20, [str(i) for i in range(20)], 0.95)
        held += found["ci_low"] <= 0.9 <= found["ci_high"]
    assert held / 300 >= 0.93


def test_mean_and_majority():
    assert mean([1.0, 0.0, 1.0, 0.5]) == 0.625 and mean([]) is None
    assert majority([1.0, 0.0, 0.9, 0.5]) == 1.0 and majority([1.0, 0.0]) == 0.5 and majority([0.5]) == 0.5
    assert majority([0.2]) == 0.0 and majority([]) is None
    first, second = ([Verdict(p) for p in preferences] for preferences in ((1.0, 0.4, 0.4), (0.0, 0.6, 0.6)))
    pair = PairVerdict(tuple(first), tuple(second), "majority")
    assert pair.p_a == 0.0 and pair.agrees and pair.of(0).p_a == 1.0


def judged(number, rule, *, kept=True, reference=None, a="one two three", b="one", **more):
    """A pair judged in both orders by `rule(first, second)` -> p_first, None for an invalid answer."""
    said = [rule(*texts) for texts in ((a, b), (b, a))]
    first, second = (Verdict(0.5, valid=False) if p is None else Verdict(p) for p in said)
    return CardPair(f"r{number}", a, b, PairVerdict((first,), (second,)), kept, reference, **more)


def longer(first, second):
    return float(len(first) > len(second))


def value(found):
    return None if found is None else found["value"]


def card(pairs):
    document = judge_card(pairs, ["j"], 0.05, 0.95)
    assert {key: document["judges"]["j"][key] for key in document["panel"]} == document["panel"]
    return document["panel"]


def test_a_margin_is_alike_on_both_sides():
    """In floats 0.5 - 0.45 is below 0.05 and 0.55 - 0.5 above it: what is kept of one side is kept of the other."""
    assert preferred(0.45, 0.05) == "b" and preferred(0.55, 0.05) == "a"
    assert preferred(0.46, 0.05) == preferred(0.54, 0.05) == preferred(0.5) == "tie"


def test_always_first():
    """Every pair flips: a tie, half right; the first is preferred in all calls, the longer in half of them."""
    panel = card([judged(i, lambda first, second: 1.0, reference=1.0) for i in range(10)])
    assert value(panel["swap_flip_rate"]) == value(panel["prefers_first"]) == 1.0
    assert value(panel["tie_rate"]) == value(panel["invalid_rate"]) == 0.0 and value(panel["prefers_longer"]) == 0.5
    agreement = panel["agreement_with_reference"]["all"]
    assert value(agreement["accuracy"]) == 0.5 and value(agreement["kappa"]) == 0.0
    assert value(agreement["pick_longest"]["accuracy"]) == 1.0 and value(agreement["pick_longest"]["kappa"]) == 1.0
    assert value(agreement["pick_first"]["accuracy"]) == 0.5 and value(agreement["pick_first"]["kappa"]) == 0.0


def test_a_flip_is_a_tie_however_sure_the_judge_is_in_one_order():
    """Wholly for a when it is first, weakly for b when b is first: a mean of 0.7, which is no win."""
    pair = judged(0, lambda first, second: 1.0 if len(first) > len(second) else 0.6, reference=1.0)
    assert pair.verdict.p_a == pytest.approx(0.7) and label(pair.verdict, 0.05) == "tie"
    assert label(judged(0, lambda first, second: None).verdict, 0.05) is None
    panel = card([pair] * 2)
    assert value(panel["swap_flip_rate"]) == 1.0 and value(panel["tie_rate"]) == 0.0
    assert value(panel["agreement_with_reference"]["all"]["accuracy"]) == 0.5


def test_always_the_longer():
    """Right on the 6 pairs where gold prefers the longer, wrong on 2, and 2 that gold ties are left out: 6/8."""
    truth = [1.0] * 6 + [0.0] * 2 + [0.5] * 2
    panel = card([judged(i, longer, reference=gold) for i, gold in enumerate(truth)])
    assert value(panel["swap_flip_rate"]) == 0.0 and value(panel["prefers_longer"]) == 1.0
    assert value(panel["prefers_first"]) == 0.5
    agreement = panel["agreement_with_reference"]
    assert agreement["reference_ties"] == 2 and agreement["all"]["accuracy"]["n"] == 8
    assert value(agreement["all"]["accuracy"]) == 0.75 and value(agreement["all"]["kappa"]) == pytest.approx(0.5)
    assert agreement["all"]["pick_longest"]["accuracy"] == agreement["all"]["accuracy"]


def test_always_wrong_and_kept_pairs_beside_all():
    """Wrong on every kept pair, right on as many that are not kept: 0 of kept, half of all."""
    pairs = [judged(i, longer, reference=float(i < 5), kept=i >= 5) for i in range(10)]
    agreement = card(pairs)["agreement_with_reference"]
    assert value(agreement["kept"]["accuracy"]) == 0.0 and value(agreement["kept"]["kappa"]) == pytest.approx(-1.0)
    assert value(agreement["all"]["accuracy"]) == 0.5 and agreement["kept"]["accuracy"]["n"] == 5


def test_half_the_time_invalid():
    """Silent whenever the longer stands second: no pair has both orders, 10 of 20 calls are invalid."""
    panel = card([judged(i, lambda a, b: 1.0 if len(a) > len(b) else None, reference=1.0) for i in range(10)])
    assert value(panel["invalid_rate"]) == 0.5 and panel["calls"] == 20 and panel["valid_pairs"] == 0
    assert panel["swap_flip_rate"] is None and panel["tie_rate"] is None
    assert value(panel["prefers_first"]) == value(panel["prefers_longer"]) == 1.0
    assert panel["agreement_with_reference"]["all"]["accuracy"] is None


def test_equal_lengths_say_nothing_of_length_and_no_reference_nothing_of_right():
    panel = card([judged(i, lambda first, second: 0.5, a="x y", b="y x") for i in range(3)])
    assert panel["prefers_longer"] is None and panel["prefers_first"] is None and value(panel["tie_rate"]) == 1.0
    assert panel["agreement_with_reference"]["all"]["kappa"] is None


def test_criteria_annotators_and_judges_that_disagree():
    """Honesty right on 3 of 4; two judges that always differ; two people who always agree on both sides."""
    pairs = []
    for i in range(4):
        verdict = PairVerdict((Verdict(1.0), Verdict(0.0)), (Verdict(0.0), Verdict(1.0)))
        people = {"ann": float(i % 2), "bob": float(i % 2)}
        pairs.append(CardPair(f"r{i}", "x", "y z", verdict, True, 1.0, {"honesty": float(i > 0), "other": 1.0},
                              {"honesty": 1.0}, people))
    document = judge_card(pairs, ["one", "two"], 0.05, 0.95)
    assert value(document["by_criterion"]["honesty"]["accuracy"]) == 0.75 and set(document["by_criterion"]) == {"honesty"}
    assert value(document["judges"]["one"]["agreement_with_reference"]["all"]["accuracy"]) == 1.0
    assert value(document["judges"]["two"]["agreement_with_reference"]["all"]["accuracy"]) == 0.0
    assert value(document["agreement_between_annotators"]) == 1.0
    assert value(document["agreement_between_judges"]) < 0
    assert set(document["agreement_with_people"]) == {"one", "two"} and value(
        document["agreement_with_people"]["one"]["accuracy"]) == 0.5, "ann and bob prefer a in two of four"
    assert list(judge_card(pairs, ["one", "two"], 0.05, 0.95, ["one"])["agreement_with_people"]) == ["two"]
    assert judge_card([], [], 0.05, 0.95)["pairs"] == 0


def test_people_who_differ_are_a_tie_that_says_nothing():
    """Two agree on one pair, and on the other each prefers another: one pair is left, on which the judge is right."""
    said = ({"ann": 1.0, "bob": 1.0}, {"ann": 1.0, "bob": 0.0}, {})
    pairs = [judged(i, longer, annotations=people) for i, people in enumerate(said)]
    found = judge_card(pairs, ["j"], 0.05, 0.95)["agreement_with_people"]["j"]
    assert value(found["accuracy"]) == 1.0 and found["accuracy"]["n"] == 1
    assert judge_card([judged(0, longer)], ["j"], 0.05, 0.95)["agreement_with_people"] == {"j": None}
