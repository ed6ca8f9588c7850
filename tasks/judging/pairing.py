"""Which answers to one prompt meet: duplicates out, filters, and a named strategy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import combinations
from math import comb

from models.judges.base import uniform
from tasks.common.errors import DataError
from tasks.common.rows import Row
from tasks.config.compare import CompareConfig, FilterConfig

Ratings = Mapping[str, Mapping[str, float]]  # sample id -> criterion -> rating in [0, 1]
RATING_STRATEGIES = ("best_vs_worst", "nearest_margin")
NEEDS_RATINGS = (
    "this strategy or filter needs judges that rate; set compare.strategy to random, compare.filters.min_rating_gap to "
    "null and compare.labels to verdicts"
)


@dataclass
class Filtered:
    """Pairs that the strategy named and a filter took out, by the first filter that did."""

    near_identical: int = 0
    length_ratio: int = 0
    rating_gap: int = 0


def needs_ratings(cfg: CompareConfig) -> bool:
    """Whether which pairs meet, or what is said about them, hangs on ratings of single responses."""
    return cfg.strategy in RATING_STRATEGIES or cfg.labels == "ratings" or cfg.filters.min_rating_gap is not None


def check_raters(cfg: CompareConfig) -> None:
    """Raises DataError where ratings are needed and no judge gives any: people do not, models where `rates` says so."""
    rating = any(judge.kind != "human" and getattr(judge, "rates", True) for judge in cfg.judges)
    if cfg.given != "only" and needs_ratings(cfg) and not rating:
        raise DataError(NEEDS_RATINGS)


def pairs_at_most(cfg: CompareConfig, samples: int) -> int:
    """How many pairs of a prompt with so many distinct samples are judged, but for filters."""
    met = samples // 2 if cfg.strategy == "best_vs_worst" else comb(samples, 2)
    return min(cfg.pairs_per_prompt, met)


def is_limited(cfg: CompareConfig) -> bool:
    return cfg.budget.max_calls is not None or cfg.budget.max_cost is not None


def questions_of_prompt(cfg: CompareConfig, samples: int, network: bool) -> tuple[int, int]:
    """(ratings that each judge who rates is asked for, verdicts that each judge is), of a prompt with so many distinct
    samples, at most. `network`: whether some judge is across a network.

    Where calls are counted, responses are rated only for what needs ratings.
    """
    rates = needs_ratings(cfg) or not (is_limited(cfg) and network)
    verdicts = 2 * pairs_at_most(cfg, samples) if cfg.labels == "verdicts" else 0
    return samples if rates else 0, verdicts


def samples_by_prompt(samples: Sequence[Row]) -> tuple[dict[str, list[Row]], int]:
    """(prompt id -> samples with distinct texts in index order, number of duplicates dropped)."""
    groups: dict[str, dict[str, Row]] = {}
    for sample in sorted(samples, key=lambda row: (row["prompt_id"], row["index"])):
        groups.setdefault(sample["prompt_id"], {}).setdefault(sample["response"].strip(), sample)
    distinct = {prompt: list(texts.values()) for prompt, texts in groups.items()}
    return distinct, len(samples) - sum(map(len, distinct.values()))


def drawn_prompts(cfg: CompareConfig, groups: Mapping[str, list[Row]]) -> dict[str, list[Row]]:
    """At most `budget.max_prompts` of the prompts that have a pair, by hash, in their own order."""
    paired = [prompt_id for prompt_id, samples in groups.items() if len(samples) > 1]
    paired.sort(key=lambda prompt_id: uniform("prompt", cfg.runtime.seed, prompt_id))
    drawn = set(paired[: cfg.budget.max_prompts])
    return {prompt_id: samples for prompt_id, samples in groups.items() if prompt_id in drawn}


def chosen_pairs(
    cfg: CompareConfig, samples: Sequence[Row], ratings: Ratings, filtered: Filtered
) -> list[tuple[Row, Row]]:
    """At most `cfg.pairs_per_prompt` pairs by the strategy; the same for equal samples, whatever their order on disk.

    `filtered` counts what filters take out. Raises DataError where the strategy or a filter needs ratings and has none.
    """
    pairs = [pair for pair in _ordered_pairs(cfg, samples, ratings) if _passes(cfg.filters, pair, ratings, filtered)]
    return pairs[: cfg.pairs_per_prompt]


def _ordered_pairs(cfg: CompareConfig, samples: Sequence[Row], ratings: Ratings) -> list[tuple[Row, Row]]:
    if cfg.strategy == "best_vs_worst":
        ranked = sorted(samples, key=lambda sample: (-mean_rating(ratings[sample["id"]]), sample["id"]))
        return list(zip(ranked[: len(ranked) // 2], reversed(ranked), strict=False))
    pairs = list(combinations(samples, 2))
    if cfg.strategy == "nearest_margin":
        pairs.sort(key=lambda pair: (rating_gap(pair, ratings), pair[0]["id"], pair[1]["id"]))
    if cfg.strategy == "random":
        pairs.sort(key=lambda pair: uniform("pair", cfg.runtime.seed, pair[0]["id"], pair[1]["id"]))
    return pairs


def _passes(filters: FilterConfig, pair: tuple[Row, Row], ratings: Ratings, filtered: Filtered) -> bool:
    words = [sample["response"].split() for sample in pair]
    if filters.near_identical is not None and SequenceMatcher(None, *words, False).ratio() >= filters.near_identical:
        filtered.near_identical += 1
        return False
    shorter, longer = sorted(max(1, len(text)) for text in words)
    if filters.max_length_ratio is not None and longer > filters.max_length_ratio * shorter:
        filtered.length_ratio += 1
        return False
    if filters.min_rating_gap is not None and rating_gap(pair, ratings) < filters.min_rating_gap:
        filtered.rating_gap += 1
        return False
    return True


def rating_gap(pair: tuple[Row, Row], ratings: Ratings) -> float:
    """Absolute difference of two samples' mean ratings, in [0, 1], free of the noise of float sums."""
    first, second = (mean_rating(ratings[sample["id"]]) for sample in pair)
    return round(abs(first - second), 9)


def mean_rating(ratings: Mapping[str, float]) -> float:
    if not ratings:
        raise DataError(NEEDS_RATINGS)
    return sum(ratings.values()) / len(ratings)
