"""Log-probs of tokens from hidden states, whose logits never lie in memory together.

A row of logits is as long as the vocabulary: at 128 thousand entries those of 1,000 tokens take half a gigabyte, and
softmax and gradient as much again. Here they are made and used up chunk by chunk, and made once more for the gradient;
where one chunk holds all tokens, their probabilities are kept instead.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.lm.head import Head, rows_of_logits, vocabulary_size


class TokenScores(NamedTuple):
    """Of each token (tokens,): `logprobs` in nats; and where wanted, without gradient, `entropy` in nats of the
    distribution it is from, `top` whether no token is likelier, and `mean_logits` over the vocabulary.
    """

    logprobs: Tensor
    entropy: Tensor | None
    top: Tensor | None
    mean_logits: Tensor | None


def token_scores(
    model: nn.Module, states: Tensor, targets: Tensor, temperature: float = 1.0, *, statistics: bool = False
) -> TokenScores:
    """Log-probs of `targets` (tokens,) under the distributions that last hidden `states` (tokens, hidden) give.

    Differentiable in states and weights. Raises ValueError for a temperature that is not above 0, and for a budget that
    is too small for one row of logits.
    """
    if temperature <= 0:
        raise ValueError(f"temperature={temperature} must be above 0; use 1 for log-probs of greedy responses")
    head, rows = Head.of(model), rows_of_logits(vocabulary_size(model))
    learns = torch.is_grad_enabled() and (states.requires_grad or bool(head.parameters))
    scores = _TokenScores.apply(states, targets, head, temperature, rows, statistics, learns, *head.parameters)
    return TokenScores(*scores)


class _TokenScores(torch.autograd.Function):
    """`TokenScores` of some tokens; the gradient with respect to logits is grad · (1[target] − p) / temperature."""

    @staticmethod
    def forward(
        ctx, states, targets, head: Head, temperature: float, rows: int, statistics: bool, learns: bool, *parameters
    ):
        ctx.set_materialize_grads(False)
        ctx.head, ctx.temperature, ctx.rows, device = head, temperature, rows, states.device.type
        ctx.products = torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
        parts, chunks, room = [], _chunks(len(states), rows), _Room(head, states, rows)
        keep = learns and len(chunks) == 1 and head.linear is not None
        for chunk in chunks:
            logits = room.logits(states[chunk], temperature)
            part, log_probabilities = _score(logits, targets[chunk], statistics, room.other(len(logits)))
            parts.append(part)
        scores = [None if column[0] is None else torch.cat(column) for column in zip(*parts, strict=True)]
        ctx.save_for_backward(states, targets, log_probabilities.exp_() if keep else None)
        ctx.mark_non_differentiable(*(score for score in scores[1:] if score is not None))
        return tuple(scores)

    @staticmethod
    def backward(ctx, grad: Tensor | None, *_: Any):
        states, targets, kept = ctx.saved_tensors
        if grad is None:
            return (None,) * (7 + len(ctx.head.parameters))
        dtype, enabled = ctx.products
        of_states = torch.empty_like(states)
        of_parameters = [torch.zeros_like(parameter) for parameter in ctx.head.parameters]
        through = _through_linear if ctx.head.linear is not None else _through_model
        with torch.autocast(states.device.type, dtype, enabled=enabled, cache_enabled=False):
            room = None if kept is not None else _Room(ctx.head, states, ctx.rows)
            for chunk in _chunks(len(states), ctx.rows):
                part = _Part(states[chunk], targets[chunk], grad[chunk] / ctx.temperature, ctx.temperature, kept, room)
                of_states[chunk] = through(ctx.head, part, of_parameters)
        return of_states, *(None,) * 6, *of_parameters


def _chunks(tokens: int, rows: int) -> list[slice]:
    return [slice(start, start + rows) for start in range(0, max(tokens, 1), rows)]


class _Room:
    """Memory for a chunk's logits and for what is made of them, used again for the next.

    On a CPU, fresh memory of that size costs about as much as the sums; elsewhere, and for heads that are more than a
    layer, logits are made as they come.
    """

    def __init__(self, head: Head, states: Tensor, rows: int):
        self.head, device = head, states.device.type
        plain = head.linear is not None and states.dtype == head.linear.weight.dtype == torch.float32
        self.buffers: list[Tensor] | None = None
        if plain and device == "cpu" and not torch.is_autocast_enabled(device):
            shape = (min(rows, len(states)), head.linear.out_features)
            self.buffers = [states.new_empty(shape), states.new_empty(shape)]

    def logits(self, states: Tensor, temperature: float) -> Tensor:
        """Logits (tokens, vocabulary) over the temperature, in float32."""
        if self.buffers is None:
            logits = self.head.logits(states).float()
            return logits if temperature == 1 else logits / temperature
        layer = self.head.linear
        logits = torch.mm(states, layer.weight.t(), out=self.buffers[0][: len(states)])
        if layer.bias is not None:
            logits += layer.bias
        return logits if temperature == 1 else logits.div_(temperature)

    def other(self, tokens: int) -> Tensor | None:
        """Where as many rows may be written again, if there is such a place."""
        return None if self.buffers is None else self.buffers[1][:tokens]


def _score(
    logits: Tensor, targets: Tensor, statistics: bool, place: Tensor | None
) -> tuple[tuple[Tensor | None, ...], Tensor]:
    """(log-probs, entropy, top, mean logits) of a chunk, and in `place` the log-probs of the whole vocabulary."""
    whole = torch.log_softmax(logits, -1, out=place)
    chosen = whole.gather(1, targets[:, None]).squeeze(1)
    if not statistics:
        return (chosen, None, None, None), whole
    mean, top = logits.mean(-1), whole.argmax(-1) == targets
    entropy = -torch.exp(whole, out=logits).mul_(whole).sum(-1)
    return (chosen, entropy, top, mean), whole


class _Part(NamedTuple):
    """A chunk on its way back: what `_TokenScores` kept of it, and the gradient (tokens,) over the temperature."""

    states: Tensor
    targets: Tensor
    grad: Tensor
    temperature: float
    probabilities: Tensor | None
    room: _Room | None

    def of_logits(self, logits: Tensor | None = None) -> Tensor:
        """The loss's gradient with respect to the chunk's logits, `logits` where they are made already."""
        if self.probabilities is not None:
            result = self.probabilities * -self.grad[:, None]
        else:
            if logits is None:
                scaled = self.room.logits(self.states, self.temperature)
            else:
                scaled = logits.float() / self.temperature
            result = torch.softmax(scaled, -1, out=self.room.other(len(scaled))).mul_(-self.grad[:, None])
        result[torch.arange(len(self.targets), device=self.targets.device), self.targets] += self.grad
        return result


def _through_linear(head: Head, part: _Part, totals: list[Tensor]) -> Tensor:
    """The gradient of a chunk's states; those of the layer's weight and bias, as far as they are trained, are added."""
    layer, states = head.linear, part.states.to(head.linear.weight.dtype)
    of_logits = part.of_logits().to(layer.weight.dtype)
    for parameter, total in zip(head.parameters, totals, strict=True):
        if parameter is layer.bias:
            total += of_logits.sum(0)
        elif torch.is_autocast_enabled(states.device.type):
            total += of_logits.t() @ states
        else:
            total.addmm_(of_logits.t(), states)
    return of_logits @ layer.weight


def _through_model(head: Head, part: _Part, totals: list[Tensor]) -> Tensor:
    """As `_through_linear`, by the model's own code, run once more."""
    with torch.enable_grad():
        states = part.states.detach().requires_grad_()
        logits = head.logits(states)
    of_logits = part.of_logits(logits.detach()).to(logits.dtype)
    of_states, *more = torch.autograd.grad(logits, [states, *head.parameters], of_logits, allow_unused=True)
    for one, total in zip(more, totals, strict=True):
        if one is not None:
            total += one
    return of_states
