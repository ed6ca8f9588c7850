"""Win rates against statsmodels and by simulation; what length control takes away, what short answers cannot win."""

import json
import math

import numpy as np
import pytest
from scipy import optimize
from scipy.special import expit
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from models.ratings.battles import read_battles
from models.ratings.length_control import EFFECT_PRECISION, LARGEST_LENGTH_EFFECT, Pool, fit_pool, judges_part
from models.ratings.pairs import pairs_of
from models.ratings.win_rates import win_rate
from models.statistics.bootstrap import Bootstrap

FEW = Bootstrap(resamples=200)
NONE = Bootstrap(resamples=2)


def table(preference, ours, theirs, root=None, first="new", second="old") -> dict[str, list]:
    """One row per prompt: the preference for `first`, and both lengths."""
    count = len(preference)
    prompts = [f"p{number}" for number in range(count)]
    return {
        "prompt_id": prompts,
        "root": prompts if root is None else [f"r{number}" for number in root],
        "first": [first] * count,
        "second": [second] * count,
        "p_first": np.asarray(preference, dtype=float).tolist(),
        "first_length": np.asarray(ours, dtype=float).tolist(),
        "second_length": np.asarray(theirs, dtype=float).tolist(),
    }


def joined(*tables: dict[str, list]) -> dict[str, list]:
    return {key: [value for one in tables for value in one[key]] for key in tables[0]}


def lengths(generator: np.random.Generator, count: int, factor: float = 1.3) -> tuple[np.ndarray, ...]:
    """Ours (`factor` times as long in the median), theirs, and the regression's length term."""
    ours, theirs = generator.lognormal(5 + math.log(factor), 0.4, count), generator.lognormal(5, 0.4, count)
    return ours, theirs, np.tanh((ours - theirs) / (ours - theirs).std(ddof=1))


def test_raw_by_hand():
    """Both orders of two prompts: 1 and 1/2 on the first (0.75), 1/2 and 0 on the second (0.25); in all 0.5."""
    rows = [("p", "new", "old", 1), ("p", "old", "new", 0.5), ("q", "new", "old", 0.5), ("q", "old", "new", 1)]
    result = win_rate([dict(zip(("prompt_id", "first", "second", "p_first"), row)) for row in rows], "new", "old")
    assert result.raw.value == 0.5 and result.pairs == result.prompts == 2
    # Two prompts: what neither showed may be as frequent as 1 - 0.025^(1/2), and be all won or all lost.
    assert (result.raw.ci_low, 1 - result.raw.ci_high) == pytest.approx((0.5 * 0.025**0.5,) * 2)
    assert result.raw.standard_error == pytest.approx(math.sqrt(2) * math.sqrt(1 / 32), rel=0.1)
    assert result.length_controlled is None
    assert any("lengths are unknown" in note for note in result.notes)
    assert not any("in one order only" in note for note in result.notes)


def test_equals_statsmodels():
    """An ordinary logistic regression with soft outcomes; the rate is its mean prediction at equal length."""
    generator = np.random.default_rng(0)
    ours, theirs, term = lengths(generator, 400)
    hardness = generator.normal(0, 1, 400)
    preference = expit(0.4 + 1.2 * term + 0.7 * hardness + generator.normal(0, 0.5, 400))
    data = table(preference, ours, theirs)
    plain = GLM(preference, np.stack([np.ones(400), term], axis=1), family=Binomial()).fit(tol=1e-14).params
    result = win_rate(data, "new", "old", settings=NONE)
    assert result.length_effect == pytest.approx(plain[1], abs=1e-6)
    assert result.length_controlled.value == pytest.approx(expit(plain[0]), abs=1e-6)
    pool = Pool(dict(zip(data["prompt_id"], hardness.tolist(), strict=True)), 0.0)
    design = np.stack([np.ones(400), term, hardness], axis=1)
    theta, phi, psi = GLM(preference, design, family=Binomial()).fit(tol=1e-14).params
    result = win_rate(data, "new", "old", pool=pool, settings=NONE)
    assert result.length_effect == pytest.approx(phi, abs=1e-6)
    assert result.length_controlled.value == pytest.approx(expit(theta + psi * hardness).mean(), abs=1e-6)


