"""Forward passes over what is needed only: rows are laid end to end, and padded just inside attention.

With responses of different lengths about half of a padded batch is padding. Linear layers and norms do not care which
row a token belongs to, so they run over the real tokens alone; attention gathers rows back, which costs little. Rows
that begin alike (both responses of a comparison, samples of one prompt) share the tokens of their beginning: what a
causal model makes of a token depends on those before it alone. What a token may see of its row (all before it, a
window, a chunk) is asked of the model's own mask. After the last attention no token looks at another any more: the last
feed-forward block, where layers call it `mlp`, runs on those tokens alone whose states are read, the response's.
Running a model both ways once tells whether it can be run this way.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from models.lm.batching import counts_columns, evaluating, hidden_states, length_mask, once_per_model
from models.lm.long_rope import on_each_side, switch_length

IMPLEMENTATION = "packed_rows"
# Arguments of attention that change its result and that the packed form does not know.
_UNSUPPORTED = ("softcap", "s_aux", "position_bias", "head_mask", "cu_seq_lens_q")
# Attention runs over groups of rows of similar length, each padded to its own longest row; every group has its price.
_GROUPS = (1, 2, 4)
_WORTH_A_GROUP = 1.15


@dataclass(frozen=True)
class _Group:
    """`gather` (rows · width,): the packed token at each padded place of the group, any token where there is none."""

    gather: Tensor
    width: int


@dataclass(frozen=True)
class _Layout:
    """Where the tokens of right-padded rows (batch, width) lie once each is there once, the longest row's first.

    `take` (tokens,): their places in the flattened batch; `positions` (tokens,) in their rows. `place` (real tokens,):
    which of them each real token of the batch is, row by row. `scatter` (tokens,): the place of each among the padded
    places of all `groups`, laid end to end. `longest`: tokens of the longest row.
    """

    take: Tensor
    positions: Tensor
    place: Tensor
    groups: list[_Group]
    scatter: Tensor
    longest: int


_layout: ContextVar[_Layout] = ContextVar("packed_layout")


def token_states(backbone: nn.Module, ids: Tensor, lengths: Tensor, read: Tensor) -> Tensor:
    """Last hidden states (read, hidden) of some real tokens of right-padded ids (batch, width).

    Args:
        lengths: (batch,) real tokens of each row.
        read: (read,) their places among all real tokens, row by row.
    """

    def run(ids: Tensor, lengths: Tensor, read: Tensor) -> tuple[Tensor]:
        if not can_pack(backbone):
            return (hidden_states(backbone, ids)[length_mask(lengths, ids.shape[1])][read],)
        layout = _lay_out(ids, lengths)
        if len(layout.take) < ids.numel():
            return (_packed_states(backbone, ids, layout, read),)
        with _last_feed_forward_on(read, backbone):
            return (hidden_states(backbone, ids).flatten(0, 1)[read],)

    return on_each_side(run, ids, lengths, read, switch_length(backbone))[0]


@once_per_model
def can_pack(backbone: nn.Module) -> bool:
    """Whether packed rows give the backbone's own hidden states (not so for recurrent or exotic attention).

    Windows and chunks may be wider than these short rows: what they hide stands in the mask that is asked for, and
    need not be seen here.
    """
    device = next(backbone.parameters()).device
    ids = torch.arange(18, device=device).view(2, 9) % backbone.config.get_text_config().vocab_size
    ids[0, :3] = ids[1, :3]
    lengths = torch.tensor([5, 9], device=device)
    read = torch.tensor([1, 4, 6, 7, 13], device=device)
    with evaluating(backbone), torch.no_grad():
        try:
            padded = hidden_states(backbone, ids)[length_mask(lengths, 9)][read]
            packed = _packed_states(backbone, ids, _lay_out(ids, lengths), read)
            error = (packed - padded).norm() / padded.norm()
        except torch.OutOfMemoryError:
            raise
        except Exception:  # whatever a model says to masks and positions that it does not expect
            return False  # the padded form always works
    exact = padded.dtype == torch.float32 and not torch.is_autocast_enabled(device.type)
    return bool(error < (1e-4 if exact else 5e-2)) and not counts_columns(backbone)


def _packed_states(backbone: nn.Module, ids: Tensor, layout: _Layout, read: Tensor) -> Tensor:
    tokens, again = layout.place[read].unique(return_inverse=True)
    with _packed_attention(backbone, layout), _last_feed_forward_on(tokens, backbone):
        out = backbone(input_ids=ids.flatten()[layout.take][None], position_ids=layout.positions[None], use_cache=False)
    return out.last_hidden_state[0][tokens][again]


@contextmanager
def _last_feed_forward_on(read: Tensor, backbone: nn.Module) -> Iterator[None]:
    """Lets the last layer's feed-forward block compute the tokens `read` alone; what it gives for others is 0."""
    block = _last_feed_forward(backbone)
    if block is None:
        yield
        return
    whole, own = block.forward, vars(block).get("forward")  # its own: what hooks and kernels put on the instance

    def forward(states: Tensor, *more: Any, **named: Any) -> Any:
        if more or named:  # it is told more about the tokens than their states
            return whole(states, *more, **named)
        tokens = states.flatten(0, -2)
        computed = whole(tokens[read][None])
        if not isinstance(computed, Tensor):  # experts with router logits beside the states
            return whole(states)
        return torch.zeros_like(tokens).index_copy(0, read, computed[0]).view_as(states)

    block.forward = forward
    try:
        yield
    finally:
        if own is None:
            del block.forward
        else:
            block.forward = own


