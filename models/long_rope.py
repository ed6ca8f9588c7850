"""Rotary positions that change for a whole row once it is long (longrope of Phi-3 and others).

transformers picks one of two sets of frequencies by the longest row of a batch. So that a row's results do not depend
on who else is in its batch, rows on either side of the switch never share a forward pass.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.batching import unwrapped

# What runs right-padded ids (batch, width) of some lengths (batch,), and gives tensors (read, ...) of the tokens `read`.
Pass = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, ...]]


def switch_length(model: nn.Module) -> int | None:
    """Tokens of the longest row that has the first set of frequencies; None where there is only one set."""
    rope = getattr(unwrapped(model).config.get_text_config(), "rope_parameters", None) or {}
    kinds = [rope, *(value for value in rope.values() if isinstance(value, dict))]  # one a kind of layer, in some models
    switches = [kind["original_max_position_embeddings"] for kind in kinds if kind.get("rope_type") == "longrope"]
    return min(switches, default=None)


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
