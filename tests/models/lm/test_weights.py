"""Model directories whose files are torn, incomplete, of another shape or kind: one line each, never a guess."""

import json
import shutil

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, LlamaConfig, LlamaForCausalLM

from models.chat import template as chat_template
from models.lm import loading, weights
from models.reward import model as reward_model
from tasks.common.errors import kind_of
from tests.support.tiny_models import broken, gpt2, make_gpt2, make_qwen2, qwen2  # noqa: F401


def without(file, part):
    """Drops the tensors with `part` in their name."""
    save_file({k: v for k, v in load_file(file).items() if part not in k}, file, metadata={"format": "pt"})


def configured(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def truncated(file, size=1000):
    file.write_bytes(file.read_bytes()[:size])


def refusal(load, words):
    """The message, which must be one line about the user's data."""
    with pytest.raises(ValueError, match=words) as caught:
        load()
    assert kind_of(caught.value) == "data" and "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_weights_are_not_made_up(broken):
    without(broken / "model.safetensors", "h.0.")
    message = refusal(lambda: loading.load_policy(broken), "12 of the model's weights are not in its safetensors files")
    assert "the first is transformer.h.0.attn.c_attn.bias" in message


def test_tied_weights_are_not_missing(qwen2):
    """The output head is the embedding, and stands in the file once."""
    assert "lm_head.weight" not in load_file(qwen2 / "model.safetensors")
    policy = loading.load_policy(qwen2)
    assert torch.equal(policy.lm_head.weight, load_file(qwen2 / "model.safetensors")["model.embed_tokens.weight"])


def test_a_causal_lm_is_no_reward_model(gpt2):
    refusal(lambda: reward_model.load_reward_model(gpt2), "1 of the model's weights .* the first is score.weight")


@pytest.mark.parametrize("changes", [{"vocab_size": 330}, {"n_embd": 64}], ids=["vocabulary", "width"])
def test_weights_of_another_shape_are_refused(broken, changes):
    configured(broken, **changes)
    refusal(lambda: loading.load_policy(broken), "have another shape than its config.json says, the first is ")


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_torn_model_files_are_named(broken, file):
    truncated(broken / file, size=100)
    refusal(lambda: loading.load_policy(broken), r"model(/config.json)? cannot be read \(.*; copy it again")


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "tokenizer.json"])
def test_torn_tokenizer_files_are_named(broken, file):
    truncated(broken / file, size=20)
    refusal(lambda: chat_template.load_tokenizer(broken), r"model(/config.json)? cannot be read \(.*; copy it again")


def test_an_unknown_architecture_is_named(broken):
    configured(broken, model_type="nosuch")
    refusal(lambda: loading.load_policy(broken), "config.json cannot be read .*nosuch")


def test_memory_that_runs_out_is_no_fault_of_the_files(gpt2):
    with pytest.raises(MemoryError), weights.readable(gpt2):
        raise MemoryError


def test_a_token_without_an_embedding_is_refused(broken):
    tokenizer = chat_template.load_tokenizer(broken)
    rows = len(tokenizer)
    tokenizer.add_tokens(["hello", "world"])
    tokenizer.save_pretrained(broken)
    refusal(lambda: chat_template.load_tokenizer(broken),
            rf"token ids up to {rows + 1}, and the embedding has {rows} rows .*resize_token_embeddings\({rows + 2}\)")


def test_a_model_that_looks_ahead_is_no_policy(broken):
    """BERT loads as BertLMHeadModel, with every weight of it there, and attends both ways."""
    (broken / "model.safetensors").unlink()
    BertForMaskedLM(BertConfig(
        vocab_size=400, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        bos_token_id=0, eos_token_id=0,
    )).save_pretrained(broken)
    refusal(lambda: loading.load_policy(broken), "BertLMHeadModel, whose logits depend on tokens that come later")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_causal_models_pass_in_either_precision(tmp_path, dtype):
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(
        vocab_size=1000, hidden_size=128, intermediate_size=256, num_hidden_layers=8, num_attention_heads=8,
        initializer_range=0.2,
    )).save_pretrained(tmp_path)
    loading.load_policy(tmp_path, dtype=dtype)


@pytest.fixture()
def chain(qwen2, tmp_path):
    model = peft.get_peft_model(loading.load_policy(qwen2), peft.LoraConfig(r=2, target_modules="all-linear"))
    loading.save_policy(model, chat_template.load_tokenizer(qwen2), tmp_path / "sft", qwen2, qwen2)
    return tmp_path / "sft"


def test_an_adapters_missing_weights_are_not_made_up(qwen2, chain):
    loading.load_policy(chain, qwen2)
    without(chain / "adapters" / "0" / "adapter_model.safetensors", "layers.0.self_attn.q_proj.lora_A")
    refusal(lambda: loading.load_policy(chain, qwen2), "1 of the model's weights are not in adapter_model.safetensors")


def test_a_torn_adapter_is_named(qwen2, chain):
    truncated(chain / "adapters" / "0" / "adapter_model.safetensors", size=50)
    refusal(lambda: loading.load_policy(chain, qwen2), "adapters/0 cannot be read")


@pytest.mark.parametrize("whole", [True, False])
def test_what_is_left_of_an_adapter_beside_a_model_is_no_base(qwen2, tmp_path, whole):
    """transformers would put the adapter on the base that its config names, wherever it lies, not on these weights."""
    if whole:
        shutil.copytree(qwen2, tmp_path / "base")
    adapted = peft.get_peft_model(loading.load_policy(qwen2), peft.LoraConfig(r=2, target_modules="all-linear"))
    adapted.save_pretrained(tmp_path / "base")
    with pytest.raises(ValueError, match="has an adapter_config.json: a LoRA adapter over another model; merge it"):
        loading.load_policy(tmp_path / "base")
