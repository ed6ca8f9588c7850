"""Every trained policy held against SFT for the signs of hacking, drift and collapse, on the prompts of selection."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.chat.template import encode_example, load_tokenizer
from models.lm.batching import context_length
from models.lm.loading import load_policy
from models.monitors import drift
from models.monitors.answers import Answers
from models.monitors.finding import Finding, worst
from models.monitors.survey import text_findings
from models.statistics import intervals as statistics
from tasks.answering.sampling import response_sums
from tasks.artifacts.entrants import by_checkpoint, is_method, training_order
from tasks.artifacts.snapshots import FINAL, checkpoints_of
from tasks.common import progress
from tasks.common.machine import device, prepare_torch
from tasks.common.rows import Row, read_jsonl, write_jsonl
from tasks.config.monitors import MonitorsConfig
from tasks.evaluation.monitor_settings import limit_of, monitor_settings
from tasks.training.sides import encode_side

REFERENCE = "sft"
POOLED = "best_of_n"  # picks among samples of the reference
Groups = Mapping[tuple[str, str], Sequence[Row]]


@dataclass(frozen=True)
class Likelihoods:
    """What one policy makes of given responses: perplexity per token, and log-probs of chosen responses in nats, None
    where one is too long for the policy. `notes`: what was left out, one line each."""

    perplexity: float | None
    chosen: list[float | None]
    notes: tuple[str, ...] = ()


def monitors(
    cfg: MonitorsConfig,
    model: Path,
    policies: Mapping[str, Path],
    compare: Path,
    evaluate: Path,
    demonstrations: Path,
    heldout_demonstrations: Path,
    select_prompts: Path,
    out: Path,
) -> dict[str, Any]:
    """Writes `findings.jsonl`, one row per model, checkpoint and monitor with examples; returns the document
    monitors.json: {"reference", "perplexity_on", "models": {NAME: {CHECKPOINT: {"level", "monitors": {…}}}}, "notes"}.

    Perplexity is measured on held-out demonstrations, or where there are none on those that trained SFT, and named so.
    """
    prepare_torch(cfg.runtime)
    prompts = {row["id"]: row for row in read_jsonl(select_prompts)}
    groups = by_checkpoint(read_jsonl(evaluate / "scores.jsonl"))
    heldout = read_jsonl(heldout_demonstrations)
    data = "held-out demonstrations" if heldout else "the demonstrations that trained SFT (none are held out)"
    answered = evenly(heldout or read_jsonl(demonstrations), cfg.demonstrations)
    chosen = [row for row in read_jsonl(compare / "heldout.jsonl") if row["kept"]]
    checkpoints = {
        (name, checkpoint): path
        for name, folder in policies.items()
        for checkpoint, path in checkpoints_of(folder).items()
    }
    likelihoods = {}
    for done, (key, path) in enumerate(checkpoints.items(), start=1):
        likelihoods[key] = measure_likelihoods(cfg, path, model, answered, chosen)
        progress.report(done, len(checkpoints), unit="policy")
    measured = {key: findings(cfg, key, groups, prompts, likelihoods, data) for key in groups
                if is_method(key[0]) or key[0] == POOLED}
    rows = ({"model": key[0], "checkpoint": key[1], **one.document()} for key, of in measured.items() for one in of)
    write_jsonl(out / "findings.jsonl", rows)
    notes = dict.fromkeys(note for likelihood in likelihoods.values() for note in likelihood.notes)
    return document(measured, data, list(notes))


def evenly(rows: Sequence[Row], count: int) -> list[Row]:
    """At most `count` rows, taken evenly from the whole list."""
    return [rows[place * len(rows) // count] for place in range(count)] if len(rows) > count else list(rows)


# --- what a policy makes of given responses ---


def measure_likelihoods(
    cfg: MonitorsConfig, policy: Path, base: Path, demonstrations: Sequence[Row], comparisons: Sequence[Row]
) -> Likelihoods:
    """Perplexity of the demonstrations' answers, and log-probs of the comparisons' chosen ones, at temperature 1."""
    tokenizer = load_tokenizer(policy, cfg.runtime.date)
    loaded = load_policy(policy, base, cfg.runtime.dtype).to(device())
    shown = [encode_example(tokenizer, row["messages"], row.get("tools")) for row in demonstrations]
    chosen = [encode_side(tokenizer, row, "chosen") for row in comparisons]
    of_shown, of_chosen = (_fitting_sums(cfg, loaded, pairs) for pairs in (shown, chosen))
    known = [(value, len(response)) for value, (_, response) in zip(of_shown, shown, strict=True) if value is not None]
    notes = [
        f"{what}: {absent} of {len(sums)} are longer than the context of {context_length(loaded)} tokens and left out"
        for what, sums in (("perplexity on demonstrations", of_shown), ("displacement on chosen responses", of_chosen))
        if (absent := sums.count(None))
    ]
    if not known:
        notes.append("perplexity is not measured: there is no demonstration that fits the context")
    return Likelihoods(drift.perplexity(*zip(*known, strict=True)) if known else None, of_chosen, tuple(notes))


def _fitting_sums(cfg: MonitorsConfig, policy: Any, pairs: Sequence[tuple[list[int], list[int]]]) -> list[float | None]:
    """Log-prob of each response in nats, None where prompt and response are longer than the policy's context."""
    fits = [len(prompt) + len(response) <= context_length(policy) for prompt, response in pairs]
    kept = [pair for pair, does in zip(pairs, fits, strict=True) if does]
    sums = iter(response_sums(policy, *zip(*kept, strict=True), 1.0, cfg.rows_per_batch) if kept else [])
    return [next(sums) if does else None for does in fits]


# --- findings ---


