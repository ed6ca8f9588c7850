"""The `lora` section of a training stage as PEFT's configuration."""

from __future__ import annotations

from typing import Any, Sequence

from tasks.config import LoraConfig


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
