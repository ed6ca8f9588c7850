"""The candidate as one self-contained model directory: adapters merged, tokenizer and chat template beside it."""

from __future__ import annotations

import json
from pathlib import Path

from models.chat_template import load_tokenizer, stop_ids
from models.loading import load_policy
from tasks.answers import checkpoints_of
from tasks.champion import ORIGIN_FILE
from tasks.config.evaluation import PackageConfig
from tasks.machine import prepare_torch
from tasks.state import content_hash


def package(cfg: PackageConfig, model: Path, dpo: Path, ppo: Path, select: Path, out: Path) -> dict[str, float]:
    """Write the selected policy whole, so that it loads and serves without its base."""
    prepare_torch(cfg.runtime)
    selection = json.loads((select / "selection.json").read_text(encoding="utf-8"))
    artifact = {"dpo": dpo, "ppo": ppo}[selection["method"]]
    source = checkpoints_of(artifact)[selection["checkpoint"]]
    policy, tokenizer = load_policy(source, model, cfg.runtime.dtype), load_tokenizer(source)
    policy.generation_config.eos_token_id = sorted(stop_ids(tokenizer))
    policy.save_pretrained(out)
    tokenizer.save_pretrained(out)
    origin = {"method": selection["method"], "checkpoint": selection["checkpoint"], "policy": content_hash(source)}
    (out / ORIGIN_FILE).write_text(json.dumps(origin, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return {"parameters": policy.num_parameters()}

