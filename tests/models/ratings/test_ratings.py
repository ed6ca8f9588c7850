"""Bradley–Terry against statsmodels, by hand and by simulation; intervals over prompts; what limits a rating."""

import math
import time

import numpy as np
import pytest
from scipy import optimize
from scipy.special import expit
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from models.ratings.bradley_terry import BradleyTerry, covariates
from models.ratings.ratings import rate
from models.ratings.style import relative_difference
from models.statistics.bootstrap import Bootstrap, draws
from tests.support.battle_tables import battles, mean_battles, round_robin

FEW = Bootstrap(resamples=200)
NONE = Bootstrap(resamples=2)


def table(*rows: tuple[str, str, float], prompts=None) -> dict[str, list]:
    """(first, second, outcome for the first) as columns; each its own prompt unless `prompts` says otherwise."""
    first, second, p_first = (list(column) for column in zip(*rows, strict=True))
    return {"prompt_id": list(prompts or range(len(rows))), "first": first, "second": second, "p_first": p_first}


def random_battles(seed: int, models: int = 6, count: int = 1500, order_effect: float = 0.4):
    """Battles with ties and preferences between 0 and 1, several on each prompt, with length and Markdown."""
    generator = np.random.default_rng(seed)
    strengths = generator.normal(0, 0.8, models)
    first = generator.integers(0, models, count)
    second = (first + generator.integers(1, models, count)) % models
    lengths = generator.integers(20, 900, (count, 2)).astype(float)
    markdown = generator.integers(0, 5, (count, 2, 3)).astype(float)
    chance = expit(strengths[first] - strengths[second] + order_effect + relative_difference(*lengths.T))
    outcomes = (generator.random(count) < chance).astype(float)
    outcomes[:200], outcomes[200:400] = 0.5, chance[200:400]
    return battles(first, second, outcomes, generator.integers(0, 200, count), lengths, markdown)


def statsmodels_fit(tournament, columns: np.ndarray, weights=None) -> np.ndarray:
    """The same regression by statsmodels: strengths relative to the first model, then one number per column."""
    design = np.zeros((len(tournament.first), len(tournament.models)))
    rows = np.arange(len(tournament.first))
    design[rows, tournament.first] += 1
    design[rows, tournament.second] -= 1
    peer = GLM(tournament.p_first, np.hstack([design[:, 1:], columns]), family=Binomial(), freq_weights=weights)
    return peer.fit(tol=1e-14, maxiter=200).params


def ours(rated) -> np.ndarray:
    strengths = [rated.strengths[name] for name in sorted(rated.strengths)]
    effects = [rated.order_effect.value, *(effect.value for effect in rated.style.values())]
    return np.array([*(np.array(strengths[1:]) - strengths[0]), *effects])


def test_two_players_by_hand():
    """a wins 3 of 4 shown first and 3 of 4 shown second: strength gap log 3, no order effect."""
    rated = rate(table(*[("a", "b", 1)] * 3, ("a", "b", 0), *[("b", "a", 0)] * 3, ("b", "a", 1)), settings=FEW)
    assert rated.strengths == pytest.approx({"a": math.log(3) / 2, "b": -math.log(3) / 2})
    assert rated.order_effect.value == pytest.approx(0, abs=1e-9)
    assert [(row.model, row.win_rate, row.battles, row.flags) for row in rated.models] == [
        ("a", 0.75, 8, ()),
        ("b", 0.25, 8, ()),
    ]


def test_three_players_by_hand():
    """a beats b 3 to 1, b beats c 3 to 1, a beats c 9 to 1: odds 3, 3 and 9, so strengths log 3, 0 and -log 3."""
    rows = [("a", "b", 1)] * 3 + [("a", "b", 0)] + [("b", "c", 1)] * 3 + [("b", "c", 0)]
    rows += [("a", "c", 1)] * 9 + [("a", "c", 0)]
    rated = rate(table(*rows), order_effect=False, settings=NONE)
    assert rated.strengths == pytest.approx({"a": math.log(3), "b": 0, "c": -math.log(3)}, abs=1e-8)
    assert [row.elo_scale for row in rated.models] == pytest.approx([1000 + 400 * math.log10(3), 1000, 809.1515])


