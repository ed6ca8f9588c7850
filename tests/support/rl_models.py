"""Tiny random models for the tests of the learning core."""

import random

import torch
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from models.ppo.observer import PpoObserver

VOCAB = 40


def _llama_config(**changes):
    sizes = dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                 num_key_value_heads=2, max_position_embeddings=128, pad_token_id=0, bos_token_id=1, eos_token_id=2,
                 initializer_range=0.3)
    return LlamaConfig(**{**sizes, **changes})


def llama(seed=0, **changes):
    torch.manual_seed(seed)
    return LlamaForCausalLM(_llama_config(**changes)).eval()


def llama_reward(seed=1, **changes):
    torch.manual_seed(seed)
    return LlamaForSequenceClassification(_llama_config(num_labels=1, **changes)).eval()


def _gpt2_config(**changes):
    sizes = dict(vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=4, n_positions=128, initializer_range=0.3,
                 pad_token_id=2, bos_token_id=1, eos_token_id=2)  # PAD equals EOS
    return GPT2Config(**{**sizes, **changes})


def gpt2(seed=0, **changes):
    torch.manual_seed(seed)
    return GPT2LMHeadModel(_gpt2_config(**changes))


def gpt2_reward(seed=1, **changes):
    torch.manual_seed(seed)
    return GPT2ForSequenceClassification(_gpt2_config(num_labels=1, **changes)).eval()


def qwen2(seed=0):
    torch.manual_seed(seed)
    config = Qwen2Config(vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                         num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
                         pad_token_id=2, eos_token_id=2, initializer_range=0.3)
    return Qwen2ForCausalLM(config).eval()


def cohere(seed=0):
    """Its logits are scaled after the head."""
    torch.manual_seed(seed)
    config = CohereConfig(vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=1,
                          num_attention_heads=4, logit_scale=0.25, initializer_range=0.3)
    return CohereForCausalLM(config).eval()


def lora(model, task_type="CAUSAL_LM", seed=0):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    targets = ["c_attn"] if model.config.model_type == "gpt2" else ["q_proj", "v_proj"]
    return get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=targets, task_type=task_type))


def prompts(count, low=2, high=9, seed=0):
    """(prompt id, token ids) with lengths in [low, high]; ids avoid 0, 1, 2."""
    generator = random.Random(seed)
    return [(f"p{i}", [generator.randrange(3, VOCAB) for _ in range(generator.randint(low, high))])
            for i in range(count)]


def hearing(**callbacks) -> PpoObserver:
    """An observer with these in place of its own methods, `hearing(on_step=print)`."""
    observer = PpoObserver()
    vars(observer).update(callbacks)
    return observer
