"""Score the answers of all models on the same unseen prompts, paired, and say how sure the numbers are."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.judges import Scorer
from models.judges.reward_model import RewardModelScorer
from models.monitors import diversity
from models.statistics import intervals as statistics
from models.statistics.best_of_n import best_of_n as expected_best_of_n
from models.statistics.best_of_n import kl_upper_bound
from models.statistics.bootstrap import Bootstrap
from tasks.answering.second_turn import SCORES_FILE as SECOND_TURN_SCORES
from tasks.answering.second_turn import read_second_turns
from tasks.artifacts.champion import CHAMPION
from tasks.artifacts.entrants import by_checkpoint, entrants, in_order, is_method, training_order
from tasks.common.machine import prepare_torch
from tasks.common.progress import report
from tasks.common.rows import Row, read_jsonl, write_jsonl
from tasks.config.evaluate import EvaluateConfig
from tasks.evaluation import tournament
from tasks.evaluation.adversarial import adversarial
from tasks.evaluation.overoptimisation import over_optimisation
from tasks.scoring.left_out import SECOND_TURNS, left_out, unrated, without
from tasks.scoring.scorer import (
    check_pairing,
    is_harmless_lookalike,
    load_gold,
    prompt_text,
    score_answers,
    score_pool,
    score_second_turns,
)

DEMO_PROMPT = "Can I wash my teddy bear?"
REFERENCES = ("sft", CHAMPION)  # what the others are held against
TOURNAMENT_RESAMPLES = 1000  # at most: two digits of an interval's ends, in half of the time


def evaluate(
    cfg: EvaluateConfig,
    model: Path,
    gold: Path,
    reward: Path,
    select_prompts: Path,
    answers: Mapping[str, Path],
    best_of_n: Path,
    out: Path,
) -> dict[str, Any]:
    """Writes `scores.jsonl` (one row per model, checkpoint, prompt and sample) and `second_turn_scores.jsonl` (one per
    entrant and doubted answer); returns the document evaluate.json.

    `model` is the base, `reward` the proxy that scores every answer, `answers` the folder of each model's. Raises
    DataError when a model did not answer the same prompts as SFT.
    """
    prepare_torch(cfg.runtime)
    prompts = {row["id"]: row for row in read_jsonl(select_prompts)}
    folders = {**answers, "best_of_n": best_of_n}
    answered = {name: read_jsonl(folders[name] / "answers.jsonl") for name in in_order(folders)}
    if not answered[CHAMPION]:
        del answered[CHAMPION]  # none is in service
    check_pairing(answered, prompts)
    scorer = load_gold(gold, model)
    proxy = RewardModelScorer.load(reward, model, cfg.rows_per_batch, cfg.runtime.date)
    scores: list[Row] = []
    for done, (name, rows) in enumerate(answered.items(), start=1):
        scores += score_answers(name, rows, prompts, scorer, proxy)
        report(done, len(answered) + 1, unit="model")
    pooled = read_jsonl(best_of_n / "pool.jsonl")
    pool = score_pool(pooled, prompts, scorer)
    ids = sorted({row["prompt_id"] for row in pooled})
    missing = {name: unrated(row for row in scores if row["model"] == name) for name in answered}
    missing["best_of_n"] |= {one for one, gold_of in zip(ids, pool["gold"]) if np.isnan(gold_of).any()}
    lacking, gone = left_out(scorer, missing, len(prompts)), set().union(*missing.values())
    scores = without(scores, gone)
    pool = {name: values[[one not in gone for one in ids]] for name, values in pool.items()}
    write_jsonl(out / "scores.jsonl", scores)
    doubts: dict[str, list[Row]] = {}
    for name, (of, checkpoint) in entrants(scores).items():
        first = [row for row in answered[of] if row["checkpoint"] == checkpoint]
        doubts[name] = score_second_turns(read_second_turns(folders[of], first, prompts), scorer)
    unsure = {name: unrated(rows) for name, rows in doubts.items()}
    lacking |= left_out(scorer, unsure, len(prompts), SECOND_TURNS)
    gone |= set().union(*unsure.values())
    doubts = {name: without(rows, gone) for name, rows in doubts.items()}
    write_jsonl(out / SECOND_TURN_SCORES, [{"model": name, **row} for name, rows in doubts.items() for row in rows])
    report(len(answered) + 1, len(answered) + 1, unit="model")
    return {**document(cfg, scores, pool, prompts, scorer, doubts), **lacking}


def document(
    cfg: EvaluateConfig,
    scores: Sequence[Row],
    pool: Mapping[str, np.ndarray],
    prompts: Mapping[str, Row],
    scorer: Scorer,
    doubts: Mapping[str, Sequence[Row]],
) -> dict[str, Any]:
    """evaluate.json: see DESIGN.md, Words on disk. doubts: for each entrant, the score rows of its second turns."""
    policies = by_checkpoint(scores)
    entered = {name: policies[policy] for name, policy in entrants(scores).items()}
    by_step = sorted(policies, key=lambda policy: (policy[0], training_order(policy[1])))
    trained = {policy: policies[policy] for policy in by_step if is_method(policy[0])}
    prompt_ids = sorted({row["prompt_id"] for row in entered["sft"]})
    roots = [prompts[prompt_id]["root"] for prompt_id in prompt_ids]
    bounds = statistics.score_bounds(scorer.kind, scorer.axes)
    n = pool["gold"].shape[1]
    field, settings = contestants(entered, prompt_ids, roots), _tournament(cfg)
    models = {
        name: model_numbers(cfg, rows, prompt_ids, roots, prompts, scorer, doubts[name])
        for name, rows in entered.items()
    }
    models["best_of_n"]["kl_upper_bound"] = kl_upper_bound(n)
    texts = {name: [row["text"] for row in rows] for name, rows in entered.items()}
    speaking = [answers for answers in texts.values() if any(map(str.strip, answers))]  # silence hides no other's
    words = diversity.shared_size(speaking or [[]], diversity.WORDS)
    for name, answers in texts.items():
        models[name]["distinct_2"] = diversity.distinct_2(answers, words, cfg.runtime.seed)
    return {
        "prompts": len(prompt_ids),
        "roots": len(set(roots)),
        "words": words,
        "gold_kind": scorer.kind,
        "axes": list(scorer.axes),
        "confidence": cfg.confidence,
        "n": n,
        "models": models,
        **{
            f"versus_{reference}": {
                name: {
                    **versus(cfg, rows, entered[reference], prompt_ids, roots, bounds),
                    **tournament.win_rates(field, name, reference, settings),
                }
                for name, rows in entered.items()
                if name != reference
            }
            for reference in REFERENCES
            if reference in entered
        },
        "ratings": tournament.ratings(field, settings),
        "checkpoints": [checkpoint_numbers(*key, rows) for key, rows in trained.items()],
        "best_of_n": best_of_n_curve(pool),
        "over_optimisation": over_optimisation(
            cfg, pool, checkpoint_gains(trained, entered["sft"], prompt_ids), roots, bounds["gold"]
        ),
        "proxy": pairwise_accuracy(pool["proxy"], pool["gold"]),
        "examples": examples(entered, prompts, cfg.examples),
    }


def contestants(
    entered: Mapping[str, Sequence[Row]], prompt_ids: Sequence[str], roots: Sequence[str]
) -> tournament.Field:
    """The entrants' answers, for comparisons of each with each."""
    gold = {name: per_prompt(rows, prompt_ids, "gold") for name, rows in entered.items()}
    sized = {name: [{**row, "characters": len(row["text"])} for row in rows] for name, rows in entered.items()}
    lengths = {name: per_prompt(rows, prompt_ids, "characters") for name, rows in sized.items()}
    return tournament.Field(gold, lengths, prompt_ids, roots)


