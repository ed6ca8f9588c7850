"""How a PPO run goes on where it was killed: what it needs beside the weights, and whether a checkpoint is its own."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from models.compute import processes
from models.ppo import checkpoint

if TYPE_CHECKING:
    from models.ppo.trainer import PpoTrainer


def fingerprint(trainer: PpoTrainer) -> str:
    """What a checkpoint must have in common with the run that continues it."""
    weights = [(signal.name, signal.weight) for signal in trainer.rewards]
    facts = [asdict(trainer.settings), sorted(trainer.stop_ids), trainer.prompts, weights]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def save(trainer: PpoTrainer, done: int) -> None:
    """Writes a checkpoint where one is due after `done` steps."""
    every = trainer.settings.checkpoint_every
    due = every and (done % every == 0 or done == trainer.settings.steps)
    if due and trainer.checkpoint_dir is not None and processes.is_main():
        state = {"fingerprint": fingerprint(trainer), "kl": trainer.kl.state_dict(), "history": trainer.history,
                 "scales": trainer.scales, "reuse_logprobs": trainer.reuse_logprobs}
        checkpoint.save(trainer.checkpoint_dir, done, trainer.policy, trainer.value, trainer.optimizer, state)


def restore(trainer: PpoTrainer) -> int:
    """Restores the newest checkpoint, if there is one; returns the number of steps already done.

    Raises:
        ValueError: a checkpoint of another run.
    """
    folder = trainer.checkpoint_dir
    state = None if folder is None else checkpoint.read_state(folder)
    if state is None:
        return 0
    if state["fingerprint"] != fingerprint(trainer):
        raise ValueError(f"the checkpoint of step {state['step']} in {folder.name} was made with other"
                         " settings, prompts or rewards; remove it or use another checkpoint folder")
    checkpoint.load_latest(folder, trainer.policy, trainer.value, trainer.optimizer)
    trainer.kl.load_state_dict(state["kl"])
    trainer.history, trainer.reuse_logprobs = state["history"], state["reuse_logprobs"]
    trainer.scales = {name: tuple(scale) for name, scale in state["scales"].items()}
    return state["step"]
