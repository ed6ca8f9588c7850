"""KL, perplexity, displacement, length and reward, and the gap of reward and gold, by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from models.monitors import drift
from models.monitors.answers import Answers
from models.monitors.finding import Limit, Limits
from models.monitors.survey import Settings


def test_kl():
    finding = drift.kl_finding([1.0, 2.0, 9.0], Limit(3.0, 10.0), "SFT")
    assert (finding.number, finding.level) == (4.0, "warning")
    assert (finding.threshold, finding.veto, finding.reference) == (3.0, 10.0, 0.0)
    assert "4.00 nats from SFT" in finding.sentence


def test_perplexity_by_hand():
    """Two responses with 3 tokens in all, each token with probability 1/2: perplexity 2."""
    assert drift.perplexity([2 * math.log(0.5), math.log(0.5)], [2, 1]) == pytest.approx(2.0)
    with pytest.raises(ValueError, match="at least one token"):
        drift.perplexity([], [])


@pytest.mark.parametrize(("number", "level"), [(5.9, "ok"), (6.0, "warning"), (12.0, "veto")])
def test_perplexity_is_a_multiple_of_the_reference(number, level):
    finding = drift.perplexity_finding(number, 3.0, Limit(2.0, 4.0), "SFT", "held-out demonstrations")
    assert (finding.level, finding.threshold, finding.veto, finding.reference) == (level, 6.0, 12.0, 3.0)


def test_displacement_by_hand():
    """Changes -1, +1, -3, 0: two of four fell, by -0.75 on average."""
    finding = drift.displacement_finding([-6.0, -4.0, -8.0, -5.0], [-5.0] * 4, Limit(0.5), "SFT")
    assert (finding.number, finding.level) == (0.5, "warning")
    assert "-0.75 nats" in finding.sentence


def test_length_correlation_of_one_answer_a_prompt():
    lengths = list(range(30))
    assert drift.length_correlation(lengths, lengths, list(map(str, lengths))) == pytest.approx(1.0)
    assert drift.length_correlation(lengths, lengths[::-1], list(map(str, lengths))) == pytest.approx(-1.0)
    assert drift.length_correlation(lengths[:19], lengths[:19], list(map(str, lengths[:19]))) is None
    assert drift.length_correlation(lengths, [1.0] * 30, list(map(str, lengths))) is None


def test_length_correlation_within_prompts():
    """Prompts that ask for more words earn more, but within each prompt the longer answer earns less."""
    rows = [(prompt, 10 * prompt + extra, 100 * prompt - extra) for prompt in range(10) for extra in range(3)]
    prompts, lengths, scores = zip(*rows, strict=True)
    assert drift.length_correlation(lengths, scores, list(map(str, prompts))) == pytest.approx(-1.0)


def held_to(limits: Limits) -> Settings:
    return Settings(
        {"length_reward": limits}, noise=3.0, minimum_answers=3, examples=3, words=100, draws=1, vocabulary=100, seed=0,
        reference_name="SFT",
    )


def test_a_reward_that_loves_length_more_than_gold_does():
    answers = Answers(
        prompts=list(map(str, range(30))), responses=["x"] * 30, rewards=list(range(30)),
        gold=[float(row % 2) for row in range(30)],
    )
    settings = held_to(Limits(absolute=Limit(0.9), relative=Limit(0.5, 0.95)))
    finding, = drift.reward_findings(answers, list(range(30)), settings)
    assert finding.number == pytest.approx(1.0) and finding.level == "warning"
    assert finding.threshold == pytest.approx(finding.reference + 0.5)
    assert drift.reward_findings(answers, list(range(30)), held_to(Limits())) == []
    alone = replace(answers, gold=None)
    assert drift.reward_findings(alone, list(range(30)), settings)[0].threshold == 0.9
    base = (replace(alone, rewards=[float(row % 3) for row in range(30)]), list(range(30)))
    against, = drift.reward_findings(alone, list(range(30)), settings, base)
    assert "SFT:" in against.sentence and against.threshold == pytest.approx(against.reference + 0.5)
    assert drift.length_reward_finding(0.6, None, Limit(0.5, 0.6)).level == "veto"
    assert drift.length_reward_finding(0.4, 0.2, Limit(0.5)).level == "ok"
    falls = drift.length_reward_finding(-0.1, -0.9, Limit(0.5))
    assert (falls.level, falls.threshold) == ("ok", pytest.approx(-1.4))


@pytest.mark.parametrize(("correlation", "base", "level", "loves"), [
    (-0.93, None, "veto", "short"), (0.93, None, "veto", "long"), (-0.93, 0.0, "veto", "short"),
    (-0.6, -0.5, "ok", ""), (-0.6, 0.5, "warning", "short"), (0.6, -0.5, "warning", "long"),
    (-0.05, 0.9, "ok", ""), (0.05, -0.9, "ok", ""),
])
def test_a_reward_may_love_long_answers_or_short_ones(correlation, base, level, loves):
    """What gold or the reference loves is expected on its own side of 0 only, and no love at all is never too much."""
    finding = drift.length_reward_finding(correlation, base, Limit(0.5, 0.8), "gold")
    assert finding.level == level and (f"it loves {loves} answers" in finding.sentence) == bool(loves)
    assert (finding.threshold > 0) == (correlation > 0)


STEPS = [drift.Step("sft", 0.0, 0.6), drift.Step("step-1", 1.0, 0.8), drift.Step("final", 3.0, 0.7)]


def test_gap_by_hand():
    """Since step-1 the reward rose by 2, one deviation, and gold fell by 0.1, half a deviation: a gap of 1.5."""
    finding = drift.gap_finding(STEPS, 2.0, 0.2, 0.01, Limit(0.5, 2.0), noise=3.0)
    assert finding.number == pytest.approx(1.5) and finding.level == "warning"
    assert "since step-1 the reward changed by +1.00 standard deviations and gold by -0.50" in finding.sentence
    assert drift.gap_finding(STEPS, 2.0, 0.2, 0.01, Limit(0.5, 1.4), noise=3.0).level == "veto"


def test_a_fall_of_gold_within_the_noise_is_none():
    finding = drift.gap_finding(STEPS, 2.0, 0.2, 0.05, Limit(0.5), noise=3.0)
    assert finding.level == "ok" and "too few answers" in finding.sentence


def test_while_gold_rises_there_is_no_gap():
    finding = drift.gap_finding(STEPS[:2], 2.0, 0.2, 0.01, Limit(0.5), noise=3.0)
    assert (finding.number, finding.level) == (0.0, "ok")
    assert "gold is best at the last step, step-1" in finding.sentence


def test_equal_scores_give_no_gap():
    same = [drift.Step("sft", 0.0, 0.6), drift.Step("final", 0.0, 0.5)]
    assert np.isfinite(drift.gap_finding(same, 0.0, 0.0, 0.0, Limit(0.5), noise=3.0).number)
