"""The baseline that needs no training: of n samples, serve the one that the reward model likes best."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

import numpy as np

from models.chat.template import load_tokenizer
from models.lm.loading import load_policy
from models.reward.model import load_reward_model
from models.reward.scoring import score
from models.statistics.best_of_n import winners
from tasks.answering.sampling import draw, policy_hash, sample_rows, serving_settings
from tasks.artifacts.snapshots import FINAL
from tasks.common.machine import device, prepare_torch
from tasks.common.numbers import finite_metrics, mean
from tasks.common.rows import read_jsonl, write_jsonl
from tasks.config.best_of_n import BestOfNConfig


def best_of_n(
    cfg: BestOfNConfig, model: Path, sft: Path, reward: Path, select_prompts: Path, out: Path
) -> dict[str, float]:
    """Write `pool.jsonl`, cfg.n scored samples a prompt, and `answers.jsonl`, the best of each pool.

    All n below cfg.n are estimated from the same pool by whoever reads it (`models.statistics.best_of_n`).
    """
    prepare_torch(cfg.runtime)
    prompts = read_jsonl(select_prompts)
    tokenizer = load_tokenizer(sft, cfg.runtime.date)
    policy = load_policy(sft, model, cfg.runtime.dtype).to(device())
    settings = serving_settings(cfg.serving, cfg.runtime)
    samples = draw(policy, tokenizer, prompts, cfg.n, settings, cfg.serving.rows_per_batch)
    scorer = load_reward_model(reward, model, cfg.runtime.dtype).to(device())
    scores = score(scorer, [[*s.prompt_ids, *s.response_ids] for s in samples], cfg.serving.rows_per_batch).tolist()
    rows = sample_rows(samples, prompts, tokenizer, policy_hash(sft))
    pool = [{**row, "proxy": round(value, 6)} for row, value in zip(rows, scores)]
    best = [pool[place] for place in best_places(scores, cfg.n)]
    write_jsonl(out / "pool.jsonl", pool)
    write_jsonl(out / "answers.jsonl", [{**row, "checkpoint": FINAL} for row in best])
    return finite_metrics({
        "prompts": len(prompts),
        "samples": len(pool),
        "proxy_mean": mean([row["proxy"] for row in pool]),
        "proxy_best_mean": mean([row["proxy"] for row in best]),
    })



def best_places(scores: Sequence[float], n: int) -> list[int]:
    """For each prompt's `n` consecutive scores, where in the list the highest stands; the first among equals."""
    table = np.array(scores).reshape(-1, n)
    return [prompt * n + int(place) for prompt, place in enumerate(winners(table, n))]
