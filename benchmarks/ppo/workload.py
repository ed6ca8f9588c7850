"""What both sides are asked to do: sizes and settings, the same numbers for ours and for TRL's."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

# Lengths must stay what they are at the start: a learning rate that moves the policy moves them differently per side.
TIMED_LEARNING_RATE = 1e-5
FROM_PARAMS = (
    "epochs", "temperature", "max_new_tokens", "kl_coefficient", "clip_range", "value_clip_range", "gamma", "lam",
    "missing_eos_penalty",
)  # fmt: skip
ROWS_PER_BATCH = 64  # the default of both sides
SIZES = ("hearth", "30m", "1b")


@dataclass(frozen=True)
class Workload:
    """One PPO run; the first of its `steps` rollouts warms up and is not timed.

    Attributes:
        base: model directory of the policy; for the size 1b of the tokenizer alone. prompts: JSONL of prompt rows.
        steps: rollouts of `batch_size` episodes, each learned from in `epochs` passes over minibatches.
        rows_per_batch: rows sampled or scored side by side; TRL's local_rollout_forward_batch_size.
        missing_eos_penalty: subtracted from the score of a response without EOS; None is no penalty.
        reward_scale: of the reward model's random head.
        stops: whether EOS ends a response; False lets every response run to `max_new_tokens`.
    """

    size: str
    base: str
    prompts: str
    steps: int
    batch_size: int
    minibatch_size: int
    epochs: int
    rows_per_batch: int
    max_new_tokens: int
    temperature: float
    learning_rate: float
    kl_coefficient: float
    clip_range: float
    value_clip_range: float
    gamma: float
    lam: float
    missing_eos_penalty: float | None
    value_coefficient: float = 0.1  # of a critic of its own it only scales the gradient that is clipped
    adam_eps: float = 1e-5
    max_grad_norm: float = 1.0
    stops: bool = True
    reward_scale: float = 1.0
    seed: int = 0
    threads: int = 2
    device: str = "cpu"
    dtype: str = "float32"

    @property
    def episodes(self) -> int:
        return self.steps * self.batch_size

    @property
    def timed_episodes(self) -> int:
        return (self.steps - 1) * self.batch_size

    @property
    def optimizer_steps_per_rollout(self) -> int:
        return self.epochs * self.batch_size // self.minibatch_size

    def document(self) -> dict[str, Any]:
        """The numbers, without places on this machine."""
        return {name: value for name, value in asdict(self).items() if name not in ("base", "prompts")}


def workload(size: str, base: Path, prompts: Path, ppo: dict[str, Any], **changes: Any) -> Workload:
    """The workload of a size; `ppo` is the section of params.yaml, whose settings all sizes share.

    Raises:
        ValueError: an unknown size.
    """
    if size not in SIZES:
        raise ValueError(f"size={size!r} is unknown; use one of {', '.join(SIZES)}")
    batch, minibatch = ppo["batch_size"], ppo["minibatch_size"]
    # With 128 episodes a rollout, the 30 M model would keep TRL busy for minutes on two cores.
    sizes = {"hearth": (3, batch, minibatch), "30m": (3, 32, 16), "1b": (4, batch, minibatch)}
    steps, batch, minibatch = sizes[size]
    shared = {name: ppo[name] for name in FROM_PARAMS}
    work = Workload(
        size=size, base=str(base), prompts=str(prompts), steps=steps, batch_size=batch, minibatch_size=minibatch,
        rows_per_batch=min(ROWS_PER_BATCH, batch), learning_rate=TIMED_LEARNING_RATE, **shared,
    )  # fmt: skip
    return replace(work, **changes)
