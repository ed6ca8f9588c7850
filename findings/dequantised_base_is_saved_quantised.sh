#!/usr/bin/env bash
# A base published in fp8, read with dequantize=True and saved: the saved model is another one.
# Usual guess: what was read as plain float32 numbers is saved as plain float32 numbers, and reads back as the same model.
# Seen (transformers 5.23.0): save_pretrained turns the renaming at load back, so that weights are saved quantised beside
# `*_weight_scale_inv` (matrices that were never quantised, too), and leaves quantization_config out of config.json.
# from_pretrained then takes the quantised numbers for the weights, lists the scales as UNEXPECTED ("can be ignored"), and
# logits are off by hundreds. Exits with 1 if this is no longer so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 accelerate==1.15.0
FOLDER=$folder "$folder/venv/bin/python" - <<'PYTHON'
import json
import os
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, FineGrainedFP8Config

print("transformers", transformers.__version__)
BLOCK, FP8 = 16, torch.float8_e4m3fn
SIZES = dict(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, initializer_range=0.2)
base, saved = (Path(os.environ["FOLDER"]) / name for name in ("base", "saved"))

# A base as DeepSeek V3 is published: projections in fp8, a scale for each block of 16 by 16.
torch.manual_seed(0)
AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SIZES)).save_pretrained(base)
tensors = load_file(base / "model.safetensors")
for name in [name for name in tensors if "proj" in name]:
    tensors[name] = (tensors[name] * 16).to(FP8)
    tensors[f"{name}_scale_inv"] = torch.full([-(-size // BLOCK) for size in tensors[name].shape], 1 / 16)
save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
says = {"quant_method": "fp8", "weight_block_size": [BLOCK, BLOCK]}
(base / "config.json").write_text(json.dumps(json.loads((base / "config.json").read_text()) | {"quantization_config": says}))


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=torch.tensor([[5, 6, 7, 8]])).logits[0, -1]


plain = FineGrainedFP8Config(weight_block_size=(BLOCK, BLOCK), dequantize=True)
model = AutoModelForCausalLM.from_pretrained(base, quantization_config=plain, dtype=torch.float32)
assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
model.save_pretrained(saved)
again = AutoModelForCausalLM.from_pretrained(saved, dtype=torch.float32)
kept = load_file(saved / "model.safetensors")
scales = sorted(name for name in kept if name.endswith("_scale_inv"))
said = json.loads((saved / "config.json").read_text()).get("quantization_config")
off = float((logits(model) - logits(again)).abs().max())
print(f"{len(scales)} scales saved, {scales[0]} among them; quantization_config: {said}")
print(f"largest logit {float(logits(model).abs().max()):.1f}; read back, it is off by {off:.0f}")
sys.exit(0 if scales and said is None and off > 100 else 1)
PYTHON
