"""What was found, as tables and as a document."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Comparison
from benchmarks.ppo.floors import Machine, utilisation
from benchmarks.ppo.gates import OVERLAP_DEVIATIONS, CurveGate, LossGate
from benchmarks.ppo.race import GOAL, Training

PACKAGES = ("torch", "transformers", "accelerate", "rich")
UTILISATION_GOAL = 0.40


@dataclass
class Findings:
    """Everything of one run; what was not asked for is empty. `stages`: FLOPs and seconds of SFT and DPO."""

    repeats: int
    threads: int
    device: str
    device_name: str
    trl: str
    machine: Machine
    losses: LossGate | None = None
    curves: CurveGate | None = None
    trainings: list[Training] = field(default_factory=list)
    samplers: list[Comparison] = field(default_factory=list)
    stages: Mapping[str, dict[str, float]] = field(default_factory=dict)

    def gates(self) -> dict[str, LossGate | CurveGate]:
        """Those that were looked at."""
        return {name: gate for name, gate in (("losses", self.losses), ("curves", self.curves)) if gate is not None}

    def document(self) -> dict[str, Any]:
        """The numbers with what they were measured on; nothing that names a place on this machine."""
        return {
            "machine": {
                "platform": platform.platform(), "cpus": os.cpu_count(), "python": platform.python_version(),
                "processor": processor(), "threads": self.threads, "device": self.device,
                "device_name": self.device_name,
                "peak_gigaflops": round(self.machine.flops / 1e9, 2),
                "peak_gigabytes_per_second": round(self.machine.bandwidth / 1e9, 2),
            },
            "versions": {**{name: version(name) for name in PACKAGES}, "trl": self.trl},
            "repeats": self.repeats,
            "gates": {name: gate.document() for name, gate in self.gates().items()},
            "ppo": [training.document(self.machine) for training in self.trainings],
            "sampler": [comparison.document() for comparison in self.samplers],
            "utilisation": {
                stage: {**found, "share_of_peak": utilisation(found["flops"], found["seconds"], self.machine)}
                for stage, found in self.stages.items()
            },
        }  # fmt: skip


def processor() -> str:
    """The processor's name where the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def show_gates(found: Findings, console: Console) -> None:
    """What was seen before the clock was started."""
    if found.losses is not None:
        word = "passed" if found.losses.passed else "FAILED"
        console.print(f"losses on identical rollouts: {word}, the worst difference is {found.losses.worst:.1e}")
    if found.curves is not None:
        word = "passed" if found.curves.passed else "FAILED"
        curve = ", ".join(f"{ours:.2f}/{theirs:.2f}" for ours, theirs in found.curves.means())
        console.print(f"reward by rollout, mean of {len(found.curves.ours)} seeds, ours/theirs: {curve}")
        console.print(
            f"reward curves: {word}; over the second half ours - theirs = {found.curves.difference:+.3f}, allowed"
            f" {OVERLAP_DEVIATIONS:g} x {found.curves.spread:.3f} (deviation over seeds)"
        )


def show(found: Findings, console: Console) -> None:
    """Ratios with their spread, memory, and each phase beside its limit."""
    console.print(_races(found))
    for training in found.trainings:
        ours, theirs = training.lengths
        agree = "agree" if training.lengths_agree else "DIFFER: compare the episodes per second with care"
        console.print(f"{training.comparison.name}: {training.comparison.note}; response lengths {agree}"
                      f" ({ours:.1f} / {theirs:.1f} tokens on average)", markup=False, highlight=False)
    for comparison in found.samplers:
        console.print(f"{comparison.name}: {comparison.note}", markup=False, highlight=False)
    for training in found.trainings:
        console.print(_phases(training, found.machine))
    for stage, run in found.stages.items():
        share = utilisation(run["flops"], run["seconds"], found.machine)
        console.print(f"{stage}: {_verdict(share >= UTILISATION_GOAL)} model-FLOPs utilisation {share:.3f}, goal"
                      f" {UTILISATION_GOAL}; peak memory {run['peak_mib']:.0f} MiB")


def _races(found: Findings) -> Table:
    table = Table(
        "what (ours / theirs)", "ours", "theirs", "median pair", "median pair, CPU", "promise", "",
        "peak memory, MiB (after imports)", "", header_style="bold", show_lines=True,
        title=f"{found.repeats} repeats, in turn: median (least to most)",
    )  # fmt: skip
    for training in found.trainings:
        rates = [f"{spread(training.episodes_per_second(side), 2)} episodes/s" for side in ("ours", "theirs")]
        memory = " / ".join(_memory(training, side) for side in ("ours", "theirs"))
        ratio, verdict = _ratio(training.comparison), _verdict(training.less_memory)
        table.add_row(training.comparison.name, *rates, *ratio, memory, verdict)
    for comparison in found.samplers:
        rates = [f"{spread([10_000 / s for s in comparison.times(side)], 0)} tokens/s" for side in ("ours", "theirs")]
        table.add_row(comparison.name, *rates, *_ratio(comparison), "", "")
    return table


def _memory(training: Training, side: str) -> str:
    return f"{median(training.memory(side)):.0f} ({median(training.memory(side, 'baseline_mib')):.0f})"


def _ratio(comparison: Comparison) -> tuple[str, str, str, str]:
    unit = comparison.promise.unit
    return (f"{spread(comparison.pairs(), 3)} {unit}", f"{spread(comparison.pairs('cpu'), 3)} {unit}",
            f"{comparison.promise.text}, goal {GOAL:g}x", _verdict(comparison.kept))


def _phases(training: Training, machine: Machine) -> Table:
    table = Table("phase", "s", "GFLOP", "GB", "floor, s", "limited by", "share of the limit", header_style="bold",
                  title=f"our phases, {training.work.size}: the machine reaches {machine.flops / 1e9:.0f} GFLOP/s and"
                        f" {machine.bandwidth / 1e9:.1f} GB/s")  # fmt: skip
    for share in training.shares(machine):
        work = share.work
        table.add_row(share.phase, f"{share.seconds:.2f}", f"{work.flops / 1e9:.1f}", f"{work.bytes / 1e9:.2f}",
                      f"{share.floor:.3f}", work.limited_by(machine), f"{share.of_limit:.1%}")  # fmt: skip
    return table


def _verdict(kept: bool) -> str:
    return "[green]kept[/]" if kept else "[red]missed[/]"


def spread(values: Sequence[float], digits: int) -> str:
    """Median (least to most)."""
    low, middle, high = (f"{f(values):.{digits}f}" for f in (min, median, max))
    return f"{middle} ({low} to {high})"
