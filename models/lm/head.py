"""The head of a language model, run over a few tokens at a time: log-probs whose logits never lie in memory together.

A row of logits is as long as the vocabulary: at 128 thousand entries those of 1,000 tokens take half a gigabyte, and
softmax and gradient as much again. Here they are made and used up chunk by chunk, and made once more for the gradient;
where one chunk holds all tokens, their probabilities are kept instead. Logits that a model scales or caps come from its
own code, so that none is known by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPast

from models.lm.batching import backbone_of, device_of, evaluating, hidden_states, once_per_model, unwrapped

# Logits in float32, and what their softmax or their gradient makes of them.
_BYTES_PER_LOGIT = 8
_budget = 256.0  # MiB


class TokenScores(NamedTuple):
    """Of each token (tokens,): `logprobs` in nats; and where wanted, without gradient, `entropy` in nats of the
    distribution it is from, `top` whether no token is likelier, and `mean_logits` over the vocabulary.
    """

    logprobs: Tensor
    entropy: Tensor | None
    top: Tensor | None
    mean_logits: Tensor | None


def set_logits_budget(megabytes: float) -> None:
    """How much memory the logits of one chunk may take, for every model of this process."""
    global _budget
    _budget = megabytes


def rows_of_logits(vocabulary: int, megabytes: float | None = None) -> int:
    """Rows of logits in the budget, or in `megabytes`; ValueError, naming what would do, where it holds none."""
    megabytes = _budget if megabytes is None else megabytes
    size = vocabulary * _BYTES_PER_LOGIT
    if (rows := int(megabytes * 2**20) // size) < 1:
        raise ValueError(f"{megabytes:g} MiB hold no row of the logits of {vocabulary} tokens; raise runtime.logits_mb"
                         f" to {-(-size // 2**20)} or more")
    return rows


def token_scores(
    model: nn.Module, states: Tensor, targets: Tensor, temperature: float = 1.0, *, statistics: bool = False
) -> TokenScores:
    """Log-probs of `targets` (tokens,) under the distributions that last hidden `states` (tokens, hidden) give.

    Differentiable in states and weights. Raises ValueError for a temperature that is not above 0, and for a budget that
    is too small for one row of logits.
    """
    if temperature <= 0:
        raise ValueError(f"temperature={temperature} must be above 0; use 1 for log-probs of greedy responses")
    head, rows = _Head.of(model), rows_of_logits(_vocabulary(model))
    return TokenScores(*_TokenScores.apply(states, targets, head, temperature, rows, statistics, *head.parameters))


def logits_of(model: nn.Module, states: Tensor) -> Iterator[Tensor]:
    """Logits (some tokens, vocabulary) in float32 of last hidden states (tokens, hidden), part by part: the model's own
    head and what follows it."""
    for part in states.split(rows_of_logits(_vocabulary(model))):
        yield _Head.of(model).logits(part).float()


def _vocabulary(model: nn.Module) -> int:
    return unwrapped(model).get_output_embeddings().weight.shape[0]


@dataclass(frozen=True)
class _Head:
    """`logits` are made of states; `linear`: by this layer alone, else by code that uses `parameters`."""

    logits: Callable[[Tensor], Tensor]
    linear: nn.Linear | None
    parameters: tuple[nn.Parameter, ...]

    @classmethod
    def of(cls, model: nn.Module) -> _Head:
        inner = unwrapped(model)
        layer = inner.get_output_embeddings()
        if not head_is_plain(model):
            backbone = backbone_of(model)
            below = {id(parameter) for parameter in backbone.parameters()} - set(map(id, layer.parameters()))
            own = [parameter for parameter in inner.parameters() if id(parameter) not in below]
            return cls(lambda states: _after_backbone(inner, backbone, states), None, _trained(own))
        bare = type(layer) is nn.Linear and not (layer._forward_hooks or layer._forward_pre_hooks)
        bare &= "forward" not in vars(layer)
        return cls(lambda states: layer(states.to(layer.weight.dtype)),  # Mamba's are float32 beside bfloat16 weights
                   layer if bare else None, _trained(layer.parameters()))


def _trained(parameters: Any) -> tuple[nn.Parameter, ...]:
    return tuple(parameter for parameter in parameters if parameter.requires_grad)


def _after_backbone(inner: nn.Module, backbone: nn.Module, states: Tensor) -> Tensor:
    """What a causal language model makes of its backbone's states (tokens, hidden): logits (tokens, vocabulary).

    By its class's forward: what a trainer put around the instance's may not be entered twice (accelerate's autocast).
    """
    ids = torch.zeros(1, len(states), dtype=torch.long, device=states.device)
    with giving(backbone, states[None]):
        return type(inner).forward(inner, input_ids=ids, use_cache=False).logits[0]


@contextmanager
def giving(backbone: nn.Module, states: Tensor) -> Iterator[None]:
    """Lets the backbone give `states` (batch, time, hidden), whatever it is asked."""
    own = vars(backbone).get("forward")
    backbone.forward = lambda *_, **__: BaseModelOutputWithPast(last_hidden_state=states)
    try:
        yield
    finally:
        if own is None:
            del backbone.forward
        else:
            backbone.forward = own


def head_is_plain(model: nn.Module) -> bool:
    """Whether logits are just the output embedding of the last hidden states.

    Some architectures scale or cap logits after the head. Rather than know them by name, see once what the head is
    given, and whether large numbers in the place of its logits come out as they are.
    """
    return _head_is_plain(unwrapped(model))


@once_per_model
def _head_is_plain(inner: nn.Module) -> bool:
    head = inner.get_output_embeddings()
    if head is None:
        return False
    read: list[Tensor] = []
    written: list[Tensor] = []

    def replace_logits(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
        read.append(args[0])
        written.append(torch.linspace(-99, 99, out.numel(), device=out.device, dtype=out.dtype).view_as(out))
        return written[0]

    ids = torch.arange(2, device=device_of(inner))[None]
    with evaluating(inner), torch.no_grad():
        states = hidden_states(backbone_of(inner), ids)
        with head.register_forward_hook(replace_logits):
            logits = type(inner).forward(inner, input_ids=ids, use_cache=False).logits
    if not read or read[0].shape != states.shape:
        return False
    reads_states = torch.allclose(read[0], states.to(read[0].dtype), rtol=1e-4, atol=1e-5)
    return reads_states and torch.equal(logits, written[0])


class _TokenScores(torch.autograd.Function):
    """`TokenScores` of some tokens; the gradient with respect to logits is grad · (1[target] − p) / temperature."""

    @staticmethod
    def forward(ctx, states, targets, head: _Head, temperature: float, rows: int, statistics: bool, *parameters):
        ctx.set_materialize_grads(False)
        ctx.head, ctx.temperature, ctx.rows, device = head, temperature, rows, states.device.type
        ctx.products = torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
        parts, chunks, room = [], _chunks(len(states), rows), _Room(head, states, rows)
        keep = len(chunks) == 1 and head.linear is not None and any(ctx.needs_input_grad)
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
            return (None,) * (6 + len(ctx.head.parameters))
        dtype, enabled = ctx.products
        of_states = torch.empty_like(states)
        of_parameters = [torch.zeros_like(parameter) for parameter in ctx.head.parameters]
        through = _through_linear if ctx.head.linear is not None else _through_model
        with torch.autocast(states.device.type, dtype, enabled=enabled, cache_enabled=False):
            room = None if kept is not None else _Room(ctx.head, states, ctx.rows)
            for chunk in _chunks(len(states), ctx.rows):
                part = _Part(states[chunk], targets[chunk], grad[chunk] / ctx.temperature, ctx.temperature, kept, room)
                of_states[chunk] = through(ctx.head, part, of_parameters)
        return of_states, *(None,) * 5, *of_parameters


def _chunks(tokens: int, rows: int) -> list[slice]:
    return [slice(start, start + rows) for start in range(0, max(tokens, 1), rows)]


class _Room:
    """Memory for a chunk's logits and for what is made of them, used again for the next.

    On a CPU, fresh memory of that size costs about as much as the sums; elsewhere, and for heads that are more than a
    layer, logits are made as they come.
    """

    def __init__(self, head: _Head, states: Tensor, rows: int):
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
    entropy = -torch.bmm(torch.exp(whole, out=logits)[:, None], whole[:, :, None]).view(-1)
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


def _through_linear(head: _Head, part: _Part, totals: list[Tensor]) -> Tensor:
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


def _through_model(head: _Head, part: _Part, totals: list[Tensor]) -> Tensor:
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
