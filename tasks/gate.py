"""The gate: is the candidate better than the reference, and is nothing worse, on prompts that nothing else reads?

The reference is the champion, where there is one, else SFT. `tasks.verdict.decision` holds the rule.

Looking often at the same prompts finds a winner by luck. So `gate.alpha` is spent on one version of them (part `set` of
`sets`): each of at most `looks` candidates is tested at alpha / looks. Then the next part is taken.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.chat.template import load_tokenizer
from models.judges import Scorer
from models.lm.loading import load_policy
from models.refusal import refuses
from tasks.answering.prompt_rows import part_of
from tasks.answering.sampling import draw, sample_rows, serving_settings
from tasks.artifacts import contracts
from tasks.artifacts.champion import CHAMPION, identity, is_there
from tasks.artifacts.entrants import by_checkpoint, selected
from tasks.artifacts.snapshots import FINAL
from tasks.common.machine import device, prepare_torch
from tasks.common.rows import Row, read_jsonl, write_jsonl
from tasks.config.gate import GateConfig
from tasks.common.hashes import content_hash
from tasks.scoring.scorer import load_gold
from tasks.verdict.decision import Compared, decide, plan
from tasks.scoring.left_out import left_out, unrated, without

CANDIDATE, SFT = "candidate", "sft"


def gate(
    cfg: GateConfig,
    model: Path,
    champion: Path,
    policies: Mapping[str, Path],
    select: Path,
    select_prompts: Path,
    evaluate: Path,
    gold: Path,
    gate_prompts: Path,
    metrics: Mapping[str, Path],
    out: Path,
) -> dict[str, Any]:
    """Samples candidate and reference on the gate's prompts with the same seeds; returns gate.json.

    Writes `scores.jsonl`.

    Raises DataError without prompts or when the selected checkpoint does not exist.
    """
    prepare_torch(cfg.runtime)
    method, checkpoint, candidate = selected(select, policies)
    reference, policy = (CHAMPION, champion) if is_there(champion) else (SFT, policies[SFT])
    prompts = part_of(read_jsonl(gate_prompts), cfg.set, cfg.sets)
    scorer = load_gold(gold, model)
    before = by_checkpoint(read_jsonl(evaluate / "scores.jsonl"))
    sides = (before[method, checkpoint], before[reference, FINAL])
    planned = plan(cfg, selected_before(sides, read_jsonl(select_prompts), scorer), prompts)
    paths = {CANDIDATE: candidate, reference: policy}
    scores = {name: score_policy(cfg, path, model, prompts, scorer) for name, path in paths.items()}
    whole_set, missing = prompts, {name: unrated(rows) for name, rows in scores.items()}
    lacking, gone = left_out(scorer, missing, len(prompts)), set().union(*missing.values())
    scores = {name: without(rows, gone) for name, rows in scores.items()}
    prompts = [row for row in prompts if row["id"] not in gone]
    write_jsonl(out / "scores.jsonl", ({"model": name, **row} for name, rows in scores.items() for row in rows))
    pairs = Compared(scores[CANDIDATE], scores[reference], prompts, scorer.axes, scorer.kind)
    documents = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in metrics.items()}
    vetoes = vetoes_of(documents["monitors"], method, checkpoint)
    ground = contracts.under(contracts.check(cfg.contracts, documents, method), method)
    return {
        **decide(cfg, pairs, vetoes, ground),
        "planned": planned,
        "set": prompt_set(cfg, whole_set),
        "candidate": {"method": method, "checkpoint": checkpoint},
        "candidate_hash": content_hash(candidate),
        "reference": reference,
        "reference_hash": identity(champion) if reference == CHAMPION else content_hash(policy),
        "gold_kind": scorer.kind,
        **lacking,
    }


def prompt_set(cfg: GateConfig, prompts: Sequence[Row]) -> dict[str, Any]:
    """Which version of the prompts was looked at, for the how manieth time, and what of alpha that look may spend."""
    lines = sorted(json.dumps([row["id"], row["prompt"]], sort_keys=True) for row in prompts)
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    spent = {"look": cfg.look, "looks": cfg.looks, "alpha": cfg.look_alpha, "alpha_of_all_looks": cfg.alpha}
    return {"set": cfg.set, "sets": cfg.sets, "prompts_hash": digest, **spent}


def selected_before(sides: Sequence[Sequence[Row]], prompts: Sequence[Row], scorer: Scorer) -> Compared:
    """The same two policies on the prompts of selection, whose spread says how many prompts the gate needs."""
    by_id = {row["id"]: row for row in prompts}
    ours, theirs = (sorted(rows, key=lambda row: (row["prompt_id"], row["index"])) for rows in sides)
    return Compared(ours, theirs, [by_id[row["prompt_id"]] for row in ours], scorer.axes, scorer.kind)


def score_policy(cfg: GateConfig, policy: Path, base: Path, prompts: Sequence[Row], scorer: Scorer) -> list[Row]:
    """One scored answer per prompt, in the prompts' order, sampled as it would be served."""
    tokenizer = load_tokenizer(policy, cfg.runtime.date)
    loaded = load_policy(policy, base, cfg.runtime.dtype).to(device())
    samples = draw(loaded, tokenizer, prompts, 1, serving_settings(cfg.serving, cfg.runtime), cfg.rows_per_batch)
    rows = sample_rows(samples, prompts, tokenizer, "")
    texts, finished = ([row[name] for row in rows] for name in ("response", "finished"))
    return [
        {"prompt_id": prompt["id"], "root": prompt["root"], "text": text, "refuses": refuses(text), **axes}
        for prompt, text, axes in zip(prompts, texts, scorer.score(prompts, texts, finished), strict=True)
    ]


def vetoes_of(monitors: Mapping[str, Any], method: str, checkpoint: str) -> list[dict[str, Any]]:
    """The monitors of one checkpoint above their veto in the document monitors.json, each with its `name`.

    Raises KeyError for a checkpoint that was not monitored.
    """
    measured = monitors["models"][method][checkpoint]["monitors"]
    return [{"name": name, **finding} for name, finding in sorted(measured.items()) if finding["level"] == "veto"]
