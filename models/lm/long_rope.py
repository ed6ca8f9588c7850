"""Rotary positions that change for a whole row once it is long (longrope of Phi-3 and others).

transformers picks one of two sets of frequencies by the longest row of a batch. So that a row's results do not depend
on who else is in its batch, rows on either side of the switch never share a forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPast

from models.lm.batching import backbone_of, length_mask, right_padded_lengths, unwrapped

# Runs right-padded ids (batch, width) of lengths (batch,), and gives tensors (read, ...) of the tokens `read`.
Pass = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, ...]]


def switch_length(model: nn.Module) -> int | None:
    """Tokens of the longest row that has the first set of frequencies; None where there is only one set."""
    rope = getattr(unwrapped(model).config.get_text_config(), "rope_parameters", None) or {}
    kinds = [rope, *(value for value in rope.values() if isinstance(value, dict))]  # one a kind of layer, in some
    switches = [kind["original_max_position_embeddings"] for kind in kinds if kind.get("rope_type") == "longrope"]
    return min(switches, default=None)


def crosses(model: nn.Module, lengths: Iterable[int], new_tokens: int) -> bool:
    """Whether a row of one of `lengths` passes the switch while it grows by `new_tokens`.

    The tokens before the switch were then drawn under other probabilities than a pass over the whole row gives.
    """
    switch = switch_length(model)
    return switch is not None and any(length <= switch < length + new_tokens for length in lengths)


def on_each_side(run: Pass, ids: Tensor, lengths: Tensor, read: Tensor, switch: int | None) -> tuple[Tensor, ...]:
    """`run(ids, lengths, read)`, in two passes where some rows are longer than `switch` and some are not.

    Args:
        ids: (batch, width), right-padded. lengths: (batch,) real tokens of each row.
        read: (read,) places among all real tokens, row by row.
    """
    long = None if switch is None else lengths > switch
    if long is None or bool(long.all()) or not bool(long.any()):
        return run(ids, lengths, read)
    ends = lengths.cumsum(0)
    row = torch.searchsorted(ends, read, right=True)
    offset = read - (ends - lengths)[row]
    parts, places = [], []
    for side in (~long, long):
        sizes, mine = lengths[side], side[row]
        starts = torch.zeros_like(lengths).masked_scatter(side, sizes.cumsum(0) - sizes)
        parts.append(run(ids[side, : int(sizes.max())], sizes, (starts[row] + offset)[mine]))
        places.append(mine.nonzero().squeeze(1))
    order = torch.cat(places).argsort()
    return tuple(torch.cat(both)[order] for both in zip(*parts, strict=True))


def keep_sides_apart(model: nn.Module) -> None:
    """Makes a longrope model run the rows on each side of its switch apart wherever a trainer gives it a padded batch.

    The instance's forward alone changes, and only for batches with a right-padded attention_mask and no cache.
    """
    if switch_length(model) is not None:
        backbone = backbone_of(model)
        # A bound method, so that a deep copy of the model gets a forward of its own.
        backbone.forward = MethodType(_forward_on_each_side, backbone)


def _forward_on_each_side(
    self: nn.Module, input_ids: Tensor | None = None, attention_mask: Tensor | None = None, **kwargs: Any
) -> BaseModelOutputWithPast:
    whole, switch = type(self).forward, switch_length(self)
    if input_ids is None or attention_mask is None or kwargs.get("past_key_values") is not None:
        return whole(self, input_ids=input_ids, attention_mask=attention_mask, **kwargs)
    lengths = right_padded_lengths(input_ids, attention_mask)
    if int(lengths.max()) <= switch or int(lengths.min()) > switch:
        return whole(self, input_ids=input_ids, attention_mask=attention_mask, **kwargs)

    def run(ids: Tensor, lengths: Tensor, read: Tensor) -> tuple[Tensor]:
        states = whole(self, input_ids=ids, use_cache=False).last_hidden_state
        return (states[length_mask(lengths, ids.shape[1])][read],)

    every = torch.arange(int(lengths.sum()), device=input_ids.device)
    (states,) = on_each_side(run, input_ids, lengths, every, switch)
    padded = states.new_zeros(*input_ids.shape, states.shape[-1])
    real = length_mask(lengths, input_ids.shape[1])[..., None]
    return BaseModelOutputWithPast(last_hidden_state=padded.masked_scatter(real, states))
