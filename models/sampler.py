"""Batched sampling with token log-probs, for any Hugging Face causal language model.

Randomness is a pure function of (seed, prompt id, sample index, token position): each token costs one uniform number,
turned into a token by the inverse of the distribution's cumulative sum. So the same batches give the same bits, and
other batch sizes the same texts but for rounding. The model's own generation config is never consulted.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from models.batching import FILLER_ID, by_length, device_of, evaluating, pad_left, unwrapped
from models.kv_cache import grow_in_place
from models.randomness import generator

# A batch is compacted once this share of its rows has finished: each compaction copies the whole cache.
COMPACT_SHARE = 0.2


@dataclass(frozen=True)
class SamplingSettings:
    """How to sample. `temperature` 0 takes the most likely token; its log-probs are those at temperature 1."""

    temperature: float
    max_new_tokens: int
    seed: int


@dataclass(frozen=True)
class Sample:
    """One response. `logprobs`: nats per response token under the sampling policy at the sampling temperature."""

    prompt_id: str
    index: int
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finished: bool


def uniforms(seed: int, prompt_id: str, index: int, count: int) -> np.ndarray:
    """The row's uniform numbers in [0, 1): (count,) float32, a pure function of the arguments before `count`."""
    return generator(seed, index, prompt_id).random(count, dtype=np.float32)


def sample(
    model: nn.Module,
    prompts: Sequence[tuple[str, Sequence[int]]],
    n: int,
    settings: SamplingSettings,
    *,
    stop_ids: frozenset[int],
    rows_per_batch: int,
    on_batch: Callable[[int, int], None] | None = None,
) -> list[Sample]:
    """Samples `n` responses to each prompt.

    Args:
        model: causal language model, also a peft model.
        prompts: (prompt id, token ids).
        stop_ids: a response ends with the first of these, which is part of it; without one it is unfinished.
        rows_per_batch: responses sampled side by side.
        on_batch: called with (responses done, responses in total) after each batch.

    Returns:
        Samples in the prompts' order, then by index.

    Raises:
        ValueError: settings, prompts or lengths that cannot be sampled from.
        FloatingPointError: the model gave logits that are not finite.
    """
    if n < 1:
        raise ValueError(f"n={n} samples per prompt must be at least 1")
    check_prompts(model, prompts, settings)
    rows = [(prompt, index) for prompt in range(len(prompts)) for index in range(n)]
    samples: dict[int, Sample] = {}
    with evaluating(model), torch.inference_mode():
        for batch in by_length([len(prompts[prompt][1]) for prompt, _ in rows], rows_per_batch):
            drawn = _sample_batch(model, [(*prompts[rows[i][0]], rows[i][1]) for i in batch], settings, stop_ids)
            samples.update(zip(batch, drawn, strict=True))
            if on_batch is not None:
                on_batch(len(samples), len(rows))
    return [samples[i] for i in range(len(rows))]


def check_prompts(model: nn.Module, prompts: Sequence[tuple[str, Sequence[int]]], settings: SamplingSettings) -> None:
    """Raises ValueError for settings out of range, and for prompts that are empty or leave no room for a response."""
    if settings.temperature < 0:
        raise ValueError(f"temperature={settings.temperature} must not be negative; 0 is greedy")
    if settings.max_new_tokens < 1:
        raise ValueError(f"max_new_tokens={settings.max_new_tokens} must be at least 1")
    context = getattr(unwrapped(model).config, "max_position_embeddings", None)
    for prompt_id, ids in prompts:
        if len(ids) == 0:
            raise ValueError(f"prompt {prompt_id!r} has no tokens; a prompt needs at least one")
        if context is not None and len(ids) + settings.max_new_tokens > context:
            raise ValueError(
                f"prompt {prompt_id!r} has {len(ids)} tokens; with max_new_tokens={settings.max_new_tokens} it exceeds"
                f" the model's context of {context}; shorten it to {max(context - settings.max_new_tokens, 0)} tokens"
                f" or set max_new_tokens to {max(context - len(ids), 0)}"
            )


