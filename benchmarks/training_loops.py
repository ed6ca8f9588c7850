"""The training loop of our SFT and DPO stages beside TRL's bare trainers, on the same tokenised rows and settings."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from datasets import Dataset
from transformers import PrinterCallback, set_seed
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from benchmarks.material import Material, comparisons
from benchmarks.measure import Comparison, Cost, alternate, time_ratio_at_most, timed
from models.lm.loading import load_policy, save_policy
from tasks import dpo, sft
from tasks.common.machine import prepare_torch
from tasks.common.progress import LIVE_VARIABLE
from tasks.training import trainers as training

LIMIT = 1.02


def sft_loop(material: Material, rows: int, repeats: int) -> Comparison:
    """`tasks.sft` against SFTTrainer on `rows` demonstrations."""
    cfg = material.config("sft")
    tokenised = sft.tokenise(material.demonstrations[:rows], material.tokenizer)

    def ours(folder: Path) -> Cost:
        trainer = sft.make_trainer(cfg, load_policy(material.base), material.tokenizer, tokenised, folder)
        return _timed(cfg, lambda: training.train(trainer, "sft", folder))

    def theirs(folder: Path) -> Cost:
        extra = {"dataset_kwargs": {"skip_prepare_dataset": True}}
        return _bare(cfg, SFTTrainer(
            model=load_policy(material.base), processing_class=material.tokenizer,
            args=training.trainer_arguments(SFTConfig, cfg, cfg.runtime, folder, **extra),
            train_dataset=Dataset.from_list(tokenised),
        ))  # fmt: skip

    return _compare("training loop of sft / bare SFTTrainer", cfg, material, rows, ours, theirs, repeats)


class OnTokenisedRows(DPOTrainer):
    """DPOTrainer has no setting for rows that are tokenised already."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset


def dpo_loop(material: Material, rows: int, repeats: int) -> Comparison:
    """`tasks.dpo`, its snapshots included, against DPOTrainer on `rows` comparisons; the base stands for SFT."""
    cfg = material.config("dpo")
    tokenised = dpo.tokenise(comparisons(material.demonstrations[:rows]), material.tokenizer)

    def save(policy: Any, path: Path) -> None:
        save_policy(policy, material.tokenizer, path, base=material.base, start=material.base)

    def ours(folder: Path) -> Cost:
        policy = load_policy(material.base)
        rows_with_reference = dpo.with_reference(policy, tokenised)
        trainer = dpo.make_trainer(cfg, policy, material.tokenizer, rows_with_reference, folder)
        trainer.add_callback(training.Snapshots(cfg.snapshots, save))
        return _timed(cfg, lambda: training.train(trainer, "dpo", folder))

    def theirs(folder: Path) -> Cost:
        extra = {"beta": cfg.beta, "loss_type": list(cfg.loss_types), "loss_weights": list(cfg.loss_weights)}
        return _bare(cfg, OnTokenisedRows(
            model=load_policy(material.base), processing_class=material.tokenizer,
            args=training.trainer_arguments(
                DPOConfig, cfg, cfg.runtime, folder, precompute_ref_log_probs=cfg.epochs >= 2, **extra
            ),
            train_dataset=Dataset.from_list(tokenised),
        ))  # fmt: skip

    return _compare("training loop of dpo / bare DPOTrainer", cfg, material, rows, ours, theirs, repeats)


def _compare(
    name: str, cfg: Any, material: Material, rows: int, ours: Callable[[Path], Cost], theirs: Callable[[Path], Cost],
    repeats: int,
) -> Comparison:  # fmt: skip
    """Every run starts from the same weights, seed and empty folder; one run of each before the clock counts."""

    def run(way: Callable[[Path], Cost]) -> Cost:
        folder = material.folder / "trainer"
        shutil.rmtree(folder, ignore_errors=True)
        prepare_torch(cfg.runtime)
        return way(folder)

    with patch.dict(os.environ, {LIVE_VARIABLE: str(material.folder)}):  # ours reports its progress, as under the flow
        run(ours)
        run(theirs)
        seconds = alternate(partial(run, ours), partial(run, theirs), repeats)
    note = f"{rows} rows, {cfg.epochs:g} epochs, checkpoints every {cfg.checkpoint_every} steps; train() alone"
    return Comparison(name, *seconds, time_ratio_at_most(LIMIT), note)


def _timed(cfg: Any, train: Callable[[], Any]) -> Cost:
    """The cost of training on the same batches: they are drawn with random numbers that making a trainer may use up."""
    set_seed(cfg.runtime.seed)
    return timed(train)


def _bare(cfg: Any, trainer: Any) -> Cost:
    """The cost of TRL's own train(); only the printing of its logs is taken away."""
    trainer.remove_callback(PrinterCallback)
    return _timed(cfg, trainer.train)
