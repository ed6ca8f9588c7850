"""What an architecture can be used for, from its config alone: a miniature keeps its layers and sees its windows."""

import re

import pytest
import torch
from transformers import AutoConfig

from models.architectures.miniature import LENGTH, SWITCH, miniature
from models.architectures.support import USES, unsupported

LONGROPE = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 48, "long_factor": [2.0] * 48,
            "original_max_position_embeddings": 4096}


@pytest.mark.parametrize("kind, sizes, layers, heads", [
    ("llama", dict(num_hidden_layers=80, hidden_size=8192, num_attention_heads=64, num_key_value_heads=8), 2, (4, 1)),
    ("qwen2_moe", dict(use_sliding_window=True, sliding_window=4096, max_window_layers=21), 2, (4, 4)),
    ("gemma3_text", {}, 2, (4, 2)),
    ("falcon", {}, 2, (4, 4)),  # 71 heads, which nothing divides
    ("jamba", {}, 2, (4, 1)),
    ("bamba", dict(attn_layer_indices=[9, 18, 27]), 2, (4, 1)),
    ("recurrent_gemma", {}, 2, (5, 5)),
    ("opt", dict(hidden_size=1024, word_embed_proj_dim=512, do_layer_norm_before=False, num_attention_heads=16), 2,
     (4, None)),
])
def test_configs_as_published_become_small(kind, sizes, layers, heads):
    before = torch.random.get_rng_state()
    model = miniature(AutoConfig.for_model(kind, **sizes))
    config = model.config
    assert model.num_parameters() < 30_000_000 and torch.equal(torch.random.get_rng_state(), before)
    assert (config.num_hidden_layers, config.num_attention_heads) == (layers, heads[0])
    assert getattr(config, "num_key_value_heads", None) in (heads[1], None)


def test_every_kind_of_layer_is_kept_and_what_a_length_decides_is_short():
    kinds = ["linear_attention"] * 3 + ["full_attention"]
    hybrid = miniature(AutoConfig.for_model("qwen3_next", num_hidden_layers=8, layer_types=kinds * 2))
    assert hybrid.config.layer_types == ["linear_attention", "full_attention"]
    assert miniature(AutoConfig.for_model("gemma2")).config.sliding_window == LENGTH
    phi = miniature(AutoConfig.for_model("phi3", rope_parameters=LONGROPE, original_max_position_embeddings=4096))
    assert phi.config.rope_parameters["original_max_position_embeddings"] == SWITCH
    assert miniature(AutoConfig.for_model("opt", word_embed_proj_dim=384)).config.word_embed_proj_dim * 2 == \
        miniature(AutoConfig.for_model("opt", word_embed_proj_dim=384)).config.hidden_size


def test_an_architecture_that_works_is_not_refused():
    assert [unsupported(AutoConfig.for_model("llama"), use) for use in USES] == [None] * len(USES)


@pytest.mark.parametrize("kind, use, text", [
    ("vit", "causal", "ViTConfig is no causal language model of transformers; set model.path"),
    ("bart", "sample", "BartConfig is no causal language model of transformers; set model.path"),
    ("bert", "causal", "BertConfig cannot be used for SFT and DPO: .* depend on tokens that come later"),
])
def test_what_is_refused_is_named_with_the_way_out(kind, use, text):
    assert re.search(text, unsupported(AutoConfig.for_model(kind), use))


def test_what_fails_in_bfloat16_alone_is_refused_where_a_run_asks_for_it(monkeypatch):
    config = AutoConfig.for_model("gpt2", n_inner=77)
    forward = torch.nn.functional.layer_norm

    def of_float32_alone(states, *rest, **options):
        if states.dtype == torch.bfloat16:
            raise RuntimeError("kernel not implemented for BFloat16")
        return forward(states, *rest, **options)

    monkeypatch.setattr(torch.nn.functional, "layer_norm", of_float32_alone)
    assert unsupported(config, "sample") is None
    reason = "cannot be used for runtime.dtype bfloat16: RuntimeError: kernel not .*; set"
    assert re.search(reason, unsupported(config, "bfloat16"))


def test_sizes_that_hang_together_in_unknown_ways_are_left_to_the_stages():
    config = AutoConfig.for_model("dbrx")
    assert miniature(config) is None and unsupported(config, "reward") is None
