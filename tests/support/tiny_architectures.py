"""Two-layer random models of many architectures, one line each, small in whatever a length decides.

Windows, chunks and the lengths at which positions change are a few tokens, so that short rows see them.
"""

from __future__ import annotations

import random
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

VOCAB = 320
WINDOW = 5  # tokens of sliding windows and chunks
SWITCH = 16  # tokens beyond which longrope takes its other factors
HEAD = 8
SIZES: dict[str, Any] = dict(
    vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=512, initializer_range=0.2, pad_token_id=0, bos_token_id=0,
    eos_token_id=0,
)
# The names of sizes in older architectures.
GPT = dict(vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=4, n_positions=512, initializer_range=0.2, bos_token_id=0,
           eos_token_id=0)
EXPERTS = dict(num_experts_per_tok=2, moe_intermediate_size=24)
MAMBA = dict(mamba_d_state=8, mamba_d_conv=4, mamba_expand=2, mamba_n_heads=8, mamba_d_head=8, mamba_chunk_size=4)
LINEAR = dict(linear_key_head_dim=8, linear_value_head_dim=8, linear_num_key_heads=2, linear_num_value_heads=4,
              layer_types=["linear_attention", "full_attention"])
LONGROPE = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 4, "long_factor": [3.0] * 4,
            "original_max_position_embeddings": SWITCH}