def test_the_one_shown_first_wins_three_of_four():
    """Equal players: the order effect is log 3. A tie is half a win: 2 wins and 2 ties of 4 are the same."""
    for outcomes in ([1, 1, 1, 0], [1, 1, 0.5, 0.5]):
        rows = [(*pair, p) for pair in (("a", "b"), ("b", "a")) for p in outcomes]
        rated = rate(table(*rows), settings=NONE)
        assert rated.order_effect.value == pytest.approx(math.log(3))
        assert rated.strengths == pytest.approx({"a": 0, "b": 0}, abs=1e-9)
    assert rated.ties == 0.5


def test_agrees_with_statsmodels():
    tournament = random_battles(0)
    order = np.ones((len(tournament.first), 1))
    assert ours(rate(tournament, settings=NONE)) == pytest.approx(statsmodels_fit(tournament, order), abs=1e-6)


def test_agrees_with_statsmodels_on_style():
    tournament = random_battles(1)
    counts = np.concatenate([tournament.lengths[:, :, None], tournament.markdown], axis=2)
    style = relative_difference(counts[:, 0], counts[:, 1])
    columns = np.hstack([np.ones((len(style), 1)), style / np.sqrt((style**2).mean(axis=0))])
    rated = rate(tournament, style=True, settings=FEW)
    assert list(rated.style) == ["length", "headers", "lists", "bold"]
    assert ours(rated) == pytest.approx(statsmodels_fit(tournament, columns), abs=1e-6)
    assert rated.style["length"].ci_low > 0.2 and rated.style["bold"].ci_low < 0 < rated.style["bold"].ci_high


@pytest.mark.parametrize("style", [False, True])
def test_every_resample_is_a_refit(style):
    """The first resamples against statsmodels with the prompts' draws as weights."""
    tournament = random_battles(2, models=4, count=600)
    added = covariates(tournament, True, style)
    model = BradleyTerry(tournament, added)
    drawn = next(draws(tournament.roots, Bootstrap(resamples=3, seed=5), 600))
    resampled = model.fit(drawn, model.fit(np.ones((tournament.roots, 1))))
    assert not resampled.unbounded.any()
    for number in range(3):
        strengths = resampled.strengths[:, number]
        peer = statsmodels_fit(tournament, added.values, drawn[tournament.root, number])
        assert [*(strengths[1:] - strengths[0]), *resampled.effects[:, number]] == pytest.approx(peer, abs=1e-6)


def test_style_takes_away_what_length_bought():
    """Equal models, one writes more, the judge likes length: apart without style control, equal with it."""
    generator = np.random.default_rng(3)
    first = generator.integers(0, 2, 3000)
    lengths = generator.integers(50, 400, (3000, 2)) * np.where(np.stack([first, 1 - first], axis=1) == 1, 2, 1)
    chance = expit(2 * relative_difference(*lengths.T.astype(float)))
    markdown = np.zeros((3000, 2, 3))
    won = generator.random(3000) < chance
    tournament = battles(first, 1 - first, won, np.arange(3000), lengths.astype(float), markdown)
    plain, equal = (rate(tournament, style=style, settings=FEW) for style in (False, True))
    assert plain.models[0].strength.ci_low > 0.2
    assert equal.models[0].strength.ci_low < 0 < equal.models[0].strength.ci_high
    assert list(equal.style) == ["length"]
    assert sum("does not differ" in note for note in equal.notes) == 3


