"""A model directory's files, read whole or refused: what is missing, torn or of another shape is never made up.

transformers fills what a checkpoint lacks with random numbers and says so in its log; training would start from them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, GenerationConfig, PreTrainedModel

# What a trainer turns on in a mixture of experts and saves with it; `generate` then fails.
TRAINING_OUTPUT = "output_router_logits"
# Quantised forms that bases are published in (GPT-OSS, DeepSeek V3) and that transformers can write out in full.
WRITTEN_OUT = ("mxfp4", "fp8")
# Two texts that agree in their first token alone; every vocabulary has these ids.
PROBE = ((0, 1, 1), (0, 2, 2))
# Of the deviation of a position's logits. Rounding in bfloat16 stays below, a look at later tokens does not.
CAUSAL_TOLERANCE = 0.02


def check_model_directory(path: Path) -> None:
    """Raises ValueError for what is not a safetensors model directory free of foreign code."""
    if not path.is_dir():
        raise ValueError(f"model directory {path} does not exist; set model.path in params.yaml to a local directory")
    if (path / "adapter_config.json").is_file():  # transformers would read the base that it names, wherever that lies
        raise ValueError(f"{path} has an adapter_config.json: a LoRA adapter over another model; merge it into its "
                         "base with peft's merge_and_unload() and save that, or remove what is left of the adapter")
    config_file = path / "config.json"
    if not config_file.is_file():
        raise ValueError(f"{path} has no config.json; model.path must be a Hugging Face causal LM directory")
    with readable(config_file):
        has_code = "auto_map" in json.loads(config_file.read_text(encoding="utf-8"))
    if has_code:
        raise ValueError(f"{config_file} has an auto_map (remote code), which is never run; use a built-in"
                         " architecture")
    if not any(path.glob("*.safetensors")):
        raise ValueError(f"{path} has no *.safetensors; convert the weights, other formats are not read")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raises ValueError naming `path` when a library cannot read what lies there.

    Any exception counts: torn files end as bare `Exception` of tokenizers, SafetensorError, KeyError and more.
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError):
        raise  # says nothing about the files
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{path} cannot be read ({reason[:300]}); copy it again, or save the model again") from error


def read_config(path: Path) -> Any:
    """The config of a model directory, with outputs that only training reads off.

    Raises ValueError for one that cannot be read.
    """
    with readable(path / "config.json"):
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
    text = config.get_text_config()
    if getattr(text, TRAINING_OUTPUT, False):
        setattr(text, TRAINING_OUTPUT, False)
    return config


def read_weights(model_class: Any, path: Path, dtype: torch.dtype) -> PreTrainedModel:
    """The model of a directory in eval mode, every weight of it from the files; tied weights count as there.

    Of its generation config the token ids alone are kept: we sample from the whole distribution at a temperature of our
    own, and a penalty or a cut that went along unseen would be served without having been judged.
    Weights in mxfp4 or fp8 are written out in `dtype`, since quantised ones cannot be trained.

    Args:
        model_class: transformers' AutoModelFor…

    Raises ValueError for weights that cannot be read, that are missing, or of another shape than config.json says.
    """
    config = read_config(path)
    quantised = getattr(config, "quantization_config", None) or {}
    written_out = quantised.get("quant_method") in WRITTEN_OUT
    if written_out:
        config.quantization_config = {**quantised, "dequantize": True}
    with readable(path):
        model, loading = model_class.from_pretrained(
            path, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, in our words
        )
    _refuse(loading["missing_keys"], path, "are not in its safetensors files")
    _refuse([key for key, *_ in loading["mismatched_keys"]], path, "have another shape than its config.json says")
    if written_out:  # else they are saved under the names of their quantised parts, and cannot be read again
        model._weight_conversions = None
    if model.can_generate():
        model.generation_config = token_ids_alone(model.generation_config)
    return model.eval()


def token_ids_alone(config: GenerationConfig) -> GenerationConfig:
    """The begin, end and padding ids of a generation config, and nothing that changes what is drawn."""
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    return GenerationConfig(**{name: getattr(config, name) for name in names})


def _refuse(names: Sequence[str], path: Path, fault: str) -> None:
    if names:
        raise ValueError(
            f"{path}: {len(names)} of the model's weights {fault}, the first is {min(names)}; they are not made up: "
            "save the whole model again (a reward model needs its head `score`)"
        )


def check_causal(model: nn.Module, path: Path) -> None:
    """Raises ValueError when later tokens change the logits of earlier ones: such a model cannot write.

    What is read at the first position of two texts that agree there only must agree. Logits that are not finite pass:
    sampling and training name them.
    """
    with torch.no_grad():
        texts = torch.tensor(PROBE, device=next(model.parameters()).device)
        first, second = model(input_ids=texts).logits[:, 0].float()
    difference, scale = (first - second).abs().max(), first.std()
    if difference > CAUSAL_TOLERANCE * scale:
        raise ValueError(
            f"{path} holds {type(model).__name__}, whose logits depend on tokens that come later: it is no causal LM; "
            "set model.path to a causal LM directory (GPT, Llama, Qwen …)"
        )


def check_adapter(adapted: Any, adapter: Path) -> None:
    """Raises ValueError unless the files of a LoRA adapter hold every weight that it has in the model it was put on.

    peft starts an adapter's missing weights afresh, and warns.
    """
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    with safe_open(adapter / "adapter_model.safetensors", framework="pt") as file:
        stored = set(file.keys())
    expected = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    _refuse(sorted(expected.keys() - stored), adapter, "are not in adapter_model.safetensors")
