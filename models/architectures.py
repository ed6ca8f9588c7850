"""What an architecture can be used for, by its config alone, before any weights are read."""

from __future__ import annotations

from typing import Any

from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

USES = ("causal", "sample", "reward", "ppo", "package")
WITH_A_HEAD = ("reward", "ppo")  # PPO reads the reward model, and its critic starts from it


def unsupported(config: Any, use: str) -> str | None:
    """Why a model with this config cannot be used so, with the way out; None where it can. `use`: one of USES."""
    name = (getattr(config, "architectures", None) or [type(config).__name__])[0]
    if type(config) not in AutoModelForCausalLM._model_mapping:
        return f"{name} is no causal language model of transformers; set model.path to one (GPT, Llama, Qwen …)"
    if use in WITH_A_HEAD and type(config) not in AutoModelForSequenceClassification._model_mapping:
        return f"transformers has no sequence classifier, so no reward model, of {name}; set model.path to another kind"
    return None