@pytest.mark.parametrize("effect", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("factor", [0.6, 1.6])
def test_when_length_alone_wins_the_controlled_rate_is_a_half(effect, factor):
    generator = np.random.default_rng(1)
    ours, theirs, term = lengths(generator, 2000, factor)
    result = win_rate(table(generator.random(2000) < expit(effect * term), ours, theirs), "new", "old", settings=FEW)
    assert abs(result.raw.value - 0.5) > 0.04
    assert result.length_controlled.value == pytest.approx(0.5, abs=0.035)
    assert result.length_controlled.ci_low < 0.5 < result.length_controlled.ci_high


@pytest.mark.parametrize("quality", [-0.8, 0.5, 1.2])
def test_quality_is_found_beside_length(quality):
    generator = np.random.default_rng(2)
    ours, theirs, term = lengths(generator, 3000)
    won = generator.random(3000) < expit(quality + 1.5 * term)
    result = win_rate(table(won, ours, theirs), "new", "old", settings=NONE)
    assert result.length_controlled.value == pytest.approx(expit(quality), abs=0.03)
    assert result.length_effect == pytest.approx(1.5, abs=0.2)


def test_the_other_way_round_is_the_rest():
    """rate(a, b) + rate(b, a) = 1, raw and controlled, and equal answers give a half (the paper's desiderata)."""
    generator = np.random.default_rng(3)
    ours, theirs, term = lengths(generator, 300)
    data = table(expit(0.3 + term), ours, theirs)
    there, back = win_rate(data, "new", "old", settings=NONE), win_rate(data, "old", "new", settings=NONE)
    assert there.raw.value + back.raw.value == pytest.approx(1)
    assert there.length_controlled.value + back.length_controlled.value == pytest.approx(1)
    same = win_rate(table([0.5] * 9, [7] * 9, [7] * 9), "new", "old", settings=FEW)
    assert same.length_controlled.value == 0.5 and not any("differ equally" in note for note in same.notes)


def test_equal_lengths_change_nothing():
    generator = np.random.default_rng(4)
    won = generator.random(200) < 0.7
    result = win_rate(table(won, [50] * 200, [50] * 200), "new", "old", settings=FEW)
    assert result.length_controlled.value == pytest.approx(result.raw.value, abs=1e-6)
    assert result.length_controlled.ci_high == pytest.approx(result.raw.ci_high, abs=0.015)


def gamed(share_kept: float, left: float, lost: float) -> dict[str, list]:
    """A model that answers in full where it wins (0.7 of these) and leaves a part of the answer where it would lose."""
    generator = np.random.default_rng(5)
    theirs = np.round(generator.lognormal(6, 0.5, 1000))
    kept = generator.random(1000) < share_kept
    ours = np.where(kept, theirs * generator.lognormal(0, 0.2, 1000), np.round(left * theirs))
    return table(generator.random(1000) < np.where(kept, 0.7, lost), ours, theirs)


@pytest.mark.parametrize("share_kept", [0.1, 0.3, 0.5])
@pytest.mark.parametrize(("left", "bound"), [(0.0, 0.002), (0.05, 0.002), (0.11, 0.1), (0.2, 0.1)])
def test_a_short_answer_wins_nothing_back(share_kept, left, bound):
    """Nothing, a twentieth, a ninth or a fifth of an answer: without the guards it would pay 0.25 and more."""
    data = gamed(share_kept, left, lost=0.02)
    result = win_rate(data, "new", "old", settings=NONE)
    assert result.length_adjusted.value <= result.raw.value + bound
    gap = np.subtract(data["first_length"], data["second_length"])
    design = np.stack([np.ones(1000), np.tanh(gap / gap.std(ddof=1))], axis=1)
    unguarded = expit(GLM(data["p_first"], design, family=Binomial()).fit().params[0])
    assert unguarded > result.raw.value + 0.25
    words = "under a tenth" if left < 0.1 else "more than judges show"
    assert any(words in note for note in result.notes)


@pytest.mark.parametrize("side", ["shorter", "longer"])
@pytest.mark.parametrize("crossing", [0, 1, 2, 20])
def test_beyond_the_data_there_is_no_rate_at_equal_lengths(side, crossing):
    """40 answers of 150 to 600 characters against 1,000, of which two win: 0.05, and 0.547 at equal lengths before."""
    generator = np.random.default_rng(3)
    ours = generator.integers(150, 600, 40) if side == "shorter" else generator.integers(2000, 3000, 40)
    ours[:crossing] = 1000 + (1 if side == "shorter" else -1) * np.arange(crossing)
    result = win_rate(table(np.arange(40) % 20 == 0, ours, [1000] * 40), "new", "old", settings=FEW)
    assert result.raw.value == 0.05
    for rate in (result.length_controlled, result.length_adjusted, result.length_effect):
        assert (rate is None) == (crossing < 2)
    assert any(note.startswith("NO RATE AT EQUAL LENGTHS: answers of new") for note in result.notes) == (crossing < 2)


@pytest.mark.parametrize("longer", [3, 10, 50, 90])
@pytest.mark.parametrize("likes", ["longer", "shorter"])
def test_where_lengths_alone_tell_wins_from_losses_nothing_is_sure(longer, likes):
    """100 answers, each won or lost by its length: where between the two a rate at equal lengths lies, no data say."""
    theirs = np.random.default_rng(5).lognormal(6, 0.4, 100)
    ours = theirs * np.where(np.arange(100) < longer, 1.2, 0.8)
    data = table((ours > theirs) == (likes == "longer"), ours, theirs)
    for names in (("new", "old"), ("old", "new")):
        result = win_rate(data, *names, settings=FEW)
        assert any(note.startswith("ANY RATE AT EQUAL LENGTHS FITS") for note in result.notes)
        for rate in (result.length_controlled, result.length_adjusted):
            assert (rate.ci_low, rate.ci_high) == (0, 1)
    data["p_first"] = [1 - data["p_first"][0], *data["p_first"][1:]]
    assert not any("FITS" in note for note in win_rate(data, "new", "old", settings=FEW).notes)


def test_answers_are_told_apart_by_their_texts():
    """Six pairs of answers to one prompt, each judged in both orders: answers of several lengths, some as long as
    others, and one answer against two. Preferences 1, 1, 1, 0, 0.5 and 0.1 are 0.6; every pair has its own lengths."""
    answers = {
        ("answer 0", "the same"): 1.0, ("answer 1", "the same"): 1.0, ("a longer answer", "the same"): 1.0,
        ("answer 0", "quite another one"): 0.0, ("", "the same"): 0.5, ("a longer answer", "not as long"): 0.1,
    }  # fmt: skip
    rows = [
        {"prompt_id": "p", "first": one, "second": other, "p_first": preference if one == "new" else 1 - preference,
         "first_response": texts[one], "second_response": texts[other]}
        for (new, old), preference in answers.items()
        for texts in ({"new": new, "old": old},)
        for one, other in (("new", "old"), ("old", "new"))
    ]  # fmt: skip
    rate = win_rate(rows, "new", "old")
    assert rate.raw.value == pytest.approx(0.6) and rate.pairs == 6
    for order in (rows, rows[::-1]):
        pairs = pairs_of(read_battles(order), "new", "old")
        assert pairs.both_orders.all() and pairs.again == 0
        of_pairs = sorted(zip(pairs.preference.tolist(), pairs.gap.tolist(), pairs.too_short.tolist(), strict=True))
        expected = [(p, len(new) - len(old), not new) for (new, old), p in answers.items()]
        assert np.array(of_pairs) == pytest.approx(np.array(sorted(expected), dtype=float))
    again = win_rate([*rows, *rows[:2]], "new", "old")
    assert again.raw.value == pytest.approx(0.6)
    assert any("1 of 6 pairs were judged several times" in note for note in again.notes)


def pool_of_models(generator, prompts: int = 300):
    """20 models judged with an effect of length of 2, and one that cuts off every answer that would lose."""
    hardness, rows = generator.normal(0, 1, prompts), []
    for number, quality in enumerate(np.linspace(-2, 1, 20)):
        ours, theirs, term = lengths(generator, prompts, generator.uniform(0.5, 1.3))
        won = generator.random(prompts) < expit(quality + 2 * term + hardness)
        rows.append(table(won, ours, theirs, first=f"m{number}"))
    theirs = generator.lognormal(6, 0.5, prompts)
    kept = generator.random(prompts) < 0.05
    ours = np.where(kept, theirs * generator.lognormal(0, 0.2, prompts), 0.1 * theirs)
    rows.append(table(generator.random(prompts) < np.where(kept, 0.7, 0.01), ours, theirs, first="gamed"))
    return joined(*rows), hardness


def test_with_a_pool_the_effect_of_length_is_the_judges():
    """Rates of honest models are those of their quality; who cuts off is not paid back an effect of its own."""
    data, hardness = pool_of_models(np.random.default_rng(14))
    pool = fit_pool(data, "old")
    assert pool.length_effect == pytest.approx(2, abs=0.2)
    rates = {name: win_rate(data, name, "old", pool=pool, settings=NONE) for name in ("m0", "m10", "m19", "gamed")}
    for name, quality in (("m0", -2), ("m10", np.linspace(-2, 1, 20)[10]), ("m19", 1)):
        assert rates[name].length_adjusted.value == pytest.approx(expit(quality + hardness).mean(), abs=0.06)
    gamed = rates["gamed"]
    assert gamed.length_controlled.value > 0.4 and gamed.length_adjusted.value < 0.25 and gamed.raw.value < 0.08


def test_the_adjusted_rate_is_a_regression_with_a_prior():
    """Maximum of likelihood times a normal of precision 20 around the pool's effect, by scipy."""
    generator = np.random.default_rng(15)
    ours, theirs, term = lengths(generator, 200)
    hardness = generator.normal(0, 1, 200)
    preference = expit(0.3 + 4 * term + hardness)
    data = table(preference, ours, theirs)
    pool = Pool(dict(zip(data["prompt_id"], hardness.tolist(), strict=True)), 1.5)
    design = np.stack([np.ones(200), term, hardness], axis=1)

    def loss(weights):
        logits = design @ weights
        return np.logaddexp(0, logits).sum() - preference @ logits + EFFECT_PRECISION * (weights[1] - 1.5) ** 2 / 2

    theta, phi, psi = optimize.minimize(loss, np.zeros(3), options={"gtol": 1e-9}).x
    result = win_rate(data, "new", "old", pool=pool, settings=NONE)
    assert result.length_adjusted.value == pytest.approx(expit(theta + psi * hardness).mean(), abs=1e-5)
    assert 1.5 < phi < result.length_effect


def test_a_padded_answer_is_not_spared():
    """Ten and more times as long: the guard for short answers must not help the long one. Length alone wins here."""
    generator = np.random.default_rng(6)
    theirs = generator.lognormal(4, 0.3, 1500)
    ours = theirs * generator.choice([0.9, 1.1, 12, 15], 1500)
    term = np.tanh((ours - theirs) / (ours - theirs).std(ddof=1))
    result = win_rate(table(generator.random(1500) < expit(2 * term), ours, theirs), "new", "old", settings=NONE)
    assert result.raw.value > 0.6 and result.length_controlled.value == pytest.approx(0.5, abs=0.03)


def test_the_judges_part_of_an_effect():
    """All of it up to 2.5, then 2.5^2 / effect: half of the largest at twice that."""
    largest = LARGEST_LENGTH_EFFECT
    result = judges_part(np.array([0.0, 1.0, -largest, largest, 2 * largest, -10 * largest]), np.zeros(6))
    assert result == pytest.approx([0, 1, -largest, largest, largest / 2, -largest / 10])
    # Seen on the side where it helps, an effect is the judge's up to twice that side's; of the other sign it is not.
    result = judges_part(np.array([10.0, 40.0, -10.0, -40.0, -10.0]), np.array([10.0, 10.0, -10.0, -10.0, 10.0]))
    assert result == pytest.approx([10, 400 / 40, -10, -10, -(largest**2) / 10])


@pytest.mark.parametrize("effect", [1, 2, 3, 5, 10, 50])
@pytest.mark.parametrize("factor", [0.8, 1.0])
def test_a_judge_of_nothing_but_length_is_fair_to_both(effect, factor):
    """Equal answers, judged by length alone at any strength: a half for either side, and for both together one."""
    ours, theirs, term = lengths(np.random.default_rng(12), 600, factor)
    data = table(expit(effect * term), ours, theirs)
    there, back = (win_rate(data, *names, settings=FEW) for names in (("new", "old"), ("old", "new")))
    assert there.length_controlled.value == pytest.approx(0.5, abs=0.01)
    assert there.length_controlled.value + back.length_controlled.value == pytest.approx(1, abs=0.002)
    assert any("it is all put down to the judge" in note for note in there.notes) == (effect > 2)


@pytest.mark.parametrize("effect", [3, 5, 10])
def test_fair_also_where_the_judge_tosses_coins(effect):
    """The same of wins and losses drawn from those probabilities, on average over data sets; 0.45 was 0.31 before."""
    generator, rates = np.random.default_rng(13), []
    for _ in range(20):
        ours, theirs, term = lengths(generator, 400, 1.0)
        won = generator.random(400) < expit(effect * term)
        rates.append(win_rate(table(won, ours, theirs), "new", "old", settings=NONE).length_controlled.value)
    assert np.mean(rates) == pytest.approx(0.5, abs=0.035)


def test_few_full_answers_do_not_pass_for_a_judge_of_length():
    """Ten answers in full, where the longer happen to win, and ninety cut off: their slope is luck, not the judge."""
    gains = []
    for seed in range(20):
        generator = np.random.default_rng(seed)
        theirs = generator.lognormal(6, 0.5, 100)
        kept = np.arange(100) < 10
        ours = np.where(kept, theirs * generator.lognormal(0, 0.2, 100), 0.2 * theirs)
        won = generator.random(100) < np.where(kept, 0.7, 0.02)
        result = win_rate(table(won, ours, theirs), "new", "old", settings=NONE)
        gains.append(result.length_adjusted.value - result.raw.value)
    assert np.mean(gains) < 0.1


def test_always_winning_is_finite_and_not_certain():
    """20 wins of 20: at 95% the rate may be as low as 0.025^(1/20) = 0.8316 (Clopper and Pearson's bound)."""
    data = table([1.0] * 20, range(100, 120), range(90, 130, 2))
    result, lost = (win_rate(data, *names, settings=FEW) for names in (("new", "old"), ("old", "new")))
    for won in (result.raw, result.length_controlled):
        assert won.value == pytest.approx(1, abs=1e-6) and won.ci_high == pytest.approx(1, abs=1e-6)
        assert won.ci_low == pytest.approx(0.8316, abs=1e-4)
    assert lost.raw.value == 0 and lost.raw.ci_low == 0 and lost.raw.ci_high == pytest.approx(1 - 0.8316, abs=1e-4)


def test_nothing_but_ties_is_not_certain():
    """Four ties, and one win and one loss on each of four roots: 0.025^(1/4) = 0.3976 leaves 0.1988 to 0.8012."""
    for data in (table([0.5] * 4, [5] * 4, [5] * 4), table([1.0, 0.0] * 4, [5] * 8, [5] * 8, np.arange(8) // 2)):
        raw = win_rate(data, "new", "old", settings=FEW).raw
        assert (raw.value, raw.ci_low, raw.ci_high) == pytest.approx((0.5, 0.1988, 0.8012), abs=1e-4)


def test_the_pool_finds_the_prompts_difficulty():
    """16 models with their own quality and length on 300 prompts of known difficulty; then the rate of another."""
    generator = np.random.default_rng(7)
    hardness = generator.normal(0, 1.2, 300)
    rows = []
    for number, quality in enumerate(np.linspace(-1, 1.2, 16)):
        ours, theirs, term = lengths(generator, 300, generator.uniform(0.7, 1.5))
        won = generator.random(300) < expit(quality + 1.2 * term + hardness)
        rows.append(table(won, ours, theirs, first=f"pool{number}"))
    pool = fit_pool(joined(*rows), "old")
    result = np.array([pool.difficulty[f"p{number}"] for number in range(300)])
    assert result.mean() == pytest.approx(0, abs=1e-9)
    assert np.corrcoef(result, hardness)[0, 1] > 0.85
    ours, theirs, term = lengths(generator, 300)
    data = table(expit(0.5 + 1.2 * term + hardness), ours, theirs)
    with_pool = win_rate(data, "new", "old", pool=pool, settings=NONE)
    assert with_pool.length_controlled.value == pytest.approx(expit(0.5 + hardness).mean(), abs=0.01)
    assert not any("no pool" in note for note in with_pool.notes)
    assert any("no pool" in note for note in win_rate(data, "new", "old", settings=NONE).notes)
    assert pool.length_effect == pytest.approx(1.2, abs=0.1)
    less = Pool({name: value for name, value in pool.difficulty.items() if name != "p7"}, pool.length_effect)
    assert any("1 of 300 pairs" in note for note in win_rate(data, "new", "old", pool=less, settings=NONE).notes)


def test_the_pool_equals_statsmodels():
    """Two models on 12 prompts, difficulty with the ridge of a standard normal: the same penalised regression."""
    generator = np.random.default_rng(11)
    data, columns = [], []
    for place, name in enumerate(("a", "b")):
        ours, theirs, term = lengths(generator, 12)
        data.append(table(generator.random(12), ours, theirs, first=name))
        own = np.zeros((12, 4))
        own[:, 2 * place], own[:, 2 * place + 1] = 1, term
        columns.append(np.hstack([own, np.eye(12)]))
    both = joined(*data)
    ridge = np.array([1e-3] * 4 + [1.0] * 12) / 24
    peer = GLM(both["p_first"], np.vstack(columns), family=Binomial()).fit_regularized(alpha=ridge, L1_wt=0).params[4:]
    assert list(fit_pool(both, "old").difficulty.values()) == pytest.approx(peer - peer.mean(), abs=1e-4)


def test_intervals_hold_the_truth():
    """95% intervals of the raw rate hold it in 93% to 97% of 500 simulated data sets of 40 roots with 1 to 5 prompts
    each, whose prompts belong together."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    truth = expit(0.4 + 1.5 * nodes) @ weights / weights.sum()
    generator, held = np.random.default_rng(8), 0
    for _ in range(500):
        root = np.repeat(np.arange(40), generator.integers(1, 6, 40))
        chance = expit(0.4 + 1.5 * generator.normal(0, 1, 40)[root])
        data = table(generator.random(len(root)) < chance, np.ones(len(root)), np.ones(len(root)), root)
        data = {key: values for key, values in data.items() if not key.endswith("length")}
        raw = win_rate(data, "new", "old", settings=Bootstrap(resamples=600)).raw
        held += raw.ci_low <= truth <= raw.ci_high
    assert 0.93 <= held / 500 <= 0.97


@pytest.mark.slow
def test_controlled_intervals_hold_the_truth():
    """The same of the length-controlled rate; true is what the regression tends to with ever more roots."""
    generator, held = np.random.default_rng(9), 0

    def draw(roots: int) -> tuple[dict[str, list], np.ndarray]:
        root = np.repeat(np.arange(roots), generator.integers(1, 6, roots))
        ours, theirs, _ = lengths(generator, len(root))
        chance = expit(0.4 + np.tanh((ours - theirs) / 88) + generator.normal(0, 1, roots)[root])
        return table(chance, ours, theirs, root), chance

    truth = win_rate(draw(30_000)[0], "new", "old", settings=NONE).length_controlled.value
    for _ in range(500):
        data, chance = draw(40)
        data["p_first"] = (generator.random(len(chance)) < chance).astype(float).tolist()
        rate = win_rate(data, "new", "old", settings=Bootstrap(resamples=600)).length_controlled
        held += rate.ci_low <= truth <= rate.ci_high
    assert 0.93 <= held / 500 <= 0.97


def test_variants_of_one_question_are_no_more_evidence():
    """Each prompt four times under one root: the same interval as once."""
    generator = np.random.default_rng(10)
    ours, theirs, term = lengths(generator, 100)
    won = generator.random(100) < expit(0.5 + term)
    once = win_rate(table(won, ours, theirs), "new", "old", settings=FEW)
    four = table(np.tile(won, 4), np.tile(ours, 4), np.tile(theirs, 4), np.tile(np.arange(100), 4))
    again = win_rate(four, "new", "old", settings=FEW)
    assert again.pairs == 400
    assert (again.raw.ci_low, again.raw.ci_high) == pytest.approx((once.raw.ci_low, once.raw.ci_high))


def test_what_limits_a_rate_is_noted():
    one = win_rate(table([1.0, 0.0], [5, 0], [5, 90], root=[1, 1]), "new", "old")
    assert one.raw.ci_low is None and one.raw.standard_error is None and one.raw.value == 0.5
    for words in ("one prompt", "2 of 2 pairs were judged in one order", "1 of 4 responses are empty", "under a tenth"):
        assert any(words in note for note in one.notes), words
    shifted = win_rate(table([1.0, 0.0, 1.0], [5, 6, 7], [15, 16, 17]), "new", "old", settings=FEW)
    assert any("NO RATE AT EQUAL LENGTHS" in note for note in shifted.notes) and shifted.length_controlled is None
    assert json.loads(json.dumps(shifted.document())) == shifted.document()


def test_refusals():
    data = joined(table([1.0], [5], [5]), table([1.0], [5], [5], first="other", second="third"))
    with pytest.raises(ValueError, match="'newer' has no battles; the table has new, old, other, third"):
        win_rate(data, "newer", "old")
    with pytest.raises(ValueError, match="no battle of 'new' against 'third'"):
        win_rate(data, "new", "third")
    with pytest.raises(ValueError, match="a pool needs two or more models against 'old'; only new met it"):
        fit_pool(data, "old")
    pool = joined(data, table([0.0], [5], [5], first="other"))
    pool["first_length"][0] = None
    with pytest.raises(ValueError, match="the pool has answers of unknown length"):
        fit_pool(pool, "old")