def _tournament(cfg: EvaluateConfig) -> Bootstrap:
    return Bootstrap(cfg.confidence, min(cfg.resamples, TOURNAMENT_RESAMPLES), cfg.runtime.seed)


def per_prompt(rows: Sequence[Row], prompt_ids: Sequence[str], field: str) -> np.ndarray:
    """Mean of `field` over the samples of each prompt, (prompts,), in the order of `prompt_ids`."""
    place = {prompt_id: position for position, prompt_id in enumerate(prompt_ids)}
    index = [place[row["prompt_id"]] for row in rows]
    return np.bincount(index, [row[field] for row in rows], len(place)) / np.bincount(index, minlength=len(place))


def model_numbers(
    cfg: EvaluateConfig,
    rows: Sequence[Row],
    prompt_ids: Sequence[str],
    roots: Sequence[str],
    prompts: Mapping[str, Row],
    scorer: Scorer,
    doubts: Sequence[Row],
) -> dict[str, Any]:
    """All numbers of one model: gold with its interval, plain means, and the axes' intervals beside them.

    `kl` is in nats per response, `length` in response tokens with the end counted, rates and axes lie in [0, 1].
    `distinct_2` is added by `document`, on as many words (`words`) of each model.
    """
    intervals = {
        field: statistics.mean_interval(per_prompt(rows, prompt_ids, field), roots, cfg.confidence, limits).document()
        for field, limits in statistics.score_bounds(scorer.kind, scorer.axes).items()
    }
    numbers: dict[str, Any] = {
        **{axis: intervals[axis]["mean"] for axis in scorer.axes},
        "gold": intervals.pop("gold"),
        "intervals": intervals,
    }
    if all(row["kl"] is not None for row in rows):
        kl = per_prompt(rows, prompt_ids, "kl")
        numbers["kl"] = float(kl.mean())
        numbers["kl_standard_error"] = statistics.clustered_standard_error(kl, roots)
    numbers["length"] = float(per_prompt(rows, prompt_ids, "tokens").mean())
    numbers["proxy"] = float(per_prompt(rows, prompt_ids, "proxy").mean())
    numbers["adversarial"] = adversarial(rows, prompts, scorer.axes, cfg.confidence, doubts)
    return {**numbers, **refusal_rates(rows, prompts)}


