#!/usr/bin/env bash
# Llama 4: a prompt's logits depend on how far its batch pads it on the left, though mask and positions are given.
# Usual guess: with attention_mask and position_ids right, left padding changes nothing but rounding, as in Llama 3.
# Seen (transformers 5.23.0): layers without rotary positions scale their queries by the token's column in the batch and
# not by its position, so that logits change as soon as padding shifts a token across a multiple of `floor_scale` (8192 in
# the released models). Exits with 1 if this is no longer so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

print("transformers", transformers.__version__)
SIZES = dict(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, initializer_range=0.2, bos_token_id=0, eos_token_id=0, pad_token_id=0)
LLAMA4 = SIZES | dict(head_dim=8, num_local_experts=2, intermediate_size_mlp=48, no_rope_layers=[1, 0], floor_scale=8)


def difference(kind, sizes):
    """Largest change of the last logits of a prompt of 6 tokens when it is padded by 4 on the left."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **sizes)).eval()
    prompt = torch.tensor([[5, 6, 7, 8, 9, 10]])
    padded = torch.cat([torch.zeros(1, 4, dtype=torch.long), prompt], dim=1)
    mask = torch.tensor([[0] * 4 + [1] * 6])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        alone = model(input_ids=prompt).logits[0, -1]
        beside = model(input_ids=padded, attention_mask=mask, position_ids=positions).logits[0, -1]
    return float((alone - beside).abs().max())


llama3, llama4 = difference("llama", SIZES), difference("llama4_text", LLAMA4)
print(f"Llama 3: {llama3:.1e}, Llama 4 across floor_scale: {llama4:.1e}")
sys.exit(0 if llama3 < 1e-4 < 1e-3 < llama4 else 1)
PYTHON
