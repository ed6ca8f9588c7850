"""LoRA targets: what names a layer of the model, and what is refused before a library trips over it."""

import pytest

from models.loading import load_policy
from models.reward_model import reward_model_from_policy
from tasks.config.training import LoraConfig
from tasks.errors import ConfigError
from tasks.lora import check_targets, peft_config
from tests.tiny_models import make_gpt2, make_qwen2


@pytest.fixture(scope="module")
def qwen2(tmp_path_factory):
    return load_policy(make_qwen2(tmp_path_factory.mktemp("qwen2")))


def lora(targets):
    return LoraConfig(rank=2, alpha=4.0, dropout=0.0, targets=targets)


@pytest.mark.parametrize("targets", [
    "all-linear", ("q_proj", "v_proj"), ("layers.0.self_attn.q_proj",), r".*\.1\..*(up|down)_proj", ("embed_tokens",),
])
def test_right_targets_pass_and_peft_takes_them(tmp_path, targets):
    import peft

    model = load_policy(make_qwen2(tmp_path))
    check_targets(lora(targets), model, "dpo")
    assert peft.get_peft_model(model, peft_config(lora(targets), "CAUSAL_LM")).get_nb_trainable_parameters()[0] > 0


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
    assert message.endswith("set it to all-linear, or to some of down_proj, gate_proj, k_proj, lm_head, o_proj, "
                            "q_proj, up_proj, v_proj")


def test_gpt2s_layers_are_named_too(tmp_path):
    model = reward_model_from_policy(load_policy(make_gpt2(tmp_path)))
    check_targets(lora(("c_attn",)), model, "reward")
    with pytest.raises(ConfigError, match="some of c_attn, c_fc, c_proj, score"):
        check_targets(lora(("q_proj",)), model, "reward")
    check_targets(None, model, "reward")
