"""Reward models: the backbone of any causal language model under a linear head with one output.

Where transformers has a sequence classifier for the architecture, a reward model is one, and serves as one. Where it
has none (Cohere, Granite, most hybrids), the same class is put together here from transformers' own parts.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_layers import GenericForSequenceClassification

from models.lm.batching import backbone_of
from models.lm.loading import adapter_paths, check_base, is_adapter_chain, load_policy, merge_adapters
from models.lm.precision import round_weights
from models.lm.weights import check_model_directory, read_config, read_weights


def load_reward_model(path: Path, base: Path | None = None, dtype: str = "float32") -> PreTrainedModel:
    """A sequence-classification model with one label, in eval mode.

    With a chain, the last adapter carries the head; the ones before it make the backbone (from SFT).
    Raises ValueError for a directory that is not a whole sequence classifier, or a chain without its base.
    """
    if not is_adapter_chain(path):
        check_model_directory(path)
        return read_weights(reward_class(type(read_config(path))), path, getattr(torch, dtype))
    *backbone, head = adapter_paths(path)
    policy = merge_adapters(load_policy(check_base(path, base)), backbone)
    return round_weights(merge_adapters(reward_model_from_policy(policy), [head]), getattr(torch, dtype)).eval()


def reward_model_from_policy(policy: PreTrainedModel, seed: int = 0) -> PreTrainedModel:
    """A reward model whose backbone is the policy's and whose head starts near zero.

    The head's weights are drawn with standard deviation 1/sqrt(hidden + 1) (Huang et al. 2024, detail 11).
    """
    labels = {"id2label": {0: "reward"}, "label2id": {"reward": 0}}
    config = type(policy.config).from_dict({**policy.config.to_dict(), **labels})
    model = reward_class(type(config))._from_config(config, dtype=policy.dtype)
    backbone_of(model).load_state_dict(backbone_of(policy).state_dict())
    generator = torch.Generator().manual_seed(seed)
    head = model.score.weight
    noise = torch.randn(head.shape, generator=generator) / (head.shape[1] + 1) ** 0.5
    with torch.no_grad():
        head.copy_(noise.to(head.dtype))
    return model.eval()


@functools.cache
def reward_class(config_class: type[PreTrainedConfig]) -> type[PreTrainedModel]:
    """The sequence classifier of an architecture: transformers' own where there is one, else of the same make.

    Raises ValueError for an architecture that is no causal language model.
    """
    known = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING.get(config_class, None)
    if known is not None:
        return known
    causal = MODEL_FOR_CAUSAL_LM_MAPPING.get(config_class, None)
    if causal is None:
        raise ValueError(f"{config_class.__name__} belongs to no causal language model, so no reward model can be made "
                         "of it; set model.path to a causal LM directory (GPT, Llama, Qwen …)")
    family = [parent for parent in causal.__mro__ if issubclass(parent, PreTrainedModel)][-2]  # CoherePreTrainedModel
    name = re.sub("(ForCausalLM|LMHeadModel)$", "", causal.__name__) + "ForSequenceClassification"
    # Of the family's module: in a class of outside code, transformers leaves buffers that no file holds unset when it
    # loads one whose weights are all there (Falcon-H1's multipliers).
    return type(name, (GenericForSequenceClassification, family), {"__module__": family.__module__})