def test_a_prompt_asked_four_times_is_no_more_evidence():
    """Intervals are over prompts: the same battles four times on the same prompts give the same intervals, and as
    prompts of their own half as wide ones."""
    generator = np.random.default_rng(4)
    once = round_robin(generator, np.array([0.6, 0.0, -0.6]), 0.2, 60, 0.8)
    again = np.tile(np.arange(len(once.first)), 4)
    same = battles(once.first[again], once.second[again], once.p_first[again], once.prompt[again])
    own = battles(same.first, same.second, same.p_first, np.arange(len(again)) // 6)
    settings = Bootstrap(resamples=400)
    one, four, naive = (rate(tournament, settings=settings).models[0].strength for tournament in (once, same, own))
    assert four == one or (four.ci_low, four.ci_high) == pytest.approx((one.ci_low, one.ci_high), abs=1e-6)
    assert naive.ci_high - naive.ci_low == pytest.approx((one.ci_high - one.ci_low) / 2, rel=0.15)


def test_intervals_hold_the_truth():
    """95% intervals of strengths and order effect hold the true values in 93% to 97% of 500 simulated data sets, where
    battles of one prompt belong together. True is what ever more prompts tend to."""
    strengths, spread = np.array([0.9, 0.3, -0.4, -0.8]), 0.8
    limit = rate(mean_battles(strengths, 0.3, spread), settings=NONE)
    truth = np.array([*(limit.strengths[f"m{number:02d}"] for number in range(4)), limit.order_effect.value])
    generator, held = np.random.default_rng(5), np.zeros(5)
    for _ in range(500):
        rated = rate(round_robin(generator, strengths, 0.3, 50, spread), settings=Bootstrap(resamples=400))
        strength_of = {row.model: row.strength for row in rated.models}
        intervals = [*(strength_of[name] for name in sorted(strength_of)), rated.order_effect]
        held += [i.ci_low <= t <= i.ci_high for i, t in zip(intervals, truth, strict=True)]
    assert 0.93 <= held[:4].mean() / 500 <= 0.97
    assert 0.93 <= held[4] / 500 <= 0.97


def test_ranks_count_those_that_are_certainly_stronger():
    """Like the Arena: near equals share a rank, the clearly weaker comes after both."""
    tournament = round_robin(np.random.default_rng(6), np.array([1.0, 0.98, -1.0]), 0.0, 100, 0.3)
    rated = rate(tournament, settings=FEW)
    assert sorted((row.model, row.rank) for row in rated.models) == [("m00", 1), ("m01", 1), ("m02", 3)]


def test_an_anchor_is_zero():
    tournament = random_battles(7)
    free, anchored = (rate(tournament, anchor=anchor, settings=FEW) for anchor in (None, "m02"))
    gap = {name: free.strengths[name] - free.strengths["m02"] for name in free.strengths}
    assert anchored.strengths == pytest.approx(gap)
    zero = next(row.strength for row in anchored.models if row.model == "m02")
    assert (zero.value, zero.ci_low, zero.ci_high) == (0, 0, 0)
    with pytest.raises(ValueError, match="anchor 'gpt' has no battles; rated are m00, m01"):
        rate(tournament, anchor="gpt")


def test_one_that_never_lost_is_finite_and_flagged():
    """a beats b 3 to 0: with one tie each against an average player, 3 (1 - sigma(2 s)) + 1/2 - sigma(s) = 0."""
    rated = rate(table(*[("a", "b", 1)] * 3), settings=FEW)
    strength = optimize.brentq(lambda s: 3 * (1 - expit(2 * s)) + 0.5 - expit(s), 0, 10)
    assert rated.strengths == pytest.approx({"a": strength, "b": -strength}, abs=1e-7)
    assert [(row.model, row.flags) for row in rated.models] == [("a", ("never lost",)), ("b", ("never won",))]
    assert any("no finite maximum likelihood" in note for note in rated.notes)
    assert math.isfinite(rated.models[0].strength.ci_high)


def test_a_group_that_never_lost_to_the_rest_is_noted():
    """a and b beat each other, as c and d do, but c and d never beat a or b."""
    rows = [("a", "b", 1), ("b", "a", 1), ("c", "d", 1), ("d", "c", 1), ("a", "c", 1), ("b", "d", 1)]
    rated = rate(table(*rows), order_effect=False, settings=FEW)
    assert any("a whole group" in note for note in rated.notes)
    assert all(math.isfinite(value) and row.flags == () for row in rated.models for value in [row.strength.value])


def test_the_first_always_wins():
    """Every model beat every other, and still nothing is finite: the order effect is, by its own tie."""
    rated = rate(table(*[("a", "b", 1), ("b", "a", 1)] * 4), settings=FEW)
    # 8 (1 - sigma(g)) + 1/2 - sigma(g) = 0 at equal strengths: sigma(g) = 8.5 / 9.
    assert rated.order_effect.value == pytest.approx(math.log(17), abs=1e-7)
    assert any("no finite maximum" in note for note in rated.notes)


def test_groups_that_no_battle_connects():
    rows = [("a", "b", 1), ("b", "a", 1), ("c", "d", 1), ("c", "d", 0), ("d", "c", 0)]
    rated = rate(table(*rows), settings=FEW)
    assert {row.model: row.group for row in rated.models} == {"a": 1, "b": 1, "c": 2, "d": 2}
    assert rated.strengths["a"] + rated.strengths["b"] == pytest.approx(0)
    assert rated.strengths["c"] + rated.strengths["d"] == pytest.approx(0)
    assert any("nothing ranks across them: 1: a, b; 2: c, d" in note for note in rated.notes)
    assert rate(table(*rows), anchor="d", settings=FEW).strengths == pytest.approx(
        {**rated.strengths, "c": rated.strengths["c"] - rated.strengths["d"], "d": 0}
    )


def test_the_order_effect_needs_an_order_that_changes():
    """a is always first: its advantage cannot be told from its strength. In a circle it can, though no pair is asked
    twice: the advantages of a over b, b over c and c over a cannot all be strength."""
    fixed = rate(table(*[("a", "b", 1), ("a", "c", 0), ("a", "b", 0), ("a", "c", 1)]), settings=FEW)
    assert fixed.order_effect is None and any("order effect is left out" in note for note in fixed.notes)
    rows = [("a", "b", 1), ("b", "c", 1), ("c", "a", 1)] * 3 + [("a", "b", 0), ("b", "c", 0), ("c", "a", 0)]
    circle = rate(table(*rows), settings=FEW)
    assert circle.order_effect.value == pytest.approx(math.log(3))


def test_one_prompt_has_no_intervals_and_no_ranks():
    rated = rate(table(*[("a", "b", 1), ("a", "b", 0), ("b", "a", 0)], prompts=[7, 7, 7]))
    assert rated.models[0].strength.ci_low is None and [row.rank for row in rated.models] == [None, None]
    assert any("one prompt" in note for note in rated.notes)


def test_a_model_missing_from_a_resample_does_not_count_there():
    """c plays on one of three prompts only: its interval comes from the resamples that drew that prompt."""
    rows = [("a", "b", 1), ("a", "b", 0), ("b", "a", 1), ("b", "a", 0)] * 2 + [("a", "c", 1), ("a", "c", 0)]
    rated = rate(table(*rows, prompts=[1] * 4 + [2] * 4 + [3] * 2), order_effect=False, settings=FEW)
    lone = next(row.strength for row in rated.models if row.model == "c")
    assert lone.value == pytest.approx(0, abs=1e-9) and math.isfinite(lone.ci_low)


def test_style_without_responses_is_refused():
    with pytest.raises(ValueError, match="3 of 3 battles have no responses to measure style in"):
        rate(table(("a", "b", 1), ("b", "a", 1), ("a", "b", 0)), style=True)


def test_the_document_is_plain():
    import json

    document = rate(random_battles(8), style=True, settings=FEW).document()
    assert json.loads(json.dumps(document)) == document
    assert set(document["models"][0]["strength"]) == {"value", "ci_low", "ci_high", "standard_error"}


def test_a_hundred_thousand_battles_in_half_a_minute():
    """100,000 battles among 100 models with 1,000 resamples of 20,000 prompts; about 3 s of the processor here."""
    generator = np.random.default_rng(9)
    strengths = generator.normal(0, 1, 100)
    first = generator.integers(0, 100, 100_000)
    second = (first + generator.integers(1, 100, 100_000)) % 100
    won = generator.random(100_000) < expit(strengths[first] - strengths[second])
    tournament = battles(first, second, won, np.arange(100_000) % 20_000)
    started = time.process_time()
    rated = rate(tournament, settings=Bootstrap(resamples=1000))
    assert time.process_time() - started < 30
    truth = strengths - strengths.mean()
    held = [row.strength.ci_low <= truth[int(row.model[1:])] <= row.strength.ci_high for row in rated.models]
    assert sum(held) >= 88


def ladder(per_pair: int, shown: dict[tuple[str, str], float], seed: int = 0) -> dict[str, list]:
    """Each pair `per_pair` times in the order of its key, on prompts of their own; the first wins at the given rate."""
    rows = [(*pair, float(place < round(rate * per_pair))) for pair, rate in shown.items() for place in range(per_pair)]
    first, second, won = zip(*rows, strict=True)
    return {"prompt_id": list(range(len(rows))), "first": first, "second": second, "p_first": won}


def test_a_ladder_of_models_has_no_order_effect_of_its_own():
    """dpo always before sft, sft before base, dpo before base, and a base that never wins: sft was ranked above dpo,
    which wins two thirds of their games."""
    data = ladder(12, {("dpo", "sft"): 0.67, ("sft", "base"): 1.0, ("dpo", "base"): 1.0})
    rated = rate(data, settings=FEW)
    assert rated.order_effect is None and any("fixed by who plays" in note for note in rated.notes)
    assert [row.model for row in rated.models] == ["dpo", "sft", "base"]
    assert rated.strengths["dpo"] - rated.strengths["sft"] > 0.3


def test_a_few_swapped_battles_do_not_tell_an_order_effect():
    data = ladder(40, {("a", "b"): 0.7, ("b", "c"): 0.7, ("a", "c"): 0.8})
    for key, value in (("prompt_id", 999), ("first", "c"), ("second", "a"), ("p_first", 1.0)):
        data[key] = [*data[key], value]
    assert rate(data, settings=FEW).order_effect is None
    both = ladder(20, {("a", "b"): 0.8, ("b", "a"): 0.6, ("b", "c"): 0.8, ("c", "b"): 0.6})
    assert rate(both, settings=FEW).order_effect.value > 0.3


@pytest.mark.parametrize("few", [("xy", "yz", "zx", "px"), ("rp",), ("sp", "rs")])
@pytest.mark.parametrize("names", ["pqrs", "rspq"])
def test_a_few_battles_in_a_circle_do_not_tell_an_order_effect(few, names):
    """A ladder p, q, r, s of 240 battles, the best shown first, and up to four battles that make circles of models."""
    named = dict(zip("pqrs", names, strict=True)) | {name: name for name in "xyz"}
    data = ladder(40, {(named[one], named[other]): 0.7 for one, other in ("pq", "qr", "rs", "pr", "qs", "ps")})
    for place, (one, other) in enumerate(few):
        battle = {"prompt_id": 900 + place, "first": named[one], "second": named[other], "p_first": 1.0}
        data = {key: [*data[key], value] for key, value in battle.items()}
    rated = rate(data, settings=FEW)
    assert rated.order_effect is None and any("fixed by who plays" in note for note in rated.notes)


@pytest.mark.parametrize("sort", [True, False])
@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_a_table_sorted_by_who_won(sort, noise):
    """The winner stands first (or second) in each row: the same strengths as in random order, and it is said."""
    generator, names = np.random.default_rng(0), ("a", "b", "c", "d")
    strengths = dict(zip(names, (1.0, 0.4, -0.4, -1.0), strict=True))
    rows = []
    for number in range(400):
        one, other = generator.choice(names, 2, replace=False)
        won = generator.random() < 1 / (1 + np.exp(strengths[other] - strengths[one]))
        rows.append((number, one, other, float(won)))
    turned = [
        row if bool(row[3]) == sort or generator.random() < noise else (row[0], row[2], row[1], 1 - row[3])
        for row in rows
    ]
    plain, of_sorted = (
        rate(dict(zip(("prompt_id", "first", "second", "p_first"), zip(*of, strict=True), strict=True)), settings=FEW)
        for of in (rows, turned)
    )
    assert plain.order_effect is not None and of_sorted.order_effect is None
    assert any(f"the winner stands {'first' if sort else 'second'} in" in note for note in of_sorted.notes)
    assert of_sorted.strengths == pytest.approx(plain.strengths, abs=0.1)


def test_a_judge_that_always_names_the_first_is_no_sorted_table():
    """Each prompt asked in both orders: the outcome cannot have decided who stands first."""
    rows = [(prompt, *pair, 1.0) for prompt in range(20) for pair in (("a", "b"), ("b", "a"))]
    data = dict(zip(("prompt_id", "first", "second", "p_first"), zip(*rows, strict=True), strict=True))
    assert rate(data, settings=FEW).order_effect.value > 2


@pytest.mark.parametrize("marked", ["# Title\n", "- item\n", "**bold** "])
@pytest.mark.parametrize("battles", [1, 2, 3, 4, 5])
def test_an_effect_of_style_seen_on_a_few_roots_covers_zero(marked, battles):
    """One headed answer of 60, which won: +0.45 [+0.32, +0.58] before."""
    generator = np.random.default_rng(1)
    rows = []
    for n in range(60):
        winner = "model_a" if n < battles or generator.random() < 0.5 else "model_b"
        response = (marked if n < battles else "") + "plain words " * int(generator.integers(3, 9))
        rows.append({
            "prompt_id": f"p{n}", "model_a": "x", "model_b": "y", "winner": winner, "response_a": response,
            "response_b": "other words " * 5,
        })  # fmt: skip
    (effect,) = (one for name, one in rate(rows, style=True, settings=FEW).style.items() if name != "length")
    assert effect.ci_low < 0 < effect.ci_high
