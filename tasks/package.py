"""The candidate as one self-contained model directory: adapters merged, tokenizer and chat template beside it.

Its generation config says how it was evaluated, so that who serves it by default serves what was judged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import GenerationConfig, PreTrainedModel

from models.chat.template import load_tokenizer, stop_ids
from models.lm.loading import load_policy
from tasks.artifacts.champion import ORIGIN_FILE
from tasks.artifacts.entrants import selected
from tasks.common.machine import prepare_torch
from tasks.config.package import PackageConfig
from tasks.config.shared import ServingConfig
from tasks.common.hashes import content_hash


def package(
    cfg: PackageConfig, model: Path, policies: Mapping[str, Path], select: Path, out: Path
) -> dict[str, float]:
    """Write the selected policy whole, so that it loads and serves without its base."""
    prepare_torch(cfg.runtime)
    method, checkpoint, source = selected(select, policies)
    policy, tokenizer = load_policy(source, model, cfg.runtime.dtype), load_tokenizer(source)
    policy.generation_config = as_evaluated(policy, tokenizer, cfg.serving)
    policy.save_pretrained(out)
    tokenizer.save_pretrained(out)
    origin = {"method": method, "checkpoint": checkpoint, "policy": content_hash(source)}
    (out / ORIGIN_FILE).write_text(json.dumps(origin, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return {"parameters": policy.num_parameters()}


def as_evaluated(policy: PreTrainedModel, tokenizer: Any, serving: ServingConfig) -> GenerationConfig:
    """Sampling from the whole distribution at the temperature of evaluation, up to any token that ends a response.

    top_k is 0 because transformers takes the 50 likeliest where nothing is said. The longest answer is the caller's.
    """
    token_ids = policy.generation_config
    pad = tokenizer.pad_token_id
    return GenerationConfig(
        do_sample=True, temperature=serving.temperature, top_k=0, top_p=1.0, eos_token_id=sorted(stop_ids(tokenizer)),
        bos_token_id=token_ids.bos_token_id, pad_token_id=token_ids.pad_token_id if pad is None else pad,
    )
