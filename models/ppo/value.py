"""The critic, one number per token: a network of its own, or a head on the policy's.

With a head on the policy's backbone four models fit where two did: under LoRA policy, reference and critic are one
set of weights, and the reward model is the other. The shared critic is a head and nothing else. An adapter of its own
would give it other hidden states than the policy's, hence a second forward and backward pass, which sharing is there
to save; the price is that the value loss also pulls on the policy's weights (`value_coefficient` says how hard).
"""

import copy

import torch
from torch import Tensor, nn

from models.lm.batching import backbone_of, state_size, unwrapped
from models.lm.logprobs import ResponseBatch, ResponseLogprobs, response_states, scatter, states_logprobs
from models.lm.packing import token_states
from models.reward.scoring import score_head


class ValueModel(nn.Module):
    """V(s) of the state before each response token, from a backbone of its own."""

    def __init__(self, backbone: nn.Module, head: nn.Linear, *, in_reward_units: bool = False):
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.in_reward_units = in_reward_units

    @classmethod
    def from_reward_model(cls, reward_model: nn.Module) -> "ValueModel":
        """Starts as the reward model: every token's value is the score that the reward model would give there."""
        source = score_head(reward_model)
        backbone = _own_copy(reward_model)
        head = nn.Linear(source.in_features, 1, device=source.weight.device, dtype=source.weight.dtype)
        with torch.no_grad():
            head.weight.copy_(source.weight)
            head.bias.zero_() if source.bias is None else head.bias.copy_(source.bias)
        return cls(backbone, head, in_reward_units=True)

    @classmethod
    def with_zero_head(cls, model: nn.Module) -> "ValueModel":
        """A copy of the model's backbone whose values are all 0 at first."""
        backbone = _own_copy(model)
        return cls(backbone, _zero_head(backbone))

    @torch.no_grad()
    def normalise(self, mean: float, deviation: float, weight: float = 1.0) -> None:
        """Makes the values those of the reward weight · (r − mean) / deviation."""
        self.head.bias.sub_(mean)
        for parameter in (self.head.weight, self.head.bias):
            parameter.div_(deviation).mul_(weight)

    def forward(self, batch: ResponseBatch) -> Tensor:
        """Values (batch, time) at the states that choose each response token, 0 outside the response mask."""
        return _read(self.head, token_states(self.backbone, batch.ids, batch.lengths, batch.states), batch)


class SharedValue(nn.Module):
    """V(s) read off the policy's own hidden states by a linear head, whose values are all 0 at first.

    The reward model's head would not do: it was trained for other hidden states. The module holds the head alone, so
    that no parameter of the policy is optimised, clipped or saved twice.
    """

    in_reward_units = False

    def __init__(self, policy: nn.Module):
        super().__init__()
        self.head = _zero_head(backbone_of(policy))
        self._policy = [policy]  # the list hides it from nn.Module

    @property
    def policy(self) -> nn.Module:
        return self._policy[0]

    def forward(self, batch: ResponseBatch) -> Tensor:
        """Values (batch, time) as `ValueModel` gives them."""
        return _read(self.head, response_states(self.policy, batch), batch)

    def with_logprobs(self, batch: ResponseBatch, temperature: float) -> tuple[ResponseLogprobs, Tensor]:
        """The policy's log-probs and the values (batch, time) from one forward pass."""
        states = response_states(self.policy, batch)
        return states_logprobs(self.policy, states, batch, temperature), _read(self.head, states, batch)


def _read(head: nn.Linear, states: Tensor, batch: ResponseBatch) -> Tensor:
    """Values (batch, time) from the states (response tokens, hidden) that choose each token."""
    return scatter(head(states).squeeze(-1).float(), batch.response_mask)


def check_critic(policy: nn.Module, value: ValueModel | SharedValue) -> None:
    """Raises ValueError, naming both sizes, for a critic that cannot read what the policy writes."""
    if isinstance(value, SharedValue):
        if unwrapped(value.policy) is not unwrapped(policy):
            raise ValueError("the critic shares the backbone of another model than the policy; make it with"
                             " SharedValue(policy)")
        return
    ours, theirs = (b.get_input_embeddings().num_embeddings for b in (value.backbone, backbone_of(policy)))
    if ours < theirs:
        raise ValueError(f"the critic knows {ours} token ids and the policy writes {theirs}; start the critic from a"
                         " reward model on the policy's vocabulary, or set ppo.value_backbone to shared")
    width, head = state_size(value.backbone), value.head.in_features
    if width != head:
        raise ValueError(f"the critic's head reads {head} numbers a token and its backbone gives {width}; make the"
                         f" head nn.Linear({width}, 1), or set ppo.value_backbone to shared")


def _zero_head(backbone: nn.Module) -> nn.Linear:
    weight = next(backbone.parameters())
    head = nn.Linear(state_size(backbone), 1, device=weight.device, dtype=weight.dtype)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def _own_copy(model: nn.Module) -> nn.Module:
    """A copy to train: the adapter alone where there is one, else every weight."""
    backbone = copy.deepcopy(backbone_of(model))
    adapted = any("lora_" in name for name, _ in backbone.named_parameters())
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(not adapted or "lora_" in name)
    return backbone
