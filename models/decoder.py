"""Runs a causal language model one token at a time over rows that start at different times."""

import inspect
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.batching import device_of, pad_left, unwrapped
from models.kv_cache import GrowingLayer, grow_in_place


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
        """Whether every layer of the cache is a plain one; windows and recurrent states are not laid out in columns."""
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
