"""A small random model of the same architecture as a config's, by which can be seen what the architecture does.

Kept is whatever decides how tokens see each other: kinds of layers, heads that share keys, experts, rotary factors.
Small are the numbers of layers and experts, the widths, and the lengths at which something changes (windows, chunks,
longrope), so that a row of some tokens sees all of it. It needs no weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

VOCAB = 64
LENGTH = 5  # tokens of windows and chunks
SWITCH = 12  # tokens at which positions change
_HEADS = 4
_LARGEST = 30_000_000  # parameters: a larger one would take minutes
# Names of numbers, as they stand in configs, and what they are at most in a miniature.
_AT_MOST = {
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), VOCAB),
    **dict.fromkeys(("sliding_window", "attention_chunk_size", "attention_window_size", "window_size"), LENGTH),
    **dict.fromkeys(("chunk_size", "mamba_chunk_size"), 4),
    **dict.fromkeys(("original_max_position_embeddings", "floor_scale"), SWITCH),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "top_k", "moe_k", "topk_group", "n_group"), 2),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "n_inner", "moe_intermediate_size", "intermediate_size_mlp",
                     "shared_expert_intermediate_size", "shared_intermediate_size", "expert_ffn_hidden_size"), 32),
    **dict.fromkeys(("mamba_d_state", "ssm_state_size", "state_size"), 8),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "linear_head_dim"), 16),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "v_head_dim", "qk_nope_head_dim", "laurel_rank"), 32),
    **dict.fromkeys(("hidden_size_per_layer_input", "adapter_rank"), 16),
    **dict.fromkeys(("n_groups", "mamba_n_groups", "mamba_ngroups"), 1),
    "first_k_dense_replace": 1, "attn_layer_period": 2, "attn_layer_offset": 1, "max_window_layers": 1,
    "max_position_embeddings": 512,
}
# Widths that are proportional to the model's, and numbers of heads of a size of their own.
_WIDTHS = ("hidden_size", "word_embed_proj_dim", "num_attention_heads", "num_key_value_heads", "mamba_n_heads",
           "n_mamba_heads", "mamba_num_heads", "num_heads", "linear_num_key_heads", "linear_num_value_heads",
           "mamba_d_ssm", "lru_width", "attention_hidden_size", "num_kv_heads", "linear_num_heads")
# Lists of the places of layers of a kind.
_NAMED_LAYERS = ("attn_layer_indices", "full_attn_idxs", "hybrid_layer_ids", "mlp_only_layers", "moe_layers")


def miniature(config: PreTrainedConfig) -> PreTrainedModel | None:
    """The model in eval mode, float32, on the CPU; None where its sizes depend on each other in an unknown way."""
    for narrower in (_divided, _of_few_heads):
        try:
            return _build(config, narrower)
        except Exception:  # whatever an architecture says to sizes that do not fit
            continue
    return None


def _build(config: PreTrainedConfig, narrower: Callable[[dict[str, Any]], dict[str, Any]]) -> PreTrainedModel:
    text = config.get_text_config()
    common = {own: name for name, own in text.attribute_map.items()}
    sizes = {common.get(key, key): value for key, value in text.to_dict().items()}
    sizes = narrower(_short(_few_layers(sizes, text.num_hidden_layers)))
    sizes |= {key: 0 for key in sizes if key.endswith("_token_id") and sizes[key] is not None}
    for spread in {"initializer_range", "init_std"} & sizes.keys():
        sizes[spread] = 0.2  # so that what is wrong is seen
    small = type(text).from_dict({text.attribute_map.get(key, key): value for key, value in sizes.items()})
    with torch.device("meta"):
        if AutoModelForCausalLM.from_config(small).num_parameters() > _LARGEST:
            raise ValueError("too large for a miniature")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(small, dtype=torch.float32).eval()
    with torch.no_grad():  # what dies of itself tells nothing about the architecture
        for cached in (False, True):
            model(input_ids=torch.zeros(1, 2, dtype=torch.long), use_cache=cached)
    return model


def _few_layers(sizes: dict[str, Any], layers: int) -> dict[str, Any]:
    """The first layer of each kind, twice where later layers share the keys of earlier ones; two if all are alike."""
    if "block_types" in sizes:  # a pattern that is repeated
        sizes = {**sizes, "block_types": [sizes["block_types"][i % len(sizes["block_types"])] for i in range(layers)]}
    named = {key: value for key in _NAMED_LAYERS if isinstance(value := sizes.get(key), (list, tuple))}
    lists = {key: value for key, value in sizes.items()
             if isinstance(value, (list, tuple)) and len(value) == layers and key not in named}
    marks = [*lists.values(), *([place in value for place in range(layers)] for value in named.values())]
    kinds = list(zip(*(map(str, mark) for mark in marks))) or ["alike"] * layers
    kept = sorted({kind: place for place, kind in reversed(list(enumerate(kinds)))}.values())
    kept = kept if len(kept) > 1 else [0, min(1, layers - 1)]
    changes: dict[str, Any] = {}
    if sizes.get("num_kv_shared_layers"):
        changes["num_kv_shared_layers"], kept = len(kept), kept * 2
    changes |= {key: [value[place] for place in kept] for key, value in lists.items()}
    changes |= {key: [new for new, old in enumerate(kept) if old in value] for key, value in named.items()}
    count = {"num_hidden_layers": len(kept)} if "num_hidden_layers" in sizes else {}  # else it follows from a list
    return {**sizes, **changes, **count}


def _short(sizes: dict[str, Any]) -> dict[str, Any]:
    def at_most(key: str, value: Any) -> Any:
        if isinstance(value, dict):
            return _short(value)
        if isinstance(value, (list, tuple)):  # one number a layer
            return [at_most(key, item) for item in value]
        small = _AT_MOST.get(key)
        return min(value, small) if small is not None and isinstance(value, int) and value else value

    return {key: at_most(key, value) for key, value in sizes.items()}


def _divided(sizes: dict[str, Any]) -> dict[str, Any]:
    """All widths and numbers of heads over one divisor, so that what depends on several of them stays right."""
    whole = sizes.get("num_attention_heads") or sizes["hidden_size"] // 16
    divisor = max(d for d in range(1, whole + 1) if whole % d == 0 and (whole // d >= _HEADS or d == 1))
    return {**sizes, **{key: max(1, sizes[key] // divisor) for key in _WIDTHS if isinstance(sizes.get(key), int)}}


def _of_few_heads(sizes: dict[str, Any]) -> dict[str, Any]:
    """Few heads of their own size, sharing keys as before: for numbers of heads that nothing divides (Falcon's 71)."""
    heads, hidden = sizes["num_attention_heads"], sizes["hidden_size"]
    size, shared = sizes.get("head_dim") or hidden // heads, sizes.get("num_key_value_heads")
    keys = {} if shared is None else {"num_key_value_heads": max(1, _HEADS * shared // heads)}
    return {**sizes, "num_attention_heads": _HEADS, "hidden_size": _HEADS * size, **keys}
