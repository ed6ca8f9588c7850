#!/usr/bin/env bash
# A subclass of a transformers model, written in one's own file and without a line of code of its own, loads with other
# numbers than its parent from the same folder.
# Usual guess: `class Mine(FalconH1ForCausalLM): pass` loads what FalconH1ForCausalLM loads.
# Seen (transformers 5.23.0): for classes from outside the package, `from_pretrained` leaves out the initialisation of a
# module whose own weights are all in the files. Falcon-H1 sets its multipliers there, in buffers that no file holds: they
# keep whatever the memory held, and nothing is said. Exits with 1 if this is no longer so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0
FOLDER="$folder/model" "$folder/venv/bin/python" - <<'PYTHON'
import os
import sys

import torch
import transformers
from transformers import FalconH1Config, FalconH1ForCausalLM

print("transformers", transformers.__version__)


class Mine(FalconH1ForCausalLM):
    pass


def multipliers(model):
    return torch.stack([layer.mamba.mup_vector.flatten() for layer in model.model.layers])


torch.manual_seed(0)
model = FalconH1ForCausalLM(FalconH1Config(
    vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, mamba_d_ssm=64, mamba_n_heads=8, mamba_d_head=8, mamba_d_state=8, mamba_chunk_size=4,
    ssm_multipliers=[0.5, 0.6, 0.7, 0.8, 0.9]))
model.save_pretrained(os.environ["FOLDER"])
right = multipliers(model)
parent = multipliers(FalconH1ForCausalLM.from_pretrained(os.environ["FOLDER"]))
child = multipliers(Mine.from_pretrained(os.environ["FOLDER"]))
print("saved", right[0, :3].tolist(), "parent", parent[0, :3].tolist(), "subclass", child[0, :3].tolist())
sys.exit(0 if torch.equal(parent, right) and not torch.equal(child, right) else 1)
PYTHON
