"""What a PPO run tells while it goes on."""

from torch import nn

from models.ppo.rollout import Rollout


class PpoObserver:
    """Hears everything and does nothing: override what is wanted. The main process alone tells."""

    def on_rollout(self, step: int, rollout: Rollout) -> None:
        """Before the rollout's update; steps count from 0 here."""

    def on_breach(self, steps_done: int, policy: nn.Module) -> None:
        """A rollout breaks a guard's limit and the one before did not.

        The policy is as it crossed the limit, which is worth keeping when the guard trips later.
        """

    def on_snapshot(self, steps_done: int, policy: nn.Module) -> None:
        """Every `snapshot_every` steps, before the checkpoint: a run killed between the two makes it again."""

    def on_step(self, steps_done: int, steps: int, metrics: dict[str, float]) -> None:
        """After each step of `steps`; times are in `seconds_*`."""
