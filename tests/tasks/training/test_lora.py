"""LoRA targets: what names a layer of the model, and what is refused before a library trips over it."""

import pytest
import torch

from models.lm.loading import load_policy
from models.reward.model import reward_model_from_policy
from tasks.common.errors import ConfigError
from tasks.config.training import LoraConfig
from tasks.training.lora import check_targets, peft_config
from tests.support.tiny_architectures import ROWS, build
from tests.support.tiny_models import make_gpt2, make_qwen2


@pytest.fixture(scope="module")
def qwen2(tmp_path_factory):
    return load_policy(make_qwen2(tmp_path_factory.mktemp("qwen2")))


def lora(targets):
    return LoraConfig(rank=2, alpha=4.0, dropout=0.0, targets=targets)


@pytest.mark.parametrize("targets", [
    "all-linear", ("q_proj", "v_proj"), ("layers.0.self_attn.q_proj",), r".*\.1\..*(up|down)_proj",
])
def test_right_targets_pass_and_peft_takes_them(tmp_path, targets):
    import peft

    model = load_policy(make_qwen2(tmp_path))
    check_targets(lora(targets), model, "dpo")
    adapted = peft.get_peft_model(model, peft_config(lora(targets), model, "CAUSAL_LM"))
    assert adapted.get_nb_trainable_parameters()[0] > 0


@pytest.mark.parametrize("targets, named", [
    (("q_proj", "nope"), "'nope'"),
    (("proj",), "'proj'"),
    (("mlp",), "'mlp'"),  # a block of layers
    (("norm",), "'norm'"),  # a module, but no layer that takes an adapter
    ("q_proj", "'q_proj'"),  # a text alone is a regular expression for the whole name
    ("*proj", "'*proj'"),  # and this is none
    ((), "it names no layer"),
])
def test_wrong_targets_are_named_with_the_right_ones(qwen2, targets, named):
    with pytest.raises(ConfigError) as caught:
        check_targets(lora(targets), qwen2, "dpo")
    message = str(caught.value)
    assert message.startswith("dpo.lora.targets: ") and named in message
    assert message.endswith("set it to all-linear, or to some of down_proj, gate_proj, k_proj, o_proj, "
                            "q_proj, up_proj, v_proj")


def test_gpt2s_layers_are_named_too(tmp_path):
    model = reward_model_from_policy(load_policy(make_gpt2(tmp_path)))
    check_targets(lora(("c_attn",)), model, "reward")
    with pytest.raises(ConfigError, match="some of c_attn, c_fc, c_proj, score"):
        check_targets(lora(("q_proj",)), model, "reward")
    check_targets(None, model, "reward")


@pytest.mark.parametrize("name, targets, other", [
    ("LlamaForCausalLM", ("q_proj", "lm_head"), "model.embed_tokens"),
    ("LlamaForCausalLM", ("embed_tokens",), "lm_head"),
    ("LlamaForCausalLM", ".*(q_proj|lm_head)", "model.embed_tokens"),
    ("GPT2LMHeadModel", ("wte",), "lm_head"),
])
def test_a_weight_that_two_layers_share_takes_no_adapter(name, targets, other):
    """Merging would change both, so that what is handed over is not what was trained; untied ones are as others."""
    with pytest.raises(ConfigError, match=f"shares its weight with {other}; merging the adapter would change both"):
        check_targets(lora(targets), build(name, tie_word_embeddings=True), "dpo")
    check_targets(lora(targets), build(name, tie_word_embeddings=False), "dpo")


@pytest.mark.parametrize("name", [
    "MambaForCausalLM", "Mamba2ForCausalLM", "FalconMambaForCausalLM", "FalconH1ForCausalLM", "NemotronHForCausalLM",
    "Llama4ForCausalLM", "PhimoeForCausalLM", "FalconForCausalLM", "GPT2LMHeadModel", "Qwen3MoeForCausalLM",
])
def test_all_linear_leaves_out_what_takes_no_adapter(name):
    """Routers that give more than a product, and what Mamba's kernels read past the layer; the rest learns."""
    import peft

    model = peft.get_peft_model(policy := build(name), peft_config(lora("all-linear"), policy, "CAUSAL_LM"))
    model(input_ids=torch.tensor([ROWS[0]]), use_cache=False).logits.logsumexp(-1).sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for n, p in model.named_parameters() if "lora_B" in n)


@pytest.mark.parametrize("name, target", [
    ("MambaForCausalLM", "out_proj"), ("Mamba2ForCausalLM", "conv1d"), ("Llama4ForCausalLM", "router"),
    ("PhimoeForCausalLM", "router"),
])
def test_a_target_that_takes_no_adapter_is_named(name, target):
    with pytest.raises(ConfigError, match=f"'{target}' names no layer of {name} that takes an adapter"):
        check_targets(lora((target,)), build(name), "sft")
