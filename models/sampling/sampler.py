"""Batched sampling with token log-probs, for any Hugging Face causal language model.

Randomness is a pure function of (seed, prompt id, sample index, token position): each token costs one uniform number,
turned into a token by the inverse of the distribution's cumulative sum. So the same batches give the same bits, and
other batch sizes the same texts but for rounding. The model's own generation config is never consulted.
Rows whose states would be spoiled by padding (recurrent models) share batches with rows of their own length alone.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from models.lm.batching import FILLER_ID, context_length, device_of, evaluating
from models.sampling.decoder import decoder_for, may_mix
from models.sampling.randomness import generator

# Finished rows give way to waiting ones once they are this share of the batch: each exchange costs a forward pass.
EXCHANGE_SHARE = 0.2


@dataclass(frozen=True)
class SamplingSettings:
    """How to sample. `temperature` 0 takes the most likely token; its log-probs are those at temperature 1."""

    temperature: float
    max_new_tokens: int
    seed: int


@dataclass(frozen=True)
class Sample:
    """One response. `logprobs`: nats per response token under the sampling policy at the sampling temperature.

    They are None where an engine of models/samplers/ cannot tell them; `sample` below always does.
    """

    prompt_id: str
    index: int
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    logprobs: tuple[float, ...] | None
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
        on_batch: called with (responses done, responses in total) each time `rows_per_batch` more are done.

    Returns:
        Samples in the prompts' order, then by index.

    Raises:
        ValueError: settings, prompts or lengths that cannot be sampled from.
        FloatingPointError: the model gave logits that are not finite.
    """
    if n < 1:
        raise ValueError(f"n={n} samples per prompt must be at least 1")
    if rows_per_batch < 1:
        raise ValueError(f"rows_per_batch={rows_per_batch} must be at least 1; set it to 1 or more")
    check_prompts(model, prompts, settings)
    rows = [_Row(p * n + index, *prompt, index) for p, prompt in enumerate(prompts) for index in range(n)]
    samples: dict[int, Sample] = {}
    with evaluating(model), torch.inference_mode():
        for waiting in _queues(model, rows, settings.max_new_tokens):
            while waiting:
                for place, drawn in _Batch(model, _take(waiting, rows_per_batch), settings, stop_ids).run(waiting):
                    samples[place] = drawn
                    if on_batch is not None and (len(samples) % rows_per_batch == 0 or len(samples) == len(rows)):
                        on_batch(len(samples), len(rows))
    return [samples[row.place] for row in rows]


def check_prompts(model: nn.Module, prompts: Sequence[tuple[str, Sequence[int]]], settings: SamplingSettings) -> None:
    """Raises ValueError for settings out of range, and for prompts that are empty or leave no room for a response."""
    if settings.temperature < 0:
        raise ValueError(f"temperature={settings.temperature} must not be negative; 0 is greedy")
    if settings.max_new_tokens < 1:
        raise ValueError(f"max_new_tokens={settings.max_new_tokens} must be at least 1")
    context = context_length(model)
    for prompt_id, ids in prompts:
        if len(ids) == 0:
            raise ValueError(f"prompt {prompt_id!r} has no tokens; a prompt needs at least one")
        if len(ids) + settings.max_new_tokens > context:
            raise ValueError(
                f"prompt {prompt_id!r} has {len(ids)} tokens; with max_new_tokens={settings.max_new_tokens} it exceeds"
                f" the model's context of {context}; shorten it to {max(context - settings.max_new_tokens, 0)} tokens"
                f" or set max_new_tokens to {max(context - len(ids), 0)}"
            )


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


@dataclass(frozen=True)
class _Row:
    """A response to sample; `place` is where it stands in the result."""

    place: int
    prompt_id: str
    prompt_ids: Sequence[int]
    index: int


def _queues(model: nn.Module, rows: Sequence[_Row], max_new_tokens: int) -> list[deque[_Row]]:
    """Rows that may share a batch: those that may mix, then those of each length that may not.

    The longest first: what takes the place of a finished row is then never wider than the cache.
    """
    queues: dict[int, deque[_Row]] = {}
    mixes = {length: may_mix(model, length, max_new_tokens) for length in {len(row.prompt_ids) for row in rows}}
    for row in sorted(rows, key=lambda row: -len(row.prompt_ids)):
        length = len(row.prompt_ids)
        queues.setdefault(0 if mixes[length] else length, deque()).append(row)
    return [queues[key] for key in sorted(queues)]


def _take(waiting: deque[_Row], count: int) -> list[_Row]:
    return [waiting.popleft() for _ in range(min(count, len(waiting)))]


