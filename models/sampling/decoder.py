"""Runs a causal language model one token at a time over several rows.

Where the model's cache is laid out in columns, one per token, rows of any length share a batch (`Decoder`). Recurrent
states are not: padding would run into them. Such models run on rows that are equally long, with their own cache, or
without one where they give none (`EvenDecoder`).
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer
from transformers.utils import ModelOutput

from models.lm.batching import counts_columns, device_of, evaluating, once_per_model, pad_left, unwrapped
from models.lm.long_rope import switch_length
from models.sampling.kv_cache import GrowingLayer, grow_in_place

_CACHE_NAMES = ("past_key_values", "cache_params")  # Mamba's own name is the second


class RowDecoder(ABC):
    """What steps through rows: `logits` (rows, vocabulary) are those of each row's next token."""

    logits: Tensor
    rows_are_replaceable = False  # whether a new prompt may take a row's place while the others go on

    def __init__(self, model: nn.Module):
        self.model, self.device = model, device_of(model)
        self.accepted = inspect.signature(unwrapped(model).forward).parameters

    @abstractmethod
    def step(self, tokens: Tensor) -> None:
        """Appends one token per row: `tokens` (rows,)."""

    @abstractmethod
    def keep(self, rows: Tensor) -> None:
        """Drops every row but `rows` (kept,)."""

    def _run(self, ids: Tensor, position_ids: Tensor, **more: Any) -> ModelOutput:
        """A forward pass of ids (rows, time); `logits` are then those after the last."""
        known = {"position_ids": position_ids, "logits_to_keep": 1}
        known = {name: value for name, value in known.items() if name in self.accepted}
        out = self.model(input_ids=ids, use_cache=True, **known, **more)
        self.logits = out.logits[:, -1].float()
        return out