def findings(
    cfg: MonitorsConfig,
    key: tuple[str, str],
    groups: Groups,
    prompts: Mapping[str, Row],
    likelihoods: Mapping[tuple[str, str], Likelihoods],
    data: str,
) -> list[Finding]:
    """All monitors of one checkpoint, `ok` ones too."""
    reference = (REFERENCE, FINAL)
    answers, theirs = (table(groups[of], prompts) for of in (key, reference))
    settings = monitor_settings(cfg, REFERENCE.upper())
    measured = text_findings(answers, theirs, settings)
    measured += drift.reward_findings(answers, [row["tokens"] for row in groups[key]], settings)
    limit = limit_of(cfg, "kl")
    if limit and answers.kl is not None:
        measured.append(drift.kl_finding(answers.kl, limit, REFERENCE.upper()))
    measured += likelihood_findings(cfg, key, likelihoods, data)
    limit = limit_of(cfg, "proxy_gold_gap")
    if limit:
        own = sorted((policy for policy in groups if policy[0] == key[0]), key=lambda policy: training_order(policy[1]))
        measured.append(gap(cfg, [reference, *own[: own.index(key) + 1]], groups, limit))
    return measured


def table(rows: Sequence[Row], prompts: Mapping[str, Row]) -> Answers:
    """Score rows as the monitors read them."""
    known = all(row["kl"] is not None for row in rows)
    return Answers(
        prompts=[row["prompt"] for row in rows],
        responses=[row["text"] for row in rows],
        finished=[row["finished"] for row in rows],
        harmful=[prompts[row["prompt_id"]].get("harmful") for row in rows],
        rewards=[row["proxy"] for row in rows],
        gold=[row["gold"] for row in rows],
        kl=[row["kl"] for row in rows] if known else None,
    )


def likelihood_findings(
    cfg: MonitorsConfig, key: tuple[str, str], likelihoods: Mapping[tuple[str, str], Likelihoods], data: str
) -> list[Finding]:
    """Perplexity of a policy that was loaded, and displacement where it is DPO's."""
    if key not in likelihoods:
        return []
    ours, theirs, measured = likelihoods[key], likelihoods[(REFERENCE, FINAL)], []
    limit = limit_of(cfg, "perplexity")
    if limit and ours.perplexity and theirs.perplexity:
        measured.append(drift.perplexity_finding(ours.perplexity, theirs.perplexity, limit, REFERENCE.upper(), data))
    limit = limit_of(cfg, "displacement")
    known = [pair for pair in zip(ours.chosen, theirs.chosen, strict=True) if None not in pair]
    if limit and key[0] == "dpo" and known:
        measured.append(drift.displacement_finding(*zip(*known, strict=True), limit, REFERENCE.upper()))
    return measured


def gap(cfg: MonitorsConfig, keys: Sequence[tuple[str, str]], groups: Groups, limit: Any) -> Finding:
    """The gap of reward and gold over a model's checkpoints, from SFT to the last of `keys`."""
    steps = [
        drift.Step(
            name if name == REFERENCE else checkpoint,
            float(np.mean([row["proxy"] for row in groups[name, checkpoint]])),
            float(np.mean([row["gold"] for row in groups[name, checkpoint]])),
        )
        for name, checkpoint in keys
    ]
    reference, best = groups[keys[0]], keys[max(range(len(steps)), key=lambda place: steps[place].gold)]
    spreads = (float(np.std([row[field] for row in reference])) for field in ("proxy", "gold"))
    return drift.gap_finding(steps, *spreads, paired_error(groups[keys[-1]], groups[best]), limit, cfg.noise)


def paired_error(rows: Sequence[Row], others: Sequence[Row]) -> float:
    """Standard error of the mean difference of gold on the same prompts, clustered by root; infinite for one root.

    A pick of best-of-n that is SFT's own sample differs from it by nothing and shows no noise: it is held against the
    prompt's other samples, and the prompt is left out where there are none.
    """
    shared = {rows[0]["model"], others[0]["model"]} == {REFERENCE, POOLED}
    ours, roots = _gold_by_prompt(rows), {row["prompt_id"]: row["root"] for row in rows}
    picks = {(row["prompt_id"], row["index"], row["text"]) for row in rows} if shared else set()
    theirs = _gold_by_prompt([row for row in others if (row["prompt_id"], row["index"], row["text"]) not in picks])
    paired = [prompt for prompt in ours if prompt in theirs]
    if len({roots[prompt] for prompt in paired}) < 2:
        return math.inf
    differences = [ours[prompt] - theirs[prompt] for prompt in paired]
    return statistics.clustered_standard_error(differences, [roots[prompt] for prompt in paired])


def _gold_by_prompt(rows: Sequence[Row]) -> dict[str, float]:
    golds: dict[str, list[float]] = {}
    for row in rows:
        golds.setdefault(row["prompt_id"], []).append(row["gold"])
    return {prompt: float(np.mean(values)) for prompt, values in golds.items()}


# --- the document ---


def document(
    measured: Mapping[tuple[str, str], Sequence[Finding]], data: str, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """monitors.json: the numbers and levels of each checkpoint, how many warn and veto, and what was left out."""
    models: dict[str, dict[str, Any]] = defaultdict(dict)
    levels = []
    for (name, checkpoint), own in measured.items():
        documents = {finding.name: finding.document() for finding in own}
        monitors = {
            of: {key: value for key, value in finding.items() if key not in ("examples", "name")}
            for of, finding in documents.items()
        }
        models[name][checkpoint] = {"level": worst([finding.level for finding in own]), "monitors": monitors}
        levels += [finding.level for finding in own]
    counts = {"warnings": levels.count("warning"), "vetoes": levels.count("veto")}
    return {"reference": REFERENCE, "perplexity_on": data, "models": dict(models), "notes": list(notes), **counts}
