"""The judges of `compare` at work: ratings, pairs in both orders, within a budget; what they said about each pair."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf
from typing import Any

from models.endpoints.retries import AskingSettings
from models.judges.asking import Asker, BatchJudge, RemoteJudge
from models.judges.base import Judge, Ratings, Verdict
from models.judges.budget import Budget
from models.judges.human import HumanJudge
from models.judges.panel import PairVerdict, mean_ratings
from models.judges.rounds import ask_both_orders, ask_ratings
from models.judges.store import Store
from models.judges.tally import PAID
from tasks.common.errors import DataError
from tasks.common.progress import report
from tasks.common.rows import Row
from tasks.config.compare import CompareConfig
from tasks.judging.call_log import CallLog
from tasks.judging.pairing import (
    NEEDS_RATINGS, Filtered, chosen_pairs, is_limited, mean_rating, questions_of_prompt,
)  # fmt: skip
from tasks.runner.state import STORE_FILE, state_root

_PROMPTS_AT_ONCE = 100


@dataclass(frozen=True)
class JudgedPair:
    """Two samples of one prompt, what the pool said about them, and its mean ratings of each."""

    prompt: Row
    a: Row
    b: Row
    verdict: PairVerdict
    ratings: Mapping[str, Mapping[str, float]]  # sample id -> criterion -> rating

    @property
    def criteria(self) -> dict[str, float]:
        """Criterion -> the pool's preference for a: from its verdicts where they tell, else by what is rated higher."""
        if preferences := self.verdict.criteria:
            return preferences
        ours, theirs = self.ratings[self.a["id"]], self.ratings[self.b["id"]]
        return {name: 0.5 + 0.5 * ((ours[name] > theirs[name]) - (ours[name] < theirs[name])) for name in sorted(ours)}


@dataclass
class Judged:
    """All judged pairs, what filters took out, and what the budget left unasked."""

    pairs: list[JudgedPair] = field(default_factory=list)
    filtered: Filtered = field(default_factory=Filtered)
    unasked_pairs: int = 0
    unasked_prompts: int = 0


def make_asker(cfg: CompareConfig, judges: Sequence[Judge], log: CallLog) -> Asker:
    """With the store under PLUMB_STATE where a judge's answers are worth keeping; pure and quick judges need none.

    `log` hears of every call across a network.
    """
    keeps = any(isinstance(judge, (RemoteJudge, BatchJudge)) for judge in judges)
    return Asker(
        Store(state_root() / STORE_FILE) if keeps else None,
        Budget(cfg.budget.max_calls, cfg.budget.max_cost),
        AskingSettings.of(cfg.asking.model_dump()),
        lambda done, total: report(done, total, unit="answer") if done % _PROMPTS_AT_ONCE == 0 else None,
        log.heard,
    )


def judge_pairs(
    cfg: CompareConfig,
    judges: Sequence[Judge],
    asker: Asker,
    groups: Mapping[str, list[Row]],
    prompts: Mapping[str, Row],
) -> Judged:
    """Every chosen pair of every prompt, asked in both orders, prompts in the order of their ids.

    Raises DataError for samples without a known prompt.
    """
    unknown = sorted(set(groups) - set(prompts))
    if unknown:
        raise DataError(f"samples answer prompt {unknown[0]!r}, which compare_prompts lacks; generate them again")
    judged, done = Judged(), 0
    if not _rates(cfg, judges):
        print("compare.budget is limited and nothing in compare needs ratings: none are asked for, score_gap is 0")
    for part in _parts(cfg, groups, judges, asker.budget):
        if asker.budget.exhausted:
            judged.unasked_prompts += len(part)
            continue
        _judge_part(cfg, judges, asker, {prompt_id: groups[prompt_id] for prompt_id in part}, prompts, judged)
        done += len(part)
        report(done, len(groups), unit="prompt")
    return judged


def _rates(cfg: CompareConfig, judges: Sequence[Judge]) -> bool:
    """Whether responses are rated before pairs are chosen."""
    return questions_of_prompt(cfg, 1, any(isinstance(judge, RemoteJudge) for judge in judges))[0] > 0


def _parts(
    cfg: CompareConfig, groups: Mapping[str, list[Row]], judges: Sequence[Judge], budget: Budget
) -> Iterator[list[str]]:
    """Prompts rated and then judged together. All at once keeps a slow judge busy; under a budget it is as many as
    what is left of it suffices for, so that no ratings use up what their pairs need."""
    prompt_ids, start = list(groups), 0
    slow = any(isinstance(judge, (RemoteJudge, BatchJudge)) for judge in judges)
    while start < len(prompt_ids):
        size = len(prompt_ids) if slow and not is_limited(cfg) else _PROMPTS_AT_ONCE
        part = prompt_ids[start : start + size]
        if is_limited(cfg):
            room = _calls_left(cfg, budget)
            needed = accumulate(_calls_for(cfg, len(groups[prompt_id]), judges) for prompt_id in part)
            part = part[: max(1, sum(calls <= room for calls in needed))]
        yield part
        start += len(part)


