"""Judge pairs of generated answers in both orders; write comparisons (train and held-out) and battles."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from models.judges import Judge, Verdict, make_pool
from models.judges.base import uniform
from models.judges.pool import PairVerdict, ask_both_orders, mean_ratings
from tasks.config import CompareConfig
from tasks.errors import DataError
from tasks.progress import report
from tasks.rows import Row, read_jsonl, write_jsonl
from tasks.splits import split_by_root

_PROGRESS_EVERY = 100  # pairs


@dataclass(frozen=True)
class JudgedPair:
    """Two samples of one prompt, what the pool said about them, and its mean ratings of each."""

    prompt: Row
    a: Row
    b: Row
    verdict: PairVerdict
    ratings: Mapping[str, Mapping[str, float]]  # sample id -> criterion -> rating


def compare(
    cfg: CompareConfig, generate: Path, compare_prompts: Path, preferences: Path, out: Path
) -> dict[str, float]:
    """Writes `train.jsonl`, `heldout.jsonl`, `battles.jsonl` and `ratings.jsonl` under `out`; returns flat numbers.

    A flip (the pool contradicts itself after a swap) and a tie train nothing; held-out rows keep both, and say in
    `agrees` whether the pool named the same winner in both orders. Given comparisons are mixed in as `cfg.given` says.
    Raises DataError for samples without a known prompt, and when nothing is left to train on or to hold out.
    """
    judges = make_pool([judge.model_dump() for judge in cfg.judges])
    judged: list[JudgedPair] = []
    duplicates = 0
    if cfg.given != "only":
        groups, duplicates = samples_by_prompt(read_jsonl(generate / "samples.jsonl"))
        judged = judge_pairs(cfg, judges, groups, prompts_by_id(read_jsonl(compare_prompts)))
    rows = [comparison_row(pair, judges, cfg.tie_margin) for pair in judged if pair.verdict.valid]
    given = [given_row(row) for row in read_jsonl(preferences)] if cfg.given != "none" else []
    train, heldout = split_by_root(rows + given, cfg.heldout_fraction)
    train = [row for row in train if row["kept"]]
    _check_split(train, heldout, cfg)
    write_jsonl(out / "train.jsonl", train)
    write_jsonl(out / "heldout.jsonl", heldout)
    write_jsonl(out / "battles.jsonl", (battle for pair in judged for battle in battle_rows(pair, judges)))
    write_jsonl(out / "ratings.jsonl", rating_rows(judged))
    counts = {"train": len(train), "heldout": len(heldout), "given": len(given), "duplicates": duplicates}
    return {name: float(value) for name, value in {**counts, **judge_numbers(judged, judges, cfg.tie_margin)}.items()}


def prompts_by_id(prompts: Sequence[Row]) -> dict[str, Row]:
    return {row["id"]: row for row in prompts}


def samples_by_prompt(samples: Sequence[Row]) -> tuple[dict[str, list[Row]], int]:
    """(prompt id -> samples with distinct texts in index order, number of duplicates dropped)."""
    groups: dict[str, dict[str, Row]] = {}
    for sample in sorted(samples, key=lambda row: (row["prompt_id"], row["index"])):
        groups.setdefault(sample["prompt_id"], {}).setdefault(sample["response"].strip(), sample)
    distinct = {prompt: list(texts.values()) for prompt, texts in groups.items()}
    return distinct, len(samples) - sum(map(len, distinct.values()))


def judge_pairs(
    cfg: CompareConfig, judges: Sequence[Judge], groups: Mapping[str, list[Row]], prompts: Mapping[str, Row]
) -> list[JudgedPair]:
    """Every chosen pair of every prompt, asked in both orders, prompts in the order of their ids."""
    unknown = sorted(set(groups) - set(prompts))
    if unknown:
        raise DataError(f"samples answer prompt {unknown[0]!r}, which compare_prompts lacks; generate them again")
    judged: list[JudgedPair] = []
    for position, (prompt_id, samples) in enumerate(groups.items()):
        prompt = prompts[prompt_id]
        ratings = {sample["id"]: mean_ratings(judges, prompt, sample["response"]) for sample in samples}
        for a, b in chosen_pairs(cfg, samples, ratings):
            verdict = ask_both_orders(judges, prompt, a["response"], b["response"], key=str(cfg.runtime.seed))
            judged.append(JudgedPair(prompt, a, b, verdict, ratings))
        if position % _PROGRESS_EVERY == 0:
            report(position, len(groups), unit="prompt")
    return judged


def chosen_pairs(
    cfg: CompareConfig, samples: Sequence[Row], ratings: Mapping[str, Mapping[str, float]]
) -> list[tuple[Row, Row]]:
    """At most `cfg.pairs_per_prompt` pairs by the strategy; the same for equal samples, whatever their order on disk."""
    if cfg.strategy == "best_vs_worst":
        ranked = sorted(samples, key=lambda sample: (-_mean_rating(ratings[sample["id"]]), sample["id"]))
        pairs = list(zip(ranked[: len(ranked) // 2], reversed(ranked), strict=False))
    else:
        pairs = list(combinations(samples, 2))
    if cfg.strategy == "random":
        pairs.sort(key=lambda pair: uniform("pair", cfg.runtime.seed, pair[0]["id"], pair[1]["id"]))
    return pairs[: cfg.pairs_per_prompt]


def _mean_rating(ratings: Mapping[str, float]) -> float:
    if not ratings:
        raise DataError("strategy best_vs_worst needs judges that rate; set compare.strategy to random")
    return sum(ratings.values()) / len(ratings)


def comparison_row(pair: JudgedPair, judges: Sequence[Judge], tie_margin: float) -> Row:
    """One comparison; `soft_label` is the pool's mean preference for `chosen` over judges and orders, in [0.5, 1]."""
    prefers_a = pair.verdict.p_a >= 0.5
    chosen, rejected = (pair.a, pair.b) if prefers_a else (pair.b, pair.a)
    soft_label = max(pair.verdict.p_a, 1 - pair.verdict.p_a)
    chosen_ratings, rejected_ratings = pair.ratings[chosen["id"]], pair.ratings[rejected["id"]]
    gap = _mean_rating(chosen_ratings) - _mean_rating(rejected_ratings) if chosen_ratings else 0.0
    return {
        "id": f"{chosen['id']}>{rejected['id'].rpartition('#')[2]}",
        "root": pair.prompt["root"],
        "category": pair.prompt["category"],
        "prompt": pair.prompt["prompt"],
        "chosen": _assistant(chosen["response"]),
        "rejected": _assistant(rejected["response"]),
        "score_gap": round(gap, 6),
        "soft_label": soft_label,
        "criteria": {"chosen": dict(chosen_ratings), "rejected": dict(rejected_ratings)},
        "judge": "+".join(judge.name for judge in judges),
        "source": "judged",
        "policy": chosen.get("policy", ""),
        "agrees": pair.verdict.agrees,
        "kept": not pair.verdict.flips and soft_label - 0.5 > tie_margin,
    }


