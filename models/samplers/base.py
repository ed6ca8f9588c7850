"""What a sampler is, and what its backends share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import nn

from models.chat.template import Messages
from models.lm.logprobs import response_logprobs
from models.sampling.randomness import generator
from models.sampling.sampler import Sample, SamplingSettings

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Prompt:
    """A conversation, and its token ids up to where the assistant begins to speak."""

    id: str
    messages: Messages
    ids: tuple[int, ...]


class Sampler(Protocol):
    """Samples responses. What it promises about equal runs stands in each backend's docstring."""

    def sample(
        self, prompts: Sequence[Prompt], n: int, settings: SamplingSettings, on_batch: Progress | None = None
    ) -> list[Sample]:
        """`n` samples for each prompt, in the prompts' order, then by index.

        Samples carry log-probs where the backend computes them as `models/lm/logprobs.py` does, and None elsewhere;
        `with_logprobs` fills those in. `on_batch` is called with (responses done, responses in total).
        """


def request_seed(seed: int, prompt_id: str, index: int) -> int:
    """A seed in [0, 2^31) for an engine that takes one per request: a pure function of the arguments."""
    return int(generator(seed, index, prompt_id).integers(2**31))


def as_sample(
    prompt: Prompt, index: int, ids: Sequence[int], stop_ids: frozenset[int], logprobs: Sequence[float] | None = None
) -> Sample:
    """An engine's tokens as a sample, which ends with the first stop token; engines may go on or leave it out."""
    length = next((place + 1 for place, token in enumerate(ids) if token in stop_ids), None)
    kept = None if logprobs is None else tuple(logprobs[:length])
    return Sample(prompt.id, index, tuple(prompt.ids), tuple(ids[:length]), kept, finished=length is not None)


def with_logprobs(
    model: nn.Module, samples: Sequence[Sample], temperature: float, rows_per_batch: int
) -> list[Sample]:
    """The samples with log-probs under `model`, in nats at `temperature` (at 1 when greedy), where they have none."""
    missing = [place for place, drawn in enumerate(samples) if drawn.logprobs is None]
    if not missing:
        return list(samples)
    rows = [samples[place] for place in missing]
    with torch.inference_mode():
        scored = response_logprobs(
            model, [row.prompt_ids for row in rows], [row.response_ids for row in rows], temperature or 1.0,
            rows_per_batch=rows_per_batch,
        )
    filled = list(samples)
    for place, row, logprobs in zip(missing, rows, scored.logprobs.tolist(), strict=True):
        filled[place] = replace(row, logprobs=tuple(logprobs[: len(row.response_ids)]))
    return filled
