"""Answers to a few fixed prompts on the way through PPO: in words, what the curves say in numbers."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

import torch

from models.chat.template import decode_response
from models.lm.logprobs import response_logprobs
from models.ppo.kl import k1
from models.ppo.trainer import PpoTrainer
from models.sampling.sampler import Sample, sample
from tasks.common.rows import Row, read_jsonl, write_jsonl

SAMPLES_FILE = "samples.jsonl"
POINTS = 5


def sample_steps(steps: int) -> set[int]:
    """Steps after which samples are kept: evenly spaced, from 0 (before training) to the last."""
    return {round(steps * k / (POINTS - 1)) for k in range(POINTS)}


@dataclass(frozen=True)
class KeptSamples:
    """Draws one answer to each prompt, with the same random numbers each time, so that only the policy changes.

    The files lie beside the resume checkpoints until `collect`, because outs do not survive a kill.

    Attributes:
        prompts: the rows shown; their ids are among the trainer's prompts.
        folder: where each step's samples are kept.
    """

    trainer: PpoTrainer
    tokenizer: Any
    prompts: Sequence[Row]
    folder: Path

    def keep(self, step: int) -> None:
        """Draw and write the samples of the policy as it is after `step` steps, unless they are there."""
        final = self.folder / f"step-{step:08d}.jsonl"
        if not self.prompts or final.exists():
            return
        partial = final.with_name(f".{final.name}")
        write_jsonl(partial, self._rows(step))
        os.replace(partial, final)

    def collect(self, out: Path) -> None:
        """Write `samples.jsonl` in `out`: all rows, in the order of their steps."""
        kept = sorted(self.folder.glob("step-*"))
        write_jsonl(out / SAMPLES_FILE, [row for file in kept for row in read_jsonl(file)])

    @torch.no_grad()
    def _rows(self, step: int) -> list[Row]:
        """`score` is the reward model's, in its own unit; `kl` is log π − log π_ref of the response, in nats."""
        trainer, ids = self.trainer, dict(self.trainer.prompts)
        with trainer.products():
            drawn = sample(trainer.policy, [(row["id"], ids[row["id"]]) for row in self.prompts], 1, trainer.sampling,
                           stop_ids=trainer.stop_ids, rows_per_batch=trainer.settings.rows_per_batch)
            kl = self._kl(drawn)
        scores = trainer.rewards[0].score([s.prompt_ids for s in drawn], [s.response_ids for s in drawn]).tolist()
        return [
            {
                "step": step, "prompt_id": row["id"], "prompt": row["prompt"][-1]["content"],
                "response": decode_response(self.tokenizer, one.response_ids), "tokens": len(one.response_ids),
                "finished": one.finished, "score": round(score, 6), "kl": round(nats, 6),
            }
            for row, one, score, nats in zip(self.prompts, drawn, scores, kl, strict=True)
        ]

    def _kl(self, drawn: Sequence[Sample]) -> list[float]:
        policy, reference = self.trainer.policy, self.trainer.reference
        prompt_ids, response_ids = [s.prompt_ids for s in drawn], [s.response_ids for s in drawn]
        own = response_logprobs(policy, prompt_ids, response_ids, self.trainer.sampling.temperature).logprobs
        with policy.disable_adapter() if reference is None else nullcontext():
            other = response_logprobs(reference or policy, prompt_ids, response_ids,
                                      self.trainer.sampling.temperature).logprobs
        return k1(own, other).sum(1).tolist()
