"""A reward model, or a judge, on labelled pairs, as a document: what `plumb judge-check` shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from models.judges.labelled import LabelledPair, measured, style_accuracy
from models.judges.reward_model import RewardModelScorer
from models.judges.rounds import ask_both_orders
from models.lm.batching import context_length
from models.lm.loading import is_adapter_chain
from tasks.common.errors import ConfigError, DataError
from tasks.common.machine import prepare_torch
from tasks.config.compare import CompareConfig
from tasks.judging.call_log import CallLog
from tasks.judging.labelling import make_asker
from tasks.judging.making import make_pool
from tasks.judging.templates import with_template
from tasks.runner.params import read_params, stage_config
from tasks.tools.inspection import SHIPPED_PARAMS
from tasks.tools.labelled_pairs import Columns, Labelled, read_labelled, verdict_of_gap

ASKABLE = ("openai", "hf", "reward_model")  # the others know hearth's prompts, or ids of samples, alone
SCORED = "verdicts that compare scores of single responses: no order can matter, and none is compared"


def judge_check(
    files: Sequence[Path], params: Path = SHIPPED_PARAMS, columns: Columns = Columns(), reward: Path | None = None,
    judge: str | None = None, max_calls: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What the verdicts in the files, a reward model directory or a judge of params say about the labelled pairs.

    Returns:
        {"files", "checked", "confidence", "total": {…}, "subsets": {NAME: {…}}, "styles", "notes"}, with the numbers of
        `models.judges.labelled.measured` and, as styles, `style_accuracy`.

    Raises:
        DataError: for files that cannot be read, or have no verdict where neither reward nor judge is given.
        ConfigError: for bad params, a judge that they do not name, or one that answers nothing but hearth's prompts.
    """
    values = read_params(params)
    card = stage_config(values, "judge", params)
    labelled = read_labelled(files, columns)
    prepare_torch(card.runtime)
    notes = [f"{count} left out: {reason}" for reason, count in labelled.left_out.most_common()]
    if reward is not None:
        base = Path(values["model"]["path"]) if is_adapter_chain(reward) else None
        scorer = RewardModelScorer.load(reward, base, date=card.runtime.date)
        pairs, long = rewarded(labelled, scorer)
        checked = str(reward)
        notes += [f"{long} pairs are longer than the model's context: unusable verdicts"] if long else []
    elif judge is not None:
        pairs, more = judged(labelled, stage_config(values, "compare", params), judge, max_calls)
        notes, checked = notes + more, judge
    else:
        pairs, checked = [pair for pair in labelled.pairs if pair.verdicts != (None, None)], "the file's verdicts"
        if not pairs:
            raise DataError(f"{files[0]} says which response is better and holds no verdict on it; name who is checked "
                            "by --reward or --judge, or the column of the verdicts by --verdict-column")
        notes += [f"{missing} pairs have no verdict"] if (missing := len(labelled.pairs) - len(pairs)) else []
    notes += [SCORED] if any(pair.is_scored for pair in pairs) else []
    return {
        "files": [str(file) for file in files],
        "checked": checked,
        "confidence": card.confidence,
        **by_subset(pairs, card.confidence),
        "styles": style_accuracy(pairs),
        "notes": notes,
    }


def by_subset(pairs: Sequence[LabelledPair], confidence: float) -> dict[str, Any]:
    """The numbers of all pairs, and of each subset where there are several."""
    subsets: dict[str, list[LabelledPair]] = {}
    for pair in pairs:
        subsets.setdefault(pair.subset, []).append(pair)
    several = subsets if len(subsets) > 1 else {}
    return {
        "total": measured(pairs, confidence),
        "subsets": {name: measured(own, confidence) for name, own in several.items()},
    }


def rewarded(labelled: Labelled, scorer: RewardModelScorer) -> tuple[list[LabelledPair], int]:
    """Each pair with what the rewards of its responses say, and how many are too long for the model.

    Equal rewards are a tie; where a response and its prompt do not fit into the context, the verdict is unusable.
    """
    both = zip(labelled.prompts, labelled.pairs, strict=True)
    texts = [(prompt, text) for prompt, pair in both for text in (pair.a, pair.b)]
    context = context_length(scorer.model)
    fitting = [place for place, text in enumerate(texts) if len(scorer.sequence(*text)) <= context]
    rewards = np.full(len(texts), np.nan)
    if fitting:
        rewards[fitting] = scorer.values(*map(list, zip(*(texts[place] for place in fitting), strict=True)))
    gaps = rewards[0::2] - rewards[1::2]
    pairs = [
        replace(pair, verdicts=(verdict_of_gap(float(gap)), None), is_scored=True)
        for pair, gap in zip(labelled.pairs, gaps, strict=True)
    ]
    return pairs, int(np.isnan(gaps).sum())


def judged(
    labelled: Labelled, cfg: CompareConfig, name: str, max_calls: int | None
) -> tuple[list[LabelledPair], list[str]]:
    """Each pair with what a judge of compare.judges says in both orders, and notes on what it was not asked.

    Answers are kept in the store, and the budget is that of compare, or `max_calls`; pairs beyond it are left out.
    """
    specs = [one.model_dump() for one in cfg.judges if one.name == name]
    if not specs:
        known = ", ".join(one.name for one in cfg.judges) or "none"
        raise ConfigError(f"params name no judge {name!r} in compare.judges; known are {known}")
    if specs[0]["kind"] not in ASKABLE:
        raise ConfigError(f"judge {name!r} is of kind {specs[0]['kind']}, which answers nothing but its own prompts; "
                          f"name one of kind {', '.join(ASKABLE)}")
    if max_calls is not None:
        cfg = cfg.model_copy(update={"budget": cfg.budget.model_copy(update={"max_calls": max_calls})})
    judges = make_pool([with_template(spec) for spec in specs], date=cfg.runtime.date)
    asker = make_asker(cfg, judges, CallLog())
    texts = [(prompt, pair.a, pair.b) for prompt, pair in zip(labelled.prompts, labelled.pairs, strict=True)]
    verdicts = ask_both_orders(asker, judges, texts, key=str(cfg.runtime.seed))
    pairs = [
        replace(pair, verdicts=(verdict.a_first[0], verdict.a_second[0]), is_scored=specs[0]["kind"] == "reward_model")
        for pair, verdict in zip(labelled.pairs, verdicts, strict=True)
        if verdict is not None
    ]
    if not pairs:
        raise ConfigError(f"the budget left all {len(texts)} pairs unasked; raise --max-calls or compare.budget")
    notes = list(asker.failures)
    if asker.tally.calls:
        notes.append(f"{asker.tally.calls} calls, cost {asker.tally.cost:g}, stored answers included")
    if len(pairs) < len(texts):
        notes.append(f"the budget left {len(texts) - len(pairs)} of {len(texts)} pairs unasked")
    return pairs, notes