# What promote.allowed_architectures lists.
ALLOWED: dict[str, tuple[str, dict[str, Any]]] = {
    "CohereForCausalLM": ("cohere", SIZES),
    "Cohere2ForCausalLM": ("cohere2", SIZES | {"sliding_window": WINDOW,
                                               "layer_types": ["sliding_attention", "full_attention"]}),
    "DeepseekV3ForCausalLM": ("deepseek_v3", SIZES | EXPERTS | {
        "n_routed_experts": 4, "n_group": 2, "topk_group": 1, "kv_lora_rank": 16, "q_lora_rank": 16,
        "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8, "first_k_dense_replace": 1,
        "num_key_value_heads": 4}),
    "FalconForCausalLM": ("falcon", SIZES | {"alibi": True}),
    "GemmaForCausalLM": ("gemma", SIZES | {"head_dim": HEAD}),
    "Gemma2ForCausalLM": ("gemma2", SIZES | {"head_dim": HEAD, "sliding_window": WINDOW}),
    "Gemma3ForCausalLM": ("gemma3_text", SIZES | {"head_dim": HEAD, "sliding_window": WINDOW,
                                                  "layer_types": ["sliding_attention", "full_attention"]}),
    "GlmForCausalLM": ("glm", SIZES | {"head_dim": HEAD}),
    "GPT2LMHeadModel": ("gpt2", GPT),
    "GPTNeoXForCausalLM": ("gpt_neox", SIZES),
    "GptOssForCausalLM": ("gpt_oss", SIZES | {"head_dim": HEAD, "sliding_window": WINDOW, "num_local_experts": 4,
                                              "num_experts_per_tok": 2}),
    "GraniteForCausalLM": ("granite", SIZES | {"logits_scaling": 4.0, "attention_multiplier": 0.2}),
    "LlamaForCausalLM": ("llama", SIZES),
    "MistralForCausalLM": ("mistral", SIZES | {"sliding_window": WINDOW}),
    "MixtralForCausalLM": ("mixtral", SIZES | {"num_local_experts": 4, "sliding_window": WINDOW}),
    "OlmoForCausalLM": ("olmo", SIZES),
    "Olmo2ForCausalLM": ("olmo2", SIZES),
    "OPTForCausalLM": ("opt", dict(vocab_size=VOCAB, hidden_size=32, ffn_dim=48, num_hidden_layers=2, init_std=0.2,
                                   num_attention_heads=4, max_position_embeddings=512, word_embed_proj_dim=16,
                                   do_layer_norm_before=False, pad_token_id=0, bos_token_id=0, eos_token_id=0)),
    "Phi3ForCausalLM": ("phi3", SIZES | {"rope_parameters": LONGROPE, "sliding_window": None,
                                         "original_max_position_embeddings": SWITCH}),
    "PhiForCausalLM": ("phi", SIZES),
    "Qwen2ForCausalLM": ("qwen2", SIZES | {"use_sliding_window": True, "sliding_window": WINDOW,
                                           "max_window_layers": 1}),
    "Qwen2MoeForCausalLM": ("qwen2_moe", SIZES | EXPERTS | {
        "num_experts": 4, "shared_expert_intermediate_size": 24, "use_sliding_window": True, "sliding_window": WINDOW,
        "max_window_layers": 1}),
    "Qwen3ForCausalLM": ("qwen3", SIZES | {"head_dim": HEAD}),
    "Qwen3MoeForCausalLM": ("qwen3_moe", SIZES | EXPERTS | {"num_experts": 4, "head_dim": HEAD}),
    "SmolLM3ForCausalLM": ("smollm3", SIZES),
    "StableLmForCausalLM": ("stablelm", SIZES),
    "Starcoder2ForCausalLM": ("starcoder2", SIZES | {"sliding_window": WINDOW}),
}
# What mixes attention with recurrent states, or is one.
HYBRIDS: dict[str, tuple[str, dict[str, Any]]] = {
    "BambaForCausalLM": ("bamba", SIZES | MAMBA | {"attn_layer_indices": [1]}),
    "FalconH1ForCausalLM": ("falcon_h1", SIZES | MAMBA | {"mamba_d_ssm": 64}),
    "FalconMambaForCausalLM": ("falcon_mamba", dict(vocab_size=VOCAB, hidden_size=32, state_size=4, num_hidden_layers=2)),
    "GraniteMoeHybridForCausalLM": ("granitemoehybrid", SIZES | MAMBA | {
        "layer_types": ["linear_attention", "full_attention"], "num_local_experts": 4, "shared_intermediate_size": 24}),
    "JambaForCausalLM": ("jamba", SIZES | {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 4,
                                           "mamba_d_state": 8, "use_mamba_kernels": False}),
    "Lfm2ForCausalLM": ("lfm2", SIZES | {"layer_types": ["conv", "full_attention"]}),
    "MambaForCausalLM": ("mamba", dict(vocab_size=VOCAB, hidden_size=32, state_size=4, num_hidden_layers=2)),
    "Mamba2ForCausalLM": ("mamba2", dict(vocab_size=VOCAB, hidden_size=32, state_size=4, num_hidden_layers=2,
                                         num_heads=8, head_dim=8, n_groups=2, chunk_size=4)),
    "NemotronHForCausalLM": ("nemotron_h", SIZES | {"layers_block_type": ["mamba", "attention"], "ssm_state_size": 8,
                                                    "mamba_num_heads": 8, "mamba_head_dim": 8, "n_groups": 2,
                                                    "chunk_size": 4, "head_dim": HEAD}),
    "OlmoHybridForCausalLM": ("olmo_hybrid", SIZES | LINEAR),
    "Qwen3NextForCausalLM": ("qwen3_next", SIZES | EXPERTS | LINEAR | {"num_experts": 4, "head_dim": HEAD,
                                                                      "shared_expert_intermediate_size": 24}),
    "Qwen3_5ForCausalLM": ("qwen3_5_text", SIZES | LINEAR | {"head_dim": HEAD}),
    "RecurrentGemmaForCausalLM": ("recurrent_gemma", SIZES | {"block_types": ["recurrent", "attention"],
                                                              "attention_window_size": WINDOW, "lru_width": 32}),
    "Zamba2ForCausalLM": ("zamba2", SIZES | {"layers_block_type": ["mamba", "hybrid"], "mamba_d_state": 8,
                                             "n_mamba_heads": 8, "chunk_size": 4, "mamba_headdim": 8}),
}
# Others that attention alone makes, in their own ways.
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "BloomForCausalLM": ("bloom", dict(vocab_size=VOCAB, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.2)),
    "GPTNeoForCausalLM": ("gpt_neo", dict(vocab_size=VOCAB, hidden_size=32, num_layers=2, num_heads=4,
                                          attention_types=[[["global", "local"], 1]], window_size=WINDOW,
                                          max_position_embeddings=512, bos_token_id=0, eos_token_id=0)),
    "GPTJForCausalLM": ("gptj", GPT | {"rotary_dim": 4}),
    "Llama4ForCausalLM": ("llama4_text", SIZES | {
        "head_dim": HEAD, "num_local_experts": 4, "intermediate_size_mlp": 48, "attention_chunk_size": WINDOW,
        "no_rope_layers": [1, 0], "floor_scale": SWITCH, "layer_types": ["chunked_attention", "full_attention"]}),
    "Ministral3ForCausalLM": ("ministral3", SIZES | {"head_dim": HEAD, "sliding_window": None, "rope_parameters": {
        "rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": SWITCH,
        "llama_4_scaling_beta": 0.1, "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0}}),
    "MptForCausalLM": ("mpt", dict(vocab_size=VOCAB, d_model=32, n_heads=4, n_layers=2, max_seq_len=512,
                                   initializer_range=0.2)),
    "Gemma3nForCausalLM": ("gemma3n_text", SIZES | {
        "head_dim": HEAD, "num_hidden_layers": 4, "sliding_window": WINDOW, "num_kv_shared_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"] * 2, "vocab_size_per_layer_input": VOCAB,
        "hidden_size_per_layer_input": 8, "laurel_rank": 4, "altup_num_inputs": 2,
        "activation_sparsity_pattern": [0.0] * 4}),
    "Gemma4ForCausalLM": ("gemma4_text", SIZES | {
        "head_dim": HEAD, "num_hidden_layers": 4, "sliding_window": WINDOW, "num_kv_shared_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"] * 2, "vocab_size_per_layer_input": VOCAB,
        "hidden_size_per_layer_input": 8, "global_head_dim": HEAD}),
    "PhimoeForCausalLM": ("phimoe", SIZES | {"num_local_experts": 4, "sliding_window": WINDOW}),
}
ARCHITECTURES = ALLOWED | HYBRIDS | OTHERS

