"""The least that a phase of PPO must compute and move, and how near a run comes to it: pure functions of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

PHASES = ("sample", "score", "update")
# AdamW reads weight, gradient and both moments, and writes weight and both moments.
ADAMW_NUMBERS_MOVED = 7
BACKWARD_AND_FORWARD = 3


@dataclass(frozen=True)
class Shape:
    """Of a Llama-shaped model.

    Attributes:
        linear: weights outside the embeddings. parameters: all weights, tied ones once.
        attention_width: query heads x head size. cache_width: key-value heads x head size.
        bytes_per_number: of weights and cache.
    """

    linear: int
    parameters: int
    layers: int
    hidden: int
    vocabulary: int
    attention_width: int
    cache_width: int
    bytes_per_number: int = 4


@dataclass(frozen=True)
class Machine:
    """Measured peaks: floating-point operations and bytes per second."""

    flops: float
    bandwidth: float


class Work(NamedTuple):
    """Floating-point operations, and bytes between memory and processor."""

    flops: float
    bytes: float

    def __add__(self, other: Work) -> Work:  # type: ignore[override]
        return Work(self.flops + other.flops, self.bytes + other.bytes)

    def floor(self, machine: Machine) -> float:
        """Seconds below which the machine cannot do it."""
        return max(self.flops / machine.flops, self.bytes / machine.bandwidth)

    def limited_by(self, machine: Machine) -> str:
        return "compute" if self.flops / machine.flops >= self.bytes / machine.bandwidth else "memory"


def backbone_flops(shape: Shape, tokens: int) -> float:
    """One forward pass over a sequence of `tokens`, without the head: 2 per weight, and causal attention.

    Attention takes 4 · width per layer and pair of a token with one that it sees (QK^T and the weighted sum).
    """
    pairs = tokens * (tokens + 1) / 2
    return 2 * shape.linear * tokens + 4 * shape.attention_width * shape.layers * pairs


def head_flops(shape: Shape, tokens: int) -> float:
    """The output embedding at `tokens` positions."""
    return 2 * shape.hidden * shape.vocabulary * tokens


Lengths = Sequence[tuple[int, int]]


def sample_work(shape: Shape, lengths: Lengths) -> Work:
    """Sampling a rollout of (prompt, response) `lengths`, all rows side by side.

    The last token of a response is never run. Each pass reads all weights; each token reads its row's cache.
    """
    flops = sum(backbone_flops(shape, p + r - 1) + head_flops(shape, r) for p, r in lengths)
    passes = max(r for _, r in lengths)
    read = sum((r - 1) * p + r * (r - 1) / 2 for p, r in lengths)
    moved = passes * shape.parameters + read * 2 * shape.layers * shape.cache_width
    return Work(flops, moved * shape.bytes_per_number)


def score_work(shape: Shape, lengths: Lengths) -> Work:
    """One pass of reference, critic and reward model; only the reference needs a head, at response positions."""
    flops = sum(3 * backbone_flops(shape, p + r) + head_flops(shape, r) for p, r in lengths)
    return Work(flops, 3 * shape.parameters * shape.bytes_per_number)


def update_work(shape: Shape, lengths: Lengths, epochs: int, optimizer_steps: int) -> Work:
    """Forward and backward passes of policy and critic, and AdamW over both."""
    once = sum(2 * backbone_flops(shape, p + r) + head_flops(shape, r) for p, r in lengths)
    moved = optimizer_steps * 2 * shape.parameters * ADAMW_NUMBERS_MOVED
    return Work(BACKWARD_AND_FORWARD * epochs * once, moved * shape.bytes_per_number)


def rollout_work(shape: Shape, lengths: Lengths, epochs: int, optimizer_steps: int) -> dict[str, Work]:
    """The work of each phase of one rollout and its update."""
    update = update_work(shape, lengths, epochs, optimizer_steps)
    return {"sample": sample_work(shape, lengths), "score": score_work(shape, lengths), "update": update}


@dataclass(frozen=True)
class Share:
    """A phase of a run: its seconds, the least the machine needs, and what limits it."""

    phase: str
    seconds: float
    work: Work
    machine: Machine

    @property
    def floor(self) -> float:
        return self.work.floor(self.machine)

    @property
    def of_limit(self) -> float:
        """1 is as fast as the machine can."""
        return self.floor / self.seconds

    def document(self) -> dict[str, object]:
        return {"phase": self.phase, "seconds": round(self.seconds, 4), "gigaflops": round(self.work.flops / 1e9, 3),
                "gigabytes": round(self.work.bytes / 1e9, 3), "floor_seconds": round(self.floor, 4),
                "limited_by": self.work.limited_by(self.machine), "share_of_limit": round(self.of_limit, 4)}


def shares(
    seconds: Mapping[str, float], rollouts: Sequence[Lengths], shape: Shape, machine: Machine, epochs: int,
    optimizer_steps: int,
) -> list[Share]:
    """Each phase of some rollouts; `seconds` are summed over them, `optimizer_steps` are those of one rollout."""
    works = [rollout_work(shape, lengths, epochs, optimizer_steps) for lengths in rollouts]
    totals = {phase: sum((work[phase] for work in works), Work(0, 0)) for phase in PHASES}
    return [Share(phase, seconds[phase], totals[phase], machine) for phase in PHASES]


def utilisation(flops: float, seconds: float, machine: Machine) -> float:
    """Model-FLOPs utilisation: the share of the peak that the model's own operations took."""
    return flops / seconds / machine.flops
