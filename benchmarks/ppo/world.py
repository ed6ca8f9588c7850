"""The models and prompts of a workload, the same for both sides; and what a side notes while it trains."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.ppo.floors import Shape
from benchmarks.ppo.workload import Workload
from models.chat.template import encode_prompt, load_tokenizer
from models.lm.loading import load_policy
from models.reward.model import reward_model_from_policy
from models.sampling.randomness import generator
from tasks.common.rows import read_jsonl

# Llama 3.2 1B's shape, with random weights and the tokenizer of hearth, whose ids are the first of its vocabulary.
ONE_BILLION = dict(
    vocab_size=128_256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32,
    num_key_value_heads=8, head_dim=64, max_position_embeddings=2048, tie_word_embeddings=True,
)  # fmt: skip
TRAINING_SPLIT = "rl"


def policy(work: Workload) -> Any:
    """The policy before training, in eval mode on the workload's device; equal on every call."""
    dtype = getattr(torch, work.dtype)
    if work.size != "1b":
        return load_policy(Path(work.base), dtype=work.dtype).to(work.device)
    tokenizer = load_tokenizer(Path(work.base))
    config = LlamaConfig(**ONE_BILLION, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id)
    torch.manual_seed(0)
    with torch.device(work.device):
        return LlamaForCausalLM(config).to(dtype).eval()


def reward_model(work: Workload, start: Any) -> Any:
    """A reward model on the policy's backbone with a random head; equal on every call."""
    return _with_scaled_head(start, work.reward_scale)


def critic(start: Any) -> Any:
    """As a sequence classifier whose values are all 0: no side begins with a better guess."""
    return _with_scaled_head(start, 0.0)


def _with_scaled_head(start: Any, scale: float) -> Any:
    model = reward_model_from_policy(start).to(start.device)
    with torch.no_grad():
        model.score.weight.mul_(scale)
    return model


def prompts(work: Workload, tokenizer: Any) -> list[tuple[str, list[int]]]:
    """(id, token ids) of the prompts that PPO trains on.

    Raises:
        ValueError: fewer prompts than episodes, so that the two sides would not see the same ones.
    """
    rows = [row for row in read_jsonl(Path(work.prompts)) if row.get("split") == TRAINING_SPLIT]
    if len(rows) < work.episodes:
        raise ValueError(f"{len(rows)} prompts are fewer than episodes={work.episodes}; lower the workload's steps")
    return [(row["id"], encode_prompt(tokenizer, row["prompt"])) for row in rows]


def in_order(work: Workload, rows: Sequence[tuple[str, list[int]]]) -> list[list[int]]:
    """Token ids of the prompts in the order in which `models.ppo.trainer` visits them."""
    order = generator(work.seed, "prompts", 0).permutation(len(rows))
    return [rows[i][1] for i in order[: work.episodes]]


def shape(model: Any) -> Shape:
    """What the floors need to know about a model."""
    config, backbone = model.config, getattr(model, model.base_model_prefix)
    embedding = model.get_input_embeddings().weight
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return Shape(
        linear=sum(p.numel() for p in backbone.parameters()) - embedding.numel(),
        parameters=sum(p.numel() for p in model.parameters()),
        layers=config.num_hidden_layers, hidden=config.hidden_size, vocabulary=config.vocab_size,
        attention_width=config.num_attention_heads * head_size, cache_width=config.num_key_value_heads * head_size,
        bytes_per_number=embedding.element_size(),
    )  # fmt: skip


def memory_mib(device: str) -> float:
    """The most memory that this process has held so far: of the GPU where it trains on one, else resident."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10  # KiB on Linux


def timed(work: Workload, draw: Callable[[list[Any]], Sequence[int]], rows: list[Any]) -> dict[str, float]:
    """Seconds for, and tokens of, a response to each of `rows`; a batch warms up. `draw` returns response lengths."""
    draw(rows[: work.rows_per_batch])
    finish(work.device)
    started, cpu = time.perf_counter(), time.process_time()
    lengths = draw(rows)
    finish(work.device)
    return {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu, "tokens": sum(lengths)}


def finish(device: str) -> None:
    """Waits for the GPU, so that the clock sees its work."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


@dataclass
class Notes:
    """What a side did: the clock after each rollout's update, optimizer steps, lengths and rewards.

    `lengths`: one list of (prompt, response) tokens per rollout. `phases`: seconds by phase, per rollout.
    """

    device: str
    baseline_mib: float = 0.0
    optimizer_steps: int = 0
    clock: list[tuple[float, float]] = field(default_factory=list)
    lengths: list[list[tuple[int, int]]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    phases: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.baseline_mib = memory_mib(self.device)
        self._hook = register_optimizer_step_post_hook(self._count)

    def _count(self, *_: Any) -> None:
        self.optimizer_steps += 1

    def rollout_done(self) -> None:
        finish(self.device)
        self.clock.append((time.perf_counter(), time.process_time()))

    def result(self) -> dict[str, Any]:
        """Everything but the first rollout, which warmed up; optimizer steps of all."""
        self._hook.remove()
        (wall, cpu), (last_wall, last_cpu) = self.clock[0], self.clock[-1]
        names = self.phases[0] if self.phases else ()
        return {
            "seconds": last_wall - wall, "cpu_seconds": last_cpu - cpu, "optimizer_steps": self.optimizer_steps,
            "lengths": self.lengths[1:], "scores": self.scores, "baseline_mib": self.baseline_mib,
            "peak_mib": memory_mib(self.device),
            "phases": {name: sum(step[name] for step in self.phases[1:]) for name in names},
        }  # fmt: skip
