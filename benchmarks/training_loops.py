"""The training loops of our SFT, reward and DPO stages beside TRL's bare trainers, on the same tokenised rows."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks import child
from benchmarks.material import Material
from benchmarks.measure import Comparison, Cost, race, times_faster_at_least
from benchmarks.ppo.floors import (
    ADAMW_NUMBERS_MOVED,
    BACKWARD_AND_FORWARD,
    Machine,
    Shape,
    Work,
    backbone_flops,
    head_flops,
)
from benchmarks.report import SIDES

# (stage, size): rows of a run, at least 6 s of training with TRL; and how many times faster ours is to be.
RUNS: dict[tuple[str, str], tuple[int, float]] = {
    ("sft", "hearth"): (1600, 2.0), ("reward", "hearth"): (640, 2.0), ("dpo", "hearth"): (480, 1.8),
    ("sft", "30m"): (96, 1.5), ("reward", "30m"): (48, 1.5), ("dpo", "30m"): (32, 1.5),
}  # fmt: skip
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # as runtime.threads says


def training_loop(
    material: Material, stage: str, size: str, repeats: int, *, rows: int | None = None, grouped: bool = False
) -> Comparison:
    """One stage at one size, each run in a process of its own: what a run holds at most is its own."""
    most, limit = RUNS[stage, size]
    rows = rows or most
    fixed = {"stage": stage, "size": size, "base": str(material.base), "rows": rows, "grouped": grouped}

    def run(side: str, _: int) -> dict[str, Any]:
        return child.run("benchmarks.training_sides:measure", {**fixed, "side": side}, ONE_THREAD)

    runs, costs = race(run, lambda done: Cost(done["wall"], done["cpu"]), repeats)
    steps = {side: runs[side][0]["steps"] for side in SIDES}
    if steps["ours"] != steps["theirs"]:
        raise AssertionError(f"{stage} took {steps['ours']} optimizer steps, and TRL's trainer {steps['theirs']}")
    return Comparison(f"{stage}, {size} / bare TRL", *costs, times_faster_at_least(limit),
                      _note(runs, machine(), rows, grouped))  # fmt: skip


@functools.cache
def machine() -> Machine:
    """This machine's peaks on one thread."""
    return Machine(**child.run("benchmarks.ppo.preparation:machine_peaks", {}, ONE_THREAD))


def _note(runs: Mapping[str, Sequence[Mapping[str, Any]]], machine: Machine, rows: int, grouped: bool) -> str:
    memory = {side: median(run["peak_mib"] for run in runs[side]) for side in SIDES}
    one = sorted(runs["ours"], key=lambda run: run["wall"])[len(runs["ours"]) // 2]
    passes = BACKWARD_AND_FORWARD + (one["stage"] == "dpo")  # and the reference's
    floor = floor_seconds(Shape(**one["shape"]), one["lengths"], one["steps"], machine, passes)
    batches = "by length" if grouped else "at random"
    return (
        f"{rows} rows, {one['steps']} optimizer steps on both sides, TRL's batches {batches}; peak memory"
        f" {memory['ours']:.0f} / {memory['theirs']:.0f} MiB; {floor / one['wall']:.0%} of the machine's limit"
    )


def floor_seconds(
    shape: Shape, lengths: Sequence[tuple[int, int]], steps: int, machine: Machine, passes: int = BACKWARD_AND_FORWARD
) -> float:
    """Seconds below which the machine cannot train on rows of `lengths` (tokens without a head, with one), each once.

    Attention is counted as if both responses of a comparison saw each other, a percent too much at these lengths.
    """
    once = sum(backbone_flops(shape, p + r) + head_flops(shape, r) for p, r in lengths)
    moved = steps * shape.parameters * ADAMW_NUMBERS_MOVED * shape.bytes_per_number
    return Work(passes * once, moved).floor(machine)


