"""TRL's trainers on packed rows: their losses and metrics from log-probs that we compute.

TRL 1.16 asks its model for log-probs of the labels (`trl.trainer.utils.add_fused_lm_head`); it runs padded rows and,
where there is no Triton, projects every position on the vocabulary. Here the backbone runs over real tokens alone
(`models.lm.packing`) and the head over the states that predict a label (`models.lm.token_scores`).
"""

from __future__ import annotations

import functools
import logging
from types import MethodType
from typing import Any

from torch import Tensor, nn
from trl.trainer.utils import FusedCausalLMOutput

from models.lm.batching import backbone_of, length_mask, right_padded_lengths, unwrapped
from models.lm.packing import can_pack, token_states
from models.lm.token_scores import token_scores

IGNORED = -100
_logger = logging.getLogger(__name__)


def pack_rows(trainer: Any) -> None:
    """Makes the model of a TRL trainer for SFT or DPO run on packed rows.

    One whose attention cannot be packed keeps TRL's padded forward, and so do mixtures of experts that learn to spread
    their load, which padding counts in.
    """
    inner = unwrapped(trainer.model)
    if say_if_padded(trainer.model, trainer.aux_loss_enabled):
        return
    padded = inner.forward

    @functools.wraps(type(inner).forward)
    def forward(
        self: nn.Module, input_ids: Tensor | None = None, attention_mask: Tensor | None = None, *args: Any,
        labels: Tensor | None = None, fused_lm_head: bool = False, **kwargs: Any,
    ) -> Any:
        more = {name for name, value in kwargs.items() if value is not None}
        if fused_lm_head and not args and more <= {"use_cache"}:
            return _packed(self, input_ids, attention_mask, labels)
        if labels is not None:
            kwargs["labels"] = labels
        return padded(input_ids, attention_mask, *args, fused_lm_head=fused_lm_head, **kwargs)

    inner.forward = MethodType(forward, inner)


def say_if_padded(model: nn.Module, learns_routing: bool = False) -> bool:
    """Whether a model has to be trained on padded rows, which is then said; `learns_routing`: by a loss of its own."""
    padded = learns_routing or not can_pack(backbone_of(model))
    if padded:
        _logger.warning("%s is trained on padded rows: slower, to the same results", type(unwrapped(model)).__name__)
    return padded


def _packed(model: nn.Module, ids: Tensor, attention_mask: Tensor | None, labels: Tensor) -> FusedCausalLMOutput:
    """TRL's output for right-padded ids (batch, width): each field (batch, width - 1), 0 where there is no label."""
    lengths = right_padded_lengths(ids, attention_mask)
    real = length_mask(lengths, ids.shape[1])
    predicted = (labels[:, 1:] != IGNORED) & real[:, 1:]
    place = (real.flatten().cumsum(0) - 1).view_as(ids)  # of each real token among all of them
    states = token_states(backbone_of(model), ids, lengths, place[:, :-1][predicted])
    scores = token_scores(model, states, labels[:, 1:][predicted], statistics=True)
    log_probs, entropy, is_top1, mean_logits = (
        tokens.new_zeros(predicted.shape).masked_scatter(predicted, tokens) for tokens in scores
    )
    return FusedCausalLMOutput(log_probs=log_probs, entropy=entropy, is_top1=is_top1, mean_logits=mean_logits,
                               label_mask=predicted)
