"""A table of prompts and answers, checked once, as the monitors read it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Answers:
    """Prompts and one response each; a prompt may stand in several rows. The other columns are None where unknown.

    `finished`: the model ended the answer itself. `harmful`: the prompt should be declined. `rewards`: the score that
    training maximises; `gold`: the one it never sees; `kl`: log-prob less the reference's, in nats per response.
    """

    prompts: Sequence[str]
    responses: Sequence[str]
    finished: Sequence[bool] | None = None
    harmful: Sequence[bool | None] | None = None
    rewards: Sequence[float] | None = None
    gold: Sequence[float] | None = None
    kl: Sequence[float] | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for columns of unequal lengths, a number that is not finite, or fewer than two prompts."""
        size = len(self.prompts)
        for name in ("responses", "finished", "harmful", "rewards", "gold", "kl"):
            column = getattr(self, name)
            if column is not None and len(column) != size:
                raise ValueError(f"{name} has {len(column)} rows and prompts {size}; give one per prompt")
        for name in ("rewards", "gold", "kl"):
            for row, value in enumerate(getattr(self, name) or ()):
                if not math.isfinite(value):
                    raise ValueError(f"{name} of row {row + 1} is {value}, not finite; correct or drop the row")
        if len(set(self.prompts)) < 2:
            raise ValueError(
                f"{len(set(self.prompts))} different prompts; monitors compare answers to different ones: give more"
            )

    def __len__(self) -> int:
        return len(self.prompts)
