"""Forward passes over real tokens only: right-padded rows are laid end to end, and padded just inside attention.

With responses of different lengths about half of a padded batch is padding. Linear layers and norms do not care which
row a token belongs to, so they run over the real tokens alone; attention gathers rows back, which costs little.
Whether a model can be run this way is found out by running it both ways once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface

from models.batching import evaluating, hidden_states, length_mask

IMPLEMENTATION = "packed_rows"
# Arguments of attention that change its result and that the packed form does not know.
_UNSUPPORTED = ("softcap", "s_aux", "position_bias", "head_mask", "cu_seq_lens_q")


@dataclass(frozen=True)
class _Layout:
    """`gather` (batch · width,): the packed token at each padded place, any token where there is none.
    `scatter` (tokens,): the padded place of each packed token."""

    gather: Tensor
    scatter: Tensor
    width: int


_layout: ContextVar[_Layout] = ContextVar("packed_layout")
_PACKS: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def token_states(backbone: nn.Module, ids: Tensor, lengths: Tensor) -> Tensor:
    """Last hidden states (tokens, hidden) of the real tokens of right-padded ids (batch, width), row by row.

    Args:
        lengths: (batch,) real tokens of each row.
    """
    mask = length_mask(lengths, ids.shape[1])
    if bool(mask.all()):
        return hidden_states(backbone, ids).flatten(0, 1)
    if not can_pack(backbone):
        return hidden_states(backbone, ids)[mask]
    return _packed_states(backbone, ids, mask)


def can_pack(backbone: nn.Module) -> bool:
    """Whether packed rows give the backbone's own hidden states (not so for recurrent or exotic attention)."""
    if backbone not in _PACKS:
        device = next(backbone.parameters()).device
        ids, lengths = torch.arange(6, device=device).view(2, 3), torch.tensor([2, 3], device=device)
        mask = length_mask(lengths, 3)
        with evaluating(backbone), torch.no_grad():
            try:
                padded = hidden_states(backbone, ids)[mask]
                error = (_packed_states(backbone, ids, mask) - padded).norm() / padded.norm()
                same = bool(error < (1e-4 if padded.dtype == torch.float32 else 5e-2))
            except (NotImplementedError, TypeError, ValueError, RuntimeError):
                same = False  # the padded form always works
        _PACKS[backbone] = same
    return _PACKS[backbone]


def _packed_states(backbone: nn.Module, ids: Tensor, mask: Tensor) -> Tensor:
    rows, columns = mask.nonzero(as_tuple=True)
    places = rows * ids.shape[1] + columns
    gather = (mask.flatten().cumsum(0) - 1).clamp(min=0)
    layout = _Layout(gather, places, ids.shape[1])
    with _packed_attention(backbone, layout):
        out = backbone(input_ids=ids[mask][None], position_ids=columns[None], use_cache=False)
    return out.last_hidden_state[0]


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


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, *,
    scaling: float | None = None, dropout: float = 0.0, sliding_window: int | None = None, **kwargs,
) -> tuple[Tensor, None]:
    """Causal attention within rows. query, key, value: (1, heads, tokens, head size) -> (1, tokens, heads, size)."""
    if attention_mask is not None or any(kwargs.get(name) is not None for name in _UNSUPPORTED):
        raise NotImplementedError("this model's attention cannot run on packed rows")
    layout = _layout.get()
    query, key, value = (_unpack(x, layout) for x in (query, key, value))
    window = None
    if sliding_window is not None and sliding_window < layout.width:
        steps = torch.arange(layout.width, device=query.device)
        back = steps[:, None] - steps
        window = (back >= 0) & (back < sliding_window)
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=window, is_causal=window is None, scale=scaling,
                                         dropout_p=dropout, enable_gqa=query.shape[1] != key.shape[1])
    return out.transpose(1, 2).flatten(0, 1).index_select(0, layout.scatter)[None], None


def _unpack(x: Tensor, layout: _Layout) -> Tensor:
    """(1, heads, tokens, size) -> (batch, heads, width, size)."""
    return x[0].transpose(0, 1)[layout.gather].unflatten(0, (-1, layout.width)).transpose(1, 2)


AttentionInterface.register(IMPLEMENTATION, _attend)
