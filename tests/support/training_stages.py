"""Settings and trainers of SFT, reward model and DPO that take seconds."""

from __future__ import annotations

import pytest
import torch

from models.chat.template import load_tokenizer
from models.lm.loading import load_policy
from models.reward.model import reward_model_from_policy
from models.reward.scoring import pool_by_length
from tasks import dpo as dpo_stage, sft as sft_stage
from tasks.config.dpo import NEEDS_SMOOTHING
from tasks.training import reward_model as reward_model_training
from tests.support import evaluation_rows
from tests.support.tiny_models import make_gpt2

CHANGES = {"epochs": 1.0, "batch_size": 4, "max_length": 120, "checkpoint_every": 2}


def config(stage, **changes):
    return evaluation_rows.config(stage, **CHANGES | changes)


ROWS = [
    {"id": f"c{i}", "prompt": [{"role": "user", "content": f"What is {i}?"}], "score_gap": 1.0,
     "chosen": [{"role": "assistant", "content": f"It is {i}" + " indeed" * (i % 4) + "."}],
     "rejected": [{"role": "assistant", "content": "no" + " no" * (i % 3)}]}
    for i in range(12)
]
WHOLE = {"batch_size": 12}
EVEN = {"batch_size": 4, "gradient_accumulation": 3}  # 4 + 4 + 4
UNEVEN = {"batch_size": 5, "gradient_accumulation": 3}  # 5 + 5 + 2


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_gpt2(tmp_path_factory.mktemp("base"))


def sft_trainer(base, folder, split, **changes):
    cfg, tokenizer = config("sft", **split, **changes), load_tokenizer(base)
    rows = sft_stage.tokenise([{**row, "messages": [*row["prompt"], *row["chosen"]]} for row in ROWS], tokenizer)
    return sft_stage.make_trainer(cfg, load_policy(base), tokenizer, rows, folder)


def reward_trainer(base, folder, split, pool=pool_by_length, **changes):
    cfg, tokenizer = config("reward", **split, **changes), load_tokenizer(base)
    model = pool(reward_model_from_policy(load_policy(base)))
    rows = reward_model_training.tokenise(ROWS, tokenizer, use_margin=False)
    return reward_model_training.make_trainer(cfg, cfg.runtime, model, tokenizer, rows, folder)


def dpo_trainer(base, folder, split, losses=("sigmoid", "sft"), **changes):
    """Away from where policy and reference agree: there most losses are alike."""
    weights, smoothing = [1.0, 0.5][: len(losses)], 0.1 if set(losses) & set(NEEDS_SMOOTHING) else None
    cfg = config("dpo", **split, **changes, loss_types=list(losses), loss_weights=weights, label_smoothing=smoothing)
    policy, tokenizer = load_policy(base), load_tokenizer(base)
    rows = dpo_stage.with_reference(policy, dpo_stage.tokenise(ROWS, tokenizer))
    for place, row in enumerate(rows):
        row["ref_chosen_logps"] -= 0.1 + 0.3 * (place % 5)
        row["ref_rejected_logps"] += 0.2 * (place % 3)
    return dpo_stage.make_trainer(cfg, policy, tokenizer, rows, folder)


def one_step(trainer):
    """Loss and gradient norm of the only optimizer step of a run, which changes weights though it is the first."""
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.train()
    assert trainer.state.global_step == trainer.state.max_steps == 1
    assert any(not torch.equal(before[name], p) for name, p in trainer.model.named_parameters())
    logged = next(line for line in trainer.state.log_history if "loss" in line)
    return logged["loss"], logged["grad_norm"]
