"""Sampling rows for prompts: what generate, best_of_n, answers and gate share."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Sequence

import torch

from models.chat.template import decode_response, encode_prompt, stop_ids
from models.lm.batching import context_length
from models.lm.logprobs import response_logprobs
from models.sampling.sampler import Sample, SamplingSettings, sample
from tasks.common import progress
from tasks.common.errors import DataError
from tasks.common.rows import Row
from tasks.config.shared import RuntimeConfig, ServingConfig
from tasks.common.hashes import content_hash


def encode_prompts(tokenizer: Any, rows: Sequence[Row], model: Any, max_new_tokens: int) -> list[tuple[str, list[int]]]:
    """(id, token ids) of each prompt row.

    Raises DataError naming the first prompt that leaves no room for a response in the model's context.
    """
    encoded = [(row["id"], encode_prompt(tokenizer, row["prompt"], row.get("tools"))) for row in rows]
    check_room(encoded, model, max_new_tokens)
    return encoded


def check_room(encoded: Sequence[tuple[str, Sequence[int]]], model: Any, max_new_tokens: int) -> None:
    """Raises DataError naming the first of the (id, token ids) that leaves no room for a response in the context."""
    room = context_length(model) - max_new_tokens
    too_long = [(name, len(ids)) for name, ids in encoded if len(ids) > room]
    if too_long:
        name, length = too_long[0]
        raise DataError(
            f"{len(too_long)} of {len(encoded)} prompts are too long, the first is {name} with {length} tokens; the "
            f"model's context of {context_length(model)} less max_new_tokens={max_new_tokens} leaves {room}: drop or "
            "shorten them, or lower max_new_tokens in params.yaml"
        )


def serving_settings(serving: ServingConfig, runtime: RuntimeConfig) -> SamplingSettings:
    return SamplingSettings(serving.temperature, serving.max_new_tokens, runtime.seed)


def draw(
    policy: Any, tokenizer: Any, prompts: Sequence[Row], n: int, settings: SamplingSettings, rows_per_batch: int,
    report: bool = True,
) -> list[Sample]:
    """`n` samples for each prompt row, prompt by prompt, in the order of `prompts`."""
    if not prompts:
        return []
    encoded = encode_prompts(tokenizer, prompts, policy, settings.max_new_tokens)
    return sample(
        policy, encoded, n, settings, stop_ids=stop_ids(tokenizer), rows_per_batch=rows_per_batch,
        on_batch=(lambda done, total: progress.report(done, total, "sample")) if report else None,
    )


def sample_rows(
    samples: Sequence[Sample], prompts: Sequence[Row], tokenizer: Any, policy_hash: str, **fields: Any
) -> list[Row]:
    """Samples as rows on disk; `fields` are added to each. `logprob` is the response's sum, in nats."""
    by_id: Mapping[str, Row] = {row["id"]: row for row in prompts}
    return [
        {
            "id": f"{drawn.prompt_id}#{drawn.index}",
            "prompt_id": drawn.prompt_id,
            "root": by_id[drawn.prompt_id]["root"],
            "category": by_id[drawn.prompt_id]["category"],
            "index": drawn.index,
            "response": decode_response(tokenizer, drawn.response_ids),
            "tokens": len(drawn.response_ids),
            "finished": drawn.finished,
            "logprob": round(float(sum(drawn.logprobs)), 6),
            "policy": policy_hash,
            **fields,
        }
        for drawn in samples
    ]


def response_sums(
    policy: Any, prompt_ids: Sequence[Sequence[int]], response_ids: Sequence[Sequence[int]], temperature: float,
    rows_per_batch: int,
) -> list[float]:
    """Log-prob of each whole response under `policy`, in nats, without gradient."""
    with torch.no_grad():
        scored = response_logprobs(policy, prompt_ids, response_ids, temperature, rows_per_batch=rows_per_batch)
    return scored.logprobs.double().sum(1).tolist()


def policy_hash(path: Path) -> str:
    """What names a policy in the rows sampled from it."""
    return content_hash(path)[:16]
