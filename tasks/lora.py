"""The `lora` section of a training stage as PEFT's configuration."""

from __future__ import annotations

import re
from typing import Any, Sequence

from torch import nn
from transformers.pytorch_utils import Conv1D

from tasks.config.training import LoraConfig
from tasks.errors import ConfigError

EVERY_LINEAR = "all-linear"
LAYERS = (nn.Linear, nn.Embedding, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MultiheadAttention, Conv1D)


def peft_config(lora: LoraConfig | None, task: str, head: Sequence[str] = ()) -> Any:
    """PEFT's configuration, or None; `task` is CAUSAL_LM or SEQ_CLS, `head` names modules that are trained whole."""
    if lora is None:
        return None
    import peft

    targets = list(lora.targets) if isinstance(lora.targets, tuple) else lora.targets
    return peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets,
        task_type=task, modules_to_save=list(head) or None,
    )


def check_targets(lora: LoraConfig | None, model: nn.Module, section: str) -> None:
    """Raises ConfigError, naming layers that there are, when a target of `section`.lora.targets is none of the model's.

    A target in a list is the end of a layer's name, a text that is no list a regular expression for the whole name.
    """
    if lora is None or lora.targets == EVERY_LINEAR:
        return
    targets = [lora.targets] if isinstance(lora.targets, str) else lora.targets
    wrong = [target for target in targets if not _is_target(target, model, by_end=target is not lora.targets)]
    if wrong or not targets:
        named = sorted({name.rpartition(".")[2] for name, module in model.named_modules()
                        if isinstance(module, (nn.Linear, Conv1D))})
        what = f"{wrong[0]!r} names no layer of {type(model).__name__}" if wrong else "it names no layer"
        raise ConfigError(f"{section}.lora.targets: {what}; set it to {EVERY_LINEAR}, or to some of {', '.join(named)}")


def _is_target(target: str, model: nn.Module, by_end: bool) -> bool:
    """Whether the target names layers that can have an adapter, and nothing else."""
    try:
        named = [module for name, module in model.named_modules()
                 if (f".{name}".endswith(f".{target}") if by_end else re.fullmatch(target, name))]
    except re.error:
        return False
    return bool(named) and all(isinstance(module, LAYERS) for module in named)
