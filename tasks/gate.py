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
from tasks.artifacts.snapshots import FINAL, SELECTION_FILE
from tasks.common.errors import DataError
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
    sft: Path,
    dpo: Path,
    ppo: Path,
    select: Path,
    select_prompts: Path,
    evaluate: Path,
    gold: Path,
    gate_prompts: Path,
    evaluate_metrics: Path,
    judge_metrics: Path,
    reward_metrics: Path,
    ppo_metrics: Path,
    monitors_metrics: Path,
    out: Path,
) -> dict[str, Any]:
    """Samples candidate and reference on the gate's prompts with the same seeds, writes `scores.jsonl`, returns gate.json.

    Raises DataError without prompts or when the selected checkpoint does not exist.
    """
    prepare_torch(cfg.runtime)
    selection = json.loads((select / SELECTION_FILE).read_text(encoding="utf-8"))
    candidate = candidate_path(selection, {"dpo": dpo, "ppo": ppo})
    reference, policy = (CHAMPION, champion) if is_there(champion) else (SFT, sft)
    prompts = part_of(read_jsonl(gate_prompts), cfg.set, cfg.sets)
    scorer = load_gold(gold, model)
    pilot = selected_before(selection, reference, read_jsonl(evaluate / "scores.jsonl"), read_jsonl(select_prompts), scorer)
    planned = plan(cfg, pilot, prompts)
    scores = {
        name: score_policy(cfg, path, model, prompts, scorer)
        for name, path in ((CANDIDATE, candidate), (reference, policy))
    }
    asked, missing = prompts, {name: unrated(rows) for name, rows in scores.items()}
    lacking, gone = left_out(scorer, missing, len(prompts)), set().union(*missing.values())
    scores = {name: without(rows, gone) for name, rows in scores.items()}
    prompts = [row for row in prompts if row["id"] not in gone]
    write_jsonl(out / "scores.jsonl", ({"model": name, **row} for name, rows in scores.items() for row in rows))
    pairs = Compared(scores[CANDIDATE], scores[reference], prompts, scorer.axes, scorer.kind)
    metrics = {
        "evaluate": evaluate_metrics, "judge": judge_metrics, "reward": reward_metrics, "ppo": ppo_metrics,
        "monitors": monitors_metrics,
    }
    documents = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in metrics.items()}
    vetoes = vetoes_of(documents["monitors"], selection["method"], selection["checkpoint"])
    ground = contracts.under(contracts.check(cfg.contracts, documents), selection["method"])
    return {
        **decide(cfg, pairs, vetoes, ground),
        "planned": planned,
        "set": prompt_set(cfg, asked),
        "candidate": {"method": selection["method"], "checkpoint": selection["checkpoint"]},
        "candidate_hash": content_hash(candidate),
        "reference": reference,
        "reference_hash": identity(champion) if reference == CHAMPION else content_hash(sft),
        "gold_kind": scorer.kind,
        **lacking,
    }


def candidate_path(selection: Mapping[str, Any], policies: Mapping[str, Path]) -> Path:
    """The directory of the selected checkpoint. Raises DataError when it does not exist."""
    folder = policies[selection["method"]]
    path = folder if selection["checkpoint"] == FINAL else folder / "checkpoints" / selection["checkpoint"]
    if not path.is_dir():
        raise DataError(f"{selection['method']} has no checkpoint {selection['checkpoint']!r}; run select again")
    return path


def prompt_set(cfg: GateConfig, prompts: Sequence[Row]) -> dict[str, Any]:
    """Which version of the prompts was looked at, for the how manieth time, and what of alpha that look may spend."""
    asked = sorted(json.dumps([row["id"], row["prompt"]], sort_keys=True) for row in prompts)
    digest = hashlib.sha256("\n".join(asked).encode()).hexdigest()
    spent = {"look": cfg.look, "looks": cfg.looks, "alpha": cfg.look_alpha, "alpha_of_all_looks": cfg.alpha}
    return {"set": cfg.set, "sets": cfg.sets, "prompts_hash": digest, **spent}


def selected_before(
    selection: Mapping[str, Any], reference: str, scores: Sequence[Row], prompts: Sequence[Row], scorer: Scorer
) -> Compared:
    """The same two policies on the prompts of selection, whose spread says how many prompts the gate needs."""
    asked = {row["id"]: row for row in prompts}
    sides = []
    for name, checkpoint in ((selection["method"], selection["checkpoint"]), (reference, FINAL)):
        rows = [row for row in scores if (row["model"], row["checkpoint"]) == (name, checkpoint)]
        sides.append(sorted(rows, key=lambda row: (row["prompt_id"], row["index"])))
    return Compared(*sides, [asked[row["prompt_id"]] for row in sides[0]], scorer.axes, scorer.kind)


def score_policy(cfg: GateConfig, policy: Path, base: Path, prompts: Sequence[Row], scorer: Scorer) -> list[Row]:
    """One scored answer per prompt, in the prompts' order, sampled as it would be served."""
    tokenizer = load_tokenizer(policy, cfg.runtime.date)
    loaded = load_policy(policy, base, cfg.runtime.dtype).to(device())
    samples = draw(loaded, tokenizer, prompts, 1, serving_settings(cfg.serving, cfg.runtime), cfg.rows_per_batch)
    rows = sample_rows(samples, prompts, tokenizer, "")
    texts, finished = ([row[name] for row in rows] for name in ("response", "finished"))
    return [
        {
            "prompt_id": prompt["id"], "root": prompt["root"], "text": text,
            "refuses": refuses(text), **axes,
        }
        for prompt, text, axes in zip(prompts, texts, scorer.score(prompts, texts, finished), strict=True)
    ]


def vetoes_of(monitors: Mapping[str, Any], method: str, checkpoint: str) -> list[dict[str, Any]]:
    """The monitors of one checkpoint above their veto in the document monitors.json, each with its `name`.

    Raises KeyError for a checkpoint that was not monitored.
    """
    found = monitors["models"][method][checkpoint]["monitors"]
    return [{"name": name, **one} for name, one in sorted(found.items()) if one["level"] == "veto"]
