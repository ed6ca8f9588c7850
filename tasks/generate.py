"""Samples several answers to each prompt from the SFT policy; `compare` judges them later."""

from __future__ import annotations

from pathlib import Path

from models.loading import load_policy, load_tokenizer
from models.sampler import SamplingSettings
from tasks.config import GenerateConfig
from tasks.machine import device, prepare_torch
from tasks.numbers import share
from tasks.rows import Row, read_jsonl, write_jsonl
from tasks.sampling import draw, policy_hash, sample_rows


def generate(cfg: GenerateConfig, model: Path, sft: Path, compare_prompts: Path, out: Path) -> dict[str, float]:
    """Write `samples.jsonl`: cfg.samples_per_prompt answers to each prompt, at the temperatures in turn."""
    prepare_torch(cfg.runtime)
    prompts = read_jsonl(compare_prompts)
    tokenizer = load_tokenizer(sft)
    policy = load_policy(sft, model, cfg.runtime.dtype).to(device())
    name, rows = policy_hash(sft), []
    for turn, temperature in enumerate(cfg.temperatures):
        count = len(range(turn, cfg.samples_per_prompt, len(cfg.temperatures)))
        if count:
            settings = SamplingSettings(temperature, cfg.max_new_tokens, cfg.runtime.seed)
            drawn = draw(policy, tokenizer, prompts, count, settings, cfg.rows_per_batch)
            rows += _in_turn(sample_rows(drawn, prompts, tokenizer, name, temperature=temperature), turn, cfg)
    rows.sort(key=lambda row: (row["prompt_id"], row["index"]))
    write_jsonl(out / "samples.jsonl", rows)
    return {
        "prompts": len(prompts),
        "samples": len(rows),
        "tokens": sum(row["tokens"] for row in rows),
        "finished": share([row["finished"] for row in rows]),
        "distinct": share([len({(r["prompt_id"], r["response"]) for r in rows})], len(rows)),
    }


def _in_turn(rows: list[Row], turn: int, cfg: GenerateConfig) -> list[Row]:
    """Number the samples of one temperature among those of all temperatures."""
    for row in rows:
        row["index"] = turn + row["index"] * len(cfg.temperatures)
        row["id"] = f"{row['prompt_id']}#{row['index']}"
    return rows
