"""Best-of-16 our way, batched, against the article's loop: one `generate` and one reward call per sample."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import torch

from benchmarks.material import Material
from benchmarks.measure import Comparison, alternate, timed, times_faster_at_least
from models.chat.template import decode_response, encode_example, encode_prompt, stop_ids
from models.lm.loading import load_policy
from models.reward.model import reward_model_from_policy
from models.reward.scoring import score
from models.statistics.best_of_n import winners
from tasks import sft
from tasks.answering.sampling import draw, serving_settings
from tasks.common.machine import prepare_torch
from tasks.common.rows import Row
from tasks.training import trainers as training

LIMIT = 4.0
N, PROMPTS, LOOPED = 16, 64, 4


def trained_policy(material: Material, rows: int) -> Any:
    """The base after a pass over `rows` demonstrations, so that answers end by themselves."""
    cfg = material.config("sft", epochs=1.0, lora=None)
    prepare_torch(cfg.runtime)
    tokenised = sft.tokenise(material.demonstrations[:rows], material.tokenizer)
    folder = material.folder / "policy"
    trainer = sft.make_trainer(cfg, load_policy(material.base), material.tokenizer, tokenised, folder)
    training.train(trainer, "sft", folder)
    return trainer.model.eval()


class Race:
    """The models, the prompts and both ways of taking the best of `n` samples."""

    def __init__(self, material: Material, policy: Any, prompts: list[Row], n: int):
        cfg = material.config("best_of_n", n=n)
        self.tokenizer, self.policy, self.prompts, self.n = material.tokenizer, policy, prompts, n
        self.reward_model = reward_model_from_policy(policy).to(policy.device)
        self.settings, self.rows_per_batch = serving_settings(cfg.serving, cfg.runtime), cfg.serving.rows_per_batch

    def batched(self, seed: int) -> list[str]:
        """As tasks/best_of_n.py: all samples side by side, all scores side by side. The texts, prompt by prompt."""
        settings = replace(self.settings, seed=seed)
        samples = draw(self.policy, self.tokenizer, self.prompts, self.n, settings, self.rows_per_batch, report=False)
        sequences = [[*drawn.prompt_ids, *drawn.response_ids] for drawn in samples]
        self._best(score(self.reward_model, sequences, self.rows_per_batch))
        return [decode_response(self.tokenizer, drawn.response_ids) for drawn in samples]

    def looped(self, prompts: list[Row], seed: int) -> None:
        """As the article: for each prompt, n times one generate and one reward."""
        torch.manual_seed(seed)
        for row in prompts:
            ids = torch.tensor([encode_prompt(self.tokenizer, row["prompt"])], device=self.policy.device)
            int(np.argmax([self.reward_of(self._generate(ids)[0].tolist()) for _ in range(self.n)]))

    def _generate(self, ids: torch.Tensor) -> torch.Tensor:
        return self.policy.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=self.settings.temperature,
            top_k=0, top_p=1.0, max_new_tokens=self.settings.max_new_tokens, pad_token_id=self.tokenizer.pad_token_id,
            eos_token_id=sorted(stop_ids(self.tokenizer)),
        )  # fmt: skip

    @torch.inference_mode()
    def reward_of(self, sequence: list[int]) -> float:
        """The library's own forward pass on one sequence, read at its one label."""
        return float(self.reward_model(input_ids=torch.tensor([sequence], device=self.policy.device)).logits[0, 0])

    def _best(self, scores: torch.Tensor) -> list[int]:
        return winners(scores.cpu().numpy().reshape(-1, self.n), self.n).tolist()

    def both_winners(self, texts: list[str]) -> tuple[list[str], ...]:
        """The winning text of each prompt on the same candidates: scored in batches, and one by one."""
        answers = [[*self.prompts[i // self.n]["prompt"], {"role": "assistant", "content": text}]
                   for i, text in enumerate(texts)]  # fmt: skip
        sequences = [list(chain(*encode_example(self.tokenizer, turns))) for turns in answers]
        batched = score(self.reward_model, sequences, self.rows_per_batch)
        one_by_one = torch.tensor([self.reward_of(sequence) for sequence in sequences])
        return tuple([texts[i * self.n + best] for i, best in enumerate(self._best(s))] for s in (batched, one_by_one))


def same_winners(ours: list[str], theirs: list[str]) -> int:
    """How many prompts have the same winner: all. By text, because equal samples have equal claims.

    Raises AssertionError naming the first prompt where they differ.
    """
    other = [i for i, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1]]
    assert not other, f"another winner on {len(other)} of {len(ours)} prompts, the first is number {other[0]}"
    return len(ours)


def best_of_n(
    material: Material, repeats: int, *, rows: int = 320, prompts: int = PROMPTS, looped: int = LOOPED, n: int = N
) -> Comparison:
    """Best-of-`n` for `prompts` prompts; the loop is timed on `looped` of them, evenly chosen, and scaled up.

    `rows` demonstrations train the policy. Raises AssertionError when the two ways crown different samples.
    """
    policy = trained_policy(material, rows)
    race = Race(material, policy, material.prompts[:prompts], n)
    # By length, so that the few stand for all.
    by_length = sorted(race.prompts, key=lambda row: len(row["prompt"][-1]["content"]))
    step = len(by_length) // looped
    few = by_length[step // 2 :: step][:looped]
    seeds = iter(range(10**6))

    texts = race.batched(next(seeds))
    race.looped(few[:1], next(seeds))
    same = same_winners(*race.both_winners(texts))
    costs = alternate(
        lambda: timed(lambda: race.batched(next(seeds))),
        lambda: timed(lambda: race.looped(few, next(seeds))).scaled(len(race.prompts) / looped), repeats,
    )  # fmt: skip
    note = (
        f"same winner on {same} of {same} prompts with fixed candidates; the loop was timed on {looped} of the "
        f"{len(race.prompts)} prompts x {n} and scaled by {len(race.prompts) / looped:g}"
    )
    return Comparison(f"best of {n}, {same} prompts / loop of single calls", *costs, times_faster_at_least(LIMIT), note)
