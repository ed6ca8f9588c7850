"""The critic: a backbone of its own with one number per token."""

import copy

import torch
from torch import Tensor, nn

from models.batching import backbone_of
from models.logprobs import ResponseBatch, scatter
from models.packing import token_states
from models.reward import score_head


class ValueModel(nn.Module):
    """V(s) of the state before each response token, from a backbone that nothing else shares."""

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
        weight = next(backbone.parameters())
        head = nn.Linear(_hidden_size(backbone), 1, device=weight.device, dtype=weight.dtype)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        return cls(backbone, head)

    @torch.no_grad()
    def normalise(self, mean: float, deviation: float) -> None:
        """Makes the values those of the reward (r − mean) / deviation."""
        self.head.bias.sub_(mean)
        self.head.weight.div_(deviation)
        self.head.bias.div_(deviation)

    def forward(self, batch: ResponseBatch) -> Tensor:
        """Values (batch, time) at the states that choose each response token, 0 outside the response mask."""
        states = token_states(self.backbone, batch.ids, batch.lengths)[batch.states]
        return scatter(self.head(states).squeeze(-1).float(), batch.response_mask)


def _hidden_size(backbone: nn.Module) -> int:
    return backbone.config.get_text_config().hidden_size


def _own_copy(model: nn.Module) -> nn.Module:
    """A copy to train: the adapter alone where there is one, else every weight."""
    backbone = copy.deepcopy(backbone_of(model))
    adapted = any("lora_" in name for name, _ in backbone.named_parameters())
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(not adapted or "lora_" in name)
    return backbone
