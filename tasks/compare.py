"""Judge pairs of generated answers in both orders; write comparisons (train and held-out) and battles."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.judges.base import Judge
from models.judges.behaviour import behaviour_counts, outcome, rates
from models.judges.human import HumanJudge
from models.judges.panel import PairVerdict
from tasks.common.errors import DataError
from tasks.common.rows import Row, read_jsonl, write_jsonl
from tasks.config.compare import CompareConfig
from tasks.judging.call_log import CallLog
from tasks.judging.labelling import Judged, JudgedPair, asking_metrics, described, judge_pairs, make_asker
from tasks.judging.making import make_pool
from tasks.judging.pairing import check_raters, drawn_prompts, mean_rating, samples_by_prompt
from tasks.judging.splits import split_by_root
from tasks.judging.templates import with_template


def compare(
    cfg: CompareConfig, generate: Path, compare_prompts: Path, preferences: Path, out: Path
) -> dict[str, float]:
    """Writes comparisons (`train.jsonl`, `heldout.jsonl`), what was said (`battles.jsonl`, `pairs.jsonl`,
    `ratings.jsonl`) and by whom (`judges.json`) under `out`; returns flat numbers.

    A flip (the pool contradicts itself after a swap) and a tie train nothing; held-out rows keep both, and say in
    `agrees` whether the pool named the same winner in both orders. Given comparisons are mixed in as `cfg.given` says.
    Raises DataError for samples without a known prompt, for judges none of whom rates where ratings are needed, and
    when nothing is left to train on or to hold out; JudgeError and JudgeUnreachable from judges across a network, whose
    answers so far are kept and not asked for again.
    """
    check_raters(cfg)
    samples = read_jsonl(generate / "samples.jsonl") if cfg.given != "only" else []
    specs = [judge.model_dump() for judge in cfg.judges] if cfg.given != "only" else []
    prompts = prompts_by_id(read_jsonl(compare_prompts))
    judges = make_pool([with_template(spec) for spec in specs], shown_samples(samples, prompts), cfg.runtime.date)
    for judge in judges:
        if isinstance(judge, HumanJudge):
            print(f"judge {judge.name!r}, rows that people wrote: {judge.imported}")
    groups, duplicates = samples_by_prompt(samples)
    log = CallLog()
    asker = make_asker(cfg, judges, log)
    try:
        judged = judge_pairs(cfg, judges, asker, drawn_prompts(cfg, groups), prompts)
    finally:
        log.write(asker, judges)  # what a run that fails has paid is paid
    rows = [comparison_row(pair, judges, cfg) for pair in judged.pairs if pair.verdict.valid]
    given = [given_row(row) for row in read_jsonl(preferences)] if cfg.given != "none" else []
    train, heldout = split_by_root(rows + given, cfg.heldout_fraction)
    train = [row for row in train if row["kept"]]
    check_split(train, heldout, cfg)
    write_jsonl(out / "train.jsonl", train)
    write_jsonl(out / "heldout.jsonl", heldout)
    _write_verdicts(cfg, judged, judges, specs, out)
    counts = {"train": len(train), "heldout": len(heldout), "given": len(given), "duplicates": duplicates}
    numbers = {**judge_numbers(judged.pairs, judges, cfg.tie_margin), **asking_metrics(asker, judges, judged)}
    return {name: float(value) for name, value in {**counts, **numbers}.items()}


def prompts_by_id(prompts: Sequence[Row]) -> dict[str, Row]:
    return {row["id"]: row for row in prompts}


def shown_samples(samples: Sequence[Row], prompts: Mapping[str, Row]) -> list[Row]:
    """Each sample with its prompt, as people were shown it; those whose prompt is unknown left out."""
    known = [sample for sample in samples if sample["prompt_id"] in prompts]
    return [{**sample, "prompt": prompts[sample["prompt_id"]]["prompt"]} for sample in known]


def _write_verdicts(
    cfg: CompareConfig, judged: Judged, judges: Sequence[Judge], specs: Sequence[dict[str, Any]], out: Path
) -> None:
    write_jsonl(out / "battles.jsonl", (battle for pair in judged.pairs for battle in battle_rows(pair, judges)))
    write_jsonl(out / "pairs.jsonl", (pair_row(pair, judges, cfg.tie_margin) for pair in judged.pairs))
    write_jsonl(out / "ratings.jsonl", rating_rows(judged.pairs))
    document = {"panel": cfg.panel, "tie_margin": cfg.tie_margin, "judges": described(specs, judges)}
    imported = {judge.name: vars(judge.counts) for judge in judges if isinstance(judge, HumanJudge)}
    document |= {"imported": imported} if imported else {}
    (out / "judges.json").write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def comparison_row(pair: JudgedPair, judges: Sequence[Judge], cfg: CompareConfig) -> Row:
    """One comparison; `soft_label` is the pool's preference for `chosen` over judges and orders, in [0.5, 1].

    `verdicts` holds each judge's own preference for `chosen`, once shown first and once shown second.
    """
    prefers_a = pair.verdict.p_a >= 0.5
    chosen, rejected = (pair.a, pair.b) if prefers_a else (pair.b, pair.a)
    soft_label = max(pair.verdict.p_a, 1 - pair.verdict.p_a)
    chosen_ratings, rejected_ratings = pair.ratings[chosen["id"]], pair.ratings[rejected["id"]]
    gap = mean_rating(chosen_ratings) - mean_rating(rejected_ratings) if chosen_ratings else 0.0
    return {
        "id": f"{chosen['id']}>{rejected['id'].rpartition('#')[2]}",
        "root": pair.prompt["root"],
        "category": pair.prompt["category"],
        "prompt": pair.prompt["prompt"],
        "chosen": _assistant(chosen["response"]),
        "rejected": _assistant(rejected["response"]),
        "chosen_finished": chosen["finished"],
        "rejected_finished": rejected["finished"],
        "score_gap": round(gap, 6),
        "soft_label": soft_label,
        "criteria": {"chosen": dict(chosen_ratings), "rejected": dict(rejected_ratings)},
        "judge": "+".join(judge.name for judge in judges),
        "source": "judged",
        "policy": chosen.get("policy", ""),
        "seed": cfg.runtime.seed,
        "agrees": pair.verdict.agrees,
        "kept": outcome(pair.verdict, cfg.tie_margin) == "kept",
        "verdicts": [_raw_verdicts(pair.verdict.of(place), judge, prefers_a) for place, judge in enumerate(judges)],
    }


def _raw_verdicts(verdict: PairVerdict, judge: Judge, a_is_chosen: bool) -> Row:
    """One judge's two answers about a comparison; null for an invalid one."""
    one, other = verdict.a_first[0], verdict.a_second[0]
    orders = [(one.p_first if one.valid else None, one.raw), (1 - other.p_first if other.valid else None, other.raw)]
    if not a_is_chosen:  # b was shown first where a was shown second
        orders = [(None if p is None else 1 - p, raw) for p, raw in reversed(orders)]
    return {
        "judge": judge.name,
        "chosen_first": orders[0][0],
        "chosen_second": orders[1][0],
        "raw": [orders[0][1], orders[1][1]],
    }