def _last_feed_forward(backbone: nn.Module) -> nn.Module | None:
    """The block `mlp` of the last layer; None where there is none of this name, or it is compiled."""
    stacks = [child for child in backbone.children() if isinstance(child, nn.ModuleList) and len(child)]
    block = getattr(stacks[-1][-1], "mlp", None) if stacks else None
    return None if isinstance(block, torch._dynamo.OptimizedModule) else block


def _lay_out(ids: Tensor, lengths: Tensor) -> _Layout:
    rows, sizes = ids.cpu().numpy(), lengths.cpu().numpy()
    real = np.arange(rows.shape[1]) < sizes[:, None]
    tokens = _alike(rows, sizes)
    order = [int(sizes.argmax()), *(row for row in range(len(rows)) if row != sizes.argmax())]
    _, first, number = np.unique(tokens[order][real[order]], return_index=True, return_inverse=True)
    rank = np.empty_like(first)
    rank[first.argsort()] = np.arange(len(first))  # in the order in which they occur
    place = np.zeros_like(tokens)
    packed = np.zeros_like(real[order], dtype=np.int64)
    packed[real[order]] = rank[number]
    place[order] = packed
    take = np.empty(len(first), dtype=np.int64)
    flat = np.arange(rows.size).reshape(rows.shape)[order][real[order]]
    take[rank] = flat[first]
    groups, padded = _groups(sizes), np.empty(rows.shape, dtype=np.int64)
    start = 0
    for members, width in groups:
        padded[members, :width] = np.arange(start, start + len(members) * width).reshape(-1, width)
        start += len(members) * width

    def there(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(ids.device)

    return _Layout(
        there(take), there(take % rows.shape[1]), there(place[real]),
        [_Group(there(place[members, :width].ravel()), width) for members, width in groups],
        there(padded.ravel()[take]), int(sizes.max()),
    )


def _alike(rows: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """A number (batch, width) for each token: the same where two rows are alike up to and with it."""
    numbers = np.arange(rows.size).reshape(rows.shape)
    order = sorted(range(len(rows)), key=lambda row: rows[row, : sizes[row]].tolist())
    for one, other in zip(order, order[1:]):
        shortest = min(sizes[one], sizes[other])
        differ = rows[one, :shortest] != rows[other, :shortest]
        shared = int(differ.argmax()) if differ.any() else shortest
        numbers[other, :shared] = numbers[one, :shared]
    return numbers


def _groups(sizes: np.ndarray) -> list[tuple[np.ndarray, int]]:
    """(rows, width) of few groups of rows of similar length, in which not much more is padded than in many."""
    order = sizes.argsort(kind="stable")
    ways = [[(rows, int(sizes[rows[-1]])) for rows in np.array_split(order, min(count, len(order)))]
            for count in _GROUPS]
    cost = [sum(len(rows) * width for rows, width in groups) for groups in ways]
    return next(groups for groups, padded in zip(ways, cost) if padded <= _WORTH_A_GROUP * cost[-1])


@contextmanager
def _packed_attention(backbone: nn.Module, layout: _Layout) -> Iterator[None]:
    config = backbone.config.get_text_config()
    original, token = config._attn_implementation, _layout.set(layout)
    config._attn_implementation = IMPLEMENTATION
    try:
        yield
    finally:
        config._attn_implementation = original
        _layout.reset(token)


def _mask_of_a_row(*, mask_function: Callable[..., Tensor], device: torch.device, **_: Any) -> Tensor | None:
    """What each token of the longest row may see of that row, (1, 1, width, width), True = seen; None: all before it.

    Rows begin at position 0, so that the mask of a shorter row is the beginning of this one. transformers' masks know
    what was packed by the positions, which go on by one for as long as this row lasts, the first.
    """
    layout = _layout.get()
    places = torch.arange(layout.longest, device=device)
    seen = mask_function(0, 0, places[:, None], places)
    return None if torch.equal(seen, torch.ones_like(seen).tril()) else seen[None, None]


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, *,
    scaling: float | None = None, dropout: float = 0.0, **kwargs,
) -> tuple[Tensor, None]:
    """Causal attention within rows. query, key, value: (1, heads, tokens, head size) -> (1, tokens, heads, size)."""
    layout, parts = _layout.get(), []
    foreign = attention_mask is not None and attention_mask.shape != (1, 1, layout.longest, layout.longest)
    if foreign or any(kwargs.get(name) is not None for name in _UNSUPPORTED):
        raise NotImplementedError("this model's attention cannot run on packed rows")
    for group in layout.groups:
        q, k, v = (_unpack(x, group) for x in (query, key, value))
        seen = None if attention_mask is None else attention_mask[:, :, : group.width, : group.width]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, is_causal=seen is None, scale=scaling,
                                             dropout_p=dropout, enable_gqa=q.shape[1] != k.shape[1])
        parts.append(out.transpose(1, 2).flatten(0, 1))
    return torch.cat(parts)[layout.scatter][None], None


def _unpack(x: Tensor, group: _Group) -> Tensor:
    """(1, heads, tokens, size) -> (rows, heads, width, size)."""
    return x[0].transpose(0, 1)[group.gather].unflatten(0, (-1, group.width)).transpose(1, 2)


AttentionInterface.register(IMPLEMENTATION, _attend)
AttentionMaskInterface.register(IMPLEMENTATION, _mask_of_a_row)