class _Decoder:
    """Runs the model one token at a time over the rows still in the batch."""

    def __init__(self, model: nn.Module, prompt_rows: Sequence[Sequence[int]], max_new_tokens: int):
        self.model = model
        accepted = inspect.signature(unwrapped(model).forward).parameters
        self.takes_positions = "position_ids" in accepted
        self.extra = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        # Samples of one prompt share its prefill.
        unique = list(dict.fromkeys(map(tuple, prompt_rows)))
        place = {ids: i for i, ids in enumerate(unique)}
        device = device_of(model)
        ids, mask = pad_left(unique, device)
        position_ids = (mask.long().cumsum(1) - 1).clamp(min=0)
        logits, self.cache = self._forward(ids, mask.long(), position_ids, None)
        spread = torch.tensor([place[tuple(row)] for row in prompt_rows], device=device)
        self.cache = grow_in_place(self.cache, spread, max_new_tokens)
        self.logits = logits[spread]
        self.width = ids.shape[1]
        self.mask = torch.ones(len(prompt_rows), self.width + max_new_tokens, dtype=torch.long, device=device)
        self.mask[:, : self.width] = mask[spread]
        self.positions = mask.sum(1)[spread][:, None]

    def _forward(self, ids: Tensor, mask: Tensor, position_ids: Tensor, cache) -> tuple[Tensor, object]:
        positions = {"position_ids": position_ids} if self.takes_positions else {}
        out = self.model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **positions,
                         **self.extra)
        return out.logits[:, -1].float(), out.past_key_values

    def step(self, tokens: Tensor) -> None:
        """Appends one token per row: `tokens` (rows,)."""
        self.width += 1
        self.logits, self.cache = self._forward(tokens[:, None], self.mask[:, : self.width], self.positions, self.cache)
        self.positions = self.positions + 1

    def keep(self, rows: Tensor) -> None:
        """Drops every row but `rows` (kept,) from the batch and its cache."""
        self.cache.batch_select_indices(rows)
        self.mask, self.positions = self.mask[rows], self.positions[rows]


def next_tokens(logits: Tensor, temperature: float, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Draws one token per row.

    Args:
        logits: (rows, vocabulary). temperature: 0 is greedy. uniform: (rows,) in [0, 1).

    Returns:
        tokens (rows,) and their log-probs (rows,) in nats at `temperature` (at 1 when greedy).
    """
    scaled = logits / temperature if temperature > 0 else logits
    logprobs = torch.log_softmax(scaled, dim=-1)
    if temperature == 0:
        tokens = logits.argmax(-1)
    else:
        cumulative = logprobs.exp().cumsum(-1)
        # The first token whose cumulative probability exceeds u·total has probability > 0; the clamp guards rounding.
        target = uniform[:, None] * cumulative[:, -1:]
        tokens = torch.searchsorted(cumulative, target, right=True).squeeze(1).clamp(max=logits.shape[-1] - 1)
    return tokens, logprobs.gather(1, tokens[:, None]).squeeze(1)


def _sample_batch(
    model: nn.Module,
    rows: Sequence[tuple[str, Sequence[int], int]],
    settings: SamplingSettings,
    stop_ids: frozenset[int],
) -> Iterator[Sample]:
    device, steps = device_of(model), settings.max_new_tokens
    draws = np.stack([uniforms(settings.seed, prompt_id, index, steps) for prompt_id, _, index in rows])
    draws = torch.from_numpy(draws).to(device)
    stops = torch.tensor(sorted(stop_ids), dtype=torch.long, device=device)
    tokens = torch.full((len(rows), steps), FILLER_ID, device=device)
    logprobs = torch.zeros(len(rows), steps, device=device)
    lengths = torch.full((len(rows),), steps, device=device)
    stopped = torch.zeros(len(rows), dtype=torch.bool, device=device)

    decoder = _Decoder(model, [ids for _, ids, _ in rows], steps)
    alive = torch.arange(len(rows), device=device)  # the batch rows that the decoder still runs
    for t in range(steps):
        new, new_logprobs = next_tokens(decoder.logits, settings.temperature, draws[alive, t])
        tokens[alive, t], logprobs[alive, t] = new, new_logprobs
        ends = torch.isin(new, stops) & ~stopped[alive]
        lengths[alive[ends]] = t + 1
        stopped[alive[ends]] = True
        running = ~stopped[alive]
        remaining = int(running.sum())
        if remaining == 0 or t + 1 == steps:
            break
        if len(alive) - remaining >= COMPACT_SHARE * len(alive):
            kept = running.nonzero().squeeze(1)
            decoder.keep(kept)
            alive, new = alive[kept], new[kept]
        decoder.step(new)
    yield from _collect(rows, tokens, logprobs, lengths, stopped)


def _collect(rows, tokens: Tensor, logprobs: Tensor, lengths: Tensor, stopped: Tensor) -> Iterator[Sample]:
    columns = zip(rows, tokens.tolist(), logprobs.tolist(), lengths.tolist(), stopped.tolist(), strict=True)
    for (prompt_id, ids, index), row_tokens, row_logprobs, length, finished in columns:
        kept = tuple(row_logprobs[:length])
        if not np.isfinite(kept).all():
            raise FloatingPointError(f"prompt {prompt_id!r}: the model's logits are not finite; its weights diverged")
        yield Sample(prompt_id, index, tuple(ids), tuple(row_tokens[:length]), kept, finished)