def _assistant(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def given_row(row: Row) -> Row:
    """A human comparison with the fields of a judged one; people end what they write."""
    defaults = {
        "chosen_finished": True,
        "rejected_finished": True,
        "score_gap": 0.0,
        "soft_label": 1.0,
        "criteria": {"chosen": {}, "rejected": {}},
        "judge": "human",
        "source": "given",
        "policy": "",
        "seed": None,
        "verdicts": [],
    }
    return {**defaults, **{key: value for key, value in row.items() if value is not None}, "agrees": True, "kept": True}


def check_split(train: Sequence[Row], heldout: Sequence[Row], cfg: CompareConfig) -> None:
    """Raises DataError when there is nothing to train on, or nothing to hold out."""
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


def pair_row(pair: JudgedPair, judges: Sequence[Judge], tie_margin: float) -> Row:
    """What the pool said about a pair: its preference for a, in all and by criterion, and what became of the pair."""
    return {
        "prompt_id": pair.prompt["id"],
        "root": pair.prompt["root"],
        "a": pair.a["id"],
        "b": pair.b["id"],
        "p_a": pair.verdict.p_a,
        "outcome": outcome(pair.verdict, tie_margin),
        "criteria": pair.criteria,
        "annotations": {
            who: value
            for judge in judges
            if isinstance(judge, HumanJudge)
            for who, value in judge.annotations(pair.prompt, pair.a["response"], pair.b["response"]).items()
        },
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
    """How many pairs and verdicts there were, and what the pool did, as rates.

    The rates are those of the judge card, and how often one judge alone flips. A rate of nothing is left out.
    """
    texts = [(pair.verdict, pair.a["response"], pair.b["response"]) for pair in judged]
    alone = [
        behaviour_counts(verdict.of(place), a, b, tie_margin)
        for verdict, a, b in texts
        for place in range(len(judges))
    ]
    outcomes = [outcome(verdict, tie_margin) for verdict, _, _ in texts]
    numbers = {
        "pairs": len(judged),
        "kept_pairs": outcomes.count("kept"),
        "flipped_pairs": outcomes.count("flip"),
        "tied_pairs": outcomes.count("tie"),
        "invalid_pairs": outcomes.count("invalid"),
        "verdicts": 2 * len(alone),
        "judges": len(judges),
        **rates(behaviour_counts(*pair, tie_margin) for pair in texts),
    }
    per_judge = rates({"swap_flip_rate_per_judge": own["swap_flip_rate"]} for own in alone)
    return {**numbers, **per_judge}
