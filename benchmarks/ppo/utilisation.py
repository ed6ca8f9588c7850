"""Model-FLOPs utilisation of the SFT and DPO stages' training loops, on long rows of random tokens. Meant for a GPU."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from benchmarks.child import ROOT
from benchmarks.material import config
from benchmarks.ppo import world
from benchmarks.ppo.floors import BACKWARD_AND_FORWARD, Shape, backbone_flops, head_flops
from benchmarks.ppo.workload import Workload
from models.chat.template import load_tokenizer
from tasks import dpo, sft
from tasks.common.machine import prepare_torch
from tasks.runner.params import read_params
from tasks.training import trainers as training

TOKENS, ROWS, STEPS, WARM_UP = 1024, 8, 12, 2


def training_flops(shape: Shape, tokens: int, rows: int) -> float:
    """Forward and backward pass of `rows` rows with a head at every position, recomputation not counted."""
    return BACKWARD_AND_FORWARD * rows * (backbone_flops(shape, tokens) + head_flops(shape, tokens))


class _Clock(TrainerCallback):
    """The time after each optimizer step."""

    def __init__(self, device: str):
        self.device, self.times = device, []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        world.finish(self.device)
        self.times.append(time.perf_counter())


def measure(
    work: Workload, stage: str, *, tokens: int = TOKENS, rows: int = ROWS, steps: int = STEPS
) -> dict[str, float]:
    """FLOPs and seconds of `steps` optimizer steps of `stage` (sft or dpo), and the most memory held.

    DPO's pair counts as two rows of `tokens`; the reference's log-probs are computed beforehand, as the stage does,
    and not counted. The stage moves its model to a GPU if there is one, whatever `work.device` says.
    """
    total = steps + WARM_UP
    changes = {"batch_size": rows, "epochs": 1.0, "checkpoint_every": total + 1, "gradient_accumulation": 1,
               "lora": None, "learning_rate": work.learning_rate}
    cfg = config(read_params(ROOT / "params.yaml"), stage, changes, dtype=work.dtype, threads=work.threads)
    prepare_torch(cfg.runtime)
    tokenizer, policy, clock = load_tokenizer(Path(work.base)), world.policy(work), _Clock(work.device)
    ids = torch.randint(len(tokenizer), (2 * total * rows, tokens), generator=torch.Generator().manual_seed(0)).tolist()
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(stage, cfg, policy, tokenizer, ids, Path(folder))
        trainer.add_callback(clock)
        training.train(trainer, stage, Path(folder))
    flops = training_flops(world.shape(policy), tokens, rows) * steps * (2 if stage == "dpo" else 1)
    return {"flops": flops, "seconds": clock.times[-1] - clock.times[WARM_UP - 1],
            "peak_mib": world.memory_mib(work.device)}


def _trainer(stage: str, cfg: Any, policy: Any, tokenizer: Any, ids: list[list[int]], folder: Path) -> Any:
    """The stage's own trainer; half of `ids` is used by SFT, all by DPO."""
    half = len(ids) // 2
    if stage == "sft":
        return sft.make_trainer(cfg, policy, tokenizer, [{"input_ids": x, "labels": x} for x in ids[:half]], folder)
    rows = [{"prompt_ids": chosen[:1], "chosen_ids": chosen[1:], "rejected_ids": rejected[1:], "length": len(chosen)}
            for chosen, rejected in zip(ids[:half], ids[half:], strict=True)]
    return dpo.make_trainer(cfg, policy, tokenizer, dpo.with_reference(policy, rows), folder)
