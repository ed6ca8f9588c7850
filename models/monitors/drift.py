"""How far training has carried a model: KL, perplexity, displacement; and what becomes of reward and gold meanwhile."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from models.monitors.answers import Answers
from models.monitors.finding import WITHIN_NOISE, Finding, Limit, rising
from models.monitors.survey import Settings

LEAST_ROWS = 20  # for a correlation


def kl_finding(kl: Sequence[float], limit: Limit, reference_name: str) -> Finding:
    """Mean KL per response, in nats; `kl` holds the log-prob of each own sample less the reference's (k1)."""
    values = np.asarray(kl, dtype=float)
    number, high = float(values.mean()), float(np.quantile(values, 0.95))
    return Finding(
        "kl", number, limit.warning, limit.veto, 0.0, rising(number, limit),
        f"a response lies {number:.2f} nats from {reference_name} on average, one in twenty more than {high:.2f}",
    )


def perplexity(logprobs: Sequence[float], tokens: Sequence[int]) -> float:
    """exp of the mean negative log-prob per token. `logprobs`: of whole responses, in nats; `tokens`: their lengths.

    Raises ValueError without a token.
    """
    if sum(tokens) <= 0:
        raise ValueError("perplexity needs at least one token; give responses that are not empty")
    return math.exp(-sum(logprobs) / sum(tokens))


def perplexity_finding(number: float, reference: float, limit: Limit, reference_name: str, data: str) -> Finding:
    """Perplexity on `data` against the reference's; limits are multiples of the reference's."""
    veto = None if limit.veto is None else limit.veto * reference
    return Finding(
        "perplexity", number, limit.warning * reference, veto, reference, rising(number / reference, limit),
        f"perplexity on {data} is {number:.2f}, {number / reference:.2f} times {reference_name}'s {reference:.2f}",
    )


def displacement_finding(
    policy: Sequence[float], reference: Sequence[float], limit: Limit, reference_name: str
) -> Finding:
    """Share of chosen responses that the policy finds less likely than the reference (arXiv:2410.08847).

    `policy`, `reference`: log-probs of the same chosen responses, in nats.
    """
    ratios = np.subtract(policy, reference)
    number = float((ratios < 0).mean())
    return Finding(
        "displacement", number, limit.warning, limit.veto, None, rising(number, limit),
        f"{number:.1%} of {len(ratios)} chosen responses are less likely than under {reference_name}; their log-prob "
        f"changed by {ratios.mean():+.2f} nats on average",
    )


def length_correlation(
    lengths: Sequence[float], scores: Sequence[float] | None, prompts: Sequence[str]
) -> float | None:
    """Spearman's correlation of score and length, in [-1, 1].

    Where prompts have several answers it is the mean of the correlations within each prompt, which leaves out that some
    prompts ask for more words and some earn more. None without scores, for fewer than twenty answers, or where nothing
    varies.
    """
    if scores is None or len(lengths) < LEAST_ROWS:
        return None
    groups: dict[str, list[int]] = {}
    for row, prompt in enumerate(prompts):
        groups.setdefault(prompt, []).append(row)
    several = [rows for rows in groups.values() if len(rows) >= 3]
    chosen = several if len(several) >= len(groups) / 2 else [list(range(len(lengths)))]
    columns = [([lengths[row] for row in rows], [scores[row] for row in rows]) for rows in chosen]
    varying = [pair for pair in columns if all(len(set(column)) > 1 for column in pair)]
    return float(np.mean([stats.spearmanr(*pair).statistic for pair in varying])) if varying else None


def length_reward_finding(
    correlation: float, base: float | None, limit: Limit, base_name: str | None = None
) -> Finding:
    """How much the reward loves long answers, or short ones: its correlation with length, or by how much that goes
    beyond `base` on the same side of 0.

    `base` is what may be expected: gold's own correlation, or the reference's.
    """
    side = -1.0 if correlation < 0 else 1.0
    start = max(0.0, side * (base or 0.0))
    loved = "" if abs(correlation) - start < limit.warning else f": it loves {'long' if side > 0 else 'short'} answers"
    compared = "" if base is None else f" ({base_name}: {base:+.2f})"
    return Finding(
        "length_reward", correlation, side * (start + limit.warning),
        None if limit.veto is None else side * (start + limit.veto), base, rising(abs(correlation) - start, limit),
        f"the reward's rank correlation with length is {correlation:+.2f}{compared}{loved}",
    )


@dataclass(frozen=True)
class Step:
    """A policy on the way, with the mean reward and mean gold of its answers."""

    name: str
    reward: float
    gold: float


def gap_finding(
    steps: Sequence[Step], reward_deviation: float, gold_deviation: float, gold_error: float, limit: Limit, noise: float
) -> Finding:
    """The gap that opened between reward and gold since gold was best: (reward gained) − (gold gained) from there on.

    Both in standard deviations of the reference's answers. Before that both rise, which is what training is for; 0
    where gold is best at the last step. A fall of gold within `noise` standard errors is none.

    Args:
        steps: the reference first, then the policies in training order.
        gold_error: standard error of the difference of gold between its best step and the last.
    """
    last, best = steps[-1], max(steps, key=lambda step: step.gold)
    reward = (last.reward - best.reward) / reward_deviation if reward_deviation > 0 else 0.0
    gold = (last.gold - best.gold) / gold_deviation if gold_deviation > 0 else 0.0
    number, fell = reward - gold, best.gold - last.gold > noise * gold_error
    sentence = f"since {best.name} the reward changed by {reward:+.2f} standard deviations and gold by {gold:+.2f}"
    if best is last:
        sentence = f"gold is best at the last step, {last.name}"
    return Finding(
        "proxy_gold_gap", number, limit.warning, limit.veto, 0.0, rising(number, limit) if fell else "ok",
        sentence if fell or number < limit.warning else f"{sentence}; {WITHIN_NOISE}",
    )


def reward_findings(
    answers: Answers,
    lengths: Sequence[float],
    settings: Settings,
    reference: tuple[Answers, Sequence[float]] | None = None,
) -> list[Finding]:
    """The length–reward correlation of a table that has rewards: against gold's where it has gold, else against that of
    a reference table with rewards (given with its lengths), else on its own."""
    expected, name = length_correlation(lengths, answers.gold, answers.prompts), "gold"
    if expected is None and reference is not None:
        table, its_lengths = reference
        expected, name = length_correlation(its_lengths, table.rewards, table.prompts), settings.reference_name
    limit = settings.limit("length_reward", expected is not None)
    correlation = length_correlation(lengths, answers.rewards, answers.prompts)
    return [] if limit is None or correlation is None else [length_reward_finding(correlation, expected, limit, name)]
