"""The `lora` section of a training stage as PEFT's configuration."""

from __future__ import annotations

import re
from typing import Any, Sequence

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from tasks.common.errors import ConfigError
from tasks.config.training import LoraConfig

EVERY_LINEAR = "all-linear"
LAYERS = (nn.Linear, nn.Embedding, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MultiheadAttention, Conv1D)


def peft_config(lora: LoraConfig | None, model: nn.Module, task: str, head: Sequence[str] = ()) -> Any:
    """PEFT's configuration, or None; `task` is CAUSAL_LM or SEQ_CLS, `head` names modules that are trained whole.

    all-linear leaves out what takes no adapter; else no Mamba, Falcon-H1, Llama 4 or Phi-3.5-MoE could have one.
    """
    if lora is None:
        return None
    import peft

    targets = list(lora.targets) if isinstance(lora.targets, tuple) else lora.targets
    left_out = [name for name, module in model.named_modules()
                if isinstance(module, (nn.Linear, Conv1D)) and not _takes_adapter(name, module, model)]
    return peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets,
        exclude_modules=left_out if targets == EVERY_LINEAR and left_out else None,
        task_type=task, modules_to_save=list(head) or None,
    )


def check_targets(lora: LoraConfig | None, model: nn.Module, section: str) -> None:
    """Raises ConfigError, naming layers that there are, when a target of `section`.lora.targets is none of the model's,
    takes no adapter, or shares its weight with another layer (tied embeddings), which merging would change too.

    A target in a list is the end of a layer's name, a text that is no list a regular expression for the whole name.
    """
    if lora is None or lora.targets == EVERY_LINEAR:
        return
    targets = [lora.targets] if isinstance(lora.targets, str) else lora.targets
    tied, wrong = _tied(model), []
    for target in targets:
        modules = _named(target, model, by_end=target is not lora.targets)
        if shared := tied & modules.keys():
            others = ", ".join(sorted(tied - shared)) or "each other"
            raise ConfigError(f"{section}.lora.targets: {target!r} names {min(shared)}, which shares its weight with "
                              f"{others}; merging the adapter would change both, leave it out")
        if not modules or not all(_takes_adapter(name, module, model) for name, module in modules.items()):
            wrong.append(target)
    if wrong or not targets:
        named = sorted({name.rpartition(".")[2] for name, module in model.named_modules() if name not in tied
                        and isinstance(module, (nn.Linear, Conv1D)) and _takes_adapter(name, module, model)})
        kind = type(model).__name__
        what = f"{wrong[0]!r} names no layer of {kind} that takes an adapter" if wrong else "it names no layer"
        raise ConfigError(f"{section}.lora.targets: {what}; set it to {EVERY_LINEAR}, or to some of {', '.join(named)}")


def _named(target: str, model: nn.Module, by_end: bool) -> dict[str, nn.Module]:
    """The modules that a target names; none for what is no regular expression."""
    try:
        return {name: module for name, module in model.named_modules()
                if (f".{name}".endswith(f".{target}") if by_end else re.fullmatch(target, name))}
    except re.error:
        return {}


def _tied(model: nn.Module) -> set[str]:
    """Names of the modules whose weight is that of the embedding too, itself among them; none where it is its own."""
    names = [name for name, module in model.named_modules()
             if getattr(module, "weight", None) is model.get_input_embeddings().weight]
    return set(names) if len(names) > 1 else set()


def _takes_adapter(name: str, module: nn.Module, model: nn.Module) -> bool:
    """Whether an adapter's output can be added to the layer's: not so for routers that are linear layers with more to
    give than their product (Llama 4), nor for what Mamba's kernels read past the layer, which peft refuses.
    """
    import peft
    from peft.tuners.tuners_utils import _check_lora_target_modules_mamba

    try:
        _check_lora_target_modules_mamba(peft.LoraConfig(), model, name.rpartition(".")[2])
        if isinstance(module, nn.Linear) and type(module) is not nn.Linear:
            with torch.no_grad():
                return isinstance(module(module.weight.new_zeros(1, module.in_features)), torch.Tensor)
    except (TypeError, ValueError):
        return False
    return isinstance(module, LAYERS)