def _assistant(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def given_row(row: Row) -> Row:
    """A human comparison with the fields of a judged one."""
    defaults = {
        "score_gap": 0.0,
        "soft_label": 1.0,
        "criteria": {"chosen": {}, "rejected": {}},
        "judge": "human",
        "source": "given",
        "policy": "",
    }
    return {**defaults, **{key: value for key, value in row.items() if value is not None}, "agrees": True, "kept": True}


def _check_split(train: Sequence[Row], heldout: Sequence[Row], cfg: CompareConfig) -> None:
    if not train or not heldout:
        raise DataError(
            f"{len(train)} comparisons to train on and {len(heldout)} held out; both need at least one: give more "
            f"prompts of different roots, or change compare.heldout_fraction ({cfg.heldout_fraction})"
        )


def battle_rows(pair: JudgedPair, judges: Sequence[Judge]) -> Iterator[Row]:
    """One row per judge and order asked."""
    orders = ((pair.a, pair.b, pair.verdict.a_first), (pair.b, pair.a, pair.verdict.a_second))
    for first, second, verdicts in orders:
        for judge, verdict in zip(judges, verdicts, strict=True):
            yield {
                "prompt_id": pair.prompt["id"],
                "root": pair.prompt["root"],
                "first": first["id"],
                "second": second["id"],
                "judge": judge.name,
                "p_first": verdict.p_first,
                "winner": verdict.winner,
            }


def rating_rows(judged: Sequence[JudgedPair]) -> Iterator[Row]:
    """One row per rated sample: the pool's mean rating per criterion, in [0, 1]."""
    written: set[str] = set()
    for pair in judged:
        for sample_id, ratings in pair.ratings.items():
            if ratings and sample_id not in written:
                written.add(sample_id)
                yield {"id": sample_id, "prompt_id": pair.prompt["id"], "root": pair.prompt["root"], "ratings": ratings}


def judge_numbers(judged: Sequence[JudgedPair], judges: Sequence[Judge], tie_margin: float) -> dict[str, float]:
    """What the pool did, as rates: of pairs (`flip_rate`, `tie_rate`), of calls (`invalid_rate`, …)."""
    pairs = [pair.verdict for pair in judged]
    valid = [verdict for verdict in pairs if verdict.valid]
    calls = [verdict for pair in pairs for verdict in (*pair.a_first, *pair.a_second)]
    decided = [verdict for verdict in calls if verdict.winner in ("first", "second")]
    longer = [picked for pair in judged for picked in _picks_longer(pair)]
    single = [
        PairVerdict((first,), (second,))
        for pair in pairs
        for first, second in zip(pair.a_first, pair.a_second, strict=True)
    ]
    ties = sum(not verdict.flips and abs(verdict.p_a - 0.5) <= tie_margin for verdict in valid)
    return {
        "pairs": len(pairs),
        "calls": len(calls),
        "judges": len(judges),
        "flip_rate": _share(sum(verdict.flips for verdict in valid), len(valid)),
        "flip_rate_per_judge": _share(sum(verdict.flips for verdict in single), len(single)),
        "tie_rate": _share(ties, len(valid)),
        "agreement_rate": _share(sum(verdict.agrees for verdict in valid), len(valid)),
        "invalid_pairs": len(pairs) - len(valid),
        "invalid_rate": _share(sum(verdict.winner == "invalid" for verdict in calls), len(calls)),
        "prefers_first": _share(sum(verdict.winner == "first" for verdict in decided), len(decided)),
        "prefers_longer": _share(sum(longer), len(longer)),
    }


def _picks_longer(pair: JudgedPair) -> Iterator[bool]:
    """For each decided call on texts of different length in words: whether it named the longer."""
    a_words, b_words = len(pair.a["response"].split()), len(pair.b["response"].split())
    if a_words == b_words:
        return
    orders: tuple[tuple[tuple[Verdict, ...], bool], ...] = (
        (pair.verdict.a_first, a_words > b_words),
        (pair.verdict.a_second, b_words > a_words),
    )
    for verdicts, first_is_longer in orders:
        for verdict in verdicts:
            if verdict.winner in ("first", "second"):
                yield (verdict.winner == "first") == first_is_longer


def _share(part: float, whole: int) -> float:
    return part / whole if whole else 0.0
