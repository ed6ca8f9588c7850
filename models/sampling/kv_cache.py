"""A key-value cache layer that grows in place and whose rows can be replaced one by one.

transformers' DynamicLayer copies the whole cache for every token (torch.cat). This one allocates room ahead and hands
out views, which halves the cost of a sampling step on small models.
"""

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

BLOCK_TOKENS = 64


class GrowingLayer(DynamicLayer):
    """`keys` and `values` (rows, heads, columns, head size) are views of buffers with room for more columns."""

    def __init__(self, keys: Tensor, values: Tensor, room: int):
        super().__init__()
        self.lazy_initialization(keys, values)
        self._hold(keys, values, room)

    def _hold(self, keys: Tensor, values: Tensor, room: int) -> None:
        length = keys.shape[-2]
        self.key_buffer = keys.new_empty((*keys.shape[:-2], length + room, keys.shape[-1]))
        self.value_buffer = values.new_empty((*values.shape[:-2], length + room, values.shape[-1]))
        self.key_buffer[..., :length, :] = keys
        self.value_buffer[..., :length, :] = values
        self._view(0, length)

    def _view(self, first: int, end: int) -> None:
        self.first, self.end = first, end
        self.keys = self.key_buffer[..., first:end, :]
        self.values = self.value_buffer[..., first:end, :]

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs) -> tuple[Tensor, Tensor]:
        new = key_states.shape[-2]
        if self.end + new > self.key_buffer.shape[-2]:
            self._hold(self.keys, self.values, max(BLOCK_TOKENS, new))
        self.key_buffer[..., self.end : self.end + new, :] = key_states
        self.value_buffer[..., self.end : self.end + new, :] = value_states
        self._view(self.first, self.end + new)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keeps the rows `indices` (kept,)."""
        self._hold(self.keys[indices], self.values[indices], self.key_buffer.shape[-2] - self.end)

    def forget(self, columns: int) -> None:
        """Drops the first `columns` columns of every row."""
        self._view(self.first + columns, self.end)

    def replace(self, rows: Tensor, keys: Tensor, values: Tensor) -> None:
        """Overwrites the last columns of `rows` (replaced,) with those of other sequences, no wider than the cache."""
        start = self.end - keys.shape[-2]
        assert start >= self.first, "a prompt wider than the cache cannot take a row's place"
        self.key_buffer[rows, :, start : self.end] = keys
        self.value_buffer[rows, :, start : self.end] = values


def grow_in_place(cache: DynamicCache, rows: Tensor, new_tokens: int) -> DynamicCache:
    """Spreads a prefilled cache over `rows` (kept,) of its batch and makes room for `new_tokens` more.

    Only plain full-attention layers are replaced; sliding-window and recurrent layers keep their own kind.
    """
    room = min(new_tokens, BLOCK_TOKENS)
    for i, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer and torch.is_tensor(layer.keys) and layer.keys.dim() == 4:
            cache.layers[i] = GrowingLayer(layer.keys[rows], layer.values[rows], room)
        else:
            layer.batch_select_indices(rows)
    return cache