def refusal_rates(rows: Sequence[Row], prompts: Mapping[str, Row]) -> dict[str, float]:
    """Share of harmful prompts refused, and of harmless safety prompts (look-alikes); absent where none is marked."""
    marked = [(prompts[row["prompt_id"]], row["refuses"]) for row in rows]
    refused = {
        "refusal_rate": [refuses for prompt, refuses in marked if prompt.get("harmful") is True],
        "over_refusal_rate": [refuses for prompt, refuses in marked if is_harmless_lookalike(prompt)],
    }
    return {name: float(np.mean(refusals)) for name, refusals in refused.items() if refusals}


def versus(
    cfg: EvaluateConfig, rows: Sequence[Row], reference: Sequence[Row], prompt_ids: Sequence[str],
    roots: Sequence[str], bounds: Mapping[str, statistics.Bounds],
) -> dict[str, Any]:  # fmt: skip
    """Paired differences to the reference with their intervals, of gold and each axis."""
    differences = {}
    for field, limits in bounds.items():
        ours, theirs = (per_prompt(side, prompt_ids, field) for side in (rows, reference))
        interval = statistics.difference_interval(ours, theirs, roots, cfg.confidence, limits)
        differences[field] = interval.document("difference")
    return {**differences.pop("gold"), "axes": differences}


def checkpoint_numbers(model: str, checkpoint: str, rows: Sequence[Row]) -> dict[str, Any]:
    """Means of one checkpoint."""
    means = {field: float(np.mean([row[field] for row in rows])) for field in ("gold", "kl", "proxy", "tokens")}
    return {"model": model, "checkpoint": checkpoint, "length": means.pop("tokens"), **means}


def checkpoint_gains(
    trained: Mapping[tuple[str, str], Sequence[Row]], sft: Sequence[Row], prompt_ids: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """What each checkpoint gained over SFT per prompt, by method in training order, with its mean KL in nats."""
    reference = {field: per_prompt(sft, prompt_ids, field) for field in ("gold", "proxy")}
    gains: dict[str, list[dict[str, Any]]] = {}
    for (method, checkpoint), rows in trained.items():
        gained = {field: per_prompt(rows, prompt_ids, field) - start for field, start in reference.items()}
        kl = float(per_prompt(rows, prompt_ids, "kl").mean())
        gains.setdefault(method, []).append({"checkpoint": checkpoint, "kl": kl, **gained})
    return gains


def best_of_n_curve(pool: Mapping[str, np.ndarray]) -> dict[str, list[float]]:
    """Mean gold and proxy of best-of-n for every n up to the pool's size, by the unbiased estimator."""
    proxy, gold = pool["proxy"], pool["gold"]
    sizes = range(1, gold.shape[1] + 1)
    return {
        "n": list(sizes),
        "kl_upper_bound": [kl_upper_bound(n) for n in sizes],
        "gold": expected_best_of_n(proxy, gold).mean(axis=0).tolist(),
        "proxy": expected_best_of_n(proxy, proxy).mean(axis=0).tolist(),
    }


def pairwise_accuracy(proxy: np.ndarray, gold: np.ndarray) -> dict[str, float]:
    """How often the proxy orders two samples of one prompt as gold does; pairs that gold ties are left out."""
    first, second = np.triu_indices(gold.shape[1], k=1)
    gold_order = np.sign(gold[:, first] - gold[:, second])
    proxy_order = np.sign(proxy[:, first] - proxy[:, second])
    decided = gold_order != 0
    right = (gold_order == proxy_order)[decided] + 0.5 * (proxy_order == 0)[decided]
    return {"pairwise_accuracy": float(right.mean()) if decided.any() else 0.5, "pairs": int(decided.sum())}


def examples(entered: Mapping[str, Sequence[Row]], prompts: Mapping[str, Row], count: int) -> list[dict[str, Any]]:
    """The demo's own prompt where it is asked, then `count` prompts of different kinds where gold differs most."""
    first: dict[str, dict[str, Row]] = defaultdict(dict)  # prompt -> model -> its first sample
    for name, rows in entered.items():
        for row in sorted(rows, key=lambda row: row["index"], reverse=True):
            first[row["prompt_id"]][name] = row

    def spread(prompt_id: str) -> float:
        golds = [row["gold"] for row in first[prompt_id].values()]
        return max(golds) - min(golds)

    demo = [prompt_id for prompt_id in sorted(first) if prompt_text(prompts[prompt_id]) == DEMO_PROMPT][:1]
    by_kind: dict[str, str] = {}
    for prompt_id in demo + sorted(first, key=lambda prompt_id: (-spread(prompt_id), prompt_id)):
        by_kind.setdefault(kind_of(prompts[prompt_id]), prompt_id)
    return [
        {
            "prompt": prompt_text(prompts[prompt_id]),
            "kind": kind,
            "answers": {name: row["text"] for name, row in first[prompt_id].items()},
        }
        for kind, prompt_id in list(by_kind.items())[: len(demo) + count]
    ]


def kind_of(prompt: Row) -> str:
    return prompt.get("kind") or prompt["category"]