class _Batch:
    """Responses sampled side by side. Every tensor has one entry per row of the decoder."""

    def __init__(self, model: nn.Module, rows: list[_Row], settings: SamplingSettings, stop_ids: frozenset[int]):
        self.settings, self.device, self.rows = settings, device_of(model), rows
        self.decoder = decoder_for(model, [row.prompt_ids for row in rows], settings.max_new_tokens)
        self.stops = torch.tensor(sorted(stop_ids), dtype=torch.long, device=self.device)
        self.draws = self._uniforms(rows)
        # As wide as `draws`, one more than the longest response: what a row draws after its end goes nowhere.
        self.tokens = torch.full(self.draws.shape, FILLER_ID, device=self.device)
        self.logprobs = torch.zeros(self.draws.shape, device=self.device)
        self.lengths = torch.zeros(len(rows), dtype=torch.long, device=self.device)
        self.stopped = torch.zeros(len(rows), dtype=torch.bool, device=self.device)

    def run(self, waiting: deque[_Row]) -> Iterator[tuple[int, Sample]]:
        """Samples until no row is left, with rows from `waiting` in the place of finished ones where that is possible.

        Yields (place, sample) as responses are finished.
        """
        new = self._draw(self.decoder.logits, self._every_row())
        while True:
            over = self.stopped | (self.lengths == self.settings.max_new_tokens)
            if int(over.sum()) >= EXCHANGE_SHARE * len(self.rows):
                finished = over.nonzero().squeeze(1)
                yield from self._collect(finished)
                new = self._exchange(new, finished, waiting)
                if not self.rows:
                    return
            self.decoder.step(new)
            new = self._draw(self.decoder.logits, self._every_row())

    def _every_row(self) -> Tensor:
        return torch.arange(len(self.rows), device=self.device)

    def _uniforms(self, rows: Sequence[_Row]) -> Tensor:
        count = self.settings.max_new_tokens + 1
        draws = [uniforms(self.settings.seed, row.prompt_id, row.index, count) for row in rows]
        return torch.from_numpy(np.stack(draws)).to(self.device)

    def _draw(self, logits: Tensor, rows: Tensor) -> Tensor:
        """One token for each of `rows` (drawn,), from `logits` (drawn, vocabulary)."""
        at = self.lengths[rows]
        new, logprobs = next_tokens(logits, self.settings.temperature, self.draws[rows, at])
        self.tokens[rows, at], self.logprobs[rows, at] = new, logprobs
        running = ~self.stopped[rows] & (at < self.settings.max_new_tokens)
        self.lengths[rows] = at + running
        self.stopped[rows] |= running & (new[:, None] == self.stops).any(1)
        return new

    def _exchange(self, new: Tensor, finished: Tensor, waiting: deque[_Row]) -> Tensor:
        """Replaces the rows `finished` (finished,), or drops them; returns the last token of every row left."""
        incoming = _take(waiting, len(finished)) if self.decoder.rows_are_replaceable else []
        replaced, dropped = finished[: len(incoming)], finished[len(incoming) :]
        if incoming:
            new[replaced] = self._replace(replaced, incoming)
        if len(dropped):
            kept = torch.ones(len(self.rows), dtype=torch.bool, device=self.device).index_fill(0, dropped, False)
            self._keep(kept.nonzero().squeeze(1))
            new = new[kept]
        return new

    def _replace(self, replaced: Tensor, incoming: Sequence[_Row]) -> Tensor:
        for place, row in zip(replaced.tolist(), incoming, strict=True):
            self.rows[place] = row
        self.draws[replaced] = self._uniforms(incoming)
        self.lengths[replaced], self.stopped[replaced] = 0, False
        self.decoder.replace(replaced, [row.prompt_ids for row in incoming])
        return self._draw(self.decoder.logits[replaced], replaced)

    def _keep(self, kept: Tensor) -> None:
        self.rows = [self.rows[place] for place in kept.tolist()]
        self.draws, self.tokens, self.logprobs = self.draws[kept], self.tokens[kept], self.logprobs[kept]
        self.lengths, self.stopped = self.lengths[kept], self.stopped[kept]
        if self.rows:
            self.decoder.keep(kept)

    def _collect(self, finished: Tensor) -> Iterator[tuple[int, Sample]]:
        columns = (self.tokens, self.logprobs, self.lengths, self.stopped)
        values = zip(finished.tolist(), *(column[finished].tolist() for column in columns), strict=True)
        for place, tokens, logprobs, length, stopped in values:
            row, kept = self.rows[place], tuple(logprobs[:length])
            if not np.isfinite(kept).all():
                raise FloatingPointError(
                    f"prompt {row.prompt_id!r}: the model's logits are not finite; its weights diverged: "
                    "train it again with a lower learning rate"
                )
            prompt_ids, response_ids = tuple(row.prompt_ids), tuple(tokens[:length])
            yield row.place, Sample(row.prompt_id, row.index, prompt_ids, response_ids, kept, stopped)
