"""Runs a causal language model one token at a time over several rows.

Where the model's cache is laid out in columns, one per token, rows of any length share a batch (`Decoder`). Recurrent
states are not: padding would run into them. Such models run on rows that are equally long, with their own cache, or
without one where they give none (`EvenDecoder`).
"""

import inspect
from collections.abc import Sequence
from typing import Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from models.lm.batching import counts_columns, device_of, evaluating, pad_left, unwrapped
from models.lm.long_rope import switch_length
from models.sampling.kv_cache import GrowingLayer, grow_in_place

_CACHE_NAMES = ("past_key_values", "cache_params")  # Mamba's own name is the second
_IN_COLUMNS: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


class RowDecoder(Protocol):
    """What steps through rows: `logits` (rows, vocabulary) are those of each row's next token."""

    device: torch.device
    logits: Tensor

    @property
    def rows_are_replaceable(self) -> bool:
        """Whether a new prompt may take a row's place while the others go on."""

    def step(self, tokens: Tensor) -> None:
        """Appends one token per row: `tokens` (rows,)."""

    def keep(self, rows: Tensor) -> None:
        """Drops every row but `rows` (kept,)."""


def decoder_for(model: nn.Module, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> RowDecoder:
    """The fastest decoder that is right for the prompts, which `may_mix` or are equally long."""
    if may_mix(model, max(map(len, prompts)), max_new_tokens):
        return Decoder(model, prompts, max_new_tokens)
    return EvenDecoder(model, prompts)


def may_mix(model: nn.Module, length: int, max_new_tokens: int) -> bool:
    """Whether a prompt of `length` tokens may share a batch with shorter ones."""
    switch = switch_length(model)
    return _in_columns(model) and (switch is None or length + max_new_tokens <= switch)


def _in_columns(model: nn.Module) -> bool:
    """Whether every layer of the model's own cache holds one column per token, and any column may be a row's first."""
    inner = unwrapped(model)
    if inner not in _IN_COLUMNS:
        with evaluating(inner), torch.no_grad():
            out = inner(input_ids=torch.zeros(1, 1, dtype=torch.long, device=device_of(inner)), use_cache=True)
        cache = out.get("past_key_values")
        columns = (DynamicLayer, DynamicSlidingWindowLayer)
        plain = isinstance(cache, DynamicCache) and all(type(layer) in columns for layer in cache.layers)
        _IN_COLUMNS[inner] = plain and not counts_columns(inner)
    return _IN_COLUMNS[inner]


class Decoder:
    """Rows of one batch share the columns of a key-value cache, one column per token since the batch began.

    A row sees no column before its own prompt's first. So a row that has finished can be replaced while the others go
    on: the new prompt is computed apart and laid over the old row's last columns.

    `logits` (rows, vocabulary) are those of each row's next token.
    """

    def __init__(self, model: nn.Module, prompts: Sequence[Sequence[int]], max_new_tokens: int):
        """`prompts`: token ids, one sequence per row; none that comes later may be longer than the longest of these."""
        self.model, self.device = model, device_of(model)
        accepted = inspect.signature(unwrapped(model).forward).parameters
        self.takes_positions = "position_ids" in accepted
        self.extra = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        logits, cache, spread, lengths = self._prefill(prompts)
        self.cache = grow_in_place(cache, spread, max_new_tokens)
        self.logits = logits[spread]
        self.first, self.end = 0, max(map(len, prompts))  # the cache's columns, counted from the batch's beginning
        self.starts = self.end - lengths
        self.last_position = self.end + max_new_tokens - 1

    @property
    def rows_are_replaceable(self) -> bool:
        """Whether every layer of the cache is a plain one; those of windows drop columns by themselves."""
        return all(type(layer) is GrowingLayer for layer in self.cache.layers)

    def step(self, tokens: Tensor) -> None:
        """Appends one token per row: `tokens` (rows,)."""
        mask = torch.arange(self.first, self.end + 1, device=self.device) >= self.starts[:, None]
        # Rows that have finished run on until they are replaced; their position must not leave the model's context.
        positions = (self.end - self.starts).clamp(max=self.last_position)[:, None]
        self.logits, self.cache = self._forward(tokens[:, None], mask.long(), positions, self.cache)
        self.end += 1

    def keep(self, rows: Tensor) -> None:
        """Drops every row but `rows` (kept,)."""
        self.cache.batch_select_indices(rows)
        self.starts, self.logits = self.starts[rows], self.logits[rows]
        self._forget_unseen_columns()

    def replace(self, rows: Tensor, prompts: Sequence[Sequence[int]]) -> None:
        """Puts new prompts in the place of `rows` (replaced,)."""
        logits, cache, spread, lengths = self._prefill(prompts)
        for layer, new in zip(self.cache.layers, cache.layers, strict=True):
            layer.replace(rows, new.keys[spread], new.values[spread])
        self.starts[rows], self.logits[rows] = self.end - lengths, logits[spread]
        self._forget_unseen_columns()

    def _forget_unseen_columns(self) -> None:
        unseen = int(self.starts.min()) - self.first
        if unseen and self.rows_are_replaceable:
            for layer in self.cache.layers:
                layer.forget(unseen)
            self.first += unseen

    def _prefill(self, prompts: Sequence[Sequence[int]]) -> tuple[Tensor, object, Tensor, Tensor]:
        """Logits and cache of the distinct prompts, each prompt's place among them, and its length."""
        distinct = {ids: place for place, ids in enumerate(dict.fromkeys(map(tuple, prompts)))}
        ids, mask = pad_left(list(distinct), self.device)
        logits, cache = self._forward(ids, mask.long(), (mask.long().cumsum(1) - 1).clamp(min=0), None)
        spread = torch.tensor([distinct[tuple(row)] for row in prompts], device=self.device)
        return logits, cache, spread, mask.sum(1)[spread]

    def _forward(self, ids: Tensor, mask: Tensor, position_ids: Tensor, cache) -> tuple[Tensor, object]:
        positions = {"position_ids": position_ids} if self.takes_positions else {}
        out = self.model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **positions,
                         **self.extra)
        return out.logits[:, -1].float(), out.past_key_values


