"""A key-value cache layer that grows in place.

transformers' DynamicLayer copies the whole cache for every token (torch.cat). This one allocates room ahead and hands
out views, which halves the cost of a sampling step on small models.
"""

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

BLOCK_TOKENS = 64


class GrowingLayer(DynamicLayer):
    """`keys` and `values` (rows, heads, length, head size) are views of buffers with room for more tokens."""

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
        self._view(length)

    def _view(self, length: int) -> None:
        self.keys = self.key_buffer[..., :length, :]
        self.values = self.value_buffer[..., :length, :]

    def update(self, key_states: Tensor, value_states: Tensor, *args, **kwargs) -> tuple[Tensor, Tensor]:
        start = self.keys.shape[-2]
        end = start + key_states.shape[-2]
        if end > self.key_buffer.shape[-2]:
            self._hold(self.keys, self.values, max(BLOCK_TOKENS, key_states.shape[-2]))
        self.key_buffer[..., start:end, :] = key_states
        self.value_buffer[..., start:end, :] = value_states
        self._view(end)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        length = self.keys.shape[-2]
        self.key_buffer = self.key_buffer[indices]
        self.value_buffer = self.value_buffer[indices]
        self._view(length)


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
