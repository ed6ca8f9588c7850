"""Model directories in and out: checks, policies, adapter chains.

A policy directory is either a whole Hugging Face causal LM, or a chain of LoRA adapters over a base:
`adapters.json` names them in the order in which they are merged. Only safetensors are read, and no code
that lies beside the weights.
"""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, Callable, Sequence

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from models.lm.precision import round_weights
from models.lm.weights import check_adapter, check_causal, check_model_directory, read_weights, readable

ADAPTERS_FILE = "adapters.json"
ADAPTERS_FOLDER = "adapters"


def is_adapter_chain(path: Path) -> bool:
    return (path / ADAPTERS_FILE).is_file()


def load_policy(path: Path, base: Path | None = None, dtype: str = "float32") -> PreTrainedModel:
    """A causal LM in eval mode; a chain of adapters is merged into `base` in float32.

    Either is rounded to `dtype` once, here: what is judged in it is, number for number, what `package` stores.
    Raises ValueError for a directory that is not a whole causal LM, or a chain without its base.
    """
    if not is_adapter_chain(path):
        check_model_directory(path)
        model = read_weights(AutoModelForCausalLM, path, getattr(torch, dtype))
        check_causal(model, path)
        return model
    merged = merge_adapters(load_policy(check_base(path, base)), adapter_paths(path))
    return round_weights(merged, getattr(torch, dtype)).eval()


def adapter_paths(path: Path) -> list[Path]:
    """The adapters of a chain, in the order in which they are merged; none for a whole model."""
    if not is_adapter_chain(path):
        return []
    return [path / ADAPTERS_FOLDER / name for name in _chain(path)["adapters"]]


def _chain(path: Path) -> dict[str, Any]:
    return json.loads((path / ADAPTERS_FILE).read_text(encoding="utf-8"))


def check_base(path: Path, base: Path | None) -> Path:
    """Raises ValueError unless `base` is what the adapters in `path` were trained on."""
    if base is None:
        raise ValueError(f"{path} holds LoRA adapters only; the base that they were trained on is needed as well")
    if weights_hash(base) != _chain(path)["base_sha256"]:
        raise ValueError(f"the adapters in {path} were trained on another base than {base}; give the one they name")
    return base


def merge_adapters(model: PreTrainedModel, adapters: Sequence[Path]) -> PreTrainedModel:
    """Fold LoRA adapters into the weights of `model`, one after the other; all of them can then be trained.

    Raises ValueError for an adapter that cannot be read, or that lacks some of its weights.
    """
    from peft import PeftModel

    for adapter in adapters:
        with readable(adapter):
            adapted = PeftModel.from_pretrained(model, str(adapter))
        check_adapter(adapted, adapter)
        model = adapted.merge_and_unload().requires_grad_(True)  # peft leaves what it merged into frozen
    return model


def save_policy(model: Any, tokenizer: PreTrainedTokenizerBase, out: Path, base: Path, start: Path) -> None:
    """Write a trained model: whole, or, where LoRA trained it, as a chain of adapters over `base`.

    `start` is the policy that training began from. A chain stands on the base alone, so an adapter trained
    over a whole model other than the base is merged into it instead.
    """
    out.mkdir(parents=True, exist_ok=True)
    if not hasattr(model, "peft_config"):
        model.save_pretrained(out)
    elif is_adapter_chain(start) or start == base:
        _save_chain(model, out, base, adapter_paths(start))
    else:
        copy.deepcopy(model).merge_and_unload().save_pretrained(out)
    tokenizer.save_pretrained(out)


def policy_writer(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, base: Path, start: Path
) -> Callable[[Any, Path], None]:
    """`save_policy` for a model that is about to be trained: `write(trained, out)`, with the configs that it has now.

    Trainers write into them what is theirs alone (a mixture of experts' router outputs, PAD for a batch), in place.
    """
    configs = {id(config): config for config in (
        model.config, model.config.get_text_config(), getattr(model, "generation_config", None)) if config is not None}
    before = [(config, copy.deepcopy(vars(config))) for config in configs.values()]

    def write(trained: Any, out: Path) -> None:
        for config, values in before:
            vars(config).clear()
            vars(config).update(copy.deepcopy(values))
        save_policy(trained, tokenizer, out, base, start)

    return write


def weights_hash(path: Path) -> str:
    """SHA-256 over the config and weights of a model directory: which base an adapter belongs to."""
    digest = hashlib.sha256()
    for file in [path / "config.json", *sorted(path.glob("*.safetensors"))]:
        with open(file, "rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()


def _save_chain(model: Any, out: Path, base: Path, earlier: Sequence[Path]) -> None:
    names = [str(position) for position in range(len(earlier) + 1)]
    for name, adapter in zip(names, earlier):
        shutil.copytree(adapter, out / ADAPTERS_FOLDER / name)
    last = out / ADAPTERS_FOLDER / names[-1]
    model.save_pretrained(last)
    _forget_paths(last)
    document = {"base_sha256": weights_hash(base), "adapters": names}
    (out / ADAPTERS_FILE).write_text(json.dumps(document) + "\n", encoding="utf-8")


def _forget_paths(adapter: Path) -> None:
    """PEFT records where the base lay on this machine; equal inputs must give equal bytes elsewhere too."""
    file = adapter / "adapter_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = ""
    for key in ("target_modules", "modules_to_save"):
        if isinstance(config.get(key), list):
            config[key] = sorted(config[key])
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (adapter / "README.md").unlink(missing_ok=True)
