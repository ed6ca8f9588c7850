"""The base's directory: its files, its architecture against every method, the layers that LoRA names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM

from models.architectures.support import USES, unsupported
from models.lm.head import rows_of_logits
from models.reward.model import reward_class
from tasks.preflight.checks import NOTE, PROBLEM, Finding, check, refused
from tasks.preflight.project import Project
from tasks.training.lora import EVERY_LINEAR, check_targets


@check
def model(project: Project) -> Iterator[Finding]:
    yield from refused("model", lambda: project.shape)
    yield from refused("model", lambda: project.tokenizer)


@check
def architecture(project: Project) -> Iterator[Finding]:
    config, allowed = project.shape.config, project.params["promote"]["allowed_architectures"]
    dtype = project.params["runtime"]["dtype"]
    uses = [use for use in USES if use != "bfloat16" or dtype == use]
    for reason in dict.fromkeys(filter(None, (unsupported(config, use) for use in uses))):
        text, _, remedy = reason.partition("; ")
        yield Finding(PROBLEM, "model", text, remedy)
    if unlisted := [name for name in config.architectures or () if name not in allowed]:
        text = f"{unlisted[0]} is not in promote.allowed_architectures, so plumb promote will refuse the candidate"
        yield Finding(NOTE, "model", text, "add it there, if its code may be trusted")


@check
def logits_budget(project: Project) -> Iterator[Finding]:
    vocabulary, runtime = project.shape.config.get_text_config().vocab_size, project.config("sft").runtime
    yield from refused("runtime", lambda: rows_of_logits(vocabulary, runtime.logits_mb))


@check
def lora_targets(project: Project) -> Iterator[Finding]:
    gold = project.config("gold").training
    heads = {"reward": project.config("reward").lora, "gold.training": gold.lora if gold else None}
    trained = {stage: project.config(stage).lora for stage in ("sft", "dpo", "ppo")}
    config = project.shape.config
    for loras, build in ((trained, AutoModelForCausalLM.from_config), (heads, _with_head)):
        named = {section: lora for section, lora in loras.items() if lora is not None and lora.targets != EVERY_LINEAR}
        if named and type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
            with torch.device("meta"):
                layers = build(config)
            for section, lora in named.items():
                yield from refused(section, lambda: check_targets(lora, layers, section))


def _with_head(config: Any) -> torch.nn.Module:
    return reward_class(type(config))._from_config(config)
