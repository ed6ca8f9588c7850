"""The head of a language model run apart from its backbone, and how many rows of logits may lie in memory at a time.

Logits that a model scales or caps come from its own code, so that none is known by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPast

from models.lm.batching import backbone_of, device_of, evaluating, hidden_states, once_per_model, unwrapped

# Logits in float32, and what their softmax or their gradient makes of them.
_BYTES_PER_LOGIT = 8
_budget = 256.0  # MiB


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


def logits_of(model: nn.Module, states: Tensor) -> Iterator[Tensor]:
    """Logits (some tokens, vocabulary) in float32 of last hidden states (tokens, hidden), part by part: the model's own
    head and what follows it."""
    head = Head.of(model)
    for part in states.split(rows_of_logits(vocabulary_size(model))):
        yield head.logits(part).float()


def vocabulary_size(model: nn.Module) -> int:
    return unwrapped(model).get_output_embeddings().weight.shape[0]


@dataclass(frozen=True)
class Head:
    """`logits` are made of states; `linear`: by this layer alone, else by code that uses `parameters`."""

    logits: Callable[[Tensor], Tensor]
    linear: nn.Linear | None
    parameters: tuple[nn.Parameter, ...]

    @classmethod
    def of(cls, model: nn.Module) -> Head:
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


class _StatesAlone(BaseModelOutputWithPast):
    """What a backbone gives, without what else a model may look for in it (routers' logits, shared caches)."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


@contextmanager
def giving(backbone: nn.Module, states: Tensor) -> Iterator[None]:
    """Lets the backbone give `states` (batch, time, hidden), whatever it is asked."""
    own = vars(backbone).get("forward")
    backbone.forward = lambda *_, **__: _StatesAlone(last_hidden_state=states)
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
