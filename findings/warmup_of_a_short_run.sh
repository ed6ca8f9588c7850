#!/usr/bin/env bash
# transformers' Trainer: warm-up as a share of the steps can be the whole run, which then changes no weight, and says nothing.
# Usual guess: with warmup_steps=0.05 (or the older warmup_ratio) at most a twentieth of the steps warm up, so that a run of
# a single step, from a few rows or a fraction of an epoch, takes it at about the full learning rate.
# Seen (transformers 5.23.0): the share is rounded up, so 5% of one step is one step; a warm-up begins at a rate of 0, so the
# only step is taken at 0: every weight is as before, the loss is logged, exit code and log say success. A share of 1.0
# is taken for one step and not for all of them. Exits with 1 if this is no longer so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  torch==2.13.0 transformers==5.23.0 accelerate==1.15.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
import transformers
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

print("transformers", transformers.__version__)
ROW = {"input_ids": [1, 2, 3, 4], "labels": [1, 2, 3, 4]}


def moved(share, rows):
    """Share of the weights that a run of `rows` steps changes, and the number of its warm-up steps."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=8, n_positions=4, n_embd=8, n_layer=1, n_head=2, tie_word_embeddings=True))
    before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    arguments = TrainingArguments(
        output_dir="out", num_train_epochs=1, per_device_train_batch_size=1, learning_rate=0.1, warmup_steps=share,
        save_strategy="no", report_to="none", use_cpu=True, disable_tqdm=True,
    )
    Trainer(model=model, args=arguments, train_dataset=[ROW] * rows).train()
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    return float((before != after).float().mean()), arguments.get_warmup_steps(rows)


one, none, whole = moved(0.05, 1), moved(0.0, 1), moved(1.0, 20)
print(f"one step, 5% warm-up: {one[0]:.0%} of the weights move; without warm-up: {none[0]:.0%}")
print(f"20 steps, a warm-up of 1.0: {whole[1]} steps")
sys.exit(0 if one[0] == 0.0 and none[0] > 0.5 and whole[1] == 1 else 1)
PYTHON