_DRAW = random.Random(0)
# Rows longer than the windows; some beyond the switch of longrope, some that reach it while they are sampled.
PROMPTS = [[_DRAW.randrange(3, VOCAB) for _ in range(length)] for length in (2, 7, 12, 12, 20, 3)]
RESPONSES = [[_DRAW.randrange(3, VOCAB) for _ in range(length)] for length in (9, 1, 6, 3, 8, 2)]
ROWS = [prompt + response for prompt, response in zip(PROMPTS, RESPONSES)]


def config_of(name: str, **changes: Any) -> Any:
    kind, sizes = ARCHITECTURES[name]
    return AutoConfig.for_model(kind, **{**sizes, **changes})


def build(name: str, **changes: Any) -> PreTrainedModel:
    """The model in eval mode, with weights from seed 0."""
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config_of(name, **changes), dtype=torch.float32).eval()


def alone(model: PreTrainedModel, row: list[int]) -> torch.Tensor:
    """Logits (time, vocabulary) of one row by itself."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([row]), use_cache=False).logits[0].float()


def greedy(model: PreTrainedModel, prompt: list[int], tokens: int) -> tuple[list[int], torch.Tensor]:
    """The most likely `tokens`, and their log-probs, as transformers generates them from one prompt."""
    made = model.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), max_new_tokens=tokens,
        do_sample=False, eos_token_id=None, pad_token_id=0, return_dict_in_generate=True, output_logits=True,
    )
    logprobs = torch.log_softmax(torch.cat(made.logits).float(), -1).max(-1).values
    return made.sequences[0, len(prompt):].tolist(), logprobs
