"""The comparisons: both sides in turn, each repeat with a seed of its own and in processes of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import mean, median, variance
from typing import Any

from benchmarks.measure import Comparison, Cost, race, times_faster_at_least
from benchmarks.ppo.floors import Machine, Shape, Share, shares
from benchmarks.ppo.workload import Workload
from benchmarks.report import SIDES

FLOOR, GOAL = 2.0, 2.5
# Mean response lengths of the two sides may differ by this share of theirs, or by as many standard errors.
LENGTHS_AGREE_WITHIN, STANDARD_ERRORS = 0.05, 2.0
TOKENS_TIMED = 10_000

Child = Callable[..., dict[str, Any]]  # of a task and a workload


def response_lengths(runs: Sequence[dict[str, Any]]) -> list[int]:
    """Response tokens of each timed episode."""
    return [response for run in runs for rollout in run["lengths"] for _, response in rollout]


@dataclass(frozen=True)
class Training:
    """PPO on both sides: `comparison` is of seconds for `work.timed_episodes` episodes each."""

    work: Workload
    comparison: Comparison
    ours: Sequence[dict[str, Any]]
    theirs: Sequence[dict[str, Any]]

    def episodes_per_second(self, side: str) -> list[float]:
        return [self.work.timed_episodes / seconds for seconds in self.comparison.times(side)]

    def memory(self, side: str, name: str = "peak_mib") -> list[float]:
        return [run[name] for run in getattr(self, side)]

    @property
    def less_memory(self) -> bool:
        return median(self.memory("ours")) < median(self.memory("theirs"))

    @property
    def lengths(self) -> tuple[float, float]:
        """Mean response tokens of ours and theirs."""
        return mean(response_lengths(self.ours)), mean(response_lengths(self.theirs))

    @property
    def lengths_agree(self) -> bool:
        ours, theirs = self.lengths
        sides = [response_lengths(runs) for runs in (self.ours, self.theirs)]
        error = sum(variance(lengths) / len(lengths) for lengths in sides) ** 0.5
        return abs(ours - theirs) <= max(LENGTHS_AGREE_WITHIN * theirs, STANDARD_ERRORS * error)

    def shares(self, machine: Machine) -> list[Share]:
        """Our phases beside the machine's limit, in the run of median seconds."""
        run = sorted(self.ours, key=lambda run: run["seconds"])[len(self.ours) // 2]
        return shares(run["phases"], run["lengths"], Shape(**run["shape"]), machine, self.work.epochs,
                      self.work.optimizer_steps_per_rollout)

    def document(self, machine: Machine) -> dict[str, Any]:
        sides = {
            side: {
                "episodes_per_second": [round(x, 3) for x in self.episodes_per_second(side)],
                "peak_mib": [round(x, 1) for x in self.memory(side)],
                "baseline_mib": [round(x, 1) for x in self.memory(side, "baseline_mib")],
                "mean_response_tokens": round(length, 3),
                "sampling_seconds": [round(run["phases"]["sample"], 4) for run in getattr(self, side)],
            }
            for side, length in zip(SIDES, self.lengths, strict=True)
        }
        return {**self.comparison.document(), "workload": self.work.document(), **sides,
                "optimizer_steps": self.ours[0]["optimizer_steps"], "lower_peak_memory": self.less_memory,
                "lengths_agree": self.lengths_agree, "phases": [share.document() for share in self.shares(machine)]}


def _seconds(run: dict[str, Any]) -> Cost:
    return Cost(run["seconds"], run["cpu_seconds"])


def training(work: Workload, repeats: int, child: Child) -> Training:
    """Times both sides. Raises AssertionError when they take different numbers of optimizer steps."""
    runs, costs = race(lambda side, seed: child(f"{side}.train", replace(work, seed=seed)), _seconds, repeats)
    counts = {side: {run["optimizer_steps"] for run in own} for side, own in runs.items()}
    wanted = {work.steps * work.optimizer_steps_per_rollout}
    assert counts["ours"] == counts["theirs"] == wanted, f"optimizer steps {counts} are not {wanted} on both sides"
    note = f"{work.timed_episodes} episodes timed after {work.batch_size}, {wanted.pop()} optimizer steps on both sides"
    name = f"PPO, {work.size} / TRL's PPOTrainer"
    return Training(work, Comparison(name, *costs, times_faster_at_least(FLOOR), note), **runs)


def sampling(work: Workload, repeats: int, child: Child) -> Comparison:
    """Our sampler against `model.generate` as TRL calls it: seconds per ten thousand tokens."""
    runs, costs = race(lambda side, seed: child(f"{side}.sampler", replace(work, seed=seed)),
                       lambda run: _seconds(run).scaled(TOKENS_TIMED / run["tokens"]), repeats)  # fmt: skip
    lengths = {side: mean(run["tokens"] for run in own) / work.episodes for side, own in runs.items()}
    note = (f"seconds per {TOKENS_TIMED} tokens; {work.episodes} prompts, {work.rows_per_batch} side by side; mean"
            f" response {lengths['ours']:.1f} / {lengths['theirs']:.1f} tokens")
    name = f"sampler, {work.size} / model.generate as TRL calls it"
    return Comparison(name, *costs, times_faster_at_least(FLOOR), note)
