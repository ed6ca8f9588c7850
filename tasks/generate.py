"""Samples several answers to each prompt from the SFT policy; `compare` judges them later.

Only this stage lets params choose the sampler: its answers are judged as texts, so any engine will do. PPO learns from
the log-probs of its samples, and evaluation compares models answer by answer under one seed; both need the promises of
the batched sampler.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models.chat.template import load_tokenizer
from models.endpoints.retries import AskingSettings
from models.lm.loading import load_policy
from models.samplers import Prompt, Sampler, make_sampler, with_logprobs
from models.sampling.randomness import generator
from models.sampling.sampler import Sample, SamplingSettings
from tasks.answering.sampling import encode_prompts, policy_hash, sample_rows
from tasks.common import progress
from tasks.common.errors import DataError
from tasks.common.machine import device, prepare_torch
from tasks.common.numbers import share
from tasks.common.rows import Row, read_jsonl, write_jsonl
from tasks.config.generate import GenerateConfig


def generate(cfg: GenerateConfig, model: Path, sft: Path, compare_prompts: Path, out: Path) -> dict[str, float]:
    """Write `samples.jsonl`: cfg.samples_per_prompt answers to each prompt, at the temperatures in turn.

    Answers that an endpoint refuses for good are missing, as many as cfg.asking allows, and counted in `left_out`.
    """
    prepare_torch(cfg.runtime)
    prompts = read_jsonl(compare_prompts)
    check_tools(cfg.sampler, prompts)
    tokenizer = load_tokenizer(sft, cfg.runtime.date)
    policy = load_policy(sft, model, cfg.runtime.dtype).to(device())
    asking = AskingSettings.of(cfg.asking and cfg.asking.model_dump())
    sampler = make_sampler(cfg.sampler, policy, tokenizer, cfg.rows_per_batch, cfg.served_model, asking)
    name, rows = cfg.served_model or policy_hash(sft), []
    encoded = encode_prompts(tokenizer, prompts, policy, cfg.max_new_tokens)
    queries = [Prompt(row["id"], row["prompt"], tuple(ids)) for row, (_, ids) in zip(prompts, encoded, strict=True)]
    for turn, temperature in enumerate(cfg.temperatures):
        drawn = with_logprobs(policy, _draw(sampler, queries, turn, cfg), temperature, cfg.rows_per_batch)
        rows += _in_turn(sample_rows(drawn, prompts, tokenizer, name, temperature=temperature), turn, cfg)
    rows.sort(key=lambda row: (row["prompt_id"], row["index"]))
    write_jsonl(out / "samples.jsonl", rows)
    left_out = len(prompts) * cfg.samples_per_prompt - len(rows)
    return {
        "prompts": len(prompts),
        "samples": len(rows),
        "tokens": sum(row["tokens"] for row in rows),
        "finished": share([row["finished"] for row in rows]),
        "distinct": share([len({(r["prompt_id"], r["response"]) for r in rows})], len(rows)),
        **({"left_out": left_out} if left_out else {}),
    }


def check_tools(sampler: str, prompts: Sequence[Row]) -> None:
    """Raises DataError for prompts with tools where they are asked of an endpoint, of which only texts are read."""
    if sampler == "openai" and (names := [row["id"] for row in prompts if row.get("tools")]):
        raise DataError(
            f"{len(names)} of {len(prompts)} compare_prompts have tools, the first is {names[0]}; sampler openai sends "
            "none and reads no calls: set generate.sampler to batched, or leave these prompts out"
        )


def _draw(sampler: Sampler, prompts: list[Prompt], turn: int, cfg: GenerateConfig) -> list[Sample]:
    """The samples of the temperature whose turn it is."""
    count = len(range(turn, cfg.samples_per_prompt, len(cfg.temperatures)))
    if not count or not prompts:
        return []
    # Draws of each turn's own: with the same numbers, one prompt would often get one text at two temperatures.
    seed = int(generator(cfg.runtime.seed, "temperature", turn).integers(2**31))
    settings = SamplingSettings(cfg.temperatures[turn], cfg.max_new_tokens, seed)
    return sampler.sample(prompts, count, settings, lambda done, total: progress.report(done, total, "sample"))


def _in_turn(rows: list[Row], turn: int, cfg: GenerateConfig) -> list[Row]:
    """Number the samples of one temperature among those of all temperatures."""
    for row in rows:
        row["index"] = turn + row["index"] * len(cfg.temperatures)
        row["id"] = f"{row['prompt_id']}#{row['index']}"
    return rows
