"""What the gate's tests and every interval keep, by simulation: `python -m benchmarks.verdicts [--write-docs]`.

False promotions, power and coverage where prompts are variants of one question: by the number of questions (roots), the
variants of each, and how far an answer to one tells that to another (the correlation within roots). The functions under
test are those of the pipeline. `--write-docs` writes the tables into docs/statistics.md, below its text.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy.special import expit

from models.judges.card import accuracy_and_kappa
from models.ratings.ratings import rate
from models.ratings.win_rates import win_rate
from models.statistics import intervals as statistics
from models.statistics.bootstrap import Bootstrap

DOCS = Path(__file__).parent.parent / "docs" / "statistics.md"
BELOW = "<!-- Written by `python -m benchmarks.verdicts --write-docs`; do not edit below. -->\n"
ALPHA = 0.025  # one-sided, of one look
UNEVEN = (*[1] * 20, *[2] * 9, *[4] * 5, *[8] * 2, 16)  # 37 roots, half of whose prompts belong to eight
RESAMPLES = 200
CORRELATIONS = (0.0, 0.3, 0.6, 1.0)


@dataclass(frozen=True)
class World:
    """Prompts of each root, and the correlation of what happens on two prompts of one root."""

    sizes: tuple[int, ...]
    correlation: float

    @property
    def roots(self) -> np.ndarray:
        """(prompts,) the root of each prompt."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def happens(self, rate: float, generator: np.random.Generator) -> np.ndarray:
        """(prompts,) whether something of this rate happened: beta-binomial, with the root's own rate."""
        if self.correlation == 0 or rate == 1:
            return generator.random(sum(self.sizes)) < rate
        if self.correlation == 1:
            return (generator.random(len(self.sizes)) < rate)[self.roots]
        spread = 1 / self.correlation - 1
        own = generator.beta(rate * spread, (1 - rate) * spread, len(self.sizes))
        return generator.random(sum(self.sizes)) < own[self.roots]

    def values(self, draw: Callable[[int], np.ndarray], generator: np.random.Generator) -> np.ndarray:
        """(prompts,) numbers from `draw`; one is its root's with probability sqrt(correlation), else its own."""
        shared = generator.random(sum(self.sizes)) < np.sqrt(self.correlation)
        return np.where(shared, draw(len(self.sizes))[self.roots], draw(sum(self.sizes)))


def worlds(roots: int) -> Iterator[World]:
    """Those of the tables' columns."""
    yield World((1,) * roots, 0.0)
    for variants in (4, 10):
        yield from (World((variants,) * roots, correlation) for correlation in CORRELATIONS)


COLUMNS = ["1 variant", *(f"{variants}, ρ {correlation:g}" for variants in (4, 10) for correlation in CORRELATIONS)]
ROWS = {
    **{f"{roots}": tuple(worlds(roots)) for roots in (5, 10, 20, 50, 150)},
    "37, uneven": (None, *(World(UNEVEN, correlation) for correlation in CORRELATIONS)),
}


# --- the gate's tests ---


def promoted(world: World, generator: np.random.Generator, win_rate: float = 0.5, ties: float = 0.0) -> bool:
    """Whether superiority passes; `ties`: the share of prompts that tie."""
    won = world.happens(win_rate, generator).astype(float)
    wins = np.where(world.happens(ties, generator), 0.5, won) if ties else won
    return statistics.mean_interval(wins, world.roots, 1 - 2 * ALPHA, statistics.RATE).low > 0.5


def let_through(
    world: World, generator: np.random.Generator, lost: float, gained: float = 0.0, margin: float = 0.10
) -> bool:
    """Whether a guard passes where the candidate alone fails on `lost` of the prompts, the reference on `gained`."""
    ours, theirs = answers(world, generator, lost, gained)
    return statistics.rate_difference(ours, theirs, world.roots, 1 - 2 * ALPHA).low > -margin


def answers(
    world: World, generator: np.random.Generator, lost: float, gained: float
) -> tuple[np.ndarray, np.ndarray]:
    """(candidate is good, reference is good) on each prompt; where they differ the root also tells who is worse."""
    differ = world.happens(lost + gained, generator)
    worse = differ & world.happens(lost / (lost + gained), generator)
    return ~worse, ~(differ & ~worse)