def distinct_prompts(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[list[tuple[int, ...]], Tensor]:
    """The different prompts, and the place of each prompt among them (rows,)."""
    places = {ids: place for place, ids in enumerate(dict.fromkeys(map(tuple, prompts)))}
    return list(places), torch.tensor([places[tuple(prompt)] for prompt in prompts], device=device)


def decoder_for(model: nn.Module, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> RowDecoder:
    """The fastest decoder that is right for the prompts, which `may_mix` or are equally long."""
    if may_mix(model, max(map(len, prompts)), max_new_tokens):
        return Decoder(model, prompts, max_new_tokens)
    return EvenDecoder(model, prompts)


def may_mix(model: nn.Module, length: int, max_new_tokens: int) -> bool:
    """Whether a prompt of `length` tokens may share a batch with shorter ones."""
    switch = switch_length(model)
    return _in_columns(unwrapped(model)) and (switch is None or length + max_new_tokens <= switch)


@once_per_model
def _in_columns(inner: nn.Module) -> bool:
    """Whether every layer of the model's own cache holds one column per token, and any column may be a row's first."""
    with evaluating(inner), torch.no_grad():
        out = inner(input_ids=torch.zeros(1, 1, dtype=torch.long, device=device_of(inner)), use_cache=True)
    cache = out.get("past_key_values")
    columns = (DynamicLayer, DynamicSlidingWindowLayer)
    plain = isinstance(cache, DynamicCache) and all(type(layer) in columns for layer in cache.layers)
    return plain and not counts_columns(inner)


class Decoder(RowDecoder):
    """Rows of one batch share the columns of a key-value cache, one column per token since the batch began.

    A row sees no column before its own prompt's first. So a row that has finished can be replaced while the others go
    on: the new prompt is computed apart and laid over the old row's last columns.
    """

    def __init__(self, model: nn.Module, prompts: Sequence[Sequence[int]], max_new_tokens: int):
        """`prompts`: token ids, one sequence per row; none that comes later may be longer than the longest of these."""
        super().__init__(model)
        cache, spread, lengths = self._prefill(prompts)
        self.cache, self.logits = grow_in_place(cache, spread, max_new_tokens), self.logits[spread]
        self.first, self.end = 0, max(map(len, prompts))  # the cache's columns, counted from the batch's beginning
        self.starts = self.end - lengths
        self.last_position = self.end + max_new_tokens - 1

    @property
    def rows_are_replaceable(self) -> bool:
        """Whether every layer of the cache is a plain one; those of windows drop columns by themselves."""
        return all(type(layer) is GrowingLayer for layer in self.cache.layers)

    def step(self, tokens: Tensor) -> None:
        mask = torch.arange(self.first, self.end + 1, device=self.device) >= self.starts[:, None]
        # Rows that have finished run on until they are replaced; their position must not leave the model's context.
        positions = (self.end - self.starts).clamp(max=self.last_position)[:, None]
        out = self._run(tokens[:, None], positions, attention_mask=mask.long(), past_key_values=self.cache)
        self.cache = out.past_key_values
        self.end += 1

    def keep(self, rows: Tensor) -> None:
        self.cache.batch_select_indices(rows)
        self.starts, self.logits = self.starts[rows], self.logits[rows]
        self._forget_unseen_columns()

    def replace(self, rows: Tensor, prompts: Sequence[Sequence[int]]) -> None:
        """Puts new prompts in the place of `rows` (replaced,)."""
        logits = self.logits
        cache, spread, lengths = self._prefill(prompts)
        for layer, new in zip(self.cache.layers, cache.layers, strict=True):
            layer.replace(rows, new.keys[spread], new.values[spread])
        logits[rows], self.logits = self.logits[spread], logits
        self.starts[rows] = self.end - lengths
        self._forget_unseen_columns()

    def _forget_unseen_columns(self) -> None:
        unseen = int(self.starts.min()) - self.first
        if unseen and self.rows_are_replaceable:
            for layer in self.cache.layers:
                layer.forget(unseen)
            self.first += unseen

    def _prefill(self, prompts: Sequence[Sequence[int]]) -> tuple[DynamicCache, Tensor, Tensor]:
        """Cache (and `logits`) of the distinct prompts, each prompt's place among them, and its length."""
        distinct, spread = distinct_prompts(prompts, self.device)
        ids, mask = pad_left(distinct, self.device)
        positions = (mask.long().cumsum(1) - 1).clamp(min=0)
        out = self._run(ids, positions, attention_mask=mask.long(), past_key_values=None)
        return out.past_key_values, spread, mask.sum(1)[spread]


class EvenDecoder(RowDecoder):
    """Rows whose prompts are equally long, so that nothing is padded.

    Where positions change for all tokens once a row is long (longrope), the cache is computed anew at that length.
    """

    def __init__(self, model: nn.Module, prompts: Sequence[Sequence[int]]):
        assert len({len(prompt) for prompt in prompts}) == 1, "prompts of several lengths need a Decoder"
        super().__init__(model)
        self.switch = switch_length(model)
        self.cache_name = next((name for name in _CACHE_NAMES if name in self.accepted), None)
        distinct, spread = distinct_prompts(prompts, self.device)
        self.ids, self.cache = torch.tensor(distinct, device=self.device), None
        self._forward()
        self.keep(spread)

    def step(self, tokens: Tensor) -> None:
        self.ids = torch.cat([self.ids, tokens[:, None]], dim=1)
        if self.switch is not None and self.ids.shape[1] == self.switch + 1:
            self.cache = None
        self._forward()

    def keep(self, rows: Tensor) -> None:
        """Keeps the rows `rows` (kept,), some of them several times."""
        self.ids, self.logits = self.ids[rows], self.logits[rows]
        if self.cache is not None:
            self.cache.reorder_cache(rows)

    def _forward(self) -> None:
        """Computes the last token where there is a cache of those before it, else all of them."""
        new = self.ids if self.cache is None else self.ids[:, -1:]
        end = self.ids.shape[1]
        positions = torch.arange(end - new.shape[1], end, device=self.device).expand_as(new)
        out = self._run(new, positions, **({} if self.cache_name is None else {self.cache_name: self.cache}))
        self.cache = None if self.cache_name is None else out.get(self.cache_name)
