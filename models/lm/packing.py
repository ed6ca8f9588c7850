"""Forward passes over what is needed only: right-padded rows are laid end to end, and padded just inside attention.

With responses of different lengths about half of a padded batch is padding. Linear layers and norms do not care which
row a token belongs to, so they run over the real tokens alone; attention gathers rows back, which costs little. What a
token may see of its row (all before it, a window, a chunk) is asked of the model's own mask. After the last attention
no token looks at another any more: the last feed-forward block, where layers call it `mlp`, runs on those tokens alone
whose states are read, the response's. Running a model both ways once tells whether it can be run this way.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from models.lm.batching import counts_columns, evaluating, hidden_states, length_mask, once_per_model
from models.lm.long_rope import on_each_side, switch_length

IMPLEMENTATION = "packed_rows"
# Arguments of attention that change its result and that the packed form does not know.
_UNSUPPORTED = ("softcap", "s_aux", "position_bias", "head_mask", "cu_seq_lens_q")
# Attention runs over groups of rows of similar length, each padded to its own longest row.
_GROUPS = 4


@dataclass(frozen=True)
class _Group:
    """`gather` (rows · width,): the packed token at each padded place of the group, any token where there is none."""

    gather: Tensor
    width: int


@dataclass(frozen=True)
class _Layout:
    """`scatter` (tokens,): the place of each packed token among the padded places of all groups, laid end to end.

    `longest` is the first packed token of the longest row, which has `width` tokens.
    """

    groups: list[_Group]
    scatter: Tensor
    longest: int
    width: int


_layout: ContextVar[_Layout] = ContextVar("packed_layout")


def token_states(backbone: nn.Module, ids: Tensor, lengths: Tensor, read: Tensor) -> Tensor:
    """Last hidden states (read, hidden) of some real tokens of right-padded ids (batch, width).

    Args:
        lengths: (batch,) real tokens of each row.
        read: (read,) their places among all real tokens, row by row.
    """

    def run(ids: Tensor, lengths: Tensor, read: Tensor) -> tuple[Tensor]:
        mask = length_mask(lengths, ids.shape[1])
        if not can_pack(backbone):
            return (hidden_states(backbone, ids)[mask][read],)
        if bool(mask.all()):
            with _last_feed_forward_on(read, backbone):
                return (hidden_states(backbone, ids).flatten(0, 1)[read],)
        return (_packed_states(backbone, ids, mask, read),)

    return on_each_side(run, ids, lengths, read, switch_length(backbone))[0]


@once_per_model
def can_pack(backbone: nn.Module) -> bool:
    """Whether packed rows give the backbone's own hidden states (not so for recurrent or exotic attention).

    Windows and chunks may be wider than these short rows: what they hide stands in the mask that is asked for, and
    need not be seen here.
    """
    device = next(backbone.parameters()).device
    ids = torch.arange(18, device=device).view(2, 9) % backbone.config.get_text_config().vocab_size
    lengths = torch.tensor([5, 9], device=device)
    mask, read = length_mask(lengths, 9), torch.tensor([4, 7, 13], device=device)
    with evaluating(backbone), torch.no_grad():
        try:
            padded = hidden_states(backbone, ids)[mask][read]
            error = (_packed_states(backbone, ids, mask, read) - padded).norm() / padded.norm()
        except torch.OutOfMemoryError:
            raise
        except Exception:  # whatever a model says to masks and positions that it does not expect
            return False  # the padded form always works
    exact = padded.dtype == torch.float32 and not torch.is_autocast_enabled(device.type)
    return bool(error < (1e-4 if exact else 5e-2)) and not counts_columns(backbone)


def _packed_states(backbone: nn.Module, ids: Tensor, mask: Tensor, read: Tensor) -> Tensor:
    positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)[mask]
    with _packed_attention(backbone, _lay_out(mask)), _last_feed_forward_on(read, backbone):
        out = backbone(input_ids=ids[mask][None], position_ids=positions[None], use_cache=False)
    return out.last_hidden_state[0][read]


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


def _lay_out(mask: Tensor) -> _Layout:
    """Groups the rows of a right-padded mask (batch, width) by length."""
    packed = (mask.flatten().cumsum(0) - 1).clamp(min=0).view_as(mask)
    places = torch.zeros_like(packed)
    lengths = mask.sum(1)
    order = lengths.argsort(stable=True)
    groups, start = [], 0
    for rows in order.tensor_split(min(_GROUPS, len(order))):
        width = int(lengths[rows[-1]])
        groups.append(_Group(packed[rows, :width].flatten(), width))
        count = len(rows) * width
        places[rows, :width] = torch.arange(start, start + count, device=mask.device).view(-1, width)
        start += count
    return _Layout(groups, places[mask], int(packed[order[-1], 0]), groups[-1].width)


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

    Rows begin at position 0, so that the mask of a shorter row is the beginning of this one. What was packed is known
    to transformers' masks by the positions, which begin anew with each row.
    """
    layout = _layout.get()
    places = torch.arange(layout.longest, layout.longest + layout.width, device=device)
    seen = mask_function(0, 0, places[:, None], places)
    return None if torch.equal(seen, torch.ones_like(seen).tril()) else seen[None, None]


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, *,
    scaling: float | None = None, dropout: float = 0.0, **kwargs,
) -> tuple[Tensor, None]:
    """Causal attention within rows. query, key, value: (1, heads, tokens, head size) -> (1, tokens, heads, size)."""
    layout, parts = _layout.get(), []
    foreign = attention_mask is not None and attention_mask.shape != (1, 1, layout.width, layout.width)
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
