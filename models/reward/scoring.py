"""Scores from a reward model: a Hugging Face sequence classifier with one label, read at the last real token."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutputWithPast

from models.lm.batching import (
    backbone_of,
    by_length,
    device_of,
    evaluating,
    pad_right,
    right_padded_lengths,
    unwrapped,
)
from models.lm.packing import token_states

Scorer = Callable[[Sequence[Sequence[int]], Sequence[Sequence[int]]], Tensor]


@dataclass(frozen=True)
class RewardSignal:
    """One thing to maximise: `score` takes prompts' and responses' token ids and returns (n,); `weight` scales it."""

    name: str
    score: Scorer
    weight: float = 1.0


def score_head(model: nn.Module) -> nn.Module:
    """The linear head (hidden -> 1) of a sequence classifier.

    Raises:
        ValueError: no head with one label is found.
    """
    inner = unwrapped(model)
    head = getattr(inner, "score", None)
    if head is None:
        raise ValueError(f"{type(inner).__name__} has no `score` head; load the reward model with"
                         " AutoModelForSequenceClassification and num_labels=1")
    if inner.config.num_labels != 1:
        raise ValueError(f"the reward model has num_labels={inner.config.num_labels}; a reward needs num_labels=1")
    return head


def last_token_scores(model: nn.Module, ids: Tensor, lengths: Tensor) -> Tensor:
    """Scores (batch,) of right-padded ids (batch, time), each read at position length − 1. Differentiable."""
    return _last_token_logits(model, ids, lengths).squeeze(-1).float()


def _last_token_logits(model: nn.Module, ids: Tensor, lengths: Tensor) -> Tensor:
    head = score_head(model)
    states = token_states(backbone_of(model), ids, lengths, read=lengths.cumsum(0) - 1)
    return head(states.to(head.weight.dtype))  # Mamba's states are float32 beside bfloat16 weights


def score(model: nn.Module, sequences: Sequence[Sequence[int]], rows_per_batch: int) -> Tensor:
    """Reward of each token sequence (prompt and response joined).

    Returns:
        (n,) float32, in the reward model's own unit, on its device.

    Raises:
        ValueError: an empty sequence, or a model that is not a one-label sequence classifier.
        FloatingPointError: the model gave scores that are not finite.
    """
    lengths = [len(sequence) for sequence in sequences]
    if 0 in lengths:
        raise ValueError(f"sequence {lengths.index(0)} has no tokens; a score needs at least one")
    device = device_of(model)
    scores = torch.zeros(len(sequences), device=device)
    with evaluating(model), torch.no_grad():
        for rows in by_length(lengths, rows_per_batch):
            ids, sizes = pad_right([sequences[i] for i in rows], device)
            scores[torch.tensor(rows, device=device)] = last_token_scores(model, ids, sizes)
    if not torch.isfinite(scores).all():
        raise FloatingPointError("the reward model's scores are not finite; its weights diverged: train it again with a"
                                 " lower learning rate")
    return scores


@dataclass(frozen=True)
class SignalContext:
    """What a registered signal may use beside the ids: `signal(context, prompt_ids, response_ids)` returns (n,)."""

    reward_model: nn.Module
    tokenizer: Any  # the policy's, which the reward model shares
    rows_per_batch: int


def reward_model_signal(
    context: SignalContext, prompt_ids: Sequence[Sequence[int]], response_ids: Sequence[Sequence[int]]
) -> Tensor:
    """The trained reward model's score of each response (n,)."""
    sequences = [[*p, *r] for p, r in zip(prompt_ids, response_ids, strict=True)]
    return score(context.reward_model, sequences, context.rows_per_batch)


def length_signal(_: SignalContext, __: Sequence[Sequence[int]], response_ids: Sequence[Sequence[int]]) -> Tensor:
    """Tokens of each response (n,), its stop token included; a negative weight asks for short responses."""
    return torch.tensor([float(len(response)) for response in response_ids])


def model_scorer(model: nn.Module, rows_per_batch: int) -> Scorer:
    """A scorer of (prompts' ids, responses' ids) from a reward model that shares the policy's tokenizer."""
    return partial(reward_model_signal, SignalContext(model, None, rows_per_batch))


def pool_by_length(model: nn.Module) -> nn.Module:
    """Makes a sequence classifier read its logit at the last position of `attention_mask` (right padding).

    transformers looks for the last id that differs from PAD, which is wrong when PAD equals EOS, and refuses batches
    without a PAD. Trainers that call `model(input_ids=..., attention_mask=...).logits` then agree with `score`. The
    instance's forward alone changes: class, config and what is saved stay the library's.

    Returns:
        The same model.

    Raises:
        ValueError: the model is no one-label sequence classifier; later, from its forward: left padding, or labels.
    """
    inner = unwrapped(model)
    score_head(inner)
    # A bound method, so that a deep copy of the model gets a forward of its own.
    inner.forward = MethodType(_forward_by_length, inner)
    return model


def _forward_by_length(
    self: nn.Module, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None, **kwargs
) -> SequenceClassifierOutputWithPast:
    if labels is not None:
        raise ValueError("a reward model pooled by length computes no loss; compute it from the logits")
    lengths = right_padded_lengths(input_ids, attention_mask)
    return SequenceClassifierOutputWithPast(logits=_last_token_logits(self, input_ids, lengths))