def _calls_for(cfg: CompareConfig, samples: int, judges: Sequence[Judge]) -> int:
    """Calls across a network for one prompt with so many samples, at most."""
    remote = [judge for judge in judges if isinstance(judge, RemoteJudge)]
    ratings, verdicts = questions_of_prompt(cfg, samples, bool(remote))
    return ratings * sum(getattr(judge, "rates", True) for judge in remote) + verdicts * len(remote)


def _calls_left(cfg: CompareConfig, budget: Budget) -> float:
    """How many calls the budget has room for; none where money is limited and what a call costs is not known yet."""
    left = inf if cfg.budget.max_calls is None else cfg.budget.max_calls - budget.calls
    if cfg.budget.max_cost is None:
        return left
    if not budget.calls:
        return 0
    return min(left, (cfg.budget.max_cost - budget.cost) / (budget.cost / budget.calls)) if budget.cost else left


def _judge_part(
    cfg: CompareConfig,
    judges: Sequence[Judge],
    asker: Asker,
    groups: Mapping[str, list[Row]],
    prompts: Mapping[str, Row],
    judged: Judged,
) -> None:
    samples = [sample for group in groups.values() for sample in group]
    rated: list[tuple[Ratings, ...] | None] = [tuple({} for _ in judges) for _ in samples]
    if _rates(cfg, judges):
        responses = [(prompts[sample["prompt_id"]], sample["response"]) for sample in samples]
        rated = ask_ratings(asker, judges, responses, [sample["finished"] for sample in samples])
    by_sample = dict(zip([sample["id"] for sample in samples], rated, strict=True))
    todo: list[tuple[Row, Row, Row, Mapping[str, Ratings]]] = []
    for prompt_id, group in groups.items():
        if any(by_sample[sample["id"]] is None for sample in group):
            judged.unasked_prompts += 1
            continue
        means = {sample["id"]: mean_ratings(by_sample[sample["id"]]) for sample in group}
        todo += [(prompts[prompt_id], a, b, means) for a, b in chosen_pairs(cfg, group, means, judged.filtered)]
    if cfg.labels == "ratings":
        verdicts = [verdict_of_ratings(cfg, by_sample[a["id"]], by_sample[b["id"]]) for _, a, b, _ in todo]
    else:
        texts = [(prompt, a["response"], b["response"]) for prompt, a, b, _ in todo]
        finished = [(a["finished"], b["finished"]) for _, a, b, _ in todo]
        verdicts = ask_both_orders(asker, judges, texts, key=str(cfg.runtime.seed), method=cfg.panel, finished=finished)
    for (prompt, a, b, means), verdict in zip(todo, verdicts, strict=True):
        if verdict is None:
            judged.unasked_pairs += 1
        else:
            judged.pairs.append(JudgedPair(prompt, a, b, verdict, means))


def verdict_of_ratings(cfg: CompareConfig, ours: Sequence[Ratings], theirs: Sequence[Ratings]) -> PairVerdict:
    """What the judges' ratings say about a pair: each prefers what it rates higher, in either order."""
    if not any(ours) or not any(theirs):
        raise DataError(NEEDS_RATINGS)
    verdicts = [_verdict_of(one, other) for one, other in zip(ours, theirs, strict=True)]
    swapped = [_verdict_of(other, one) for one, other in zip(ours, theirs, strict=True)]
    return PairVerdict(tuple(verdicts), tuple(swapped), cfg.panel)


def _verdict_of(first: Ratings, second: Ratings) -> Verdict:
    if not first or not second:
        return Verdict(0.5, valid=False)
    difference = round(mean_rating(first) - mean_rating(second), 9)
    return Verdict(0.5 + 0.5 * ((difference > 0) - (difference < 0)))


def asking_metrics(asker: Asker, judges: Sequence[Judge], judged: Judged) -> dict[str, float]:
    """What asking took and what was left out: equal for a run begun anew after a kill. Times are no part of it."""
    tally = asker.tally
    metrics: dict[str, float] = {
        **{name: getattr(tally, name) for name in PAID},
        "failed_questions": tally.failed,
        "budget_exhausted": asker.budget.exhausted,
        "unasked_pairs": judged.unasked_pairs,
        "unasked_prompts": judged.unasked_prompts,
        **{f"filtered_{name}": count for name, count in vars(judged.filtered).items()},
    }
    for judge in judges:
        if isinstance(judge, HumanJudge):
            metrics |= {f"{judge.name}_{name}": count for name, count in vars(judge.counts).items()}
    return metrics


def described(specs: Sequence[Mapping[str, Any]], judges: Sequence[Judge]) -> list[dict[str, Any]]:
    """Each judge's settings, and what it says determines its answers (the template's hash among it)."""
    return [
        {**spec, "determined_by": dict(getattr(judge, "description", spec))}
        for spec, judge in zip(specs, judges, strict=True)
    ]
