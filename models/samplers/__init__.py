"""Samplers: prompts in, responses out, from a model in this process or from an engine beside it."""

from typing import Any

from torch import nn

from models.chat.template import stop_ids
from models.endpoints.retries import AskingSettings
from models.samplers.base import Prompt, Sampler, with_logprobs

SAMPLER_KINDS = ("batched", "continuous", "vllm", "openai")

__all__ = ["SAMPLER_KINDS", "Prompt", "Sampler", "make_sampler", "with_logprobs"]


def make_sampler(
    kind: str, model: nn.Module, tokenizer: Any, rows_per_batch: int, served_model: str | None = None,
    asking: AskingSettings = AskingSettings(),
) -> Sampler:
    """A sampler of `model`; "openai" asks an endpoint for `served_model` instead, as `asking` says.

    Raises ValueError for an unknown kind, for "vllm" without vLLM, and for "openai" without a model's name or an
    address in the environment.
    """
    if kind == "batched":
        from models.samplers.batched import BatchedSampler

        return BatchedSampler(model, stop_ids(tokenizer), rows_per_batch)
    if kind == "continuous":
        from models.samplers.continuous import ContinuousSampler

        return ContinuousSampler(model, stop_ids(tokenizer), rows_per_batch)
    if kind == "vllm":
        from models.samplers.vllm import VllmSampler

        return VllmSampler(model, stop_ids(tokenizer), rows_per_batch)
    if kind == "openai":
        from models.samplers.openai import OpenAISampler

        return OpenAISampler(served_model, tokenizer, requests_at_once=rows_per_batch, asking=asking)
    raise ValueError(f"sampler {kind!r} is unknown; known are {', '.join(SAMPLER_KINDS)}")