# --- intervals: each tells whether a 95% interval holds the truth ---


def covers(interval: statistics.Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


def holds_rate(world: World, generator: np.random.Generator, rate: float) -> bool:
    return covers(statistics.rate_interval(world.happens(rate, generator), world.roots, 0.95), rate)


def holds_score(world: World, generator: np.random.Generator) -> bool:
    """Scores from 0 to 1 with mean 0.8, skewed (Beta(4, 1))."""
    scores = world.values(lambda size: generator.beta(4, 1, size), generator)
    return covers(statistics.mean_interval(scores, world.roots, 0.95, statistics.RATE), 0.8)


def holds_difference_of_scores(world: World, generator: np.random.Generator) -> bool:
    """Two policies of mean 0.8 and 0.6, which give the same answer to half the prompts' roots."""
    ours, theirs = (
        world.values(lambda size, first=first: generator.beta(first, 1, size), generator) for first in (4, 1.5)
    )
    ours = np.where(world.happens(0.5, generator), theirs, ours)
    return covers(statistics.difference_interval(ours, theirs, world.roots, 0.95, statistics.RATE), 0.1)


def holds_difference_of_rates(world: World, generator: np.random.Generator, lost: float, gained: float) -> bool:
    interval = statistics.rate_difference(*answers(world, generator, lost, gained), world.roots, 0.95)
    return covers(interval, gained - lost)


def holds_unbounded(world: World, generator: np.random.Generator) -> bool:
    """A reward model's gold: normal, mean 0."""
    values = world.values(generator.standard_normal, generator)
    return covers(statistics.mean_interval(values, world.roots, 0.95), 0.0)


def holds_kappa(world: World, generator: np.random.Generator) -> bool:
    """A judge that ties 0.2 of the pairs and is right in 0.8 of the others: agreement 0.64, 0.4 expected, kappa 0.4."""
    right, ties = world.happens(0.8, generator), world.happens(0.2, generator)
    truth = np.where(generator.random(len(right)) < 0.5, "a", "b")
    labels = np.where(ties, "tie", np.where(right, truth, np.where(truth == "a", "b", "a")))
    kappa = accuracy_and_kappa(labels, truth, world.roots, 0.95)["kappa"]
    return kappa["ci_low"] <= 0.4 <= kappa["ci_high"]


def holds_at_equal_lengths(world: World, generator: np.random.Generator, rate: str) -> bool:
    """Two answers of lengths that say nothing: either `rate` at equal lengths is the win rate; none errs not."""
    count = sum(world.sizes)
    battles = {
        "prompt_id": np.arange(count).astype(str), "root": world.roots.astype(str), "first": ["candidate"] * count,
        "second": ["reference"] * count, "p_first": world.happens(0.5, generator).astype(float),
        **{f"{side}_length": np.round(generator.lognormal(5, 0.4, count)) for side in ("first", "second")},
    }  # fmt: skip
    settings = Bootstrap(0.95, RESAMPLES, int(generator.integers(2**31)))
    estimate = getattr(win_rate(battles, "candidate", "reference", settings=settings), rate)
    return estimate is None or estimate.ci_low <= 0.5 <= estimate.ci_high


STRENGTHS = np.array([0.5, 0.0, -0.5])  # log-odds, of three models
ORDER = 0.3  # log-odds, for the one shown first


def holds_rating(world: World, generator: np.random.Generator, effect: bool) -> bool:
    """One battle a prompt, of two of three models in random order: the best one's strength, or the effect of order."""
    count = sum(world.sizes)
    first = generator.integers(0, 3, count)
    second = (first + generator.integers(1, 3, count)) % 3
    rates = expit(STRENGTHS[first] - STRENGTHS[second] + ORDER)
    names, won = np.array(list("abc")), world.values(generator.random, generator) < rates
    battles = {
        "prompt_id": np.arange(count).astype(str), "root": world.roots.astype(str), "first": names[first],
        "second": names[second], "p_first": won * 1.0,
    }  # fmt: skip
    ratings = rate(battles, settings=Bootstrap(0.95, RESAMPLES, int(generator.integers(2**31))))
    truth = ORDER if effect else STRENGTHS[0]
    one = ratings.order_effect if effect else next(row.strength for row in ratings.models if row.model == "a")
    return one is None or one.ci_low <= truth <= one.ci_high


# --- tables ---

Trial = Callable[[World, np.random.Generator], bool]  # whether what the table counts happened


def share(trial: Trial, world: World, trials: int, seed: int = 0) -> float:
    """How often `trial` is true; the same numbers for the same world and seed."""
    generator = np.random.default_rng([seed, *world.sizes, int(100 * world.correlation)])
    return sum(trial(world, generator) for _ in range(trials)) / trials


TESTS: Mapping[str, Trial] = {  # in percent of simulations: promoted, or let through
    "Superiority, win rate 0.5: promoted by chance, nominal 2.5": promoted,
    "The same where 60% of the prompts tie": partial(promoted, ties=0.6),
    "Guard of margin 0.10, candidate fails on 10% more, never on fewer: passes by chance, nominal 2.5":
        partial(let_through, lost=0.10),
    "The same where it fails alone on 15%, the reference alone on 5%": partial(let_through, lost=0.15, gained=0.05),
    "Guard of margin 0.05, candidate fails on 5% more, never on fewer": partial(let_through, lost=0.05, margin=0.05),
}  # fmt: skip
POWER: Mapping[str, Trial] = {
    "Superiority, power at a win rate of 0.65": partial(promoted, win_rate=0.65),
    "Guard of margin 0.10, power where 2% of the prompts change either way":
        partial(let_through, lost=0.02, gained=0.02),
}  # fmt: skip
INTERVALS: Mapping[str, Trial] = {  # in percent of simulations: the 95% interval holds the truth
    "Rates (pressure and refusals in evaluate; rates and accuracy on the judge card), truth 0.5":
        partial(holds_rate, rate=0.5),
    "Rates, truth 0.95": partial(holds_rate, rate=0.95),
    "Scores from 0 to 1 (gold and axes in evaluate), truth 0.8": holds_score,
    "Paired differences of such scores (against SFT and champion; what got worse), truth 0.1":
        holds_difference_of_scores,
    "Paired differences of rates (guards), truth -0.1": partial(holds_difference_of_rates, lost=0.15, gained=0.05),
    "Means without bounds (gold of a reward model, proxy), truth 0": holds_unbounded,
    "Kappa of the judge card, truth 0.4": holds_kappa,
}  # fmt: skip
RESAMPLED: Mapping[str, Trial] = {
    "Length-controlled win rate, truth 0.5": partial(holds_at_equal_lengths, rate="length_controlled"),
    "Length-adjusted win rate (the gate's, where gold is a model), truth 0.5":
        partial(holds_at_equal_lengths, rate="length_adjusted"),
    "Strength of the best of three models, one battle a prompt, truth 0.5": partial(holds_rating, effect=False),
    "Effect of order in such a rating, truth 0.3": partial(holds_rating, effect=True),
}  # fmt: skip
SIMULATIONS = ((TESTS, 1.0), (POWER, 0.25), (INTERVALS, 0.25), (RESAMPLED, 0.1))  # with their parts of the trials


def table(caption: str, trial: Trial, trials: int) -> str:
    """One Markdown table: a row for each number of roots, a column for variants and correlation."""
    lines = [f"**{caption}** ({trials:,} simulations a cell)", "", f"| roots | {' | '.join(COLUMNS)} |"]
    lines.append("|---" * (1 + len(COLUMNS)) + "|")
    for name, row in ROWS.items():
        cells = [f"{100 * share(trial, world, trials):.1f}" if world else "" for world in row]
        cells += [""] * (len(COLUMNS) - len(cells))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the tables, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verdicts", description=__doc__)
    parser.add_argument("--trials", type=int, default=2000, help="simulations a cell of the tables with the most")
    parser.add_argument("--write-docs", action="store_true", help=f"write the tables into docs/{DOCS.name}")
    options = parser.parse_args(arguments)
    tables = []
    for group, part in SIMULATIONS:
        for caption, trial in group.items():
            tables.append(table(caption, trial, max(10, int(options.trials * part))))
            print(tables[-1], flush=True)
    if options.write_docs:
        text, _, _ = DOCS.read_text(encoding="utf-8").partition(BELOW)
        DOCS.write_text(text + BELOW + "\n" + "\n".join(tables), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