class EvenDecoder:
    """Rows whose prompts are equally long, so that nothing is padded; `logits` are those of each row's next token.

    Where positions change for all tokens once a row is long (longrope), the cache is computed anew at that length.
    """

    rows_are_replaceable = False

    def __init__(self, model: nn.Module, prompts: Sequence[Sequence[int]]):
        assert len({len(prompt) for prompt in prompts}) == 1, "prompts of several lengths need a Decoder"
        self.model, self.device, self.switch = model, device_of(model), switch_length(model)
        accepted = inspect.signature(unwrapped(model).forward).parameters
        self.takes_positions = "position_ids" in accepted
        self.cache_name = next((name for name in _CACHE_NAMES if name in accepted), None)
        self.extra = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        distinct = {ids: place for place, ids in enumerate(dict.fromkeys(map(tuple, prompts)))}
        self.ids, self.cache = torch.tensor(list(distinct), device=self.device), None
        self._forward()
        self.keep(torch.tensor([distinct[tuple(prompt)] for prompt in prompts], device=self.device))

    def step(self, tokens: Tensor) -> None:
        """Appends one token per row: `tokens` (rows,)."""
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
        places = torch.arange(end - new.shape[1], end, device=self.device).expand_as(new)
        positions = {"position_ids": places} if self.takes_positions else {}
        cache = {} if self.cache_name is None else {self.cache_name: self.cache}
        out = self.model(input_ids=new, use_cache=True, **cache, **positions, **self.extra)
        self.logits = out.logits[:, -1].float()
        self.cache = None if self.cache_name is None else out.get(self.cache_name)
