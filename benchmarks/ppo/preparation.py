"""What the comparison stands on: the machine's measured peaks, and a 30 M-parameter model that can answer."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.ppo.workload import Workload
from benchmarks.ppo.world import finish
from models.chat.template import encode_example, load_tokenizer
from tasks.common.rows import read_jsonl

# 29.8 M weights with hearth's vocabulary.
THIRTY_MILLION = dict(
    hidden_size=512, intermediate_size=1408, num_hidden_layers=9, num_attention_heads=8, num_key_value_heads=8,
    max_position_embeddings=256, tie_word_embeddings=True, rms_norm_eps=1e-6,
)  # fmt: skip
TRAINING_STEPS, ROWS, LEARNING_RATE = 80, 16, 1e-3
MEASURED = 5


def _best(work: Callable[[], Any], device: str) -> float:
    """The least seconds of a few runs, after one that warms up."""
    times = []
    for _ in range(MEASURED + 1):
        started = time.perf_counter()
        work()
        finish(device)
        times.append(time.perf_counter() - started)
    return min(times[1:])


def peaks(work: Workload) -> dict[str, float | str]:
    """As `machine_peaks`, with the device's name."""
    name = torch.cuda.get_device_name() if work.device.startswith("cuda") else "cpu"
    return {"device_name": name, **machine_peaks(work.device, work.dtype)}


def machine_peaks(device: str = "cpu", dtype: str = "float32") -> dict[str, float]:
    """Operations per second of a matrix product, and bytes per second of a copy (read and written), of this machine."""
    size, elements = (8192, 2**30) if device.startswith("cuda") else (2048, 2**26)
    kind = {"device": device, "dtype": getattr(torch, dtype)}
    left, right = torch.randn(size, size, **kind), torch.randn(size, size, **kind)
    product = torch.empty_like(left)
    flops = 2 * size**3 / _best(lambda: torch.mm(left, right, out=product), device)
    source, copy = torch.ones(elements, **kind), torch.empty(elements, **kind)
    moved = 2 * elements * source.element_size()
    return {"flops": flops, "bandwidth": moved / _best(lambda: copy.copy_(source), device)}


def prepare(work: Workload) -> dict[str, float]:
    """Writes the 30 M model to `work.base`: random weights, then a short training on hearth's demonstrations.

    Random weights would hardly ever emit EOS. A minute of training gives answers that end by themselves, at lengths
    like those of the demonstrations; what they say does not matter here. The hearth base and its demonstrations are
    the two places in `work.prompts`, as JSON.
    """
    base, demonstrations = map(Path, json.loads(work.prompts))
    tokenizer = load_tokenizer(base)
    torch.manual_seed(work.seed)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=len(tokenizer), bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, **THIRTY_MILLION,
    ))  # fmt: skip
    loss = _teach(model, tokenizer, demonstrations, work.seed)
    model.eval().save_pretrained(work.base)
    tokenizer.save_pretrained(work.base)
    return {"loss": loss}


def _teach(model: Any, tokenizer: Any, demonstrations: Path, seed: int) -> float:
    """A few steps on whole conversations; returns the last loss, in nats per token."""
    ids = [list(chain(*encode_example(tokenizer, row["messages"]))) for row in read_jsonl(demonstrations)]
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(seed)).tolist()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0, fused=True)
    for step in range(TRAINING_STEPS):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / TRAINING_STEPS)
        chosen = [torch.tensor(ids[i]) for i in order[step * ROWS : (step + 1) * ROWS]]
        labels = torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True, padding_value=-100)
        loss = model(input_ids=labels.clamp(min=0), labels=labels, use_cache=False).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())
