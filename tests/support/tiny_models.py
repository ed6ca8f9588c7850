"""Two-layer random models with tokenizers of their own, shaped like GPT-2 and Qwen2, written as model directories."""

from __future__ import annotations

import shutil
from pathlib import Path

import peft
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

TEXT = [
    "Can I wash my teddy bear? Yes, by hand, gently.", "What is two plus three? It is five.",
    "Who lives in the red house? I do not know.", "Please write a poem about the moon and the sea.",
    "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789",
]
QWEN_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GPT2_TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}Q: {{ m['content'] }}\nA: "
    "{% else %}{{ m['content'] }}<|endoftext|>{% endif %}{% endfor %}"
)


def make_tokenizer(special: list[str], eos: str, pad: str, template: str) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of at most 320 tokens, the special ones first."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=alphabet))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=eos, pad_token=pad)
    tokenizer.chat_template = template
    return tokenizer


def tokenizer_with(template: str) -> PreTrainedTokenizerFast:
    """A tokenizer of Qwen2's shape with another chat template."""
    return make_tokenizer(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "<|im_end|>", "<|endoftext|>", template)


def make_gpt2(path: Path) -> Path:
    """GPT-2's shape; PAD is EOS, as users of GPT-2 set it."""
    tokenizer = make_tokenizer(["<|endoftext|>"], "<|endoftext|>", "<|endoftext|>", GPT2_TEMPLATE)
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(
        vocab_size=len(tokenizer), n_positions=512, n_embd=32, n_layer=2, n_head=2,
        bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id,
    ))
    return _save(model, tokenizer, path)


def make_qwen2(path: Path) -> Path:
    """Qwen2's shape; turns end with <|im_end|>, texts with <|endoftext|>."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = make_tokenizer(special, "<|im_end|>", "<|endoftext|>", QWEN_TEMPLATE)
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=len(tokenizer), max_position_embeddings=512, hidden_size=32, intermediate_size=64,
        num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    ))
    return _save(model, tokenizer, path)


def _save(model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast, path: Path) -> Path:
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    return make_gpt2(tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="module")
def qwen2(tmp_path_factory):
    return make_qwen2(tmp_path_factory.mktemp("qwen2"))


@pytest.fixture()
def broken(gpt2, tmp_path):
    """A copy of it to spoil."""
    return shutil.copytree(gpt2, tmp_path / "model")


def adapted(policy, seed):
    """The policy with a LoRA adapter whose weights are not zero."""
    model = peft.get_peft_model(policy, peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    return model
