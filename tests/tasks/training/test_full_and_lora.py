"""LoRA and full fine-tuning in any order, and mixtures of experts, through the stages that train."""

import json

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GptOssConfig,
    GptOssForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Qwen2MoeConfig,
    Qwen2MoeForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)  # fmt: skip

from models.chat.template import load_tokenizer
from models.lm.loading import is_adapter_chain, load_policy
from models.reward.model import load_reward_model
from tasks import dpo as dpo_stage, ppo as ppo_stage, reward as reward_stage, sft as sft_stage
from tasks.common.rows import read_jsonl, write_jsonl
from tests.support.evaluation_rows import config
from tests.support.tiny_models import make_qwen2

LORA = {"rank": 2, "alpha": 4.0, "dropout": 0.0, "targets": ["q_proj", "v_proj"]}
KINDS = {"lora": LORA, "full": None}
STEP = {"epochs": 1.0, "batch_size": 4, "learning_rate": 1e-3}
PPO = {"episodes": 4, "batch_size": 4, "minibatch_size": 4, "normalise_samples": 4, "max_new_tokens": 4, "examples": 0,
       "snapshots": 0}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A base, four rows for every stage, the base after SFT of either kind, and a reward model."""
    folder = tmp_path_factory.mktemp("world")
    make_qwen2(folder / "base")
    write_rows(folder)
    for name, lora in KINDS.items():
        sft(folder, folder / name, lora=lora)
    train("reward", folder, folder / "full", folder / "reward")
    return folder


def write_rows(folder):
    fields = [{"id": f"r{i}", "root": f"r{i}", "category": "reasoning"} for i in range(4)]
    asked = [[{"role": "user", "content": f"What is {i}?"}] for i in range(4)]
    answers = [[{"role": "assistant", "content": f"It is {i}."}] for i in range(4)]
    rows = list(zip(fields, asked, answers, strict=True))
    write_jsonl(folder / "demonstrations.jsonl", [{**f, "messages": [*q, *a]} for f, q, a in rows])
    pairs = [{**f, "prompt": q, "chosen": a, "rejected": [{"role": "assistant", "content": "no"}]} for f, q, a in rows]
    write_jsonl(folder / "compare" / "train.jsonl", pairs)
    write_jsonl(folder / "compare" / "heldout.jsonl", [{**row, "agrees": True} for row in pairs])
    write_jsonl(folder / "prompts.jsonl", [{**f, "prompt": q} for f, q, _ in rows])


def sft(world, out, **changes):
    (checkpoints := out.with_name(f"{out.name}-checkpoints")).mkdir()
    sft_stage.sft(config("sft", **STEP, **changes), world / "base", world / "demonstrations.jsonl", out, checkpoints)
    return out


def train(stage, world, start, out, **changes):
    (checkpoints := out.with_name(f"{out.name}-checkpoints")).mkdir()
    if stage == "ppo":
        out.mkdir()
        cfg = config(stage, **PPO, **changes)
        return ppo_stage.ppo(cfg, world / "base", start, world / "reward", world / "prompts.jsonl", out, checkpoints)
    function = {"reward": reward_stage.reward, "dpo": dpo_stage.dpo}[stage]
    return function(config(stage, **STEP, **changes), world / "base", start, world / "compare", out, checkpoints)


@pytest.mark.parametrize("later", KINDS)
@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("stage", ["dpo", "reward", "ppo"])
def test_any_kind_of_training_follows_any_other(world, tmp_path, stage, first, later):
    """What comes out is not what went in, and only adapters over adapters are handed over as adapters."""
    out, start = tmp_path / "out", world / first
    train(stage, world, start, out, lora=KINDS[later])
    assert is_adapter_chain(out) == (first == later == "lora")
    before = load_policy(start, world / "base")
    after = (load_reward_model if stage == "reward" else load_policy)(out, world / "base")
    name = "layers.0.self_attn.q_proj.weight"
    assert not torch.equal(after.model.state_dict()[name], before.model.state_dict()[name])
    other = "layers.0.mlp.up_proj.weight"  # no adapter has it
    moved = not torch.equal(after.model.state_dict()[other], before.model.state_dict()[other])
    assert moved == (later == "full")


# --- mixtures of experts ---

SIZES = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
             max_position_embeddings=256, num_experts_per_tok=2)
EXPERTS = {
    "mixtral": lambda ids: MixtralForCausalLM(MixtralConfig(**SIZES, **ids, num_local_experts=4)),
    "gpt_oss": lambda ids: GptOssForCausalLM(GptOssConfig(**SIZES, **ids, num_local_experts=4, head_dim=8)),
    "qwen2_moe": lambda ids: Qwen2MoeForCausalLM(Qwen2MoeConfig(
        **SIZES, **ids, num_experts=4, moe_intermediate_size=8, shared_expert_intermediate_size=8)),
    "qwen3_moe": lambda ids: Qwen3MoeForCausalLM(Qwen3MoeConfig(
        **SIZES, **ids, num_experts=4, moe_intermediate_size=8, head_dim=8)),
}


def make_experts(name, folder):
    tokenizer = load_tokenizer(make_qwen2(folder))
    torch.manual_seed(0)
    ids = {"vocab_size": len(tokenizer), "bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": None}
    EXPERTS[name](ids).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", EXPERTS)
def test_experts_are_balanced_in_training_and_served_without_it(tmp_path, name):
    """TRL balances the router in training; what that needs of the config stays there, and `generate` lives."""
    make_experts(name, tmp_path / "base")
    write_rows(tmp_path)
    out = sft(tmp_path, tmp_path / "sft")
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (tmp_path / "base", out))
    assert after == before
    assert read_jsonl(out / "curves.jsonl")[0]["aux_loss"] > 0
    model = AutoModelForCausalLM.from_pretrained(out)
    assert model.generate(torch.tensor([[5, 6], [7, 8]]), max_new_tokens=3, do_sample=False).shape[1] > 2
    train("dpo", tmp_path, out, tmp_path / "dpo")
    assert json.loads((tmp_path / "dpo" / "config.json").read_text()) == before


def test_a_base_that_was_saved_in_training_is_served_without_it(tmp_path):
    folder = make_experts("mixtral", tmp_path / "base")
    config_file = folder / "config.json"
    config_file.write_text(json.dumps({**json.loads(config_file.read_text()), "output_router_logits": True}))
    policy = load_policy(folder)
    assert policy.generate(torch.tensor([[5, 6]]), max_new_tokens=3, do_sample=False).shape[1] > 2
